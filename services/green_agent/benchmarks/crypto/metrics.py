"""From the equity curve and the trades of an episode to its score, and from episodes to the score of a scenario.

Finance specification 7.7. Scores are 0..100. Doing nothing gives exactly 50 in every episode.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Final

from services.green_agent.benchmarks.crypto.bars import Bars
from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig
from services.green_agent.benchmarks.crypto.simulator import Decision, EpisodeRun, Simulation

NEUTRAL: Final = 50.0
PASS_MARK: Final = 70.0
YEAR_MS: Final = 365 * 24 * 3_600_000
AUTO_CAP: Final = (0.005, 0.5)
"""Bounds of the automatic caps on return and drawdown."""
RISK_FLOOR: Final = 0.1
"""Share of the market's own volatility that is added to the agent's, so that a tiny position stays near neutral."""
WIN_FLOOR: Final = 0.005
"""Share of the balance added to wins and losses alike, so that a tiny win stays near neutral."""
GRADES: Final = ((90.0, "S"), (80.0, "A"), (70.0, "B"), (60.0, "C"))


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeScore:
    """What an episode was worth, before malformed decisions cost anything."""

    score: float
    """0..100."""
    components: dict[str, float]
    """sharpe, total_return, max_drawdown, win_rate, each 0..1 and 0.5 for doing nothing."""
    metrics: dict[str, float | int | None]
    """Native metrics by name; None where one is undefined."""


def close_returns_sd(bars: Bars) -> float:
    """Population standard deviation of the close-to-close returns."""
    return pstdev(_returns(bars.closes))


def episode_score(run: EpisodeRun, bars: Bars, baseline_sd: float, config: EvaluationConfig) -> EpisodeScore:
    """Score a finished episode. `baseline_sd` is `close_returns_sd` of the untransformed market of the scenario."""
    returns = _returns(run.equity)
    total = run.equity[-1] / run.equity[0] - 1
    fall = _max_drawdown(run.equity)
    t = _t_statistic(returns, baseline_sd)
    auto = max(AUTO_CAP[0], min(AUTO_CAP[1], 2 * baseline_sd * math.sqrt(len(returns))))
    return_cap = auto if config.return_cap == "auto" else config.return_cap
    drawdown_cap = auto if config.drawdown_cap == "auto" else config.drawdown_cap
    components = {
        "sharpe": _unit(0.5 + t / (2 * config.sharpe_cap)),
        "total_return": _unit(0.5 + total / (2 * return_cap)),
        "max_drawdown": _unit(0.5 + 0.5 * (_unit(total / return_cap) - _unit(fall / drawdown_cap))),
        "win_rate": _wins(run, WIN_FLOOR * config.initial_balance),
    }
    score = 100 * _weighted_mean(components, config.metric_weights.positive())
    native = _native(run, bars, returns) | {"total_return": total, "max_drawdown": fall, "sharpe": t}
    return EpisodeScore(score=score, components=components, metrics=native)


def buy_and_hold(bars: Bars, baseline_sd: float, config: EvaluationConfig, slippage: Sequence[float]) -> EpisodeScore:
    """The score of buying the balance's worth at the first chance and doing nothing more, at the same costs."""
    simulation = Simulation(bars, config, slippage=slippage)
    simulation.advance()
    simulation.decide(Decision(action="BUY", size=config.initial_balance / bars.closes[0]))
    while simulation.advance() is not None:
        pass
    return episode_score(simulation.result(), bars, baseline_sd, config)


def meta_score(scores: Sequence[float]) -> float:
    """Mean over the transformed markets less half their population standard deviation, 0..100. ValueError without scores."""
    if not scores:
        raise ValueError("the meta score needs at least one episode")
    return max(0.0, min(100.0, fmean(scores) - 0.5 * pstdev(scores)))


def scenario_score(episodes: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Weighted mean of the episode scores. `weights` are those above 0; ValueError when an episode with weight is missing."""
    # The mean distance from neutral, not the mean: where every episode is at 50 the result is 50 to the last bit.
    distances = {name: score - NEUTRAL for name, score in episodes.items()}
    return max(0.0, min(100.0, NEUTRAL + _weighted_mean(distances, weights)))


def grade(score: float) -> str:
    """S from 90, A from 80, B from 70, C from 60, D above 50, F for 50 and less."""
    for least, letter in GRADES:
        if score >= least:
            return letter
    return "D" if score > NEUTRAL else "F"


def _weighted_mean(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    missing = [name for name in weights if name not in values]
    if missing or not weights:
        raise ValueError(f"no value for {', '.join(missing) or 'any weight'}")
    # Two plain sums in one order, so that 0.5 everywhere gives exactly 0.5: halving is exact.
    return sum(weight * values[name] for name, weight in weights.items()) / sum(weights.values())


def _returns(curve: Sequence[float]) -> list[float]:
    """Relative changes; 0 once the curve is at 0."""
    return [later / earlier - 1 if earlier > 0 else 0.0 for earlier, later in pairwise(curve)]


def _max_drawdown(equity: Iterable[float]) -> float:
    peak = worst = 0.0
    for value in equity:
        peak = max(peak, value)
        worst = max(worst, 1 - value / peak)
    return worst


def _t_statistic(returns: Sequence[float], baseline_sd: float) -> float:
    mean = math.fsum(returns) / len(returns)
    variance = math.fsum((x - mean) ** 2 for x in returns) / len(returns)
    risk = math.sqrt(variance + (RISK_FLOOR * baseline_sd) ** 2)
    return mean * math.sqrt(len(returns)) / risk if risk else 0.0


def _wins(run: EpisodeRun, floor: float) -> float:
    won = math.fsum(trade.net for trade in run.trades if trade.net > 0)
    lost = -math.fsum(trade.net for trade in run.trades if trade.net < 0)
    return (won + floor) / (won + lost + 2 * floor)


def _native(run: EpisodeRun, bars: Bars, returns: Sequence[float]) -> dict[str, float | int | None]:
    mean = math.fsum(returns) / len(returns)
    sd = math.sqrt(math.fsum((x - mean) ** 2 for x in returns) / len(returns))
    trades = len(run.trades)
    return {
        "sharpe_annualised": mean / sd * math.sqrt(YEAR_MS / bars.bar_ms) if sd else None,
        "win_rate": sum(trade.net > 0 for trade in run.trades) / trades if trades else None,
        "turnover": run.turnover,
        "fees": run.fees,
        "funding": run.funding,
        "trade_count": trades,
        "decisions": run.decisions,
        "invalid_stop": run.invalid_stop,
        "clipped": run.clipped,
        "cancelled": run.cancelled,
        "liquidations": run.liquidations,
    }


def _unit(value: float) -> float:
    return max(0.0, min(1.0, value))
