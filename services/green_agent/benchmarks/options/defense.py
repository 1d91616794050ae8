"""Strategy Defense: what a position under pressure is worth, what mending it costs, and which mend is allowed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.green_agent.benchmarks.options.market import (
    CONTRACT,
    MODEL,
    SIGNS,
    Market,
    cents,
    draw_market,
    strike_near,
)
from services.green_agent.benchmarks.options.template import (
    Category,
    Dimension,
    Template,
    amount,
    breakeven,
    greek,
    label,
)
from services.green_agent.scoring.answers import Value

ADJUSTMENTS: Final = ("roll the call", "buy wings", "buy shares", "close one side")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rolled:
    """A short strangle whose call is rolled up for a debit; prices per share."""

    contracts: int
    put: float
    call: float
    credit: float
    put_now: float
    call_now: float
    new_call: float
    new_call_price: float

    @property
    def debit(self) -> float:
        """What the roll costs per share: the old call bought back, the new one sold."""
        return self.call_now - self.new_call_price


@dataclass(frozen=True, kw_only=True, slots=True)
class Winged:
    """A short straddle that gets a bought wing on either side."""

    contracts: int
    strike: float
    credit: float
    put_wing: float
    call_wing: float
    wings_cost: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Hedged:
    """A short strangle hedged with shares; negative shares are sold short."""

    market: Market
    contracts: int
    put: float
    call: float
    shares: int

    @property
    def share_trade(self) -> str:
        """The hedge in words."""
        return f"{'buys' if self.shares > 0 else 'sells short'} {abs(self.shares)} shares"


@dataclass(frozen=True, kw_only=True, slots=True)
class Adjustment:
    """One way to mend a position."""

    name: str
    debit: float
    """Per share."""
    commission: float
    """Per contract."""
    delta_after_shares: int
    loss_after: float
    """Largest possible loss per share, before the cost of the adjustment."""

    def __str__(self) -> str:
        return (
            f'"{self.name}": debit {self.debit:.2f} USD per share, commission {self.commission:.2f} USD per contract, delta'
            f" afterwards {self.delta_after_shares:+d} shares, largest loss afterwards {self.loss_after:.2f} USD per share"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A position, the limits it must meet again, and the adjustments on offer."""

    contracts: int
    delta_limit_shares: int
    loss_limit_usd: int
    offers: tuple[Adjustment, ...]

    @property
    def listed(self) -> str:
        """The offers as printed."""
        return "; ".join(map(str, self.offers))

    def cost_usd(self, offer: Adjustment) -> float:
        """Debit and commissions of the whole position."""
        return self.contracts * (100 * offer.debit + offer.commission)

    def worst_usd(self, offer: Adjustment) -> float:
        """Largest possible loss of the whole position, the cost included."""
        return self.contracts * 100 * offer.loss_after + self.cost_usd(offer)

    def admits(self, offer: Adjustment) -> bool:
        """True when both limits are met."""
        calm = abs(offer.delta_after_shares) <= self.delta_limit_shares
        return calm and self.worst_usd(offer) <= self.loss_limit_usd


def _draw_rolled(rng: random.Random) -> Rolled:
    """A roll that leaves a credit; with none the break-evens change places."""
    while True:
        params = _draw_any_roll(rng)
        if params.credit > params.debit + 0.5:
            return params


def _draw_any_roll(rng: random.Random) -> Rolled:
    market = draw_market(rng, spot=(120.0, 900.0), days=(30, 90))
    put = strike_near(rng, market.spot, 0.84, 0.95)
    call = strike_near(rng, market.spot, 1.05, 1.14)
    later = market.moved(
        spot=call * rng.uniform(0.97, 1.03),
        volatility_pct=market.volatility_pct + rng.uniform(-2.0, 6.0),
        days=market.days - rng.randint(5, 20),
    )
    new_call = strike_near(rng, call, 1.06, 1.15)
    return Rolled(
        contracts=rng.randint(6, 60),
        put=put,
        call=call,
        credit=cents(market.premium("put", put) + market.premium("call", call)),
        put_now=later.premium("put", put),
        call_now=later.premium("call", call),
        new_call=new_call,
        new_call_price=later.premium("call", new_call),
    )


def _rolled_key(params: Rolled) -> Mapping[str, Value]:
    net = params.credit - params.debit
    return {
        "mark_to_market_usd": 100 * params.contracts * (params.credit - params.put_now - params.call_now),
        "net_credit_usd": net,
        "lower_breakeven_usd": params.put - net,
        "upper_breakeven_usd": params.new_call + net,
    }


def _draw_winged(rng: random.Random) -> Winged:
    market = draw_market(rng, spot=(120.0, 900.0), days=(20, 90))
    strike = strike_near(rng, market.spot, 0.98, 1.02)
    width = strike_near(rng, market.spot, 0.08, 0.16)
    credit = market.premium("put", strike) + market.premium("call", strike)
    later = market.moved(
        spot=strike * rng.uniform(0.97, 1.03),
        volatility_pct=market.volatility_pct,
        days=market.days - rng.randint(3, 12),
    )
    return Winged(
        contracts=rng.randint(6, 60),
        strike=strike,
        credit=cents(credit),
        put_wing=strike - width,
        call_wing=strike + width,
        wings_cost=cents(later.premium("put", strike - width) + later.premium("call", strike + width)),
    )


def _winged_key(params: Winged) -> Mapping[str, Value]:
    net = params.credit - params.wings_cost
    return {
        "net_credit_usd": net,
        "max_loss_usd": 100 * params.contracts * (params.call_wing - params.strike - net),
        "lower_breakeven_usd": params.strike - net,
        "upper_breakeven_usd": params.strike + net,
    }


def _draw_hedged(rng: random.Random) -> Hedged:
    market = draw_market(rng, days=(15, 60))
    return Hedged(
        market=market,
        contracts=rng.randint(8, 60),
        put=strike_near(rng, market.spot, 0.82, 0.93),
        call=strike_near(rng, market.spot, 1.01, 1.06),
        shares=rng.choice((-1, 1)) * rng.randint(105, 900),
    )


def _hedged_key(params: Hedged) -> Mapping[str, Value]:
    call = params.market.quote("call", params.call).delta
    put = params.market.quote("put", params.put).delta
    before = -100 * params.contracts * (call + put)
    after = before + params.shares
    return {
        "delta_before_shares": before,
        "delta_after_shares": after,
        "delta_exposure_after_usd": after * params.market.spot,
    }


def _draw_choice(rng: random.Random) -> Choice:
    """Two admissible adjustments, a cheaper one that leaves too much delta, and one that leaves too much loss."""
    contracts = rng.randint(12, 60)
    limit = rng.randint(150, 900)
    loss = rng.uniform(6.0, 24.0)
    # Debits differ by 5 USD a contract or more, commissions by less: no two offers cost the same.
    debits = sorted(cents(0.05 * steps) for steps in rng.sample(range(8, 97), 4))
    calm = [rng.choice((-1, 1)) * round(limit * rng.uniform(0.1, 0.9)) for _ in range(3)]
    wild = rng.choice((-1, 1)) * round(limit * rng.uniform(1.15, 2.5))
    names = rng.sample(ADJUSTMENTS, 4)

    def offer(at: int, debit: float, delta: int, loss_after: float) -> Adjustment:
        commission = cents(rng.uniform(0.65, 4.5))
        return Adjustment(
            name=names[at], debit=debit, commission=commission, delta_after_shares=delta, loss_after=cents(loss_after)
        )

    too_risky_debit, *admissible_debits = debits[1:]
    offers = [
        offer(0, debits[0], wild, loss * rng.uniform(0.6, 0.9)),
        offer(1, too_risky_debit, calm[0], loss * rng.uniform(1.5, 2.2) + debits[3]),
        offer(2, admissible_debits[0], calm[1], loss * rng.uniform(0.5, 0.9)),
        offer(3, admissible_debits[1], calm[2], loss * rng.uniform(0.5, 0.9)),
    ]
    rng.shuffle(offers)
    limit_usd = round(contracts * 100 * (loss + debits[3] + 0.1), -2)
    return Choice(contracts=contracts, delta_limit_shares=limit, loss_limit_usd=int(limit_usd), offers=tuple(offers))


def _choice_key(params: Choice) -> Mapping[str, Value]:
    chosen = min(filter(params.admits, params.offers), key=params.cost_usd)
    return {
        "adjustment": chosen.name,
        "total_cost_usd": params.cost_usd(chosen),
        "worst_case_usd": params.worst_usd(chosen),
    }


ROLL: Final = Template(
    name="roll",
    category=Category.STRATEGY_DEFENSE,
    wordings=(
        (
            "You sold {p.contracts} strangles with strikes {p.put:.2f} and {p.call:.2f} USD for {p.credit:.2f} USD. The put now"
            " costs {p.put_now:.2f} USD and the call {p.call_now:.2f} USD. You buy the call back and sell the {p.new_call:.2f}"
            " USD call at {p.new_call_price:.2f} USD instead. What was the mark-to-market result just before, and where does the"
            " position break even afterwards?"
        ),
        (
            "A short strangle ({p.put:.2f} USD put, {p.call:.2f} USD call, {p.contracts} contracts) brought {p.credit:.2f} USD"
            " per share. The stock has run up: put {p.put_now:.2f} USD, call {p.call_now:.2f} USD. The call is rolled to"
            " strike {p.new_call:.2f} USD, which trades at {p.new_call_price:.2f} USD. Evaluate before and after."
        ),
        (
            "Defend {p.contracts} contracts of a strangle sold at {p.credit:.2f} USD: strikes {p.put:.2f} USD (put, now"
            " {p.put_now:.2f} USD) and {p.call:.2f} USD (call, now {p.call_now:.2f} USD). The defence is to roll the call up to"
            " {p.new_call:.2f} USD at {p.new_call_price:.2f} USD."
        ),
    ),
    conventions=f"{CONTRACT} Premiums are per share; the new call expires with the old one; no commissions. {SIGNS}",
    asked=(
        amount(
            "mark_to_market_usd",
            "profit or loss of the position before the roll, with its sign",
            Dimension.PNL,
            unit="USD",
            decimals=2,
        ),
        amount("net_credit_usd", "premium kept after the roll", Dimension.PNL, decimals=2),
        breakeven("lower_breakeven_usd", "lower break-even share price after the roll", Dimension.PNL),
        breakeven("upper_breakeven_usd", "upper break-even share price after the roll", Dimension.PNL),
    ),
    draw=_draw_rolled,
    key=_rolled_key,
)

WINGS: Final = Template(
    name="wings",
    category=Category.STRATEGY_DEFENSE,
    wordings=(
        (
            "You are short {p.contracts} straddles struck at {p.strike:.2f} USD, sold for {p.credit:.2f} USD. To cap the risk"
            " you buy the {p.put_wing:.2f} USD put and the {p.call_wing:.2f} USD call for {p.wings_cost:.2f} USD together."
        ),
        (
            "A straddle ({p.strike:.2f} USD, {p.contracts} contracts) was sold at {p.credit:.2f} USD per share. Wings at"
            " {p.put_wing:.2f} and {p.call_wing:.2f} USD are added at a joint cost of {p.wings_cost:.2f} USD per share. What is"
            " left of the premium, what can still be lost, and where does the position break even?"
        ),
        (
            "Turn a sold straddle into an iron butterfly: {p.contracts} contracts, strike {p.strike:.2f} USD, premium received"
            " {p.credit:.2f} USD; bought put at {p.put_wing:.2f} USD and bought call at {p.call_wing:.2f} USD, together"
            " {p.wings_cost:.2f} USD."
        ),
    ),
    conventions=f"{CONTRACT} Premiums are per share, all options expire together, no commissions.",
    asked=(
        amount("net_credit_usd", "premium kept after the wings", Dimension.PNL, decimals=2),
        amount(
            "max_loss_usd",
            "largest possible loss of the whole position, without sign",
            Dimension.RISK,
            unit="USD",
            decimals=2,
        ),
        breakeven("lower_breakeven_usd", "lower break-even share price", Dimension.PNL),
        breakeven("upper_breakeven_usd", "upper break-even share price", Dimension.PNL),
    ),
    draw=_draw_winged,
    key=_winged_key,
)

DELTA_HEDGE: Final = Template(
    name="delta_hedge",
    category=Category.STRATEGY_DEFENSE,
    wordings=(
        (
            "A desk is short {p.contracts} contracts of a strangle: put {p.put:.2f} USD, call {p.call:.2f} USD,"
            " {p.market.days} days left. Spot {p.market.spot:.2f} USD, volatility {p.market.volatility_pct:g} %, interest rate"
            " {p.market.rate_pct:g} %, dividend yield {p.market.dividend_pct:g} %. As a defence it {p.share_trade}. What is its"
            " delta before and after?"
        ),
        (
            "Short strangle under pressure: {p.contracts} contracts, strikes {p.put:.2f} USD (put) and {p.call:.2f} USD (call),"
            " expiry in {p.market.days} days. The share stands at {p.market.spot:.2f} USD with {p.market.volatility_pct:g} %"
            " volatility and {p.market.dividend_pct:g} % dividend yield; the interest rate is {p.market.rate_pct:g} %. The"
            " trader {p.share_trade}. Give the delta without and with the shares."
        ),
        (
            "What exposure remains when the seller of {p.contracts} strangle contracts ({p.put:.2f} USD put and {p.call:.2f} USD"
            " call, {p.market.days} days) {p.share_trade}? Market: spot {p.market.spot:.2f} USD, interest rate"
            " {p.market.rate_pct:g} %, dividend yield {p.market.dividend_pct:g} %, volatility {p.market.volatility_pct:g} %."
        ),
    ),
    conventions=f"{MODEL} {CONTRACT} {SIGNS}",
    asked=(
        greek("delta_before_shares", "delta of the options, with its sign", unit="shares", decimals=2),
        greek("delta_after_shares", "delta with the shares, with its sign", unit="shares", decimals=2),
        amount(
            "delta_exposure_after_usd",
            "delta with the shares times spot, with its sign",
            Dimension.RISK,
            unit="USD",
            decimals=2,
            tolerance=0.01,
        ),
    ),
    draw=_draw_hedged,
    key=_hedged_key,
)

CHEAPEST: Final = Template(
    name="cheapest_adjustment",
    category=Category.STRATEGY_DEFENSE,
    wordings=(
        (
            "A position of {p.contracts} contracts must be brought back within its limits: a delta of at most"
            " {p.delta_limit_shares} shares in either direction and a largest loss, cost of the adjustment included, of at most"
            " {p.loss_limit_usd:,} USD. On offer are {p.listed}. Choose the cheapest adjustment that meets both limits."
        ),
        (
            "Which of these adjustments is the cheapest admissible one for {p.contracts} contracts? {p.listed}. Admissible means"
            " at most {p.delta_limit_shares} shares of delta, long or short, and at most {p.loss_limit_usd:,} USD of largest"
            " possible loss with the adjustment's cost added."
        ),
        (
            "Limits: absolute delta {p.delta_limit_shares} shares, worst case {p.loss_limit_usd:,} USD after paying for the"
            " adjustment. The position has {p.contracts} contracts. Candidates: {p.listed}. Take the one that costs least among"
            " those that respect the limits."
        ),
    ),
    conventions=f"{CONTRACT} The cost is the debit plus the commissions of the whole position.",
    asked=(
        label("adjustment", "the chosen adjustment", Dimension.STRATEGY, *ADJUSTMENTS),
        amount("total_cost_usd", "its cost for the whole position", Dimension.PNL, unit="USD", decimals=2),
        amount(
            "worst_case_usd",
            "largest possible loss of the whole position with that cost, without sign",
            Dimension.RISK,
            unit="USD",
            decimals=2,
        ),
    ),
    draw=_draw_choice,
    key=_choice_key,
)

TEMPLATES: Final = (ROLL, WINGS, DELTA_HEDGE, CHEAPEST)
