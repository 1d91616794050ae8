"""Servers that are listed in a registry, and the commands that read it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from click.testing import CliRunner, Result

from services.contract.endpoint_files import ServiceLine
from services.inference.cli import main
from services.inference.machine.ports import start_ticks
from services.inference.servers.registry import ServerFacts, stamp
from tests.support.engine import INFERENCE


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """A reference engine as a process of its own group, as the local launcher leaves it behind."""

    process: subprocess.Popen[str]
    line: ServiceLine


def service(url: str, job_id: str = "theirs-1", *, model: str = "reference", status: str = "running") -> ServiceLine:
    port = int(url.removesuffix("/v1").rpartition(":")[2])
    return ServiceLine(
        job_id=job_id,
        hostname=socket.gethostname(),
        host_ip="127.0.0.1",
        port=port,
        model_path=model,
        start_time=stamp(datetime.now(UTC) - timedelta(minutes=5)),
        status=status,
    )


def facts(job_id: str, *, served_name: str = "reference", log: Path | None = None) -> ServerFacts:
    return ServerFacts(
        id=job_id, engine="reference", served_name=served_name, version="0.1", log=str(log) if log else None
    )


@contextmanager
def started(folder: Path, *options: str) -> Iterator[Started]:
    ready = folder / "url"
    command = [*INFERENCE, "up", "reference", "--port", "0", "--ready-file", str(ready), *options]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield Started(
            process=child, line=service(f"{ready.read_text()}v1", f"local-{child.pid}-{start_ticks(child.pid)}")
        )
    finally:
        child.kill()
        child.communicate(timeout=20)


def inference(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*INFERENCE, *arguments], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )


def a_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
