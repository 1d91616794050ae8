"""Removes the containers of a run when the runner is gone, however it went. A script: started with the run's id.

Standard input is the life line, as in `contract/guard.py`.
"""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

LABEL = "assay.run"


def main(run_id: str) -> int:
    """Wait for the life line to end, then remove what carries the run's label."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    import docker  # noqa: PLC0415 - the wait needs none of it
    from docker.errors import DockerException  # noqa: PLC0415

    with suppress(DockerException):  # no engine, nothing to remove
        client = docker.from_env()
        for container in client.containers.list(all=True, filters={"label": f"{LABEL}={run_id}"}):
            with suppress(DockerException):
                container.remove(force=True, v=True)
        for network in client.networks.list(filters={"label": f"{LABEL}={run_id}"}):
            with suppress(DockerException):
                network.remove()
        client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
