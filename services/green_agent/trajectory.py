"""Scores an answer and, where the agent told how it came to it, every solution on the way.

What was right on the way is reported under its own names (`oracle_passed`, `iterations`) and never moves the score: knowing
which intermediate to submit takes the answer key. Source: code-and-math specification 6 and 10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import structlog
from pydantic import JsonValue

from services.contract.conversation import Trace, Transcript
from services.contract.execution import SandboxError
from services.contract.measures import CUT, ITERATIONS, ORACLE, UNSCORED
from services.contract.outcomes import SANDBOX, SCORER, Failure, Outcome
from services.contract.secrets import redact
from services.green_agent.benchmarks.base import AnyBenchmark, Score, ScoringTools, Task

log = structlog.get_logger()

MOST_SCORED: Final = 32
"""Iterations of one answer that are scored; an agent may claim any number of them."""
LONGEST_FEEDBACK: Final = 4_000
"""Characters kept of what the scorer says of an intermediate; it stands in every row, once for each iteration."""


async def scored(benchmark: AnyBenchmark, task: Task, trial: int, transcript: Transcript, tools: ScoringTools) -> Score:
    """The score of the answer, with what is known of the solutions before it. Raises as `Benchmark.score` does."""
    final: Score = await benchmark.score(task, trial, transcript, tools)
    trace = _trace(transcript)
    if trace is None or not benchmark.scores_intermediates:
        return final
    known: dict[str, Score | Failure] = {transcript.answer: final}
    solutions = trace.solutions[:MOST_SCORED]
    for text in solutions:
        if text not in known:
            known[text] = await _score_of(benchmark, task, trial, _with_answer(transcript, text), tools)
    found = [known[text] for text in solutions]
    metrics: Mapping[str, float | int | bool | str | None] = {
        **final.metrics,
        ORACLE: any(isinstance(one, Score) and one.passed for one in (final, *found)),
        UNSCORED: sum(_passed(one) is None for one in found),
        CUT: len(trace.iterations) - len(solutions),
    }
    return replace(final, metrics=dict(metrics), details={**final.details, ITERATIONS: _told(trace, found)})


async def _score_of(
    benchmark: AnyBenchmark, task: Task, trial: int, transcript: Transcript, tools: ScoringTools
) -> Score | Failure:
    """An intermediate that cannot be scored, whatever it does to the scorer, leaves the answer its score."""
    if not transcript.answer.strip():
        return Failure(Outcome.AGENT_ERROR, "empty", "no solution yet")
    try:
        return await benchmark.score(task, trial, transcript, tools)
    except Failure as failure:
        unscored = failure
    except SandboxError as error:
        unscored = Failure(Outcome.INFRA_ERROR, SANDBOX, str(error))
    except Exception:  # the boundary: else a trace could make a wrong answer an unscored one
        log.exception("intermediate_defect", task=task.id, trial=trial)
        unscored = Failure(Outcome.INFRA_ERROR, SCORER, "a defect of the evaluator in scoring")
    log.info("intermediate_unscored", task=task.id, trial=trial, kind=unscored.kind)
    return unscored


def _trace(transcript: Transcript) -> Trace | None:
    """The trace of the one reply; a conversation of several has no single answer to trace."""
    replies = [turn.reply for turn in transcript.turns if turn.reply is not None]
    return replies[0].trace if len(replies) == 1 else None


def _with_answer(transcript: Transcript, text: str) -> Transcript:
    turns = [
        turn if turn.reply is None else turn.model_copy(update={"reply": turn.reply.model_copy(update={"text": text})})
        for turn in transcript.turns
    ]
    return transcript.model_copy(update={"turns": tuple(turns)})


def _passed(one: Score | Failure) -> bool | None:
    """None where it cannot be known; a fault of the agent is a wrong solution."""
    if isinstance(one, Score):
        return one.passed
    return False if one.outcome is Outcome.AGENT_ERROR else None


def _feedback(one: Score | Failure) -> str:
    return one.explanation if isinstance(one, Score) else f"{one.kind}: {one.message}"


def _told(trace: Trace, found: Sequence[Score | Failure]) -> list[JsonValue]:
    """What each iteration came to. `score` and `passed` are null where the solution could not be scored."""
    return [
        {
            "iteration": number,
            "passed": _passed(one),
            "score": one.score if isinstance(one, Score) else None,
            "feedback": redact(_feedback(one))[:LONGEST_FEEDBACK],
            "scored_by": one.scored_by if isinstance(one, Score) else "",
            "was_refined": number > 0 and step.solution is not None,
            "carried": step.solution is None,
            "skipped": step.skipped,
            "verdict": step.verdict,
            "usage": {role: used.model_dump(mode="json") for role, used in step.usage.items()},
        }
        for number, (step, one) in enumerate(zip(trace.iterations, found, strict=False))
    ]
