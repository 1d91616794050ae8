"""Starts the real services as processes, on ports of their own choice, and stops them whatever happens."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
START_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """SIGKILL to the whole process group, as a crash would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def service(command: Sequence[str], *, env: Mapping[str, str] | None = None, port: int = 0) -> Iterator[Service]:
    """Run a console script of ours with `--port P --ready-file F` (0: a free one) until the block ends."""
    with tempfile.TemporaryDirectory(prefix="assay-test-") as folder:
        ready, log = Path(folder) / "ready", Path(folder) / "log"
        full = [str(BIN / command[0]), *command[1:], "--port", str(port), "--ready-file", str(ready)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                full, stdout=output, stderr=output, start_new_session=True, env={**os.environ, **(env or {})}
            )
        try:
            yield Service(url=_await_ready(process, ready, log), process=process, log=log)
        finally:
            _stop(process)


def _await_ready(process: subprocess.Popen[bytes], ready: Path, log: Path) -> str:
    for _ in range(int(START_TIMEOUT_S / 0.05)):
        if ready.exists():
            return ready.read_text().strip()
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(f"{process.args!r} did not start:\n{log.read_text()[-4000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
