"""Compares two forms part by part, plain values by math-verify. Imported by the worker process alone.

Three answers are possible: equal, different, undecided. Parts are matched here, because the library reads `(2,1)` as an
empty interval, keeps only the last number of some lists and takes two equations without solutions for equal. Its defaults
that lower-case symbols (R = r), drop units (2-2m = 2-2) and skip dots are off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, NormalizationConfig, latex2sympy, normalize_latex
from math_verify.grader import should_treat_as_complex, verify
from sympy.core.function import AppliedUndef

from services.green_agent.scoring.math.kinds import Form, Kind, comparable
from services.green_agent.scoring.math.normalise import word_set

MOST_PARTS: Final = 60
"""Members of a list that are matched with one another."""
DIGITS: Final = 30
CLOSE: Final = 1e-6
"""Relative difference up to which a decimal fraction stands for an exact value."""

_READING: Final = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none", equations=False
)
_SYMBOLS: Final = ConversionConfig(lowercase_symbols=False, interpret_contains_as_eq=False)

_COMMANDS: Final = word_set(
    "\\frac \\sqrt \\cdot \\times \\div \\binom \\infty \\lfloor \\rfloor \\lceil \\rceil \\log \\ln \\exp \\sin "
    "\\cos \\tan \\cot \\sec \\csc \\arcsin \\arccos \\arctan \\sinh \\cosh \\tanh \\max \\min \\gcd \\circ \\bar "
    "\\overline \\hat \\tilde \\mathbb \\cup \\cap \\setminus \\{ \\} \\alpha \\beta \\gamma \\delta \\epsilon "
    "\\varepsilon \\zeta \\eta \\theta \\vartheta \\iota \\kappa \\lambda \\mu \\nu \\xi \\pi \\rho \\sigma \\tau "
    "\\upsilon \\phi \\varphi \\chi \\psi \\omega \\Gamma \\Delta \\Theta \\Lambda \\Xi \\Pi \\Sigma \\Upsilon \\Phi "
    "\\Psi \\Omega \\emptyset \\varnothing"
)
"""What the library reads the way people do. Sums, integrals and limits are absent: an unevaluated one restates the question."""
_COMMAND: Final = re.compile(r"\\(?:[A-Za-z]+|.)")
_CHARACTERS: Final = re.compile(r"[0-9A-Za-z+\-*/^_(){}\[\]!|., ]*", re.ASCII)
_AMBIGUOUS: Final = re.compile(
    r"[0-9] [0-9]"  # two numbers side by side
    r"|[0-9]\\frac"  # mixed number or product
    r"|[0-9]_|\)_"  # numbers in another base
    r"|\\log(?!_)"  # natural or decimal
    r"|!!"  # double factorial, which the library reads as a factorial twice
    r"|[0-9][eE][-+]?[0-9]"  # scientific notation
    r"|\.[0-9]*\."
)


class Verdict(StrEnum):
    """What a comparison comes to."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNDECIDED = "undecided"


def compare(gold: Form, answer: Form) -> Verdict:
    """Whether two forms stand for the same. Raises whatever sympy raises for what it cannot do."""
    found = _by_parts(gold, answer)
    return Verdict.EQUAL if found is Verdict.UNDECIDED and gold.text == answer.text else found


def _by_parts(gold: Form, answer: Form) -> Verdict:
    if not comparable(gold.kind, answer.kind):
        return Verdict.UNDECIDED
    pair = {gold.kind, answer.kind}
    if pair <= {Kind.LIST, Kind.SET}:
        return _members(gold.parts, answer.parts)
    if pair <= {Kind.SCALAR, Kind.EQUATION}:
        return _values(gold, answer)
    if pair <= {Kind.ROUND, Kind.SQUARE, Kind.LEFT_OPEN, Kind.RIGHT_OPEN, Kind.PERCENT}:
        return _in_order(gold.parts, answer.parts)
    if pair == {Kind.RELATION}:
        return _relations(gold, answer)
    if pair == {Kind.IDENTITY}:
        return _identities(gold, answer)
    return _sets(gold.text, answer.text) if pair == {Kind.UNION} else Verdict.UNDECIDED


def _values(gold: Form, answer: Form) -> Verdict:
    """A plain value and `x = value` are the same; two equations must be of the same name."""
    sides = [form.parts if form.kind is Kind.EQUATION else (form,) for form in (gold, answer)]
    if all(len(parts) == 2 for parts in sides) and sides[0][0].text != sides[1][0].text:
        return Verdict.UNDECIDED
    left, right = (parts[-1] for parts in sides)
    if left.kind is right.kind is Kind.SCALAR:
        return _scalars(left.text, right.text)
    return compare(left, right)


def _members(gold: tuple[Form, ...], answer: tuple[Form, ...]) -> Verdict:
    """Order and repetition do not matter. Different only when a member of one side is certainly missing on the other."""
    if max(len(gold), len(answer)) > MOST_PARTS or _loses_names(gold, answer) or _loses_names(answer, gold):
        return Verdict.UNDECIDED
    table = [[compare(left, right) for right in answer] for left in gold]
    found = [_any(row) for row in table] + [_any(column) for column in zip(*table, strict=True)]
    return _all(found)


def _loses_names(named: tuple[Form, ...], other: tuple[Form, ...]) -> bool:
    """True when one side says which value is whose (`a=1, b=2`) and the other does not: as a list `2, 1` would be the same."""
    names = {form.parts[0].text for form in named if form.kind is Kind.EQUATION}
    return len(names) > 1 and any(form.kind is Kind.SCALAR for form in other)


def _in_order(gold: tuple[Form, ...], answer: tuple[Form, ...]) -> Verdict:
    if len(gold) != len(answer):
        return Verdict.DIFFERENT
    return _all([compare(left, right) for left, right in zip(gold, answer, strict=True)])


def _relations(gold: Form, answer: Form) -> Verdict:
    """The same comparisons of the same terms, read in either direction; anything else is for a judge."""
    same = gold.signs == answer.signs and _in_order(gold.parts, answer.parts) is Verdict.EQUAL
    turned = tuple(_TURNED.get(sign, sign) for sign in reversed(answer.signs))
    mirrored = gold.signs == turned and _in_order(gold.parts, answer.parts[::-1]) is Verdict.EQUAL
    return Verdict.EQUAL if same or mirrored else Verdict.UNDECIDED


_TURNED: Final = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}


def _identities(gold: Form, answer: Form) -> Verdict:
    """Equations are the same when the differences of their sides are, up to sign."""
    first, second = (f"({form.parts[0].text})-({form.parts[1].text})" for form in (gold, answer))
    if any(part.kind is not Kind.SCALAR for form in (gold, answer) for part in form.parts):
        return Verdict.UNDECIDED
    found = {_scalars(first, second), _scalars(first, f"-({second})")}
    return Verdict.EQUAL if Verdict.EQUAL in found else Verdict.UNDECIDED


def _any(found: Iterable[Verdict]) -> Verdict:
    kinds = set(found)
    if Verdict.EQUAL in kinds:
        return Verdict.EQUAL
    return Verdict.UNDECIDED if Verdict.UNDECIDED in kinds else Verdict.DIFFERENT


def _all(found: Iterable[Verdict]) -> Verdict:
    kinds = set(found)
    if Verdict.DIFFERENT in kinds:
        return Verdict.DIFFERENT
    return Verdict.UNDECIDED if Verdict.UNDECIDED in kinds else Verdict.EQUAL


def _sets(gold: str, answer: str) -> Verdict:
    left, right = _read(gold), _read(answer)
    if not isinstance(left, sympy.Set) or not isinstance(right, sympy.Set):
        return Verdict.UNDECIDED
    if verify(left, right, timeout_seconds=None, raise_on_error=True):
        return Verdict.EQUAL
    return Verdict.UNDECIDED if left.free_symbols | right.free_symbols else Verdict.DIFFERENT


def _scalars(gold: str, answer: str) -> Verdict:
    left, right = _read(gold), _read(answer)
    if left is None or right is None:
        return Verdict.UNDECIDED
    if isinstance(left, sympy.Set) or isinstance(right, sympy.Set):
        return _sets(gold, answer)
    if isinstance(left, sympy.Symbol) or isinstance(right, sympy.Symbol):
        # The library would find `ab` equal to a symbol of that name, and `e` to Euler's number.
        return Verdict.EQUAL if left == right else Verdict.UNDECIDED
    says_equal = verify(left, right, timeout_seconds=None, raise_on_error=True)
    if _is_open(left) or _is_open(right):
        return Verdict.EQUAL if says_equal else Verdict.UNDECIDED
    if ("\\circ" in gold) is not ("\\circ" in answer) and not says_equal:
        return Verdict.UNDECIDED
    return _confirmed(left, right, says_equal=says_equal)


def _is_open(value: Any) -> bool:  # sympy has no types
    return bool(value.free_symbols or value.atoms(AppliedUndef))


def _confirmed(left: Any, right: Any, *, says_equal: bool) -> Verdict:  # sympy has no types
    """The library's word on two numbers, unless their values speak against it.

    It rounds decimal fractions to six places, whatever their size, and compares the rest to fifteen digits.
    """
    left, right = left.doit(), right.doit()
    if left.is_Rational and right.is_Rational and not (left.is_Float or right.is_Float):
        return Verdict.EQUAL if left == right else Verdict.DIFFERENT
    near = CLOSE if left.atoms(sympy.Float) or right.atoms(sympy.Float) else sympy.Float(10, DIGITS) ** (6 - DIGITS)
    difference, size = (
        sympy.Abs(value).evalf(DIGITS) for value in (left - right, sympy.Max(sympy.Abs(left), sympy.Abs(right)))
    )
    if not (difference.is_Number and size.is_Number and difference.is_finite and size.is_finite):
        return Verdict.UNDECIDED
    if bool(difference <= near * size):
        return Verdict.EQUAL if says_equal else Verdict.UNDECIDED
    return Verdict.DIFFERENT


def _read(text: str) -> Any:  # sympy has no types
    """The sympy object of a formula, None when it has no sure reading."""
    if _AMBIGUOUS.search(text) or not set(_COMMAND.findall(text)) <= _COMMANDS:
        return None
    if not _CHARACTERS.fullmatch(_COMMAND.sub("", text)):
        return None
    written = normalize_latex(text, config=_READING)
    found = latex2sympy(
        written,
        is_real=not should_treat_as_complex(written),
        convert_degrees=False,
        normalization_config=None,
        conversion_config=_SYMBOLS,
    )
    if isinstance(found, sympy.Set):
        return found
    if not isinstance(found, sympy.Expr) or found.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        return None
    return found
