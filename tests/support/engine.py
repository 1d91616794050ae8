"""A running reference engine for tests: in a thread of this process, or as the real command."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.inference.reference_engine.app import Engine, Metrics, Settings
from services.inference.reference_engine.faults import parse
from services.inference.reference_engine.serve import Place, bind, build, url_of

INFERENCE = (sys.executable, "-c", "from services.inference.cli import main; main()")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningEngine:
    """An engine that listens."""

    url: str
    """Base URL of the API, ending in /v1."""
    metrics: Metrics

    @property
    def root(self) -> str:
        """Address without /v1."""
        return self.url.removesuffix("/v1")


@contextmanager
def running_engine(*faults: str, settings: Settings | None = None) -> Iterator[RunningEngine]:
    """An engine in a thread, on a free port; `faults` are `--fault` texts for the default settings."""
    engine = Engine(settings or Settings(faults=tuple(map(parse, faults))))
    listener = bind(Place())
    listening = threading.Event()
    server = build(engine, on_listening=listening.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    assert listening.wait(10), "the reference engine did not start"
    try:
        yield RunningEngine(url=f"{url_of(listener)}v1", metrics=engine.metrics)
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def engine_process(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`inference up reference` as a process, on a free port; gives the process and the base URL of the API."""
    ready = folder / "engine.url"
    command = [*INFERENCE, "up", "reference", "--port", "0", "--ready-file", str(ready), *options]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        child.stdout.readline()  # the announcement, printed after the ready file was written
        yield child, f"{ready.read_text(encoding='utf-8')}v1"
    finally:
        if child.poll() is None:
            child.terminate()
        child.communicate(timeout=20)
