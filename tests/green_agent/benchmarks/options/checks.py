"""A second derivation of every key, by another road than the product takes. Nothing here is imported by the product."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from services.green_agent.benchmarks.options import (
    attribution,
    copy_trading,
    defense,
    greeks,
    pricing,
    race,
    risk,
    strategy,
    volatility,
)
from services.green_agent.benchmarks.options.market import Market
from services.green_agent.scoring.answers import Value
from tests.green_agent.benchmarks.options.payoff import Leg, Position
from tests.support.closed_form import ClosedForm, american_put_tree, european

Keys = Mapping[str, Value]


def in_market(market: Market, kind: str, strike: float) -> ClosedForm:
    return european(
        kind,
        spot=market.spot,
        strike=strike,
        rate=market.rate_pct / 100,
        dividend=market.dividend_pct / 100,
        volatility=market.volatility_pct / 100,
        days=market.days,
    )


def bsm_dividend(p: pricing.Vanilla) -> Keys:
    call, put = (in_market(p.market, kind, p.strike).price for kind in ("call", "put"))
    worth = {"call": (call, p.market.spot - p.strike), "put": (put, p.strike - p.market.spot)}
    price, intrinsic = max(worth.values(), key=lambda pair: pair[1])
    return {"call_usd": call, "put_usd": put, "intrinsic_usd": intrinsic, "time_value_usd": price - intrinsic}


def american_put(p: pricing.Vanilla) -> Keys:
    def tree(steps: int) -> float:
        return american_put_tree(
            spot=p.market.spot,
            strike=p.strike,
            rate=p.market.rate_pct / 100,
            dividend=p.market.dividend_pct / 100,
            volatility=p.market.volatility_pct / 100,
            days=p.market.days,
            steps=steps,
        )

    return {"american_put_usd": (tree(400) + tree(401)) / 2}


def implied_vol(p: pricing.Priced) -> Keys:
    low, high = 0.001, 4.0
    for _ in range(200):
        middle = (low + high) / 2
        market = Market(
            spot=p.spot, rate_pct=p.rate_pct, dividend_pct=p.dividend_pct, volatility_pct=100 * middle, days=p.days
        )
        low, high = (middle, high) if in_market(market, p.kind, p.strike).price < p.price else (low, middle)
    return {"implied_volatility_pct": 100 * low}


def parity_gap(p: pricing.Pair) -> Keys:
    years = p.days / 365
    forward = p.spot * math.exp((p.rate_pct - p.dividend_pct) / 100 * years)
    synthetic_forward = p.strike + (p.call - p.put) * math.exp(p.rate_pct / 100 * years)
    return {"parity_gap_usd": (synthetic_forward - forward) * math.exp(-p.rate_pct / 100 * years)}


def five_greeks(p: greeks.Single) -> Keys:
    form = in_market(p.market, p.kind, p.strike)
    return {
        "delta": form.delta,
        "gamma": form.gamma,
        "theta_usd_per_day": form.theta,
        "vega_usd_per_point": form.vega,
        "rho_usd_per_point": form.rho,
    }


def book_greeks(p: greeks.Book) -> Keys:
    forms = [(100 * h.contracts, in_market(p.market, h.kind, h.strike)) for h in p.holdings]
    delta = math.fsum(shares * form.delta for shares, form in forms)
    return {
        "book_delta_shares": delta,
        "book_gamma_shares_per_usd": math.fsum(shares * form.gamma for shares, form in forms),
        "book_theta_usd_per_day": math.fsum(shares * form.theta for shares, form in forms),
        "book_vega_usd_per_point": math.fsum(shares * form.vega for shares, form in forms),
        "hedge_shares": math.floor(abs(delta) + 0.5),
        "hedge_side": "buy" if delta < 0 else "sell",
    }


def described(position: Position, market: Market) -> dict[str, Value]:
    keys: dict[str, Value] = {
        "net_premium_usd": position.net_premium,
        "max_profit_usd": position.best,
        "max_loss_usd": -position.worst,
        "profit_probability_pct": 100 * position.chance_of_profit(market),
    }
    evens = position.breakevens
    names = ("breakeven_usd",) if len(evens) == 1 else ("lower_breakeven_usd", "upper_breakeven_usd")
    return {**keys, **dict(zip(names, evens, strict=True))}


def vertical(p: strategy.Vertical) -> Keys:
    side = 1 if p.view == "bull" else -1
    return described(
        Position(Leg(side, p.kind, p.low, p.low_premium), Leg(-side, p.kind, p.high, p.high_premium)), p.market
    )


def iron_condor(p: strategy.Condor) -> Keys:
    position = Position(
        Leg(1, "put", p.put_wing, p.put_wing_premium),
        Leg(-1, "put", p.short_put, p.short_put_premium),
        Leg(-1, "call", p.short_call, p.short_call_premium),
        Leg(1, "call", p.call_wing, p.call_wing_premium),
    )
    return described(position, p.market)


def butterfly(p: strategy.Butterfly) -> Keys:
    position = Position(
        Leg(1, "call", p.low, p.low_premium),
        Leg(-2, "call", p.middle, p.middle_premium),
        Leg(1, "call", p.high, p.high_premium),
    )
    return described(position, p.market)


def collar(p: strategy.Collar) -> Keys:
    position = Position(
        Leg(1, "share", 0.0, p.market.spot),
        Leg(1, "put", p.put, p.put_premium),
        Leg(-1, "call", p.call, p.call_premium),
    )
    return described(position, p.market)


def put_ratio(p: strategy.PutRatio) -> Keys:
    position = Position(Leg(1, "put", p.high, p.high_premium), Leg(-2, "put", p.low, p.low_premium))
    keys = described(position, p.market)
    return {**keys, "max_loss_per_contract_usd": 100 * float(keys["max_loss_usd"])}


def realised_vol(p: volatility.History) -> Keys:
    returns = np.diff(np.log(np.array(p.closes)))
    realised = 100 * float(np.std(returns, ddof=1)) * 252**0.5
    richness = p.implied_pct - realised
    verdicts = {richness > p.threshold_points: "sell", richness < -p.threshold_points: "buy"}
    return {
        "realised_volatility_pct": realised,
        "iv_minus_hv_points": richness,
        "trade": verdicts.get(True, "stand aside"),
    }


def straddle_move(p: volatility.Straddle) -> Keys:
    lower, upper = Position(Leg(1, "call", p.strike, p.call), Leg(1, "put", p.strike, p.put)).breakevens
    return {
        "implied_move_pct": 50 * (upper - lower) / p.spot,
        "lower_breakeven_usd": lower,
        "upper_breakeven_usd": upper,
    }


def forward_variance(p: volatility.TermStructure) -> Keys:
    near_years, far_years = p.near_days / 365, p.far_days / 365
    share = near_years / far_years
    forward = ((p.far_pct / 100) ** 2 - share * (p.near_pct / 100) ** 2) / (1 - share)
    return {"forward_variance": forward, "forward_volatility_pct": 100 * forward**0.5}


def gamma_pnl(p: volatility.HedgedGamma) -> Keys:
    realised, implied = p.realised_pct / 100, p.implied_pct / 100
    years = p.days / 365
    dollars = p.gamma_shares_per_usd * p.spot * p.spot / 2 * years
    return {
        "gamma_pnl_usd": dollars * realised * realised,
        "theta_pnl_usd": -dollars * implied * implied,
        "hedged_pnl_usd": dollars * (realised - implied) * (realised + implied),
        "winning_side": "long gamma" if (realised - implied) > 0 else "short gamma",
    }


def greeks_given(p: attribution.Attributed) -> Keys:
    per_share = {
        "delta_pnl_usd": p.delta * p.spot_move,
        "gamma_pnl_usd": p.gamma * p.spot_move * p.spot_move / 2,
        "theta_pnl_usd": p.theta_per_day * p.days,
        "vega_pnl_usd": p.vega_per_point * p.volatility_points,
    }
    change = p.price_after - p.price_before
    left = math.fsum([change, *(-part for part in per_share.values())])
    everything = {"total_pnl_usd": change, **per_share, "unexplained_pnl_usd": left}
    return {key: value * 100 * p.contracts for key, value in everything.items()}


def repriced(p: attribution.Repriced) -> Keys:
    before = in_market(p.market, p.kind, p.strike)
    after = in_market(p.market_after, p.kind, p.strike)
    return greeks_given(
        attribution.Attributed(
            contracts=p.contracts,
            delta=before.delta,
            gamma=before.gamma,
            theta_per_day=before.theta,
            vega_per_point=before.vega,
            price_before=before.price,
            price_after=after.price,
            spot_move=p.spot_after - p.market.spot,
            volatility_points=p.volatility_after_pct - p.market.volatility_pct,
            days=p.days_passed,
        )
    )


def delta_var(p: risk.Exposure) -> Keys:
    weights = np.array([p.shares * p.spot, 100 * p.contracts * p.delta * p.spot])
    one_factor = np.full((2, 2), (p.daily_volatility_pct / 100) ** 2)
    daily = float(np.sqrt(weights @ one_factor @ weights))
    return {
        "net_delta_shares": float(weights.sum()) / p.spot,
        "delta_exposure_usd": float(weights.sum()),
        "daily_sd_usd": daily,
        "var_usd": p.z * (daily**2 * p.horizon_days) ** 0.5,
    }


def stress(p: risk.Stressed) -> Keys:
    def value(spot_factor: float, points: float) -> float:
        market = p.market.moved(
            spot=p.market.spot * spot_factor, volatility_pct=p.market.volatility_pct + points, days=p.market.days
        )
        calls = p.call_contracts * in_market(market, "call", p.call_strike).price
        return 100 * (calls + p.put_contracts * in_market(market, "put", p.put_strike).price)

    now = value(1.0, 0.0)
    return {
        "value_now_usd": now,
        "crash_pnl_usd": value(1 - p.down_pct / 100, p.down_points) - now,
        "rally_pnl_usd": value(1 + p.up_pct / 100, -p.up_points) - now,
    }


def sizing(p: risk.Sizing) -> Keys:
    width, credit = Decimal(str(p.width)), Decimal(str(p.credit))
    budget = Decimal(p.account_usd) * Decimal(str(p.risk_pct)) / 100
    loss = (width - credit) * 100
    contracts = int(budget / loss)
    return {
        "max_loss_per_contract_usd": float(loss),
        "contracts": contracts,
        "total_max_loss_usd": float(contracts * loss),
        "total_credit_usd": float(contracts * credit * 100),
    }


def short_put_margin(p: risk.ShortPut) -> Keys:
    spot, strike, premium = (Decimal(str(value)) for value in (p.spot, p.strike, p.premium))
    first = spot / 5 - (spot - strike if strike < spot else 0)
    base = max(strike / 10, first)
    shares = 100 * p.contracts
    return {
        "margin_usd": float(shares * (premium + base)),
        "max_loss_usd": float(-Position(Leg(-1, "put", p.strike, p.premium)).worst * shares),
        "premium_to_margin_pct": float(100 * premium / (premium + base)),
    }


def copied_spread(p: copy_trading.CallSpread) -> Keys:
    position = Position(Leg(1, "call", p.low, p.debit), Leg(-1, "call", p.high, 0.0))
    (even,) = position.breakevens
    return {
        "max_profit_usd": position.best,
        "max_loss_per_contract_usd": -100 * position.worst,
        "breakeven_usd": even,
        "required_move_pct": (even - p.spot) / p.spot * 100,
        # h x best + (1 - h) x worst = 0
        "breakeven_hit_rate_pct": 100 * position.worst / (position.worst - position.best),
    }


def copy_decision(p: copy_trading.Copied) -> Keys:
    position = Position(Leg(1, "call", p.low, p.debit + p.slippage), Leg(-1, "call", p.high, 0.0))
    hit = p.hit_rate_pct / 100
    expectancy = position.worst + hit * (position.best - position.worst)
    return {
        "follower_max_profit_usd": position.best,
        "expectancy_usd": expectancy,
        "kelly_pct": 100 * max(expectancy, 0.0) / position.best,
        "copy": 100 * expectancy / -position.worst > p.hurdle_pct,
    }


def growth(p: race.Growth) -> Keys:
    multiple = 10_000_000 / p.start_usd
    monthly = multiple ** (1 / p.months)
    return {
        "multiple": multiple,
        "monthly_rate_pct": (monthly - 1) * 100,
        "log_growth_per_month": math.log(monthly),
    }


def kelly(p: race.Bets) -> Keys:
    capital, wins = float(p.start_usd), 0
    while capital < 10_000_000:
        capital *= 1 + p.stake_pct / 100 * p.payoff
        wins += 1
    win = p.win_pct / 100
    outcomes = ((win, 1 + p.stake_pct / 100 * p.payoff), (1 - win, 1 - p.stake_pct / 100))
    return {
        "wins_needed": wins,
        "kelly_pct": 100 * max((win * p.payoff - (1 - win)) / p.payoff, 0.0),
        "log_growth_per_bet": math.fsum(chance * math.log(factor) for chance, factor in outcomes),
    }


def ruin(p: race.Walk) -> Keys:
    """First-step equations of the walk, solved as a linear system."""
    win, inner = p.win_pct / 100, p.goal - 1
    matrix = np.eye(inner) - win * np.eye(inner, k=1) - (1 - win) * np.eye(inner, k=-1)
    at_goal = np.zeros(inner)
    at_goal[-1] = win
    reach, bets = np.linalg.solve(matrix, np.column_stack([at_goal, np.ones(inner)])).T
    return {"reach_probability_pct": 100 * float(reach[p.start - 1]), "expected_bets": float(bets[p.start - 1])}


def roll(p: defense.Rolled) -> Keys:
    kept = p.credit - p.call_now + p.new_call_price
    position = Position(Leg(-1, "put", p.put, kept), Leg(-1, "call", p.new_call, 0.0))
    lower, upper = position.breakevens
    return {
        "mark_to_market_usd": (p.credit - (p.put_now + p.call_now)) * p.contracts * 100,
        "net_credit_usd": position.net_premium,
        "lower_breakeven_usd": lower,
        "upper_breakeven_usd": upper,
    }


def wings(p: defense.Winged) -> Keys:
    position = Position(
        Leg(-1, "put", p.strike, p.credit),
        Leg(-1, "call", p.strike, 0.0),
        Leg(1, "put", p.put_wing, p.wings_cost),
        Leg(1, "call", p.call_wing, 0.0),
    )
    lower, upper = position.breakevens
    return {
        "net_credit_usd": position.net_premium,
        "max_loss_usd": -position.worst * 100 * p.contracts,
        "lower_breakeven_usd": lower,
        "upper_breakeven_usd": upper,
    }


def delta_hedge(p: defense.Hedged) -> Keys:
    deltas = [in_market(p.market, kind, strike).delta for kind, strike in (("put", p.put), ("call", p.call))]
    options = -math.fsum(deltas) * p.contracts * 100
    return {
        "delta_before_shares": options,
        "delta_after_shares": options + p.shares,
        "delta_exposure_after_usd": (options + p.shares) * p.market.spot,
    }


def cheapest_adjustment(p: defense.Choice) -> Keys:
    admissible = []
    for offer in p.offers:
        cost = sum(100 * offer.debit + offer.commission for _ in range(p.contracts))
        worst = cost + sum(100 * offer.loss_after for _ in range(p.contracts))
        if -p.delta_limit_shares <= offer.delta_after_shares <= p.delta_limit_shares and worst <= p.loss_limit_usd:
            admissible.append((cost, worst, offer.name))
    cost, worst, name = min(admissible)
    return {"adjustment": name, "total_cost_usd": cost, "worst_case_usd": worst}


CHECKS: Mapping[str, Callable[[Any], Keys]] = {
    check.__name__: check
    for check in (
        bsm_dividend,
        american_put,
        implied_vol,
        parity_gap,
        five_greeks,
        book_greeks,
        vertical,
        iron_condor,
        butterfly,
        collar,
        put_ratio,
        realised_vol,
        straddle_move,
        forward_variance,
        gamma_pnl,
        greeks_given,
        repriced,
        delta_var,
        stress,
        sizing,
        short_put_margin,
        copied_spread,
        copy_decision,
        growth,
        kelly,
        ruin,
        roll,
        wings,
        delta_hedge,
        cheapest_adjustment,
    )
}
