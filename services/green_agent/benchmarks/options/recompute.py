"""The keys of file items a second time, from the parameters beside the question.

A recipe applies to every item that has its parameters, whatever the item's id. What no recipe knows is left unchecked.
Conventions as in `services.contract.pricing`. Source: finance specification 6.1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from statistics import NormalDist
from typing import Annotated, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, ValidationError

from services.contract.pricing import Kind, OptionQuote, price_option

SHARES: Final = 100
"""Per contract."""
AGREEMENT: Final = 0.01
"""Share of the recomputed value by which a published key may differ; or half its last printed digit."""

Positive = Annotated[FiniteFloat, Field(gt=0, strict=True)]
Number = Annotated[FiniteFloat, Field(strict=True)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """A published key that its own parameters contradict."""

    key: str
    published: float
    recomputed: float


class _Params(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    question: str = ""


class _Priced(_Params):
    spot_price: Positive
    strike: Positive
    rate: Number
    volatility: Positive
    days_to_expiry: Positive
    market_price: Positive | None = None


class _Position(BaseModel):
    type: Literal["call", "put"]
    quantity: Number
    delta: Number


class _Book(_Params):
    positions: Annotated[tuple[_Position, ...], Field(min_length=1)]


class _Leg(BaseModel):
    action: Literal["buy", "sell"]
    type: Literal["call", "put"]
    strike: Positive
    price: Positive


class _Legs(BaseModel):
    legs: Annotated[tuple[_Leg, ...], Field(min_length=1, max_length=20)]


class _Spread(_Params):
    ground_truth: _Legs


class _Straddle(_Params):
    spot_price: Positive
    straddle_cost: Positive


class _VolatilityGap(_Params):
    current_iv: Positive
    historical_vol: Positive


class _Greeks(BaseModel):
    delta: Number
    gamma: Number
    theta: Number
    vega: Number


class _Attribution(_Params):
    entry_price: Number
    current_price: Number
    stock_move: Number
    iv_change: Number
    days_passed: Number
    original_greeks: _Greeks


class _Sizing(_Params):
    account_size: Positive
    risk_pct: Positive
    spread_credit: Positive
    spread_width: Positive


class _ValueAtRisk(_Params):
    spot_price: Positive
    daily_vol: Positive
    confidence: Annotated[FiniteFloat, Field(gt=0.5, lt=1, strict=True)]


class _Debit(_Params):
    spot_price: Positive
    spread_strikes: tuple[Positive, Positive]
    debit: Positive


class _Growth(_Params):
    starting_capital: Positive
    target_capital: Positive
    time_horizon_months: Positive


def recomputed(item: Mapping[str, JsonValue]) -> dict[str, float]:
    """What can be computed from the parameters of an item, by name of the key; empty when no recipe applies."""
    found: dict[str, float] = {}
    for recipe in _RECIPES:
        found |= recipe.values(item)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def disagreements(keys: Mapping[str, float], values: Mapping[str, float]) -> Iterator[Disagreement]:
    """The published keys that lie neither within AGREEMENT of the recomputed value nor within half their last digit."""
    for name, published in keys.items():
        if name in values and abs(published - values[name]) > max(AGREEMENT * abs(values[name]), half_digit(published)):
            yield Disagreement(key=name, published=published, recomputed=values[name])


def decimals_of(value: float) -> int:
    """Decimals of a number as it is printed: 3 for 0.012, none for a whole number."""
    return len(f"{Decimal(repr(value)):f}".partition(".")[2].rstrip("0"))


def half_digit(value: float) -> float:
    """Half a unit of the last printed digit."""
    return 0.5 * 10.0 ** -decimals_of(value)


P = TypeVar("P", bound=BaseModel)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Recipe(Generic[P]):
    params: type[P]
    compute: Callable[[P], dict[str, float]]

    def values(self, item: Mapping[str, JsonValue]) -> dict[str, float]:
        """The values for an item; empty when it lacks the parameters or they have no answer."""
        try:
            return self.compute(self.params.model_validate(item))
        except (ValidationError, ValueError, ArithmeticError):
            return {}


def _price(item: _Priced) -> dict[str, float]:
    def quote(kind: Kind) -> OptionQuote:
        return price_option(
            kind=kind,
            spot=item.spot_price,
            strike=item.strike,
            rate=item.rate,
            dividend_yield=0.0,
            volatility=item.volatility,
            days=item.days_to_expiry,
        )

    call, put = quote("call"), quote("put")
    asked = put if re.search(r"\bput\b", item.question) and not re.search(r"\bcall\b", item.question) else call
    values = {
        "call_price": call.price,
        "put_price": put.price,
        "theoretical_price": asked.price,
        "delta": asked.delta,
        "gamma": asked.gamma,
        "theta": asked.theta_per_day,
        "vega": asked.vega_per_point,
        "rho": asked.rho_per_point,
    }
    if item.market_price is not None:
        values |= {"market_price": item.market_price}
        values |= {"discrepancy_pct": 100 * (item.market_price / asked.price - 1)}
    return values


def _net_delta(item: _Book) -> dict[str, float]:
    def total(kind: Kind, side: int) -> float:
        return sum(one.quantity * one.delta for one in item.positions if one.type == kind and one.quantity * side > 0)

    net = sum(one.quantity * one.delta for one in item.positions)
    return {
        "call_delta_long": total("call", 1),
        "call_delta_short": total("call", -1),
        "put_delta": total("put", 1) + total("put", -1),
        "net_delta": net,
        "hedge_shares": -SHARES * net,
    }


def _payoff(item: _Spread) -> dict[str, float]:
    """Extremes and break-evens at expiry of legs of equal size. Open ends give no extreme."""
    legs = item.ground_truth.legs

    def profit(spot: float) -> float:
        return sum(_leg_profit(leg, spot) for leg in legs)

    strikes = sorted({leg.strike for leg in legs})
    kinks = [0.0, *strikes, 2 * strikes[-1]]
    profits = [profit(spot) for spot in kinks]
    if not math.isclose(profits[-1], profits[-2], abs_tol=1e-9):
        return {}
    roots = [
        low + (high - low) * profit(low) / (profit(low) - profit(high))
        for low, high in pairwise(kinks)
        if profit(low) * profit(high) < 0
    ]
    values = {"max_profit": max(profits), "max_loss": -min(profits)}
    if len(roots) == 2:
        values |= {"breakeven_lower": roots[0], "breakeven_upper": roots[1]}
    return values | ({"breakeven": roots[0]} if len(roots) == 1 else {})


def _leg_profit(leg: _Leg, spot: float) -> float:
    worth = max(spot - leg.strike, 0.0) if leg.type == "call" else max(leg.strike - spot, 0.0)
    return worth - leg.price if leg.action == "buy" else leg.price - worth


def _straddle(item: _Straddle) -> dict[str, float]:
    return {"breakeven_move_pct": 100 * item.straddle_cost / item.spot_price}


def _volatility_gap(item: _VolatilityGap) -> dict[str, float]:
    return {"iv_minus_hv": 100 * (item.current_iv - item.historical_vol)}


def _attribution(item: _Attribution) -> dict[str, float]:
    greeks, move = item.original_greeks, item.stock_move
    parts = {
        "delta_pnl": greeks.delta * move,
        "gamma_pnl": greeks.gamma * move**2 / 2,
        "theta_pnl": greeks.theta * item.days_passed,
        "vega_pnl": greeks.vega * 100 * item.iv_change,
    }
    total = item.current_price - item.entry_price
    return {"total_pnl": total, **parts, "unexplained": total - sum(parts.values())}


def _sizing(item: _Sizing) -> dict[str, float]:
    loss = SHARES * (item.spread_width - item.spread_credit)
    risk = item.account_size * item.risk_pct
    contracts = math.floor(risk / loss + 1e-9)
    return {
        "max_loss_per_spread": loss,
        "risk_per_spread": loss,
        "max_account_risk": risk,
        "position_size": contracts,
        "buying_power_required": contracts * loss,
    }


_STOCK = re.compile(r"\b(long|short) ([0-9]{1,9}) shares\b", re.IGNORECASE)
_OPTIONS = re.compile(
    r"\b(long|short) ([0-9]{1,9}) (?:[A-Z]{1,6} )?\$?[0-9.]{1,12} (?:calls?|puts?) \(delta (-?[0-9]?\.[0-9]{1,9})",
    re.IGNORECASE,
)


def _value_at_risk(item: _ValueAtRisk) -> dict[str, float]:
    """Delta-normal value at risk of the positions the question lists."""
    shares = sum(_signed(side, count) for side, count in _STOCK.findall(item.question))
    deltas = [_signed(side, count) * float(delta) * SHARES for side, count, delta in _OPTIONS.findall(item.question)]
    if not deltas:
        return {}
    net = shares + sum(deltas)
    deviation = abs(net) * item.spot_price * item.daily_vol
    return {
        "stock_exposure": shares * item.spot_price,
        "long_call_delta_exposure": sum(delta for delta in deltas if delta > 0) * item.spot_price,
        "short_call_delta_exposure": sum(delta for delta in deltas if delta < 0) * item.spot_price,
        "net_delta_shares": net,
        "net_delta_exposure": net * item.spot_price,
        "daily_vol_dollar": deviation,
        f"var_{100 * item.confidence:g}": NormalDist().inv_cdf(item.confidence) * deviation,
    }


def _signed(side: str, count: str) -> int:
    return int(count) if side.casefold() == "long" else -int(count)


def _debit_spread(item: _Debit) -> dict[str, float]:
    """A call spread; the break-even of a put spread lies on the other side."""
    if not re.search(r"\bcall spread\b", item.question):
        return {}
    low, high = sorted(item.spread_strikes)
    profit, breakeven = high - low - item.debit, low + item.debit
    return {
        "max_profit": profit,
        "max_loss": item.debit,
        "risk_reward_ratio": profit / item.debit,
        "breakeven": breakeven,
        "required_move_pct": 100 * (breakeven / item.spot_price - 1),
    }


def _growth(item: _Growth) -> dict[str, float]:
    multiple = item.target_capital / item.starting_capital
    return {"monthly_compound_rate": 100 * (multiple ** (1 / item.time_horizon_months) - 1)}


_RECIPES: Final = (
    _Recipe(params=_Priced, compute=_price),
    _Recipe(params=_Book, compute=_net_delta),
    _Recipe(params=_Spread, compute=_payoff),
    _Recipe(params=_Straddle, compute=_straddle),
    _Recipe(params=_VolatilityGap, compute=_volatility_gap),
    _Recipe(params=_Attribution, compute=_attribution),
    _Recipe(params=_Sizing, compute=_sizing),
    _Recipe(params=_ValueAtRisk, compute=_value_at_risk),
    _Recipe(params=_Debit, compute=_debit_spread),
    _Recipe(params=_Growth, compute=_growth),
)
