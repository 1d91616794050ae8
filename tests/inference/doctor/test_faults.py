"""Each kind of fault of the reference engine, and the checks that tell."""

from __future__ import annotations

import pytest

from services.inference.doctor.examination import CHECKS, exit_code
from services.inference.failures import ExitCode
from services.inference.reference_engine.app import Settings
from services.inference.reference_engine.faults import Kind
from tests.inference.doctor.examining import engine, finding, ids, one

GENERATING = {check.id for check in CHECKS if check.generates}
TOOLS = {"D05", "D06", "D07", "D08"}

FAULTS: dict[str, set[str]] = {
    "500": {"D03"},
    "503": {"D03"},
    "402": {"D03"},
    "401": {"D03"},
    "refuse": {*TOOLS, "D10"},
    "hang": {"D03"},
    "hang:match=ping ping": {"D13"},
    "truncated": {"D03"},
    "truncated:match=stream": {"D04", "D06", "D08"},
    "malformed-tool-call": TOOLS,
    "tool-as-text": TOOLS,
    "think-in-content": {"D10", "D11"},
    "empty-content": {"D10", "D11"},
    "overflow": {"D03"},
    "500:match=ping ping": {"D13"},
    "wrong-usage": {"D14"},
    "no-done": {"D04"},
}
"""Fault and the checks that fail by it."""


async def test_the_reference_engine_passes_every_check() -> None:
    async with engine() as url:
        found = await one(url)

    assert {check.id: "pass" for check in CHECKS} == {seen.id: seen.verdict for seen in found.findings}
    assert (found.model, found.reachable, exit_code([found])) == ("reference", True, ExitCode.DONE)
    assert found.facts["engine"] == "reference"
    assert found.facts["equal_alone"] == found.facts["equal_in_batch"] == "100 %"
    assert len(found.facts["template_digest"]) == 64


@pytest.mark.parametrize(("fault", "expected"), FAULTS.items())
async def test_a_fault_makes_its_checks_fail_and_no_other(fault: str, expected: set[str]) -> None:
    async with engine(fault) as url:
        found = await one(url, deadline_s=1.0)

    assert ids(found, "fail") == expected
    assert all(seen.cure for seen in found.findings if seen.verdict in {"fail", "warn"})
    assert exit_code([found]) is ExitCode.FAILED
    if "D03" in expected:
        assert ids(found, "skip") == GENERATING


async def test_a_server_that_is_busy_for_the_moment_is_not_unfit() -> None:
    async with engine("429") as url:
        found = await one(url)

    assert (ids(found, "fail"), ids(found, "warn") >= GENERATING) == (set(), True)
    assert "later" in finding(found, "D03").cure


async def test_an_answer_that_is_cut_off_says_nothing_about_the_parser() -> None:
    async with engine("cut:match=get_quote") as url:
        found = await one(url)

    assert (ids(found, "fail"), ids(found, "warn")) == (set(), TOOLS)
    assert "more tokens" in finding(found, "D07").cure


def test_every_kind_of_fault_has_a_row() -> None:
    told = {fault.partition(":")[0] for fault in FAULTS} | {"429", "cut"}

    assert set(map(str, Kind)) - told == {"slow-stream"}  # slow is not wrong


async def test_a_context_shorter_than_needed_fails_with_the_flag_of_the_engine() -> None:
    async with engine(settings=Settings(max_model_len=2048)) as url:
        found = await one(url, max_model_len=4096)

    assert ids(found, "fail") == {"D02"}
    assert "--max-model-len 4096" in finding(found, "D02").cure


async def test_a_small_context_passes_every_check() -> None:
    async with engine(settings=Settings(max_model_len=512)) as url:
        assert ids(await one(url), "pass") == {check.id for check in CHECKS}
