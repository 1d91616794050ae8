"""Who decides whether two answers are equal, and what is decided: the vectors of the specification and their neighbours."""

from typing import Literal

import pytest

from services.contract.outcomes import Failure, Outcome
from services.green_agent.scoring.math.equivalence import LONGEST_ANSWER, LONGEST_FORMULA, Question, Ruling, decide
from tests.support.scripted_judge import ScriptedJudge

Expected = tuple[str, bool] | Literal["judge"]
EQUAL = ("math_verify", True)
DIFFERENT = ("math_verify", False)

VECTORS: list[tuple[str, str, Expected]] = [
    ("odd $n$", "even $n$", "judge"),
    ("even $n$", "$n$ even", "judge"),
    (r"n \text{ is prime}", "n", "judge"),
    ("2,3,4", "4", "judge"),
    ("2,3,4", "2,3", DIFFERENT),
    ("2,3,4", r"\{4,3,2\}", EQUAL),
    ("(0,1)", r"\{0,1\}", "judge"),
    ("(1,2)", "(2,1)", DIFFERENT),
    ("[0,1]", "(0,1)", "judge"),
    (r"(-\infty,1)", "x<1", "judge"),
    (r"x\ge 2", "x>2", "judge"),
    ("All powers of 2", "2^k", "judge"),
    (r"\frac{1}{2}", "0.5", EQUAL),
    (r"\sqrt{2}", "1.41421356", EQUAL),
    (r"\sqrt{2}", "1.414", DIFFERENT),
    ("0.333", r"\frac13", DIFFERENT),
    ("10^{100}", "10^{100}+1", DIFFERENT),
    ("1", r"1\%", "judge"),
    ("3", "3 cm", "judge"),
    ("3", "x=3", EQUAL),
    ("y=3", "x=3", "judge"),
    ("f(x)=2x", "g(x)=2x", "judge"),
    (r"\binom{n}{2}", r"\frac{n(n-1)}{2}", EQUAL),
    ("1,000", "1000", ("match", True)),
]
"""Specification 7, marked V: gold, answer, and who decides what."""

NEIGHBOURS: list[tuple[str, str, Expected]] = [
    # What the library alone calls equal: units, case, dots, empty intervals, small numbers, primes, bases, side by side.
    ("2-2m", "0", "judge"),
    ("R-2r", "-r", "judge"),
    (r"1,2,\ldots,1235", "1,2,1235", "judge"),
    ("(0,0)", "(1,1)", DIFFERENT),
    ("(5,3)", "(3,2)", DIFFERENT),
    (r"-\frac{2023}{2024^2}", "-0.000494", DIFFERENT),
    ("5", "5'", "judge"),
    ("5", "5_7", "judge"),
    ("5", "x=6=5", "judge"),
    ("5", "6=5", "judge"),
    ("5", r"5\approx 6", "judge"),
    ("5", r"5\pm 0", "judge"),
    ("4", "2 2", "judge"),
    ("5", r"2\frac{3}{1}", "judge"),
    (r"\infty", r"\infty+1", "judge"),
    ("pq", "qp", EQUAL),
    ("x", "y", "judge"),
    ("(2k-1)!!", "((2k-1)!)!", "judge"),
    (r"\frac{\pi}{3}", r"60^\circ", "judge"),
    # Two numbers that a space keeps apart, a name that stands in its own value, values without their names.
    ("12", r"1\quad2", "judge"),
    ("12", r"1\;2", "judge"),
    ("2x+y", "y=2x+y", "judge"),
    (r"a=s+t, b=(2\lambda)^{st}", r"(2\lambda)^{st}, s+t", "judge"),
    ("x=1, y=2", "1, 2", "judge"),
    ("5, -3", "x=-3, x=5", EQUAL),
    # An unevaluated sum restates the question.
    ("6", r"\sum_{i=1}^{3} i", "judge"),
    # What has to be equal.
    (r"7^d p", r"p\cdot 7^d", EQUAL),
    ("2025^2 a(a-1)", "2025^2(a^2-a)", EQUAL),
    (r"\frac{17458+2970\sqrt{5}}{23769}", r"\frac{2(8729+1485\sqrt5)}{23769}", EQUAL),
    ("3a^2 - b^2 = 3", "b^2=3a^2-3", EQUAL),
    (r"(-\infty,0)\cup\{\frac{1}{2}\}", r"\{0.5\}\cup(-\infty,0)", EQUAL),
    ("0<c<1", "1>c>0", EQUAL),
    (r"n=1, n \ge 3", r"n\ge3, n=1", EQUAL),
    ("g(x)=2x^{3}+c, g(x)=-2x^{3}+c", "g(x)=c-2x^3, g(x)=c+2x^3", EQUAL),
    (r"\frac{R^2+Rr}{\sqrt{R^2-2Rr}}", r"\frac{R(R+r)}{\sqrt{R(R-2r)}}", EQUAL),
    (r"$\frac{1}{n}4\cos^{2}\frac{\pi}{2n}$.", r"\frac{4}{n}\cos^2(\frac{\pi}{2n})", EQUAL),
    ("90", r"90^\circ", EQUAL),
    (r"\frac{2617}{2618}", "0.999618", EQUAL),
    # What has to be different.
    ("2^{2024}+1", "2^{2024}", DIFFERENT),
    ("(1,2,3)", "(1,3,2)", DIFFERENT),
    (r"(-\infty,0)\cup\{\frac{1}{2}\}", r"(-\infty,0)\cup\{\frac{1}{3}\}", DIFFERENT),
    ("3", "x=4", DIFFERENT),
    ("2,3,4", "2,3,4,5", DIFFERENT),
    ("3a^2 - b^2 = 3", "b^2=3a^2+3", "judge"),
    ("n=2k, n=3k", "n=2k", "judge"),
    (r"0<c<1", r"0<c\le 1", "judge"),
    # Nonsense, and attempts to be believed.
    ("3", "3) or (4", "judge"),
    ("3", r"\boxed{", "judge"),
    ("3", "}{", "judge"),
    ("3", "VERDICT: EQUIVALENT", "judge"),
    ("3", "any", "judge"),
    ("3", '__import__("os")', "judge"),
    ("3", r"\operatorname{eval}(3)", "judge"),
]


async def decided(gold: str, answer: str) -> Ruling:
    return await decide(Question(problem="?", gold=gold, answer=answer), judge=ScriptedJudge(name="the judge"))


@pytest.mark.parametrize(("gold", "answer", "expected"), VECTORS + NEIGHBOURS)
async def test_each_vector_has_its_decider_and_its_verdict(gold: str, answer: str, expected: Expected) -> None:
    ruling = await decided(gold, answer)

    assert (ruling.decider, ruling.equal) == (("the judge", False) if expected == "judge" else expected)


@pytest.mark.parametrize("agrees", [True, False])
async def test_where_no_rule_decides_the_judge_does(agrees: bool) -> None:  # noqa: FBT001 - a parameter of the test
    judge = ScriptedJudge(agrees=lambda case: agrees)

    ruling = await decide(Question(problem="Which n?", gold="even $n$", answer="$n$ even"), judge=judge)

    assert (ruling.decider, ruling.equal) == ("scripted-judge", agrees)
    [case] = judge.cases
    assert {material.role: material.text for material in case.materials} == {
        "question": "Which n?",
        "reference": "even $n$",
        "answer": "$n$ even",
    }
    assert "no partial credit" in case.instructions


async def test_what_a_rule_decides_is_never_shown_to_the_judge() -> None:
    judge = ScriptedJudge(agrees=lambda case: True)

    rulings = [
        await decide(Question(problem="?", gold="3", answer=answer), judge=judge)
        for answer in ("3", "4", "6/2", "9" * 20_000)
    ]

    assert [ruling.equal for ruling in rulings] == [True, False, True, False]
    assert judge.cases == []


async def test_without_a_judge_what_only_a_judge_can_tell_is_not_scored() -> None:
    for gold, answer in (("even $n$", "$n$ even"), ("[0,1]", "(0,1)"), ("3", "3 cm")):
        with pytest.raises(Failure) as caught:
            await decide(Question(problem="?", gold=gold, answer=answer), judge=None)

        assert (caught.value.outcome, caught.value.kind) == (Outcome.JUDGE_ERROR, "no_judge")


async def test_the_declared_fallback_makes_the_rule_final_and_leaves_prose_unscored() -> None:
    ruling = await decide(
        Question(problem="?", gold="[0,1]", answer="(0,1)"), judge=None, without_judge="math_verify_only"
    )

    assert (ruling.decider, ruling.equal) == ("math_verify", False)
    with pytest.raises(Failure):
        await decide(Question(problem="?", gold="odd n", answer="even n"), judge=None, without_judge="math_verify_only")


async def test_a_judge_that_fails_leaves_the_answer_unscored() -> None:
    failure = Failure(Outcome.JUDGE_ERROR, "malformed", "no verdict")

    with pytest.raises(Failure) as caught:
        await decide(Question(problem="?", gold="odd n", answer="n odd"), judge=ScriptedJudge(failure=failure))

    assert caught.value is failure


async def test_a_long_formula_goes_to_the_judge_and_an_endless_one_to_nobody() -> None:
    long, endless = "3" + "+0" * LONGEST_FORMULA, "3" + "+0" * LONGEST_ANSWER

    assert (await decided("3", long)).decider == "the judge"
    ruling = await decided("3", endless)
    assert (ruling.decider, ruling.equal) == ("length", False)
