"""From the played episodes of a scenario to its score, its native metrics and the figures beside it (finance specification 7.7)."""

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
class Graded:
    """Scores of one way to trade, 0..100."""

    kinds: Mapping[str, float]
    """By kind, those with weight."""
    total: float


def grade_scenario(scenario_id: str, played: Sequence[Played], config: EvaluationConfig) -> Score:
    """The score of a scenario. Raises Failure(agent_error) when no decision of any episode could be read."""
    _refuse_all_malformed(played)
    scores = {play.episode.key: _episode_score(play) for play in played}
    own = _graded({play.episode.key: scores[play.episode.key].score * play.kept for play in played}, config)
    held = {
        play.episode.key: buy_and_hold(play.episode.bars, play.episode.baseline_sd, config, play.episode.slippage)
        for play in played
    }
    holding = _graded({key: score.score for key, score in held.items()}, config)
    inactive = all(play.run.fills == 0 for play in played)
    letter = grade(own.total)
    return Score(
        score=own.total / 100,
        passed=own.total >= PASS_MARK,
        scored_by="simulator",
        answer=_answer(played),
        explanation=_explanation(own, holding, letter, inactive=inactive),
        metrics=_metrics(played, scores, own, holding, inactive=inactive),
        sub_scores={kind: SubScore(earned=value / 100, possible=1.0) for kind, value in own.kinds.items()},
        details=_details(scenario_id, played, scores, held, own, holding) | {"grade": letter},
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


def _episode_score(play: Played) -> EpisodeScore:
    episode = play.episode
    return episode_score(play.run, episode.bars, episode.baseline_sd, episode.config)


def _graded(episodes: Mapping[str, float], config: EvaluationConfig) -> Graded:
    weights = config.score_weights.positive()
    kinds = {kind: episodes[kind] for kind in weights if kind != META}
    if META in weights:
        kinds[META] = meta_score([episodes[meta_key(name)] for name in config.meta_transforms])
    # As shares, since sums of halves are exact: 50 in every episode stays 50 whatever the weights.
    total = 100 * scenario_score({kind: value / 100 for kind, value in kinds.items()}, weights)
    return Graded(kinds=kinds, total=min(100.0, max(0.0, total)))


def _answer(played: Sequence[Played]) -> str:
    actions: Counter[str] = sum((play.actions for play in played), Counter())
    malformed = sum(play.malformed for play in played)
    return ", ".join([*(f"{action} {count}" for action, count in sorted(actions.items())), f"malformed {malformed}"])


def _explanation(own: Graded, holding: Graded, letter: str, *, inactive: bool) -> str:
    kinds = ", ".join(f"{kind} {value:.2f}" for kind, value in own.kinds.items())
    traded = "never traded; " if inactive else ""
    return f"{traded}{own.total:.2f} of 100, grade {letter}: {kinds}; holding cash 50, buy and hold {holding.total:.2f}"


def _metrics(
    played: Sequence[Played], scores: Mapping[str, EpisodeScore], own: Graded, holding: Graded, *, inactive: bool
) -> dict[str, float | int | bool | str | None]:
    """The figures of the scenario, and the native metrics of its first episode: the baseline, when it has weight."""
    first = played[0]
    return {
        **scores[first.episode.key].metrics,
        "episode": first.episode.key,
        "score_100": own.total,
        "hold_score": NEUTRAL,
        "buyhold_score": holding.total,
        "excess_over_hold": own.total - NEUTRAL,
        "excess_over_buyhold": own.total - holding.total,
        "inactive": inactive,
        "fills_all": sum(play.run.fills for play in played),
        "decisions_all": sum(play.run.decisions for play in played),
        "malformed_all": sum(play.malformed for play in played),
        "malformed": first.malformed,
        "bankrupt": any(play.run.bankrupt for play in played),
    }


def _details(
    scenario_id: str,
    played: Sequence[Played],
    scores: Mapping[str, EpisodeScore],
    held: Mapping[str, EpisodeScore],
    own: Graded,
    holding: Graded,
) -> dict[str, JsonValue]:
    return {
        "scenario_id": scenario_id,
        **{f"{kind}_score": own.kinds.get(kind) for kind in KINDS},
        "buyhold_score": holding.total,
        "episodes": {
            play.episode.key: _episode_details(play, scores[play.episode.key], held[play.episode.key])
            for play in played
        },
        "events": [{"episode": play.episode.key, **asdict(event)} for play in played for event in play.episode.events],
    }


def _episode_details(play: Played, score: EpisodeScore, held: EpisodeScore) -> dict[str, JsonValue]:
    return {
        "label": play.episode.market.label,
        "score": score.score * play.kept,
        "components": dict(score.components),
        "metrics": {**score.metrics, "malformed": play.malformed},
        "malformed": dict(sorted(play.faults.items())),
        "buyhold_score": held.score,
        "buyhold_metrics": dict(held.metrics),
    }
