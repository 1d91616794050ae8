"""Figures of a question and the units they are printed in: parameters carry their unit in their type."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, get_type_hints


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One way to print a figure."""

    suffix: str = ""
    factor: float = 1.0
    """What the figure is multiplied with before it is printed."""
    decimals: int = 0
    """Decimals always printed; more are printed where the figure has them."""

    def show(self, figure: float) -> str:
        """The figure as printed, with every digit it has."""
        whole, _, decimals = f"{figure * self.factor:z,.6f}".partition(".")
        decimals = decimals.rstrip("0").ljust(self.decimals, "0")
        shown = f"{whole}.{decimals}" if decimals else whole
        return shown + (self.suffix.removesuffix("s") if shown == "1" else self.suffix)


Units = tuple[Unit, ...]
"""The usual unit, which is that of the parameter, then another one for questions with mixed units."""

Money = Annotated[float, (Unit(suffix=" million USD"), Unit(suffix=" thousand USD", factor=1000))]
"""Million USD, one decimal."""
Euros = Annotated[float, (Unit(suffix=" million EUR"), Unit(suffix=" thousand EUR", factor=1000))]
"""Million EUR, one decimal."""
Thousands = Annotated[float, (Unit(suffix=" thousand USD"), Unit(suffix=" million USD", factor=0.001))]
"""Thousand USD, no decimals."""
Price = Annotated[float, (Unit(suffix=" USD", decimals=2),)]
"""USD."""
Rate = Annotated[float, (Unit(suffix=" %"), Unit(suffix=" bp", factor=100))]
"""Percent, two decimals."""
Share = Annotated[float, (Unit(suffix=" %"),)]
"""Percent of a whole."""
Shares = Annotated[float, (Unit(suffix=" million"), Unit(suffix=" thousand", factor=1000))]
"""Millions of shares, one decimal."""
Years = Annotated[int, (Unit(suffix=" years"), Unit(suffix=" months", factor=12))]
"""Whole years, two or more."""
Months = Annotated[int, (Unit(suffix=" months"), Unit(suffix=" years", factor=1 / 12))]
"""Months, a multiple of three."""
Days = Annotated[int, (Unit(suffix=" days"),)]
"""Whole days."""
Number = Annotated[float, (Unit(),)]
"""A plain number."""
Quote = Annotated[float, (Unit(decimals=4),)]
"""An exchange rate."""


def show_figures(params: object, *, mixed: random.Random | None = None) -> dict[str, str]:
    """Every figure of a parameter class as printed, by field: in its usual unit, or some in their other one if `mixed`."""
    units = _units(type(params))  # type: ignore[arg-type]  # mypy takes a class for one without a hash
    changed = frozenset[str]() if mixed is None else _some(units, mixed)
    return {name: ways[1 if name in changed else 0].show(getattr(params, name)) for name, ways in units.items()}


def tenth(rng: random.Random, low: float, high: float) -> float:
    """A figure with one decimal."""
    return round(rng.uniform(low, high), 1)


def hundredth(rng: random.Random, low: float, high: float) -> float:
    """A figure with two decimals."""
    return round(rng.uniform(low, high), 2)


def _some(units: Mapping[str, Units], rng: random.Random) -> frozenset[str]:
    """At least one field that has another unit; never all of them where there are several."""
    able = [name for name, ways in units.items() if len(ways) > 1]
    return frozenset(rng.sample(able, k=rng.randint(1, max(1, len(able) - 1))))


@cache
def _units(kind: type[Any]) -> Mapping[str, Units]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name].__metadata__[0] for field in fields(kind)}
