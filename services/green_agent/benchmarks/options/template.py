"""The shape of an option question: what it examines, its required quantities and the dimension each counts for."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from services.green_agent.scoring import questions
from services.green_agent.scoring.answers import Measure, Quantity
from services.green_agent.scoring.questions import Question


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
class Template(questions.Template[P], Generic[P]):
    """One kind of question; its wordings are texts over `p`."""

    category: Category
    asked: tuple[Asked, ...]


AnyTemplate = Template[Any]
"""A template whose parameters are known to itself alone."""


def draw_question(template: Template[P], rng: random.Random, *, taken: set[str]) -> Question[P] | None:
    """A valid question whose parameters are not in `taken`, or None, as `questions.draw_question`."""

    def ask_in_words(params: P, rng: random.Random) -> Question[P]:
        return ask(template, params, rng.choice(template.wordings))

    return questions.draw_question(template, ask_in_words, rng, taken=taken)


def ask(template: Template[P], params: P, wording: str) -> Question[P]:
    """The question in one wording."""
    return questions.compose(
        body=f"{wording.format(p=params)} {template.conventions}",
        params=params,
        quantities=[asked.quantity for asked in template.asked],
        keys=template.key(params),
    )


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
