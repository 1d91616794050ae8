"""The audit of a question file's keys, rule by rule and on the peer's file."""

import pytest
from pydantic import JsonValue

from services.green_agent.benchmarks.synthetic.audit import audit
from services.green_agent.benchmarks.synthetic.item import FileItem
from services.green_agent.data.questions import read_questions
from tests.green_agent.benchmarks.synthetic.file_items import item, rubric
from tests.support.peer_files import SYNTHETIC, needs_peer_files


def rules(**changes: JsonValue) -> set[str]:
    return {finding.rule for finding in audit(item(**changes))}


@needs_peer_files
def test_exactly_eight_items_of_the_peers_file_are_flagged_with_exactly_these_rules() -> None:
    items = read_questions(SYNTHETIC, FileItem).items

    flagged = {
        read.item.question_id: " ".join(dict.fromkeys(finding.rule for finding in found))
        for read in items
        if (found := audit(read.item))
    }

    assert len(items) == 20
    assert flagged == {
        "SYN_LOGIC_0009": "A1 A2 A4",
        "SYN_LOGIC_0010": "A1",
        "SYN_LOGIC_0013": "A1 A2 A4",
        "SYN_LOGIC_0014": "A5",
        "SYN_LOGIC_0016": "A3 A4",
        "SYN_LOGIC_0021": "A2",
        "SYN_LOGIC_0023": "A1 A2 A4",
        "SYN_LOGIC_0025": "A1 A4",
    }


def test_a_sound_item_is_not_flagged() -> None:
    assert rules() == set()


@pytest.mark.parametrize(
    "sign",
    [
        "But wait - no",
        "Hmm",
        "Actually, no",
        "Let me RECALCULATE",
        "recheck",
        "Re-interpret it",
        "Contradiction",
        "we reconsider",
        "this is impossible",
        "that is wrong",
        "expected answer around 20",
        "or 25 if scaling differently",
    ],
)
def test_a1_a_step_that_voices_doubt(sign: str) -> None:
    assert rules(calculation_steps=[sign, "1.2 - 1 = 20%"]) == {"A1"}


def test_a1_is_not_raised_by_words_that_only_look_alike() -> None:
    assert rules(calculation_steps=["Actual forward: 1.12", "1.2 - 1 = 20%"]) == set()


@pytest.mark.parametrize(
    ("last", "found"),
    [("r = 20.09%", set()), ("r = 20.11%", {"A2"}), ("r = 0.2", set()), ("no figure here", set()), ("r = 25%", {"A2"})],
)
def test_a2_the_last_step_must_give_the_key_within_half_a_per_cent(last: str, found: set[str]) -> None:
    assert rules(calculation_steps=["a step", last]) == found


def test_a3_an_equality_that_does_not_hold() -> None:
    assert rules(calculation_steps=["60 / 50 = 1.3", "r = 20%"]) == {"A3"}


@pytest.mark.parametrize("value", ["~20%", "about 20%", "20% or 25%", "11-25%", "15%-25%", "$1K-$10K range", "≈ 20%"])
def test_a4_a_rubric_value_that_is_no_single_value(value: str) -> None:
    assert rules(rubric=rubric(value)) == {"A4"}


@pytest.mark.parametrize("value", ["20%", "0.20", "-20%", None, "TECHNOLOGY", "20 percent, for sure: 20%"])
def test_a4_is_not_raised_by_a_single_value(value: str | None) -> None:
    assert "A4" not in rules(rubric=rubric(value))


def test_a5_the_formatted_key_or_the_rubric_gives_another_value() -> None:
    assert rules(ground_truth_formatted="25%") == {"A5"}
    assert rules(rubric=rubric("25%")) == {"A5"}
    assert rules(
        ground_truth_value={"profit": 5, "loss": 5},
        ground_truth_formatted="Profit $5, loss $5",
        rubric=rubric("$6", name="loss"),
        calculation_steps=[],
    ) == {"A5"}


def test_a5_is_not_raised_by_rounding_or_by_values_of_other_things() -> None:
    assert (
        rules(ground_truth_value=0.5714, ground_truth_formatted="57%", calculation_steps=[], rubric=rubric("57%"))
        == set()
    )
    assert (
        rules(rubric=rubric("12", name="intermediate"), ground_truth_value={"a": 5}, ground_truth_formatted="5")
        == set()
    )
