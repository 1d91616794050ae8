"""A trace is sent whole, shortened with a note, or not at all; it never costs the answer."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from services.contract.conversation import Iteration, Trace
from services.purple_agent.strategies.traces import bounded


def trace(*reports: str, solution: str = "s") -> Trace:
    steps = (
        Iteration(report=report, decision="no", verdict="no", solution=f"{solution}{n}")
        for n, report in enumerate(reports)
    )
    return Trace(strategy="self_eval_sequential", iterations=tuple(steps))


def weight(sent: Trace) -> int:
    return len(json.dumps(sent.model_dump_json(exclude_defaults=True)))


def test_a_trace_that_fits_is_sent_as_it_is() -> None:
    small = trace("one", "two")

    assert bounded(small, most_bytes=1_000) == small


def test_the_oldest_reports_are_left_out_first_and_a_note_says_so() -> None:
    sent = bounded(trace("a" * 5_000, "b" * 5_000, "c" * 5_000), most_bytes=7_000)

    assert sent is not None
    note = "[5002 characters left out: the trace would be too large]"
    assert [step.report for step in sent.iterations] == [note, note, "c" * 5_000]
    assert [step.verdict for step in sent.iterations] == ["no", "no", "no"]
    assert sent.solutions == ("s0", "s1", "s2")


def test_without_room_for_its_solutions_no_trace_is_sent() -> None:
    assert bounded(trace("short", solution="x" * 10_000), most_bytes=5_000) is None


@given(st.lists(st.text(max_size=400), max_size=8), st.integers(200, 3_000))
def test_what_is_sent_fits_and_keeps_every_solution(reports: list[str], most: int) -> None:
    whole = trace(*reports)

    sent = bounded(whole, most_bytes=most)

    assert sent is None or (weight(sent) <= most and sent.solutions == whole.solutions)
