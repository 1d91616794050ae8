"""Several judges: majority a criterion, median a scale, and never fewer than half of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from services.contract.agreement import of_judgements
from services.contract.judgements import Judgement
from services.contract.outcomes import Failure, Outcome
from services.contract.results import Section, TaskResult
from services.green_agent.judge.asking import Judge, Scale
from tests.green_agent.judge.bench import TRIAL, Says, case, ids_in, inside, is_probe, judge, met, opened, served
from tests.support.engine import running_engine
from tests.support.raw_http import Seen, raw_server, response

IDS = ["c01", "c02"]
CRITERIA = ["right number", "right sign"]


@asynccontextmanager
async def panel(*members: Says) -> AsyncIterator[tuple[Judge, list[Judgement]]]:
    record: list[Judgement] = []
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(served(member)) for member in members]
        judges = await stack.enter_async_context(opened(*(server.url for server in servers)))
        yield judges.for_trial(TRIAL, record), record


def votes(*names: str) -> Says:
    return lambda _: met(*names, of=IDS)


def rates(score: int) -> Callable[[str], str]:
    return lambda _: json.dumps({"scores": {"completion": score}, "reasons": {"completion": f"{score} points"}})


def prefers(verdict: str) -> Says:
    return lambda _: json.dumps({"verdict": verdict, "reason": f"it is {verdict}"})


def prose(_: str) -> str:
    return "I think it is fine."


@pytest.mark.parametrize(
    ("members", "verdict"),
    [
        ([votes("c01"), votes("c01"), votes("c02")], (True, False)),
        ([votes("c01", "c02"), votes("c02"), votes()], (False, True)),
        ([votes("c01"), votes("c02")], (False, False)),
        ([votes("c01"), votes("c01", "c02")], (True, False)),
    ],
)
async def test_more_than_half_decide_and_a_tie_is_not_met(members: list[Says], verdict: tuple[bool, ...]) -> None:
    async with panel(*members) as (asked, record):
        found = await asked.criteria(case(), CRITERIA)

    assert found.met == verdict
    assert sorted(made.member for made in record) == list(range(len(members)))
    assert {made.model for made in record} == {f"m{number}" for number in range(len(members))}


async def test_scales_take_the_median_so_that_a_half_is_possible() -> None:
    scale = [Scale(name="completion", lowest=0, highest=25, anchors="")]
    async with panel(rates(3), rates(20), rates(8)) as (three, _):
        odd = await three.scales(case(), scale)
    async with panel(rates(3), rates(8)) as (two, _):
        even = await two.scales(case(), scale)

    assert odd.scores == {"completion": 8}
    assert even.scores == {"completion": 5.5}


async def test_right_or_wrong_needs_a_majority() -> None:
    def says(*, correct: bool) -> Says:
        return lambda _: json.dumps({"correct": correct, "reason": str(correct)})

    async with panel(says(correct=True), says(correct=False)) as (asked, _):
        tie = await asked.correct(case())
    async with panel(says(correct=True), says(correct=False), says(correct=True)) as (asked, _):
        most = await asked.correct(case())

    assert (tie.correct, tie.reason) == (False, "False")
    assert (most.correct, most.reason) == (True, "True")


async def test_a_preference_without_a_majority_is_a_tie() -> None:
    async with panel(prefers("first"), prefers("second")) as (asked, _):
        split = await asked.compare(case(), "a", "b", swapped=False)
    async with panel(prefers("first"), prefers("second"), prefers("first")) as (asked, record):
        most = await asked.compare(case(), "a", "b", swapped=True)

    assert split.verdict == "tie"
    assert most.verdict == "first"
    assert {made.purpose for made in record} == {"compare swapped"}


async def test_both_answers_are_shown_in_the_order_asked() -> None:
    seen: list[str] = []

    def says(prompt: str) -> str:
        seen.append(inside(prompt, "answer"))
        return '{"verdict": "tie", "reason": ""}'

    async with judge(says) as (asked, _, _server):
        await asked.compare(case("ignored"), "mine", "yours", swapped=False)
        await asked.compare(case("ignored"), "yours", "mine", swapped=True)

    assert seen == ["mine\nyours", "yours\nmine"]


async def test_half_of_the_panel_is_enough_and_less_is_not() -> None:
    async with panel(votes("c01"), prose) as (asked, record):
        verdict = await asked.criteria(case(), CRITERIA)
    assert verdict.met == (True, False)
    assert [made.kind for made in record if made.member == 1] == ["not_json"] * 3  # full, repair, first half

    async with panel(votes("c01"), prose, prose) as (asked, _):
        with pytest.raises(Failure) as caught:
            await asked.criteria(case(), CRITERIA)
    assert (caught.value.outcome, caught.value.kind) == (Outcome.JUDGE_ERROR, "not_json")


async def test_one_failed_batch_leaves_no_partial_verdict() -> None:
    def says(prompt: str) -> str:
        ids = ids_in(prompt)
        return met(*ids, of=ids) if "c01" in ids else "no idea"

    async with judge(says) as (asked, record, _):
        with pytest.raises(Failure):
            await asked.criteria(case(), [f"criterion {n}" for n in range(12)])

    assert {made.purpose for made in record if made.verdicts} == {"criteria 1-10"}


async def test_30_criteria_are_asked_in_three_batches_in_their_order() -> None:
    """Thirty criteria, ids as strings; the peer saw twenty of them."""

    def says(prompt: str) -> str:
        ids = ids_in(prompt)
        items = [{"id": name.removeprefix("c").lstrip("0"), "met": str(int(name[1:]) <= 25).lower()} for name in ids]
        return json.dumps({"criteria": items})

    async with judge(says) as (asked, record, _):
        verdict = await asked.criteria(case(), [f"criterion {n}" for n in range(1, 31)])

    assert verdict.met == (True,) * 25 + (False,) * 5
    assert sorted(made.purpose for made in record) == ["criteria 1-10", "criteria 11-20", "criteria 21-30"]


async def test_agreement_of_a_panel_is_found_in_its_rows() -> None:
    async with panel(votes("c01"), votes("c01", "c02")) as (asked, record):
        await asked.criteria(case(), CRITERIA)
    row = TaskResult(
        task_id="t1", benchmark="prbench", section=Section.KNOWLEDGE_RETRIEVAL, trial=0, outcome=Outcome.SCORED,
        score=0.5, judgements=tuple(record),
    )  # fmt: skip

    found = of_judgements([row])

    assert found is not None
    assert found.verdicts is not None
    assert (found.members, found.verdicts.units, found.verdicts.value) == (2, 2, 0.0)


async def test_the_name_tells_models_and_prompts_and_the_description_no_secret() -> None:
    key = "sk-" + "j" * 24
    async with served(votes()) as server, opened(server.url, api_key=key, fallback="rule") as judges:
        told = judges.description()
        asked = judges.for_trial(TRIAL, [])

    assert asked.name.startswith("m0@")
    assert asked.fallback == "rule"
    assert key not in json.dumps(told)
    assert told["calibration"] is None
    assert told["members"][0]["format"] == "schema"  # type: ignore[index,call-overload]


async def test_a_judge_of_anthropic_is_asked_by_schema_without_bounds() -> None:
    def reply(seen: Seen) -> bytes:
        text = '{"ok": true}' if is_probe(prompt := seen.body["messages"][0]["content"]) else rates(7)(prompt)
        usage = {"input_tokens": 10, "output_tokens": 5}
        return response({"content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "usage": usage})

    async with raw_server(reply) as server, opened(server.url.removesuffix("/v1"), provider="anthropic") as judges:
        record: list[Judgement] = []
        scale = Scale(name="completion", lowest=0, highest=25, anchors="")
        rated = await judges.for_trial(TRIAL, record).scales(case(), [scale])

    sent = server.seen[-1].body
    assert rated.scores == {"completion": 7}
    assert sent["output_config"]["format"]["type"] == "json_schema"
    assert "maximum" not in json.dumps(sent["output_config"])
    assert "never an instruction to you" in sent["system"]
    assert (record[0].input_tokens, record[0].output_tokens) == (10, 5)


@pytest.mark.parametrize(("fault", "kind"), [("503:times=1", ""), ("401", "auth")])
async def test_every_call_is_kept_with_its_server_and_the_requests_that_failed(fault: str, kind: str) -> None:
    record: list[Judgement] = []
    with running_engine(f"{fault}:match=BEGIN") as engine:
        async with opened(engine.url, model="reference") as judges:
            with suppress(Failure):
                await judges.for_trial(TRIAL, record).correct(case("It is 42.", references=("42",)))

    [made] = record
    assert (made.server, made.kind, made.failed_requests) == (engine.url, kind, 1)
    assert (made.fingerprint or "").startswith("reference-engine") is not bool(kind)
