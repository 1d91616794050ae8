"""The runner as a process, and what is left of the agents it started."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
ASSAY = Path(sys.executable).with_name("assay")
WAIT_S = 60.0


def await_true(condition: Callable[[], bool], *, what: str) -> None:
    """Wait for a condition that another process brings about."""
    give_up = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > give_up:
            raise AssertionError(f"never came true: {what}")
        time.sleep(0.01)


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


@dataclass(frozen=True)
class Stage:
    """A folder with a scenario of scripted agents."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def script(self, **values: Any) -> None:
        (self.folder / "script.json").write_text(json.dumps(values))

    def let_go(self) -> None:
        (self.folder / "go").touch()

    def ran(self) -> list[str]:
        """Keys of the trials that green ran, in order, over all its lives."""
        path = self.folder / "ran"
        return path.read_text().split() if path.exists() else []

    def pids(self) -> list[int]:
        """Process ids of every agent that was ever started."""
        path = self.folder / "pids"
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def pid_of(self, role: str) -> int:
        """The living agent of a role."""
        return next(
            pid for pid in self.pids() if alive(pid) and f"support.{role}" in Path(f"/proc/{pid}/cmdline").read_text()
        )

    def results_json(self) -> dict[str, Any]:
        (path,) = self.results.glob("*/results.json")
        return json.loads(path.read_text())  # type: ignore[no-any-return] # read as a test reads it

    def assay(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run `assay` to its end in this folder."""
        return subprocess.run(
            [ASSAY, *arguments], cwd=self.folder, env=_environment(self.folder, env), capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """`assay` in the background; killed at the end if it is still there."""
        with subprocess.Popen(
            [ASSAY, *arguments], cwd=self.folder, env=_environment(self.folder, None), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)


def _environment(folder: Path, more: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "AGENT_PIDS": str(folder / "pids"), **(more or {})}


def await_line(process: subprocess.Popen[str], wanted: str) -> None:
    """Read the process's messages until one holds `wanted`."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if wanted in line:
            return
    raise AssertionError(f"{wanted!r} never came:\n{''.join(seen)}")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def make_stage(folder: Path, *, green_extra: str = "", purple_extra: str = "") -> Stage:
    green, purple = free_ports(2)
    (folder / "scenario.toml").write_text(
        f"""
        [green_agent]
        endpoint = "http://127.0.0.1:{green}"
        cmd = "python -m tests.runner.support.green --port {green} --script '{folder}/script.json'"
        {green_extra}
        [[participants]]
        role = "purple"
        endpoint = "http://127.0.0.1:{purple}"
        cmd = "python -m tests.runner.support.purple --port {purple}"
        {purple_extra}
        [config]
        num_tasks = 8
        """
    )
    stage = Stage(folder)
    stage.script(tasks=4)
    return stage
