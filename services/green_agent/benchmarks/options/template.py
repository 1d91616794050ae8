"""The shape of a question template: parameters, wordings, required quantities and their key."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from services.green_agent.scoring.answers import Measure, Quantity, Value, answer_form

MOST_REDRAWS: Final = 20


class Category(StrEnum):
    """What an item examines; the stratum of sampling. Values are the slugs in task ids."""

    OPTIONS_PRICING = "options-pricing"
    GREEKS_ANALYSIS = "greeks-analysis"
    STRATEGY_CONSTRUCTION = "strategy-construction"
    VOLATILITY_TRADING = "volatility-trading"
    PNL_ATTRIBUTION = "pnl-attribution"
    RISK_MANAGEMENT = "risk-management"
    COPY_TRADING = "copy-trading"
    RACE_TO_10M = "race-to-10m"
    STRATEGY_DEFENSE = "strategy-defense"


class Dimension(StrEnum):
    """The sub-score of the section that a quantity counts for."""

    PNL = "pnl_accuracy"
    GREEKS = "greeks_accuracy"
    STRATEGY = "strategy_quality"
    RISK = "risk_management"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A required quantity and the dimension it counts for."""

    quantity: Quantity
    dimension: Dimension


P = TypeVar("P")


@dataclass(frozen=True, kw_only=True, slots=True)
class Template(Generic[P]):
    """One kind of question over parameters P, a frozen dataclass whose values are exactly those the question prints."""

    name: str
    category: Category
    wordings: tuple[str, ...]
    """At least three; `str.format` texts over `p`."""
    conventions: str
    """What the question states about model, units and signs."""
    asked: tuple[Asked, ...]
    draw: Callable[[random.Random], P]
    key: Callable[[P], Mapping[str, Value]]
    """The truth, by key of `asked`. Tests hold a second, independent derivation of it."""


AnyTemplate = Template[Any]
"""A template whose parameters are known to itself alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question(Generic[P]):
    """A template with drawn parameters."""

    template: Template[P]
    params: P
    prompt: str
    keys: Mapping[str, Value]

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """The required quantities, in the order of the question."""
        return tuple(asked.quantity for asked in self.template.asked)


def draw_question(template: Template[P], rng: random.Random, *, taken: set[str]) -> Question[P] | None:
    """A valid question whose parameters are not in `taken`, or None when MOST_REDRAWS draws gave none.

    The question's parameters are added to `taken`.
    """
    for _ in range(1 + MOST_REDRAWS):
        params = template.draw(rng)
        wording = rng.choice(template.wordings)
        name = f"{template.name} {params!r}"
        if name in taken:
            continue
        question = ask(template, params, wording)
        if is_valid(question):
            taken.add(name)
            return question
    return None


def ask(template: Template[P], params: P, wording: str) -> Question[P]:
    """The question in one wording."""
    body = " ".join(f"{wording.format(p=params)} {template.conventions}".split())
    form = answer_form([asked.quantity for asked in template.asked])
    return Question(template=template, params=params, prompt=f"{body}\n\n{form}", keys=template.key(params))


def is_valid(question: Question[P]) -> bool:
    """True when every key is finite, has three significant digits, and echoing no number of the question answers it."""
    printed = _numbers_printed(question.prompt)
    return all(
        _is_telling(quantity, float(question.keys[quantity.key]), printed)
        for quantity in question.quantities
        if quantity.is_number
    )


def _is_telling(quantity: Quantity, key: float, printed: list[float]) -> bool:
    if not math.isfinite(key):
        return False
    last_digit = 1.0 if quantity.measure is Measure.COUNT else 10.0**-quantity.decimals
    if abs(key) < 100 * last_digit:
        return False
    clearance = 2 * quantity.margin(key)
    return all(abs(key - number) > clearance for number in (0.0, *printed))


_PRINTED = re.compile(r"([-+]?)([0-9][0-9,]*(?:\.[0-9]+)?)(?:\s?(%))?")


def _numbers_printed(prompt: str) -> list[float]:
    """Every number of the prompt under every reading an answer could be given: with and without sign, and per cent."""
    found: list[float] = []
    for match in _PRINTED.finditer(prompt):
        number = float(match[2].replace(",", ""))
        readings = (number, number / 100) if match[3] else (number,)
        found += readings
        if match[1] == "-":
            found += [-reading for reading in readings]
    return found


def amount(
    key: str,
    meaning: str,
    dimension: Dimension,
    *,
    unit: str = "USD per share",
    decimals: int = 4,
    tolerance: float = 0.005,
) -> Asked:
    """A price, a profit or another figure, right within a share of itself."""
    quantity = Quantity(key=key, meaning=meaning, unit=unit, decimals=decimals, tolerance=tolerance)
    return Asked(quantity=quantity, dimension=dimension)


def greek(key: str, meaning: str, *, unit: str, decimals: int = 6) -> Asked:
    """A sensitivity, right within 1 %."""
    return amount(key, meaning, Dimension.GREEKS, unit=unit, decimals=decimals, tolerance=0.01)


def breakeven(key: str, meaning: str, dimension: Dimension) -> Asked:
    """A price of the underlying, right within 0.1 %."""
    return amount(key, meaning, dimension, decimals=2, tolerance=0.001)


def probability(key: str, meaning: str) -> Asked:
    """A probability in percent, right within half a point."""
    quantity = Quantity(key=key, meaning=meaning, unit="%", measure=Measure.ABSOLUTE, tolerance=0.5, decimals=3)
    return Asked(quantity=quantity, dimension=Dimension.RISK)


def count(key: str, meaning: str, dimension: Dimension, *, unit: str) -> Asked:
    """A whole number, right when equal."""
    quantity = Quantity(key=key, meaning=meaning, unit=unit, measure=Measure.COUNT, decimals=0)
    return Asked(quantity=quantity, dimension=dimension)


def label(key: str, meaning: str, dimension: Dimension, *labels: str) -> Asked:
    """One of a closed list."""
    quantity = Quantity(key=key, meaning=meaning, measure=Measure.LABEL, labels=labels)
    return Asked(quantity=quantity, dimension=dimension)


def yes_or_no(key: str, meaning: str, dimension: Dimension) -> Asked:
    """True or false."""
    return Asked(quantity=Quantity(key=key, meaning=meaning, measure=Measure.BOOL), dimension=dimension)
