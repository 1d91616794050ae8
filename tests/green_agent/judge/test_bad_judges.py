"""A judge that misbehaves ends in a verdict after repair or in a named judge_error, never in a guess."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from services.contract.judgements import Judgement
from services.contract.outcomes import Failure, Outcome
from services.green_agent.judge.asking import Scale
from services.green_agent.judge.panel import JudgeUnavailableError, open_judge
from services.green_agent.judge.settings import JudgeSettings
from services.inference.reference_engine.app import Settings
from tests.green_agent.judge.bench import (
    TRIAL,
    Says,
    case,
    completion,
    ids_in,
    inside,
    is_probe,
    judge,
    met,
    opened,
    outside,
    prompt_of,
    questions,
    served,
)
from tests.support.engine import running_engine
from tests.support.raw_http import Seen, raw_server, response

CRITERIA = [f"criterion number {n}" for n in range(1, 5)]
OVERFLOW = response(
    {
        "error": {
            "message": "This model's maximum context length is 8192 tokens. However, your request has 9000 input tokens. "
            "Please reduce the length of the input messages."
        }
    },
    status=400,
)


def scripted(*replies: str | bytes | None) -> Says:
    """Says these in turn, the last one again and again."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


async def test_prose_is_repaired_with_its_fault_named() -> None:
    async with judge(scripted("All of them are met!", met("c01", of=["c01", "c02", "c03", "c04"]))) as (
        asked,
        record,
        server,
    ):
        verdict = await asked.criteria(case(), CRITERIA)

    first, second = questions(server)
    assert verdict.met == (True, False, False, False)
    assert [(made.form, made.kind, made.attempt) for made in record] == [("full", "not_json", 0), ("repair", "", 1)]
    assert "expected one complete JSON object" in outside(second)
    assert "All of them are met!" in inside(second, "previous")
    assert inside(second, "answer") == inside(first, "answer")


async def test_after_the_repair_half_of_the_batch_is_asked_at_a_time_with_criteria_and_answer() -> None:
    def says(prompt: str) -> str:
        ids = ids_in(prompt)
        return json.dumps({"met": ids[:1], "not_met": ids[1:]}) if '"not_met"' in outside(prompt) else '{"criteria": ['

    async with judge(says) as (asked, record, server):
        verdict = await asked.criteria(case("It is 42."), CRITERIA)

    assert verdict.met == (True, False, True, False)
    assert [(made.form, made.purpose, made.kind) for made in record] == [
        ("full", "criteria 1-4", "not_json"),
        ("repair", "criteria 1-4", "not_json"),
        ("simplified", "criteria 1-2", ""),
        ("simplified", "criteria 3-4", ""),
    ]
    third, fourth = questions(server)[2:]
    assert inside(third, "answer") == inside(fourth, "answer") == "It is 42."
    assert "c03: criterion number 3" in outside(fourth)
    assert "c01: criterion number 1" not in outside(fourth)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("The answer is excellent.", "not_json"),
        (completion('{"criteria": [{"id": "c01", "met": tr', finish="length"), "truncated"),
        ('{"met": ["c01"], "not_met": []}', "wrong_ids"),
        ('{"criteria": [{"id": "c01", "met": true}]}', "wrong_shape"),
        (response({"error": {"message": "slow down"}}, status=429), "rate_limited"),
        (response({"error": {"message": "boom"}}, status=503), "server"),
        (response({"error": {"message": "bad key"}}, status=401), "auth"),
        (response({"error": {"message": "pay first"}}, status=402), "payment"),
        (OVERFLOW, "context_overflow"),
        (None, "engine_stalled"),
    ],
)
async def test_a_judge_that_stays_bad_ends_in_its_kind(reply: str | bytes | None, kind: str) -> None:
    async with judge(scripted(reply), timeout_seconds=0.4) as (asked, record, _):
        with pytest.raises(Failure) as caught:
            await asked.criteria(case(), CRITERIA)

    assert (caught.value.outcome, caught.value.kind) == (Outcome.JUDGE_ERROR, kind)
    assert record[-1].kind == kind
    assert all(not made.verdicts for made in record)


async def test_scores_out_of_range_are_never_clipped() -> None:
    said = json.dumps({"scores": {"completion": 99}, "reasons": {"completion": ""}})
    async with judge(scripted(said)) as (asked, record, _):
        with pytest.raises(Failure) as caught:
            await asked.scales(case(), [Scale(name="completion", lowest=0, highest=25, anchors="")])

    assert caught.value.kind == "out_of_range"
    assert [made.form for made in record] == ["full", "repair", "simplified"]


async def test_a_server_that_recovers_within_the_deadline_costs_nothing() -> None:
    busy = response({"error": {"message": "slow down"}}, status=429)
    async with judge(scripted(busy, met(of=["c01", "c02", "c03", "c04"]))) as (asked, record, _):
        verdict = await asked.criteria(case(), CRITERIA)

    assert verdict.met == (False, False, False, False)
    assert [made.kind for made in record] == [""]


async def test_an_overflow_lowers_the_context_to_the_figure_of_the_engine_and_asks_once_more() -> None:
    long = "word " * 12_000
    async with judge(scripted(OVERFLOW, met(of=["c01", "c02", "c03", "c04"]))) as (asked, record, server):
        await asked.criteria(case(long), CRITERIA)

    first, second = questions(server)
    assert len(first) > 60_000
    assert len(second) < 8192 * 3
    assert [made.kind for made in record] == ["context_overflow", ""]
    [cut] = record[1].cuts
    assert (cut.field, cut.original_chars) == ("answer", 60_000)


async def test_the_prompt_of_the_specification_is_cut_before_the_engine_refuses_it() -> None:
    """32,180 tokens of prompt in a context of 32,768 with 800 tokens of output."""
    criteria = [*CRITERIA, "criterion number 5"]
    with running_engine(settings=Settings(max_model_len=32_768)) as engine:
        async with opened(engine.url, model="reference", max_tokens=800) as panel:
            probe: list[Judgement] = []
            await panel.for_trial(TRIAL, probe).criteria(case("42", references=("42",)), criteria)
            filler = "lorem ip" * ((32_180 - (probe[0].input_tokens or 0)) // 2)
            record: list[Judgement] = []
            await panel.for_trial(TRIAL, record).criteria(case("42" + filler, references=("42",)), criteria)

    [made] = record
    assert made.kind == ""
    assert [cut.field for cut in made.cuts] == ["answer"]
    assert made.input_tokens is not None
    assert 29_000 < made.input_tokens <= 32_768 - 800 - 1_638 - 256


async def test_a_context_that_was_configured_too_large_is_lowered_by_a_real_engine() -> None:
    record: list[Judgement] = []
    with running_engine(settings=Settings(max_model_len=8_192)) as engine:
        async with opened(engine.url, model="reference", context_window=65_536) as panel:
            answer = "42 " + "word " * 20_000
            verdict = await panel.for_trial(TRIAL, record).correct(case(answer, references=("42",)))
            told = panel.description()

    assert verdict.correct
    assert [made.kind for made in record] == ["context_overflow", ""]
    assert record[1].input_tokens is not None
    assert record[1].input_tokens < 8_192
    assert told["members"][0]["context"] == 8_192  # type: ignore[index,call-overload]


async def test_a_judge_of_several_servers_goes_on_while_one_of_them_is_lost() -> None:
    with running_engine() as engine:
        env = {"OPENAI_EVAL_API_BASE": f"http://127.0.0.1:9/v1,{engine.url}", "EVAL_LLM_MODEL": "reference"}
        panel = await open_judge(JudgeSettings(timeout_seconds=20, cache=False), env=env, folder=Path("-"))
        record: list[Judgement] = []
        try:
            for trial in range(8):
                asked = case(f"It is {trial}.", references=("42",))
                await panel.for_trial(replace(TRIAL, trial=trial), record).correct(asked)
            told = panel.description()
        finally:
            await panel.aclose()

    assert [made.kind for made in record] == [""] * 8
    assert told["members"][0]["context"] == 32_768  # type: ignore[index,call-overload]
    assert told["members"][0]["context_source"] == "reported"  # type: ignore[index,call-overload]


async def test_criteria_are_asked_in_smaller_batches_before_a_text_is_cut() -> None:
    long = "word " * 1_000
    criteria = [f"criterion number {n}: " + "detail " * 60 for n in range(1, 11)]
    async with judge(lambda prompt: met(of=ids_in(prompt)), context_window=6_144) as (asked, record, _):
        await asked.criteria(case(long), criteria)

    assert [made.purpose for made in record] == ["criteria 1-5", "criteria 6-10"]
    assert all(made.cuts == () for made in record)


async def test_a_question_that_alone_fills_the_context_is_unscored() -> None:
    async with judge(lambda prompt: met(of=ids_in(prompt)), context_window=2_048) as (asked, record, server):
        with pytest.raises(Failure) as caught:
            await asked.criteria(case(question="why " * 5_000), CRITERIA[:1])

    assert caught.value.kind == "context_overflow"
    assert [made.kind for made in record] == ["context_overflow"]
    assert questions(server) == []


async def test_a_refused_schema_is_followed_by_json_mode_and_by_words_alone() -> None:
    formats = []

    async with judge(lambda prompt: met(of=ids_in(prompt))) as (asked, _, server):
        await asked.criteria(case(), CRITERIA)
        formats.append(server.seen[-1].body["response_format"]["type"])
    assert formats == ["json_schema"]

    left = [response({"error": {"message": "response_format not possible"}}, status=400)] * 2
    async with judge(lambda prompt: left.pop() if left else met(of=ids_in(prompt))) as (asked, record, server):
        await asked.criteria(case(), CRITERIA)
        sent = [seen.body.get("response_format", {}).get("type") for seen in server.seen[1:]]

    assert sent == ["json_schema", "json_object", None]
    assert [made.kind for made in record] == ["bad_request", "bad_request", ""]


async def test_without_a_usable_judge_opening_it_fails_and_says_why() -> None:
    with running_engine("401") as engine, pytest.raises(JudgeUnavailableError, match="auth"):
        async with opened(engine.url, model="reference"):
            pass
    with running_engine() as engine, pytest.raises(JudgeUnavailableError, match="model_missing"):
        async with opened(engine.url, model="another"):
            pass


async def test_a_judge_that_is_only_busy_at_the_start_is_asked_all_the_same() -> None:
    with running_engine("503:match=Reply with the JSON object {") as engine:
        async with opened(engine.url, model="reference", timeout_seconds=0.4) as panel:
            verdict = await panel.for_trial(TRIAL, []).correct(case("42", references=("42",)))

    assert verdict.correct


async def test_a_server_that_never_answers_anything_ends_every_question_in_time() -> None:
    paths = ("/v1/chat/completions", "/v1/models", "/tokenize")
    async with raw_server([None], paths=paths) as server, opened(server.url, timeout_seconds=0.2) as panel:
        judges = [panel.for_trial(TRIAL, []) for _ in range(20)]
        found = await asyncio.gather(*(one.correct(case()) for one in judges), return_exceptions=True)

    assert {type(one) for one in found} == {Failure}
    assert {one.kind for one in found if isinstance(one, Failure)} <= {"engine_stalled", "deadline"}


async def test_evidence_that_is_not_in_the_answer_is_counted_and_spacing_does_not_matter() -> None:
    def says(_: str) -> str:
        quotes = {"c01": "margins rose  by\n3 %", "c02": "margins fell", "c03": "", "c04": "by 3 %"}
        items = [{"id": name, "met": True, "evidence": quote, "reason": ""} for name, quote in quotes.items()]
        return json.dumps({"criteria": items, "injection_suspected": True})

    async with judge(says) as (asked, record, _):
        verdict = await asked.criteria(case("The margins rose by 3 % in 2023."), CRITERIA)

    assert record[0].evidence_missing == 1
    assert verdict.injection_suspected


async def test_half_an_escaped_pair_in_a_reason_costs_no_verdict(tmp_path: Path) -> None:
    said = r'{"correct": true, "reason": "up \ud83d"}'
    async with served(lambda _: said) as server, opened(server.url, folder=tmp_path) as panel:
        verdict = await panel.for_trial(TRIAL, []).correct(case())

    assert (verdict.correct, verdict.reason) == (True, "up ?")


async def test_a_tokenizer_that_hangs_does_not_take_the_time_of_the_model() -> None:
    def reply(seen: Seen) -> bytes | None:
        if seen.path == "/tokenize":
            return None
        prompt = prompt_of(seen)
        return completion('{"ok": true}' if is_probe(prompt) else met(of=ids_in(prompt)))

    paths = ("/v1/chat/completions", "/tokenize")
    async with raw_server(reply, paths=paths) as server:
        async with opened(server.url, context_window=4_096, timeout_seconds=1) as panel:
            for _ in range(2):
                verdict = await panel.for_trial(TRIAL, []).criteria(case("word " * 4_000), CRITERIA)
                assert verdict.met == (False,) * 4
        counted = [seen.path for seen in server.seen].count("/tokenize")

    assert counted == 1


async def test_a_question_that_is_refused_for_its_words_does_not_change_how_others_are_asked() -> None:
    refusal = response({"error": {"message": "the prompt was filtered", "code": "content_filter"}}, status=400)
    async with judge(lambda prompt: refusal if "forbidden" in prompt else met(of=ids_in(prompt))) as (asked, _, server):
        with pytest.raises(Failure, match="bad_request"):
            await asked.criteria(case("forbidden"), CRITERIA)
        await asked.criteria(case("allowed"), CRITERIA)
        sent = [seen.body.get("response_format", {}).get("type") for seen in server.seen[1:]]

    assert sent == ["json_schema", "json_object", None, "json_schema"]
