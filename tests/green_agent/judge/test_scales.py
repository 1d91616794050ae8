"""Scales with few values, reasons before the number, and further rounds of one question."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from services.contract.judgements import Judgement
from services.contract.outcomes import Failure
from services.green_agent.judge.asking import Scale
from services.green_agent.judge.budget import budget_for
from services.green_agent.judge.questions import Question, of_scales
from services.green_agent.judge.verdicts import InvalidVerdictError, read, schema_of
from tests.green_agent.judge.bench import TRIAL, case, judge, opened, outside, prompt_of, questions, served

LEVELS = Scale(name="points", lowest=0, highest=7, anchors="7 correct", permitted=(0, 1, 6, 7), reason_chars=1500)
PLAIN = Scale(name="points", lowest=0, highest=7, anchors="7 correct")


def of(scale: Scale) -> Question:
    return of_scales(case(), (scale,))


def points(value: object, reason: str = "so") -> str:
    return json.dumps({"reasons": {"points": reason}, "scores": {"points": value}, "injection_suspected": False})


@pytest.mark.parametrize("value", [0, 1, 6, 7, "6", 6.0])
def test_a_permitted_value_is_a_verdict(value: object) -> None:
    assert read(points(value), of(LEVELS), "full").values == {"points": int(float(str(value)))}


@pytest.mark.parametrize("value", [2, 5, 8, -1])
def test_another_value_is_out_of_range_and_the_fault_names_the_permitted_ones(value: int) -> None:
    with pytest.raises(InvalidVerdictError, match="points must be an integer, 0, 1, 6 or 7") as caught:
        read(points(value), of(LEVELS), "full")

    assert caught.value.kind == "out_of_range"


@pytest.mark.parametrize("permitted", [(7, 0), (0, 8), (1, 1)])
def test_values_that_could_never_be_given_are_refused(permitted: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected ascending values from 0 to 7"):
        Scale(name="points", lowest=0, highest=7, anchors="", permitted=permitted)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_the_schema_holds_the_permitted_values_and_wants_reasons_first(provider: str) -> None:
    schema = json.loads(
        json.dumps(schema_of(of(LEVELS), "full", provider="openai" if provider == "openai" else "anthropic"))
    )

    assert list(schema["properties"]) == ["reasons", "scores", "injection_suspected"]
    assert schema["$defs"]["Scores"]["properties"]["points"] == {"enum": [0, 1, 6, 7], "type": "integer"}


def test_the_schema_of_a_plain_scale_has_its_bounds_and_short_reasons_after_it() -> None:
    schema = json.loads(json.dumps(schema_of(of(PLAIN), "full", provider="openai")))

    assert list(schema["properties"]) == ["scores", "reasons", "injection_suspected"]
    assert schema["$defs"]["Scores"]["properties"]["points"] == {"minimum": 0, "maximum": 7, "type": "integer"}


async def test_the_prompt_shows_the_permitted_values_and_the_shape_with_reasons_first() -> None:
    async with judge(lambda _: points(6)) as (asked, _record, server):
        await asked.scales(case(), [LEVELS])

    said = outside(questions(server)[0])
    assert "points (0, 1, 6 or 7): 7 correct" in said
    assert "Write the reasons first" in said
    assert said.count("points 0, 1, 6 or 7.") == 1
    shape = re.findall(r"^\{.*\}$", said, re.MULTILINE)
    assert [list(json.loads(one)) for one in shape] == [["reasons", "scores", "injection_suspected"]] * 2
    assert json.loads(shape[0])["scores"] == {"points": "integer 0, 1, 6 or 7"}


def test_long_reasons_get_tokens_and_are_kept_to_their_length() -> None:
    kept = read(points(7, "x" * 9_000), of(LEVELS), "full").reasons["points"]

    assert len(kept) == 1500
    assert len(read(points(7, "x" * 9_000), of(PLAIN), "full").reasons["points"]) == 200
    assert budget_for(1, context=32_768, max_tokens=None, extra_chars=of(LEVELS).extra_chars).output == 376 + 650
    assert budget_for(1, context=32_768, max_tokens=None).output == 376


async def test_a_value_that_is_not_permitted_is_asked_for_again_with_the_fault_named() -> None:
    replies = [points(6), points(5), points(4)]
    async with judge(lambda _: replies.pop()) as (asked, record, server):
        verdict = await asked.scales(case(), [LEVELS])

    assert verdict.scores == {"points": 6}
    assert [(made.form, made.kind) for made in record] == [
        ("full", "out_of_range"), ("repair", "out_of_range"), ("simplified", ""),
    ]  # fmt: skip
    assert "Your last reply was not valid: points must be an integer, 0, 1, 6 or 7." in questions(server)[1]


async def test_after_two_more_tries_there_is_no_verdict() -> None:
    async with judge(lambda _: "POINTS: 7") as (asked, record, _server):
        with pytest.raises(Failure, match="expected one complete JSON object") as caught:
            await asked.scales(case(), [LEVELS])

    assert (caught.value.kind, len(record)) == ("not_json", 3)


async def test_a_further_round_has_a_verdict_and_a_seed_of_its_own_and_is_kept_too(tmp_path: Path) -> None:
    replies = [points(4), points(5), points(6)]
    record: list[Judgement] = []
    async with served(lambda _: replies.pop()) as server, opened(server.url, folder=tmp_path) as panel:
        asked = panel.for_trial(TRIAL, record)
        rounds = [replace(case(), round=number) for number in range(3)]
        first = [(await asked.scales(one, [PLAIN])).scores["points"] for one in rounds]
        again = [(await asked.scales(one, [PLAIN])).scores["points"] for one in rounds]
        seeds = [seen.body["seed"] for seen in server.seen if "BEGIN" in prompt_of(seen)]

    assert first == again == [6, 5, 4]
    assert len(seeds) == len(set(seeds)) == 3
    assert [made.purpose for made in record[:3]] == ["scales", "scales round 2", "scales round 3"]
    assert [made.cached for made in record] == [False] * 3 + [True] * 3
