"""A judge with faults in one of five requests: every verdict is right or a named judge_error, none is wrong."""

from __future__ import annotations

import asyncio
from collections import Counter

from services.contract.judgements import Judgement
from services.contract.outcomes import Failure, Outcome
from tests.green_agent.judge.bench import TRIAL, case, opened
from tests.support.engine import running_engine

KINDS = ("cut", "think-in-content", "empty-content", "refuse", "truncated", "503", "429", "overflow", "401", "hang")
QUESTIONS = 150


async def test_with_a_fifth_of_the_requests_faulty_no_verdict_is_wrong() -> None:
    faults = [f"{kind}:rate={1 - (0.8 ** (1 / len(KINDS))):.6f}:match=BEGIN" for kind in KINDS]
    records: list[list[Judgement]] = [[] for _ in range(QUESTIONS)]
    with running_engine(*faults) as engine:
        async with opened(engine.url, model="reference", timeout_seconds=1.5, concurrency=50) as panel:

            async def ask(number: int) -> bool | Failure:
                answer = str(1000 + number) if number % 2 else "7"
                try:
                    asked = panel.for_trial(TRIAL, records[number])
                    return (await asked.correct(case(answer, references=(str(1000 + number),)))).correct
                except Failure as failure:
                    return failure

            found = await asyncio.gather(*map(ask, range(QUESTIONS)))

    verdicts = {number: said for number, said in enumerate(found) if isinstance(said, bool)}
    failures = [said for said in found if isinstance(said, Failure)]
    assert all(said is bool(number % 2) for number, said in verdicts.items())
    assert {failure.outcome for failure in failures} <= {Outcome.JUDGE_ERROR}
    assert all(failure.kind for failure in failures)
    assert len(verdicts) > QUESTIONS * 0.7
    seen = Counter(made.kind for record in records for made in record if made.kind)
    assert seen.total() > 0
    assert seen.keys() <= {
        "truncated", "refused", "empty_content", "server", "rate_limited", "context_overflow", "auth", "deadline",
        "engine_stalled", "not_json", "connection",
    }  # fmt: skip
