"""What is read out of the words of a model about its own work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.purple_agent.strategies.reports import LONGEST_FINDINGS, findings_of, opinion_of


@pytest.mark.parametrize(
    ("reply", "opinion"),
    [
        ("yes", "yes"),
        ("No", "no"),
        ("no.", "no"),
        (" **Yes**\n", "yes"),
        ("`no`.", "no"),
        ('"yes."', "yes"),
        ("VERDICT: no", "no"),
        ("The proof has a gap in step 3.\n\n**VERDICT:** no", "no"),
        ("It holds; yes, all of it.\nVerdict: yes.", "yes"),
        ("yes and no", "undecided"),
        ("Yes, but the last step is wrong.", "undecided"),
        ("yes\nno", "undecided"),
        ("yes\nyes", "undecided"),
        ("not yes", "undecided"),
        ("yesterday", "undecided"),
        ("correct", "undecided"),
        ("", "undecided"),
        ("VERDICT: yes, mostly", "undecided"),
        ("VERDICT: yes|no", "undecided"),
        ("VERDICT: yes\nThough I am not sure.", "undecided"),
        ("VERDICT: yes\nVERDICT: no", "undecided"),
        ("VERDICT:", "undecided"),
        ("VERDICT: correct", "undecided"),
    ],
)
def test_an_opinion_is_one_word_or_a_last_line_with_one_and_nothing_else(reply: str, opinion: str) -> None:
    assert opinion_of(reply) == opinion


@given(before=st.text(), after=st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1))
def test_a_word_inside_a_sentence_never_decides(before: str, after: str) -> None:
    assert opinion_of(f"{before}yes{after}") == opinion_of(f"{before}no{after}") == "undecided"


@given(before=st.text().filter(lambda text: "verdict" not in text.lower()), word=st.sampled_from(["yes", "no"]))
def test_a_last_line_with_a_verdict_decides_whatever_stands_before_it(before: str, word: str) -> None:
    assert opinion_of(f"{before}\nVERDICT: {word}") == word


@pytest.mark.parametrize("heading", ["## Step by step", "**Step by step:**", "step by step", "### *Step by Step*"])
def test_findings_end_before_the_heading_of_the_details(heading: str) -> None:
    report = f"## Findings\nStep 2 divides by zero.\n\n{heading}\n1. fine\n2. not fine"

    assert findings_of(report) == "## Findings\nStep 2 divides by zero."


def test_a_sentence_about_steps_is_no_heading() -> None:
    assert findings_of("I went step by step.\nStep 2 is wrong.") == "I went step by step.\nStep 2 is wrong."


def test_a_report_that_begins_with_its_details_is_taken_from_there() -> None:
    assert findings_of("## Step by step\n1. wrong") == "## Step by step\n1. wrong"


@given(st.text(max_size=50), st.integers(0, 3 * LONGEST_FINDINGS))
def test_findings_without_details_are_the_beginning_of_the_report_and_bounded(start: str, length: int) -> None:
    report = start.strip() + "x" * length

    assert len(findings_of(report)) <= LONGEST_FINDINGS
    assert findings_of("x" * length) == "x" * min(length, LONGEST_FINDINGS)
