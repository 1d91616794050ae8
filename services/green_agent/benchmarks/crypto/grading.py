"""From the played episodes of a scenario to its score and the figures beside it (finance specification 7.7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, get_args

from pydantic import JsonValue

from services.contract.outcomes import Failure, Outcome
from services.contract.results import SubScore
from services.green_agent.benchmarks.base import Score
from services.green_agent.benchmarks.crypto.episodes import ADVERSARIAL, BASELINE, META, NOISY, meta_key
from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig
from services.green_agent.benchmarks.crypto.metrics import (
    NEUTRAL,
    PASS_MARK,
    EpisodeScore,
    buy_and_hold,
    episode_score,
    grade,
    meta_score,
    scenario_score,
)
from services.green_agent.benchmarks.crypto.play import Played
from services.green_agent.benchmarks.crypto.wire import Fault

KINDS: Final = (BASELINE, NOISY, ADVERSARIAL, META)


@dataclass(frozen=True, kw_only=True, slots=True)
class Marked:
    """One episode with what it was worth, and what buying and holding was worth in it."""

    play: Played
    score: EpisodeScore
    held: EpisodeScore

    @property
    def key(self) -> str:
        """Of the episode."""
        return self.play.episode.key

    @property
    def total(self) -> float:
        """0..100, after the cost of malformed decisions."""
        return self.score.score * self.play.kept


@dataclass(frozen=True, kw_only=True, slots=True)
class Graded:
    """Scores of one way to trade, 0..100."""

    kinds: Mapping[str, float]
    """By kind, those with weight."""
    total: float


def grade_scenario(scenario_id: str, played: Sequence[Played], config: EvaluationConfig) -> Score:
    """The score of a scenario. Raises Failure(agent_error) when no decision of any episode could be read."""
    _refuse_all_malformed(played)
    marked = [_marked(play) for play in played]
    own = _graded({mark.key: mark.total for mark in marked}, config)
    holding = _graded({mark.key: mark.held.score for mark in marked}, config)
    inactive = all(play.run.fills == 0 for play in played)
    letter = grade(own.total)
    return Score(
        score=own.total / 100,
        passed=own.total >= PASS_MARK,
        scored_by="simulator",
        answer=_answer(played),
        explanation=_explanation(own, holding, letter, inactive=inactive),
        metrics=_metrics(marked, own, holding) | {"inactive": inactive},
        sub_scores={kind: SubScore(earned=value / 100, possible=1.0) for kind, value in own.kinds.items()},
        details=_details(marked, own, holding) | {"scenario_id": scenario_id, "grade": letter},
    )


def _refuse_all_malformed(played: Sequence[Played]) -> None:
    faults: Counter[str] = sum((play.faults for play in played), Counter())
    asked = {fault: count for fault, count in faults.items() if fault != "unasked"}
    if any(play.actions for play in played) or not asked:
        return
    told = ", ".join(f"{fault} {count}" for fault, count in sorted(asked.items()))
    only = next(iter(asked)) if len(asked) == 1 else ""
    kind = only if only and only not in get_args(Fault) else "malformed"
    raise Failure(Outcome.AGENT_ERROR, kind, f"no decision could be read in any episode: {told}")


def _marked(play: Played) -> Marked:
    episode = play.episode
    bars, baseline_sd, config = episode.bars, episode.baseline_sd, episode.config
    return Marked(
        play=play,
        score=episode_score(play.run, bars, baseline_sd, config),
        held=buy_and_hold(bars, baseline_sd, config, episode.slippage),
    )


def _graded(episodes: Mapping[str, float], config: EvaluationConfig) -> Graded:
    weights = config.score_weights.positive()
    kinds = {kind: episodes[kind] for kind in weights if kind != META}
    if META in weights:
        kinds[META] = meta_score([episodes[meta_key(name)] for name in config.meta_transforms])
    return Graded(kinds=kinds, total=scenario_score(kinds, weights))


def _answer(played: Sequence[Played]) -> str:
    actions: Counter[str] = sum((play.actions for play in played), Counter())
    malformed = sum(play.malformed for play in played)
    return ", ".join([*(f"{action} {count}" for action, count in sorted(actions.items())), f"malformed {malformed}"])


def _explanation(own: Graded, holding: Graded, letter: str, *, inactive: bool) -> str:
    kinds = ", ".join(f"{kind} {value:.2f}" for kind, value in own.kinds.items())
    traded = "never traded; " if inactive else ""
    return f"{traded}{own.total:.2f} of 100, grade {letter}: {kinds}; holding cash 50, buy and hold {holding.total:.2f}"


def _metrics(marked: Sequence[Marked], own: Graded, holding: Graded) -> dict[str, float | int | bool | str | None]:
    """The figures of the scenario, and the native metrics of its first episode: the baseline, when it has weight."""
    first, plays = marked[0], [mark.play for mark in marked]
    return {
        **first.score.metrics,
        "malformed": first.play.malformed,
        "episode": first.key,
        "score_100": own.total,
        "hold_score": NEUTRAL,
        "buyhold_score": holding.total,
        "excess_over_hold": own.total - NEUTRAL,
        "excess_over_buyhold": own.total - holding.total,
        "fills_all": sum(play.run.fills for play in plays),
        "decisions_all": sum(play.run.decisions for play in plays),
        "malformed_all": sum(play.malformed for play in plays),
        "bankrupt": any(play.run.bankrupt for play in plays),
    }


def _details(marked: Sequence[Marked], own: Graded, holding: Graded) -> dict[str, JsonValue]:
    return {
        **{f"{kind}_score": own.kinds.get(kind) for kind in KINDS},
        "buyhold_score": holding.total,
        "episodes": {mark.key: _episode_details(mark) for mark in marked},
        "events": [{"episode": mark.key, **asdict(event)} for mark in marked for event in mark.play.episode.events],
    }


def _episode_details(mark: Marked) -> dict[str, JsonValue]:
    play, score, held = mark.play, mark.score, mark.held
    return {
        "label": play.episode.market.label,
        "score": mark.total,
        "components": dict(score.components),
        "metrics": {**score.metrics, "malformed": play.malformed},
        "faults": dict(sorted(play.faults.items())),
        "buyhold_score": held.score,
        "buyhold_metrics": dict(held.metrics),
    }
