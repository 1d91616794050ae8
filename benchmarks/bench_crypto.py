"""How fast the crypto simulator runs without an agent: `python benchmarks/bench_crypto.py [bars]`.

Target: 50,000 simulated bars a second on one core, indicators and metrics included, in memory that grows with the bars alone.
"""

from __future__ import annotations

import random
import sys
import time
import tracemalloc
from collections.abc import Callable

from services.green_agent.benchmarks.crypto.bars import Bars
from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig
from services.green_agent.benchmarks.crypto.metrics import close_returns_sd, episode_score
from services.green_agent.benchmarks.crypto.scenario_generator import WARMUP_BARS, GeneratorConfig, walk
from services.green_agent.benchmarks.crypto.simulator import HOLD, Decision, Simulation, View
from services.green_agent.benchmarks.crypto.transforms import draw_slippage

CONFIG = EvaluationConfig(slippage_range=(0.0002, 0.001))
EPISODE_BARS = 500
DECISIONS = (Decision(action="BUY", size=10.0, stop_loss=1e-9, take_profit=1e9), Decision(action="CLOSE"))


def churner(view: View) -> Decision:
    """Opens with a stop and a target at one bar and closes at the next: the most work a bar can make."""
    return DECISIONS[view.step % 2]


def holder(_view: View) -> Decision:
    """Never trades."""
    return HOLD


def simulate(warm: Bars, bars: Bars, agent: Callable[[View], Decision]) -> float:
    """One episode with its indicators and metrics; the score."""
    slippage = draw_slippage(random.Random(1), len(bars), CONFIG.slippage_range)
    simulation = Simulation(bars, CONFIG, slippage=slippage, warm=warm)
    while (view := simulation.advance()) is not None:
        simulation.decide(agent(view))
    return episode_score(simulation.result(), bars, close_returns_sd(bars), CONFIG).score


def measure(name: str, episodes: list[tuple[Bars, Bars]], agent: Callable[[View], Decision]) -> None:
    """Print the speed of `agent` over the episodes and the memory one of them takes at its peak."""
    start = time.perf_counter()
    for warm, bars in episodes:
        simulate(warm, bars, agent)
    seconds = time.perf_counter() - start
    count = sum(len(bars) for _, bars in episodes)
    tracemalloc.start()
    simulate(*episodes[0], agent)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = len(episodes[0][1])
    print(f"{name}: {count} bars in {seconds:.2f} s, {count / seconds:,.0f} bars/s; {peak / size:,.0f} bytes a bar")


def main(count: int) -> None:
    """Print four lines: the generator, both agents, and the churner in an episode ten times as long."""
    episodes = max(count // EPISODE_BARS, 1)
    start = time.perf_counter()
    walks = [walk(random.Random(seed), GeneratorConfig(bars=EPISODE_BARS)).bars for seed in range(episodes)]
    seconds = time.perf_counter() - start
    print(f"generated {episodes} markets in {seconds:.2f} s ({1000 * seconds / episodes:.1f} ms each)")

    short = [(bars.slice(0, WARMUP_BARS), bars.slice(WARMUP_BARS, len(bars))) for bars in walks]
    measure("hold", short, holder)
    measure("trade each bar", short, churner)
    long = walk(random.Random(1), GeneratorConfig(bars=10 * EPISODE_BARS)).bars
    measure("trade each bar, long", [(long.slice(0, WARMUP_BARS), long.slice(WARMUP_BARS, len(long)))], churner)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
