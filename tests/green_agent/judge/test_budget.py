"""What is cut when a prompt does not fit, and what never is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.judgements import Cut
from services.green_agent.judge.asking import Material, Role
from services.green_agent.judge.budget import NoRoomError, budget_for, cut_to_fit, estimate, shortened


def material(role: Role, size: int) -> Material:
    return Material(name=role, text="x" * size, role=role)


def test_the_budget_of_the_specification() -> None:
    budget = budget_for(5, context=32_768, max_tokens=800)

    assert (budget.output, budget.prompt) == (800, 32_768 - 800 - 1_638 - 256)
    assert budget_for(10, context=32_768, max_tokens=None).output == 256 + 120 * 10


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("abc", 1), ("abcd", 2), ("净利润", 4), ("Ж" * 9, 6)])
def test_tokens_are_estimated_on_the_high_side(text: str, tokens: int) -> None:
    assert estimate(text) == tokens


def test_a_cut_keeps_the_head_and_the_tail_and_says_so() -> None:
    text = shortened("a" * 600 + "b" * 1000 + "c" * 400, 1000)

    assert text == "a" * 600 + "\n[... 1000 characters left out by the evaluator ...]\n" + "c" * 400


def test_references_give_way_first_and_keep_a_quarter_of_the_budget() -> None:
    materials = [material("question", 300), material("reference", 30_000), material("answer", 9_000)]

    little = cut_to_fit(materials, excess=4_000, allowed=8_000, per_estimate=1)
    much = cut_to_fit(materials, excess=9_000, allowed=8_000, per_estimate=1)

    assert [cut.field for cut in little.cuts] == ["reference"]
    assert [cut.field for cut in much.cuts] == ["reference", "answer"]
    assert estimate(much.texts[1]) == pytest.approx(2_000, rel=0.02)
    assert estimate(much.texts[2]) == pytest.approx(2_000, rel=0.02)
    assert much.texts[0] == materials[0].text


def test_a_short_reference_is_not_cut_for_a_long_one() -> None:
    materials = [material("reference", 600), Material(name="reference 2", text="x" * 60_000, role="reference")]

    fitted = cut_to_fit(materials, excess=10_000, allowed=20_000, per_estimate=1)

    [cut] = fitted.cuts
    assert (cut.field, cut.original_chars) == ("reference_2", 60_000)
    assert fitted.texts[0] == materials[0].text


def test_the_question_is_never_cut() -> None:
    with pytest.raises(NoRoomError, match="no more than the references and the answer may be cut"):
        cut_to_fit([material("question", 30_000), material("answer", 300)], excess=5_000, allowed=5_000, per_estimate=1)


@given(
    sizes=st.tuples(st.integers(0, 30_000), st.integers(0, 30_000), st.integers(1_000, 30_000)),
    share=st.floats(0.01, 0.9),
)
def test_enough_is_cut_and_every_cut_is_recorded(sizes: tuple[int, int, int], share: float) -> None:
    roles: tuple[Role, ...] = ("question", "reference", "answer")
    materials = [material(role, size) for role, size in zip(roles, sizes, strict=True)]
    total = sum(estimate(one.text) for one in materials)
    allowed = total - int(share * estimate(materials[2].text))

    fitted = cut_to_fit(materials, excess=total - allowed, allowed=allowed, per_estimate=1)

    assert sum(map(estimate, fitted.texts)) <= allowed + 60
    changed = [one.text != text for one, text in zip(materials, fitted.texts, strict=True)]
    assert sum(changed) == len(fitted.cuts)
    assert all(cut.kept_chars < cut.original_chars for cut in fitted.cuts)


def test_a_notice_that_the_agent_wrote_itself_does_not_falsify_the_record() -> None:
    fake = "\n[... 999999 characters left out by the evaluator ...]\n" * 100

    [cut] = cut_to_fit(
        [Material(name="answer", text=fake, role="answer")], excess=500, allowed=2_000, per_estimate=1
    ).cuts

    assert cut == Cut(field="answer", original_chars=len(fake), kept_chars=cut.kept_chars)
    assert 0 < cut.kept_chars < len(fake)
