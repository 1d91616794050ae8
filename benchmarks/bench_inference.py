"""What the command `inference` costs: help, a plan, the start of servers over that of the bare engine, doctor, stop.

    python -m benchmarks.bench_inference

The served program is the reference engine, so that nothing but our own time is in the figures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

INFERENCE: Final = str(Path(sys.executable).with_name("inference"))
REPEATS: Final = 5
FIRST_PORT: Final = 18_200
GOLDEN: Final = """
from tests.inference import test_planner_golden as table
for row in table.ROWS:
    table.test_the_planner_agrees_with_the_row(row)
"""


def main() -> None:
    """Print one line a figure: the median of five, and all of them."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        _say("inference --help", [_seconds("--help") for _ in range(REPEATS)])
        plan = ("plan", "qwen3-32b", "--gpu", "h100-80", "--count", "1")
        _say("inference plan", [_seconds(*plan) for _ in range(REPEATS)])
        _say("the golden table, in one process", [_golden() for _ in range(REPEATS)])
        bare = [_bare() for _ in range(REPEATS)]
        _say("the bare engine until it listens", bare)
        one = [_up(1) for _ in range(REPEATS)]
        _say("inference up, one server, until it is said to be ready", [ready for ready, _ in one])
        print(f"  over the bare engine: {median(ready for ready, _ in one) - median(bare):.2f} s")
        _say("inference down", [down for _, down in one])
        _say("inference up, four servers at once", [_up(4)[0] for _ in range(REPEATS)])
        with _server() as url:
            _say("inference doctor, one warm endpoint", [_seconds("doctor", url) for _ in range(REPEATS)])


def _say(what: str, seconds: list[float]) -> None:
    print(f"{what}: {median(seconds):.2f} s  ({', '.join(f'{one:.2f}' for one in seconds)})")


def _seconds(*words: str) -> float:
    started = time.perf_counter()
    subprocess.run([INFERENCE, *words], check=True, capture_output=True)
    return time.perf_counter() - started


def _golden() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", GOLDEN], check=True, cwd=Path(__file__).parents[1])
    return time.perf_counter() - started


def _bare() -> float:
    started = time.perf_counter()
    with _server():
        return time.perf_counter() - started


@contextmanager
def _server() -> Iterator[str]:
    ready = Path("url")
    ready.unlink(missing_ok=True)
    command = [INFERENCE, "up", "reference", "--port", "0", "--ready-file", str(ready), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
        try:
            assert engine.stdout is not None
            yield str(json.loads(engine.stdout.readline())["url"])
        finally:
            engine.terminate()


def _up(count: int) -> tuple[float, float]:
    """Seconds until they are ready, and to stop them."""
    options = ("--num-servers", str(count), "--stagger-delay", "0", "--start-port", str(FIRST_PORT), "--detach")
    return _seconds("up", "reference", *options), _seconds("down", "--all")


if __name__ == "__main__":
    main()
