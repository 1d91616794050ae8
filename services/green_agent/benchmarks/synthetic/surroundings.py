"""What stands around the figures of a question: invented firms, and facts that have nothing to do with the answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

FIRMS: Final = (
    "Ambervane Cables",
    "Brenwick Mills",
    "Briarholt Timber",
    "Cindermoor Cement",
    "Dovrewick Laboratories",
    "Dunmere Optics",
    "Elmsparrow Media",
    "Farrowgate Dairies",
    "Fenlight Hydro",
    "Glimmerhook Textiles",
    "Gorsewyn Airways",
    "Harrowbeck Castings",
    "Hollinbrae Bakeries",
    "Illmarsh Shipping",
    "Ivorgate Printing",
    "Jasperwell Water",
    "Junewald Paper",
    "Kestrelmoor Foods",
    "Lorquin Ceramics",
    "Mardenholt Energy",
    "Norvellquay Freight",
    "Oxbarrow Machines",
    "Pellwyn Dyes",
    "Quillmere Rail",
    "Rookhollow Instruments",
    "Sablefen Retail",
    "Tamworden Glass",
    "Umberlyn Remedies",
    "Veldacre Seeds",
    "Wexcombe Docks",
    "Yarrowfield Motors",
    "Zellandine Software",
)
"""Invented; none is meant to be a firm that exists."""


class Scene(StrEnum):
    """Where a question plays."""

    FIRM = "firm"
    MARKET = "market"


@dataclass(frozen=True, kw_only=True, slots=True)
class Aside:
    """A fact with one figure that no key depends on. It can be understood anywhere, so it says whom it is about."""

    text: str
    draw: Callable[[random.Random], str]

    def tell(self, rng: random.Random, *, firm: str) -> str:
        """The sentence."""
        return self.text.format(firm=firm, figure=self.draw(rng))


def _decimal(low: float, high: float, decimals: int) -> Callable[[random.Random], str]:
    return lambda rng: f"{rng.uniform(low, high):,.{decimals}f}"


def _whole(low: int, high: int, *, grouped: bool = True) -> Callable[[random.Random], str]:
    return lambda rng: f"{rng.randint(low, high):,}" if grouped else str(rng.randint(low, high))


ASIDES: Final[Mapping[Scene, tuple[Aside, ...]]] = MappingProxyType(
    {
        Scene.FIRM: (
            Aside(text="{firm} employs {figure} people.", draw=_whole(400, 48_000)),
            Aside(text="{firm} was founded in {figure}.", draw=_whole(1871, 2012, grouped=False)),
            Aside(text="{firm} holds {figure} patents.", draw=_whole(110, 2_400)),
            Aside(text="The auditors of {firm} charge {figure} million USD a year.", draw=_decimal(0.4, 4.9, 1)),
            Aside(text="A year ago a share of a competitor of {firm} cost {figure} USD.", draw=_decimal(11, 240, 2)),
            Aside(text="A competitor of {firm} reports an operating margin of {figure} %.", draw=_decimal(4, 31, 1)),
            Aside(text="An unused credit line of {firm} amounts to {figure} million USD.", draw=_decimal(20, 600, 1)),
            Aside(text="Listed competitors of {firm} trade at {figure} times earnings.", draw=_decimal(9, 34, 1)),
            Aside(
                text="The largest customer of {firm} stands for {figure} % of the order book.", draw=_decimal(6, 29, 1)
            ),
            Aside(text="A bonus plan of {firm} is capped at {figure} thousand USD.", draw=_whole(900, 9_500)),
            Aside(
                text="Contracts between {firm} and customers run for {figure} months on average.", draw=_whole(7, 66)
            ),
            Aside(
                text="The median analyst sees the shares of {firm} {figure} % above the last close.",
                draw=_decimal(3, 38, 1),
            ),
        ),
        Scene.MARKET: (
            Aside(text="Gold trades at {figure} USD an ounce.", draw=_decimal(1_400, 3_900, 2)),
            Aside(text="An unrelated stock index closed at {figure} points.", draw=_whole(3_100, 42_000)),
            Aside(text="An oil future last traded at {figure} USD a barrel.", draw=_decimal(48, 119, 2)),
            Aside(text="A survey expects prices in a third country to rise by {figure} %.", draw=_decimal(1.1, 8.9, 1)),
            Aside(text="Ten-year bonds of a third country yield {figure} %.", draw=_decimal(0.7, 9.6, 2)),
            Aside(text="The bank that sent these figures employs {figure} people.", draw=_whole(300, 21_000)),
            Aside(text="A brochure of the bank is {figure} pages long.", draw=_whole(13, 96)),
            Aside(text="A private fund in another asset class lost {figure} % last year.", draw=_decimal(2, 27, 1)),
            Aside(text="An art fund manages {figure} million USD.", draw=_decimal(14, 870, 1)),
            Aside(text="A widely read letter has {figure} thousand subscribers.", draw=_whole(11, 940)),
        ),
    }
)
