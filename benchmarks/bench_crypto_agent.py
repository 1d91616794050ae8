"""Crypto against a slow agent: the wall time of 12 scenarios x 6 episodes compared with the ideal at a given concurrency.

Prints one JSON object. The ideal is messages x latency / concurrency; the promise is at most 1.3 times that.

    python benchmarks/bench_crypto_agent.py [--scenarios 12] [--steps 50] [--latency 0.2] [--concurrency 32]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.bench_assessment import cpu_s, peak_mib  # noqa: E402 - run as a script
from tests.support.greens import assess  # noqa: E402 - likewise
from tests.support.processes import Service, service  # noqa: E402 - likewise

EPISODES = 6
SUITE = """
name: crypto speed
datasets:
  - type: crypto
    on_missing: generate
    generator: {{count: {scenarios}, bars: {bars}}}
    max_steps: {bars}
    evaluation: {{slippage_range: [0.0002, 0.001], meta_transforms: [identity, scale_1_1, scale_2_5, invert_returns]}}
sampling: {{seed: 42}}
"""


async def measure(
    green: Service, purple: Service, *, messages: int, latency_s: float, concurrency: int
) -> dict[str, object]:
    """One assessment through the real green."""
    before = cpu_s(green.process.pid)
    seen = await assess(green.url, purple.url)
    duration = seen.result.evaluation_metadata["duration_s"]
    assert isinstance(duration, float | int)
    asked = sum(int(row.metrics["decisions_all"] or 0) for row in seen.rows)
    assert asked == messages, f"{asked} decisions were asked for, {messages} were planned"
    ideal = messages * latency_s / concurrency
    return {
        "scenarios": len(seen.rows),
        "episodes": EPISODES * len(seen.rows),
        "messages": messages,
        "concurrency": concurrency,
        "latency_s": latency_s,
        "ideal_s": round(ideal, 2),
        "duration_s": round(duration, 2),
        "times_ideal": round(duration / ideal, 3),
        "green_cpu_ms_per_message": round(1000 * (cpu_s(green.process.pid) - before) / messages, 3),
        "green_peak_mib": round(peak_mib(green.process.pid), 1),
    }


def main() -> None:
    """Start green and the slow agent as processes and measure one assessment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", type=int, default=12)
    parser.add_argument("--steps", type=int, default=50, help="decisions of an episode")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    parser.add_argument("--concurrency", type=int, default=32)
    asked = parser.parse_args()
    decision = '{"action": "BUY", "size": 1, "stop_loss": 0.01, "reasoning": "slow and steady"}'
    agent = str(ROOT / "benchmarks" / "fixed_latency_agent.py")
    slow = ["python", agent, "--latency", str(asked.latency), "--answer", decision]
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "crypto.yaml"
        suite.write_text(SUITE.format(scenarios=asked.scenarios, bars=asked.steps + 1))
        evaluator = ["green-agent", "serve", "--eval-config", str(suite), "--max-concurrency", str(asked.concurrency)]
        with service(slow) as purple, service(evaluator) as green:
            figures = asyncio.run(
                measure(
                    green,
                    purple,
                    messages=asked.scenarios * EPISODES * asked.steps,
                    latency_s=asked.latency,
                    concurrency=asked.concurrency,
                )
            )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
