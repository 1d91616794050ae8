"""Risk Management: delta-normal VaR, stress by full revaluation, position size, margin."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from services.contract.pricing import Kind
from services.green_agent.benchmarks.options.market import (
    CONTRACT,
    MODEL,
    SIGNS,
    Market,
    cents,
    draw_market,
    strike_near,
)
from services.green_agent.benchmarks.options.template import Asked, Category, Dimension, Template, amount, count
from services.green_agent.scoring.answers import Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposure:
    """Shares and options on one stock, reduced to delta."""

    shares: int
    contracts: int
    delta: float
    spot: float
    daily_volatility_pct: float
    horizon_days: int
    confidence_pct: float
    z: float

    @property
    def option_side(self) -> str:
        """Long or short contracts."""
        return "long" if self.contracts > 0 else "short"

    @property
    def size(self) -> int:
        """Contracts without sign."""
        return abs(self.contracts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stressed:
    """A short strangle or a long straddle-like pair under two stated shocks."""

    market: Market
    call_strike: float
    put_strike: float
    call_contracts: int
    put_contracts: int
    down_pct: float
    down_points: float
    up_pct: float
    up_points: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizing:
    """A credit spread and a risk budget."""

    width: float
    credit: float
    account_usd: int
    risk_pct: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ShortPut:
    """Puts sold on margin."""

    spot: float
    strike: float
    premium: float
    contracts: int


def _draw_exposure(rng: random.Random) -> Exposure:
    confidence = rng.choice((95.0, 97.5, 99.0))
    return Exposure(
        shares=rng.choice((-1, 1)) * rng.randint(400, 6000),
        contracts=rng.choice((-1, 1)) * rng.randint(11, 90),
        delta=rng.choice((-1, 1)) * round(rng.uniform(0.15, 0.85), 3),
        spot=cents(rng.uniform(60.0, 600.0)),
        daily_volatility_pct=cents(rng.uniform(0.9, 3.6)),
        horizon_days=rng.randint(1, 10),
        confidence_pct=confidence,
        z=round(NormalDist().inv_cdf(confidence / 100), 6),
    )


def _var_key(params: Exposure) -> Mapping[str, Value]:
    delta = params.shares + 100 * params.contracts * params.delta
    exposure = delta * params.spot
    daily = abs(exposure) * params.daily_volatility_pct / 100
    return {
        "net_delta_shares": delta,
        "delta_exposure_usd": exposure,
        "daily_sd_usd": daily,
        "var_usd": params.z * daily * math.sqrt(params.horizon_days),
    }


def _draw_stressed(rng: random.Random) -> Stressed:
    market = draw_market(rng, days=(20, 120))
    return Stressed(
        market=market,
        call_strike=strike_near(rng, market.spot, 1.02, 1.12),
        put_strike=strike_near(rng, market.spot, 0.88, 0.98),
        call_contracts=rng.choice((-1, 1)) * rng.randint(11, 70),
        put_contracts=rng.choice((-1, 1)) * rng.randint(11, 70),
        down_pct=round(rng.uniform(6.0, 18.0), 1),
        down_points=round(rng.uniform(3.0, 14.0), 1),
        up_pct=round(rng.uniform(5.0, 14.0), 1),
        up_points=round(rng.uniform(1.0, 6.0), 1),
    )


def _stress_key(params: Stressed) -> Mapping[str, Value]:
    market, days = params.market, params.market.days

    def value(in_market: Market) -> float:
        calls = params.call_contracts * in_market.quote("call", params.call_strike).price
        puts = params.put_contracts * in_market.quote("put", params.put_strike).price
        return 100 * (calls + puts)

    down = market.moved(
        spot=market.spot * (1 - params.down_pct / 100),
        volatility_pct=market.volatility_pct + params.down_points,
        days=days,
    )
    up = market.moved(
        spot=market.spot * (1 + params.up_pct / 100),
        volatility_pct=market.volatility_pct - params.up_points,
        days=days,
    )
    now = value(market)
    return {"value_now_usd": now, "crash_pnl_usd": value(down) - now, "rally_pnl_usd": value(up) - now}


def _draw_sizing(rng: random.Random) -> Sizing:
    width = rng.choice((2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 20.0, 25.0))
    return Sizing(
        width=width,
        credit=cents(width * rng.uniform(0.18, 0.42)),
        account_usd=rng.randint(8_000, 60_000) * 1000,
        risk_pct=cents(rng.uniform(0.75, 3.0)),
    )


def _sizing_key(params: Sizing) -> Mapping[str, Value]:
    loss = 100 * (params.width - params.credit)
    # Whole cents, so that a budget which buys an exact number of contracts is not lost to binary fractions.
    contracts = round(100 * params.account_usd * params.risk_pct / 100) // round(100 * loss)
    return {
        "max_loss_per_contract_usd": loss,
        "contracts": contracts,
        "total_max_loss_usd": contracts * loss,
        "total_credit_usd": contracts * 100 * params.credit,
    }


def _draw_short_put(rng: random.Random) -> ShortPut:
    market = draw_market(rng, days=(20, 120))
    kind: Kind = "put"
    strike = strike_near(rng, market.spot, 0.75, 1.02)
    return ShortPut(spot=market.spot, strike=strike, premium=market.premium(kind, strike), contracts=rng.randint(6, 60))


def _margin_key(params: ShortPut) -> Mapping[str, Value]:
    out_of_the_money = max(params.spot - params.strike, 0.0)
    base = max(0.20 * params.spot - out_of_the_money, 0.10 * params.strike)
    margin = 100 * params.contracts * (params.premium + base)
    credit = 100 * params.contracts * params.premium
    return {
        "margin_usd": margin,
        "max_loss_usd": 100 * params.contracts * (params.strike - params.premium),
        "premium_to_margin_pct": 100 * credit / margin,
    }


def _risk(key: str, meaning: str, *, unit: str = "USD", decimals: int = 2, tolerance: float = 0.005) -> Asked:
    return amount(key, meaning, Dimension.RISK, unit=unit, decimals=decimals, tolerance=tolerance)


DELTA_VAR: Final = Template(
    name="delta_var",
    category=Category.RISK_MANAGEMENT,
    wordings=(
        (
            "A portfolio holds {p.shares} shares at {p.spot:.2f} USD and is {p.option_side} {p.size} option contracts with a"
            " delta of {p.delta:g} per long option. The share's daily volatility is {p.daily_volatility_pct:g} %. Compute the"
            " delta-normal value at risk over {p.horizon_days} trading day(s) at {p.confidence_pct:g} % confidence"
            " (z = {p.z:.6f})."
        ),
        (
            "Position in one stock: {p.shares} shares and {p.size} contracts {p.option_side}, delta {p.delta:g} each option if"
            " held long. Spot {p.spot:.2f} USD, daily standard deviation of returns {p.daily_volatility_pct:g} %. What is the"
            " {p.confidence_pct:g} % delta-normal VaR for {p.horizon_days} trading day(s)? Use z = {p.z:.6f}."
        ),
        (
            "With z = {p.z:.6f} for {p.confidence_pct:g} % confidence and a horizon of {p.horizon_days} trading day(s), measure"
            " the risk of {p.shares} shares ({p.spot:.2f} USD each, {p.daily_volatility_pct:g} % daily volatility) together"
            " with {p.size} {p.option_side} contracts whose options have a delta of {p.delta:g} when long."
        ),
    ),
    conventions=(
        f"{CONTRACT} A negative number of shares is short. Risk scales with the square root of time; mean return zero."
        f" VaR and standard deviation carry no sign. {SIGNS}"
    ),
    asked=(
        _risk("net_delta_shares", "net delta, with its sign", unit="shares"),
        _risk("delta_exposure_usd", "net delta in USD, with its sign"),
        _risk("daily_sd_usd", "standard deviation of the profit and loss of one day", tolerance=0.01),
        _risk("var_usd", "value at risk over the horizon", tolerance=0.01),
    ),
    draw=_draw_exposure,
    key=_var_key,
)

STRESS: Final = Template(
    name="stress",
    category=Category.RISK_MANAGEMENT,
    wordings=(
        (
            "A book holds {p.call_contracts} call contracts with strike {p.call_strike:.2f} USD and {p.put_contracts} put"
            " contracts with strike {p.put_strike:.2f} USD, all with {p.market.days} days to expiry. Spot"
            " {p.market.spot:.2f} USD, volatility {p.market.volatility_pct:g} %, interest rate {p.market.rate_pct:g} %,"
            " dividend yield {p.market.dividend_pct:g} %. Revalue it fully under a crash (spot -{p.down_pct:g} %, volatility"
            " +{p.down_points:g} points) and a rally (spot +{p.up_pct:g} %, volatility -{p.up_points:g} points)."
        ),
        (
            "Stress test by full revaluation. Scenario crash: the stock falls by {p.down_pct:g} % and volatility rises by"
            " {p.down_points:g} points. Scenario rally: the stock rises by {p.up_pct:g} % and volatility falls by"
            " {p.up_points:g} points. Position: {p.call_contracts} contracts of the {p.call_strike:.2f} USD call and"
            " {p.put_contracts} contracts of the {p.put_strike:.2f} USD put, {p.market.days} days left. Today spot is"
            " {p.market.spot:.2f} USD, volatility {p.market.volatility_pct:g} %, the interest rate {p.market.rate_pct:g} % and"
            " the dividend yield {p.market.dividend_pct:g} %."
        ),
        (
            "What would {p.call_contracts} calls (strike {p.call_strike:.2f} USD) and {p.put_contracts} puts (strike"
            " {p.put_strike:.2f} USD), counted in contracts and expiring in {p.market.days} days, gain or lose at once in a"
            " crash of {p.down_pct:g} % with volatility {p.down_points:g} points higher, and in a rally of {p.up_pct:g} % with"
            " volatility {p.up_points:g} points lower? Spot now {p.market.spot:.2f} USD at {p.market.volatility_pct:g} %"
            " volatility; interest rate {p.market.rate_pct:g} %, dividend yield {p.market.dividend_pct:g} %."
        ),
    ),
    conventions=(f"Negative contracts are short. {MODEL} Shocks are instantaneous; no time passes. {CONTRACT} {SIGNS}"),
    asked=(
        _risk("value_now_usd", "value of the book before any shock, negative for a liability"),
        _risk("crash_pnl_usd", "profit or loss in the crash, with its sign", tolerance=0.01),
        _risk("rally_pnl_usd", "profit or loss in the rally, with its sign", tolerance=0.01),
    ),
    draw=_draw_stressed,
    key=_stress_key,
)

SIZING: Final = Template(
    name="sizing",
    category=Category.RISK_MANAGEMENT,
    wordings=(
        (
            "A fund of {p.account_usd:,} USD may lose at most {p.risk_pct:g} % of its money on one trade. It sells credit"
            " spreads whose strikes are {p.width:.2f} USD apart for {p.credit:.2f} USD. How many contracts may it sell?"
        ),
        (
            "Size this trade: credit spread {p.width:.2f} USD wide, {p.credit:.2f} USD received per share, account"
            " {p.account_usd:,} USD, risk limit {p.risk_pct:g} % of the account."
        ),
        (
            "Vertical spreads with a distance of {p.width:.2f} USD between the strikes bring {p.credit:.2f} USD. The rule is to"
            " risk no more than {p.risk_pct:g} % of an account of {p.account_usd:,} USD. What is the largest position?"
        ),
    ),
    conventions=f"{CONTRACT} Contracts are whole; the limit is on the largest possible loss at expiry, without costs.",
    asked=(
        _risk("max_loss_per_contract_usd", "largest possible loss of one contract, without sign"),
        count("contracts", "largest admissible number of contracts", Dimension.RISK, unit="contracts"),
        _risk("total_max_loss_usd", "largest possible loss of that position, without sign"),
        _risk("total_credit_usd", "premium received for that position"),
    ),
    draw=_draw_sizing,
    key=_sizing_key,
)

SHORT_PUT_MARGIN: Final = Template(
    name="short_put_margin",
    category=Category.RISK_MANAGEMENT,
    wordings=(
        (
            "An account sells {p.contracts} put contracts with strike {p.strike:.2f} USD for {p.premium:.2f} USD while the stock"
            " trades at {p.spot:.2f} USD. How much margin does it need, and what is the worst case?"
        ),
        (
            "Spot {p.spot:.2f} USD. {p.contracts} uncovered puts (contracts) struck at {p.strike:.2f} USD are written at"
            " {p.premium:.2f} USD. Compute the margin, the largest loss, and the premium as a share of the margin."
        ),
        (
            "You write {p.contracts} contracts of a naked put: strike {p.strike:.2f} USD, premium {p.premium:.2f} USD, share"
            " price {p.spot:.2f} USD. What margin is asked and what could be lost at most?"
        ),
    ),
    conventions=(
        f"{CONTRACT} Margin per share = premium + the larger of (20 % of the spot minus the amount by which the put is out"
        " of the money) and 10 % of the strike."
    ),
    asked=(
        _risk("margin_usd", "margin of the position"),
        _risk("max_loss_usd", "largest possible loss after the premium received, without sign"),
        _risk("premium_to_margin_pct", "premium received in percent of the margin", unit="%", decimals=3),
    ),
    draw=_draw_short_put,
    key=_margin_key,
)

TEMPLATES: Final = (DELTA_VAR, STRESS, SIZING, SHORT_PUT_MARGIN)
