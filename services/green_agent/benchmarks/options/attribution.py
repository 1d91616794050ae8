"""P&L Attribution: how much of a change in value each Greek explains, and what is left."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.contract.pricing import Kind
from services.green_agent.benchmarks.options.market import (
    CONTRACT,
    GREEKS,
    MODEL,
    SIGNS,
    Market,
    cents,
    draw_market,
    strike_near,
)
from services.green_agent.benchmarks.options.template import Asked, Category, Dimension, Template, amount
from services.green_agent.scoring.answers import Value

EXPANSION: Final = (
    "Parts: delta x dS, 0.5 x gamma x dS^2, theta x days, vega x volatility points, all with the Greeks at the start;"
    " unexplained is the total minus these four."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attributed:
    """A position with its Greeks per share at the start, and what then happened."""

    contracts: int
    delta: float
    gamma: float
    theta_per_day: float
    vega_per_point: float
    price_before: float
    price_after: float
    spot_move: float
    volatility_points: float
    days: int

    @property
    def side(self) -> str:
        """Long or short."""
        return "long" if self.contracts > 0 else "short"

    @property
    def size(self) -> int:
        """Contracts without sign."""
        return abs(self.contracts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Repriced:
    """A position in one option, and the market some days later."""

    contracts: int
    kind: Kind
    strike: float
    market: Market
    days_passed: int
    spot_after: float
    volatility_after_pct: float

    @property
    def side(self) -> str:
        """Long or short."""
        return "long" if self.contracts > 0 else "short"

    @property
    def size(self) -> int:
        """Contracts without sign."""
        return abs(self.contracts)

    @property
    def market_after(self) -> Market:
        """The later market; rate and yield stay."""
        days = self.market.days - self.days_passed
        return self.market.moved(spot=self.spot_after, volatility_pct=self.volatility_after_pct, days=days)


def _contracts(rng: random.Random) -> int:
    return rng.choice((-1, 1)) * rng.randint(12, 95)


def _attributed_key(params: Attributed) -> Mapping[str, Value]:
    shares = 100 * params.contracts
    parts: dict[str, Value] = {
        "delta_pnl_usd": shares * params.delta * params.spot_move,
        "gamma_pnl_usd": shares * 0.5 * params.gamma * params.spot_move**2,
        "theta_pnl_usd": shares * params.theta_per_day * params.days,
        "vega_pnl_usd": shares * params.vega_per_point * params.volatility_points,
    }
    total = shares * (params.price_after - params.price_before)
    return {"total_pnl_usd": total, **parts, "unexplained_pnl_usd": total - sum(map(float, parts.values()))}


def _draw_attributed(rng: random.Random) -> Attributed:
    params = _draw_repriced(rng)
    before = params.market.quote(params.kind, params.strike)
    after = params.market_after.quote(params.kind, params.strike)
    return Attributed(
        contracts=params.contracts,
        delta=round(before.delta, 4),
        gamma=round(before.gamma, 5),
        theta_per_day=round(before.theta_per_day, 4),
        vega_per_point=round(before.vega_per_point, 4),
        price_before=cents(before.price),
        # What the Greeks leave unexplained is more than their rounding: quotes stray from the model.
        price_after=cents(after.price + rng.uniform(-0.05, 0.05) * before.price),
        spot_move=cents(params.spot_after - params.market.spot),
        volatility_points=cents(params.volatility_after_pct - params.market.volatility_pct),
        days=params.days_passed,
    )


def _draw_repriced(rng: random.Random) -> Repriced:
    market = draw_market(rng, days=(60, 270))
    return Repriced(
        contracts=_contracts(rng),
        kind=rng.choice(("call", "put")),
        strike=strike_near(rng, market.spot, 0.92, 1.08),
        market=market,
        days_passed=rng.randint(2, 15),
        spot_after=cents(market.spot * (1 + rng.choice((-1, 1)) * rng.uniform(0.02, 0.08))),
        volatility_after_pct=cents(market.volatility_pct + rng.choice((-1, 1)) * rng.uniform(1.0, 6.0)),
    )


def _repriced_key(params: Repriced) -> Mapping[str, Value]:
    before = params.market.quote(params.kind, params.strike)
    after = params.market_after.quote(params.kind, params.strike)
    return _attributed_key(
        Attributed(
            contracts=params.contracts,
            delta=before.delta,
            gamma=before.gamma,
            theta_per_day=before.theta_per_day,
            vega_per_point=before.vega_per_point,
            price_before=before.price,
            price_after=after.price,
            spot_move=params.spot_after - params.market.spot,
            volatility_points=params.volatility_after_pct - params.market.volatility_pct,
            days=params.days_passed,
        )
    )


def _asked(*, unexplained_tolerance: float) -> tuple[Asked, ...]:
    def part(key: str, meaning: str, tolerance: float = 0.005) -> Asked:
        return amount(key, meaning, Dimension.PNL, unit="USD", decimals=2, tolerance=tolerance)

    return (
        part("total_pnl_usd", "change in value of the position"),
        part("delta_pnl_usd", "part of delta"),
        part("gamma_pnl_usd", "part of gamma"),
        part("theta_pnl_usd", "part of theta"),
        part("vega_pnl_usd", "part of vega"),
        part("unexplained_pnl_usd", "what the four parts leave", unexplained_tolerance),
    )


GREEKS_GIVEN: Final = Template(
    name="greeks_given",
    category=Category.PNL_ATTRIBUTION,
    wordings=(
        (
            "A trader is {p.side} {p.size} contracts of an option with delta {p.delta:g}, gamma {p.gamma:g}, theta"
            " {p.theta_per_day:g} USD a day and vega {p.vega_per_point:g} USD a point per long share. Within {p.days} days the"
            " stock moves by {p.spot_move:+.2f} USD, implied volatility by {p.volatility_points:+.2f} points and the option"
            " from {p.price_before:.2f} to {p.price_after:.2f} USD. Attribute the profit and loss of the position."
        ),
        (
            "Explain the result of {p.size} {p.side} contracts. Per share of a long option the Greeks were: delta {p.delta:g},"
            " gamma {p.gamma:g}, vega {p.vega_per_point:g} USD a point, theta {p.theta_per_day:g} USD a day. Then {p.days}"
            " calendar days passed, the underlying changed by {p.spot_move:+.2f} USD and implied volatility by"
            " {p.volatility_points:+.2f} points; the option's price went from {p.price_before:.2f} USD to"
            " {p.price_after:.2f} USD."
        ),
        (
            "Position: {p.side} {p.size} option contracts, entered at {p.price_before:.2f} USD a share and marked"
            " {p.days} days later at {p.price_after:.2f} USD. Changes: underlying {p.spot_move:+.2f} USD, implied volatility"
            " {p.volatility_points:+.2f} points. Greeks of one long option per share at entry: delta {p.delta:g}, gamma"
            " {p.gamma:g}, theta {p.theta_per_day:g} USD per day, vega {p.vega_per_point:g} USD per point."
        ),
    ),
    conventions=f"{CONTRACT} {EXPANSION} {SIGNS}",
    asked=_asked(unexplained_tolerance=0.005),
    draw=_draw_attributed,
    key=_attributed_key,
)

REPRICED: Final = Template(
    name="repriced",
    category=Category.PNL_ATTRIBUTION,
    wordings=(
        (
            "You are {p.side} {p.size} contracts of the {p.kind} with strike {p.strike:.2f} USD and {p.market.days} days to"
            " expiry. The stock is at {p.market.spot:.2f} USD with {p.market.volatility_pct:g} % implied volatility and a"
            " dividend yield of {p.market.dividend_pct:g} %; the interest rate is {p.market.rate_pct:g} %. After"
            " {p.days_passed} days the stock is at {p.spot_after:.2f} USD and implied volatility at"
            " {p.volatility_after_pct:g} %. Value the option before and after, and attribute the change."
        ),
        (
            "A {p.kind} struck at {p.strike:.2f} USD had {p.market.days} days left when spot was {p.market.spot:.2f} USD and"
            " implied volatility {p.market.volatility_pct:g} %. Then {p.days_passed} days later spot was"
            " {p.spot_after:.2f} USD and volatility {p.volatility_after_pct:g} %, with the interest rate still"
            " {p.market.rate_pct:g} % and the dividend yield {p.market.dividend_pct:g} %. Attribute the model profit and loss"
            " of {p.size} {p.side} contracts."
        ),
        (
            "Reprice and explain: {p.side} {p.size} {p.kind} contracts, strike {p.strike:.2f} USD. Start: spot"
            " {p.market.spot:.2f} USD, volatility {p.market.volatility_pct:g} %, {p.market.days} days. End: spot"
            " {p.spot_after:.2f} USD, volatility {p.volatility_after_pct:g} %, {p.days_passed} days fewer. Interest rate"
            " {p.market.rate_pct:g} %, dividend yield {p.market.dividend_pct:g} % throughout."
        ),
    ),
    conventions=f"{MODEL} {GREEKS} {CONTRACT} {EXPANSION} {SIGNS}",
    # A small difference of large parts: what rounding the Greeks to five digits does to it is forgiven.
    asked=_asked(unexplained_tolerance=0.02),
    draw=_draw_repriced,
    key=_repriced_key,
)

TEMPLATES: Final = (GREEKS_GIVEN, REPRICED)
