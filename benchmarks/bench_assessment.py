"""What Assay costs beside the agent: green and runner against an agent that answers after a fixed time.

Prints a JSON object a line: trials per second against the ideal, CPU ms per trial of each process, peak memory.

    python benchmarks/bench_assessment.py [--trials 2000] [--latency 0.05] [--concurrency 50 200]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.processes import BIN, Service, service  # noqa: E402 - run as a script

TICKS_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """User and system seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_S


def peak_mib(pid: int) -> float:
    """Peak resident size."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def green_duration_s(results: Path) -> float:
    """Seconds from the accepted request to the last row, as the newest run's result states them."""
    newest = max(results.glob("*/results.json"), key=lambda path: path.stat().st_mtime)
    (result,) = json.loads(newest.read_text())["results"]
    return float(result["evaluation_metadata"]["duration_s"])


def measure(purple: Service, *, trials: int, concurrency: int, latency_s: float, folder: Path) -> dict[str, object]:
    """One run through real green and the real runner."""
    with service(["green-agent", "serve", "--max-concurrency", str(concurrency)]) as green:
        scenario = folder / f"bench-{trials}-{concurrency}.toml"
        scenario.write_text(
            f'[green_agent]\nendpoint = "{green.url}"\n[[participants]]\nrole = "agent"\nendpoint = "{purple.url}"\n'
            f'[config]\ndatasets = ["options"]\nnum_tasks = {trials}\n'
        )
        command = [str(BIN / "assay"), "run", str(scenario), "--results-dir", str(folder / "results"), "--json"]
        started, before, earlier = time.perf_counter(), cpu_s(green.process.pid), os.times()
        runner = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _out, errors = runner.communicate()
        wall = time.perf_counter() - started
        children = os.times()
        execution_s = green_duration_s(folder / "results") if runner.returncode in {0, 1} else 0.0
        if runner.returncode not in {0, 1}:
            raise SystemExit(errors.decode())
        green_s, green_mib = cpu_s(green.process.pid) - before, peak_mib(green.process.pid)
    runner_s = children.children_user + children.children_system - earlier.children_user - earlier.children_system
    ideal = trials * latency_s / concurrency
    return {
        "trials": trials,
        "concurrency": concurrency,
        "whole_command_s": round(wall, 2),
        "execution_s": round(execution_s, 2),
        "ideal_s": round(ideal, 2),
        "trials_per_s": round(trials / execution_s, 1),
        "share_of_ideal": round(ideal / execution_s, 3),
        "green_cpu_ms_per_trial": round(1000 * green_s / trials, 3),
        "green_peak_mib": round(green_mib, 1),
        "runner_cpu_ms_per_trial": round(1000 * runner_s / trials, 3),
    }


def main() -> None:
    """Measure each concurrency with one fixed-latency agent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[50, 200])
    asked = parser.parse_args()
    command = ["python", str(ROOT / "benchmarks" / "fixed_latency_agent.py"), "--latency", str(asked.latency)]
    with tempfile.TemporaryDirectory() as folder, service(command) as purple:
        for concurrency in asked.concurrency:
            figures = measure(
                purple,
                trials=asked.trials,
                concurrency=concurrency,
                latency_s=asked.latency,
                folder=Path(folder),
            )
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
