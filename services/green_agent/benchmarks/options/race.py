"""Race to 10M: the growth a goal needs, how much to stake, and the chance to arrive before ruin."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.green_agent.benchmarks.options.copy_trading import kelly_fraction
from services.green_agent.benchmarks.options.template import (
    Category,
    Dimension,
    Template,
    amount,
    count,
    probability,
)
from services.green_agent.scoring.answers import Value

GOAL_USD: Final = 10_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """A start and a deadline."""

    start_usd: int
    months: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Bets:
    """Repeated bets that pay `payoff` times the stake or lose it; a fixed share of the capital is staked."""

    start_usd: int
    win_pct: float
    payoff: float
    stake_pct: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Walk:
    """Even bets of one unit from `start` units until `goal` units or ruin."""

    start: int
    goal: int
    win_pct: float


def reach_probability(*, win_probability: float, start: int, goal: int) -> float:
    """Chance, 0..1, to reach `goal` units before 0 with even bets of one unit. `win_probability` is not 0.5."""
    odds = (1 - win_probability) / win_probability
    return math.expm1(start * math.log(odds)) / math.expm1(goal * math.log(odds))


def _draw_growth(rng: random.Random) -> Growth:
    return Growth(start_usd=rng.randint(150, 9_500) * 100, months=rng.randint(7, 60))


def _growth_key(params: Growth) -> Mapping[str, Value]:
    multiple = GOAL_USD / params.start_usd
    return {
        "multiple": multiple,
        "monthly_rate_pct": 100 * math.expm1(math.log(multiple) / params.months),
        "log_growth_per_month": math.log(multiple) / params.months,
    }


def _draw_bets(rng: random.Random) -> Bets:
    while True:
        payoff = round(rng.uniform(0.8, 2.6), 2)
        even_rate = 1 / (1 + payoff)
        params = Bets(
            start_usd=rng.randint(150, 2_500) * 100,
            win_pct=round(100 * min(even_rate * rng.uniform(1.08, 1.3), 0.9), 1),
            payoff=payoff,
            stake_pct=round(rng.uniform(0.8, 2.4), 2),
        )
        # A count that hangs on the last digits of a logarithm would be unfair.
        if 0.02 < _wins(params) % 1 < 0.98:
            return params


def _wins(params: Bets) -> float:
    return math.log(GOAL_USD / params.start_usd) / math.log1p(params.stake_pct / 100 * params.payoff)


def _bets_key(params: Bets) -> Mapping[str, Value]:
    win, stake = params.win_pct / 100, params.stake_pct / 100
    growth = win * math.log1p(stake * params.payoff) + (1 - win) * math.log1p(-stake)
    return {
        "wins_needed": math.ceil(_wins(params)),
        "kelly_pct": 100 * kelly_fraction(win_probability=win, payoff=params.payoff),
        "log_growth_per_bet": growth,
    }


def _draw_walk(rng: random.Random) -> Walk:
    start = rng.randint(6, 45)
    return Walk(
        start=start,
        goal=start + rng.randint(6, 70),
        win_pct=round(50 + rng.choice((-1, 1)) * rng.uniform(0.5, 4.5), 1),
    )


def _walk_key(params: Walk) -> Mapping[str, Value]:
    win = params.win_pct / 100
    reach = reach_probability(win_probability=win, start=params.start, goal=params.goal)
    return {
        "reach_probability_pct": 100 * reach,
        "expected_bets": (params.goal * reach - params.start) / (2 * win - 1),
    }


GROWTH: Final = Template(
    name="growth",
    category=Category.RACE_TO_10M,
    wordings=(
        (
            "An account of {p.start_usd:,} USD is to become 10,000,000 USD in {p.months} months. Which multiple is that and what"
            " must it earn every month?"
        ),
        (
            "Race to ten million: you start with {p.start_usd:,} USD and have {p.months} months. How many times must the capital"
            " grow to 10,000,000 USD, and at what constant monthly rate?"
        ),
        "How fast must {p.start_usd:,} USD grow to reach 10,000,000 USD after {p.months} months of equal percentage gains?",
    ),
    conventions="Returns compound monthly; nothing is paid in or taken out. Log growth uses the natural logarithm.",
    asked=(
        amount("multiple", "final capital over initial capital", Dimension.PNL, unit="times"),
        amount("monthly_rate_pct", "constant gain per month", Dimension.PNL, unit="%"),
        amount("log_growth_per_month", "log growth per month", Dimension.RISK, unit="per month", decimals=6),
    ),
    draw=_draw_growth,
    key=_growth_key,
)

KELLY: Final = Template(
    name="kelly",
    category=Category.RACE_TO_10M,
    wordings=(
        (
            "A trader bets {p.stake_pct:g} % of the capital on each trade. With probability {p.win_pct:g} % a trade gains"
            " {p.payoff:g} times the stake, otherwise the stake is lost. The capital is {p.start_usd:,} USD, the goal"
            " 10,000,000 USD. How many wins in a row would reach it, what stake would be optimal, and how fast does the capital"
            " grow on average?"
        ),
        (
            "On the way from {p.start_usd:,} USD to 10,000,000 USD every trade risks {p.stake_pct:g} % of the current capital"
            " and gains {p.payoff:g} times that in {p.win_pct:g} % of cases; it is lost in the others. Find the number of"
            " consecutive wins that suffices, the Kelly stake, and the expected log growth at the stake used."
        ),
        (
            "Edge and growth: win rate {p.win_pct:g} %, gain {p.payoff:g} per unit staked, loss of the stake otherwise, stake"
            " {p.stake_pct:g} % of capital per trade, start {p.start_usd:,} USD, goal 10,000,000 USD."
        ),
    ),
    conventions=(
        "A win adds the stated multiple of the stake to the capital, a loss takes the stake away. Kelly is the share of"
        " capital, in percent, that maximises expected log growth. Log growth uses the natural logarithm."
    ),
    asked=(
        count("wins_needed", "smallest number of consecutive wins that reaches the goal", Dimension.PNL, unit="wins"),
        amount("kelly_pct", "full Kelly stake", Dimension.RISK, unit="%", decimals=3, tolerance=0.01),
        amount(
            "log_growth_per_bet",
            "expected log growth per trade at the stake used",
            Dimension.RISK,
            unit="per trade",
            decimals=6,
            tolerance=0.01,
        ),
    ),
    draw=_draw_bets,
    key=_bets_key,
)

RUIN: Final = Template(
    name="ruin",
    category=Category.RACE_TO_10M,
    wordings=(
        (
            "A trader has {p.start} units of risk and bets one unit at even odds again and again, winning {p.win_pct:g} % of the"
            " bets, until the account reaches {p.goal} units or is ruined. How likely is the goal, and how long does it take to"
            " come to either end?"
        ),
        (
            "With even bets of one unit each, won with probability {p.win_pct:g} %, what is the chance to get from {p.start} to"
            " {p.goal} units before losing everything, and what is the expected number of bets until one of the two happens?"
        ),
        (
            "Gambler's ruin: start {p.start} units, target {p.goal} units, stake one unit per bet at even money, win"
            " probability {p.win_pct:g} %. Find the probability to reach the target before ruin and the expected length of the"
            " game."
        ),
    ),
    conventions="Bets are independent; ruin means no units are left.",
    asked=(
        probability("reach_probability_pct", "probability to reach the goal before ruin"),
        amount("expected_bets", "expected number of bets until goal or ruin", Dimension.RISK, unit="bets", decimals=2),
    ),
    draw=_draw_walk,
    key=_walk_key,
)

TEMPLATES: Final = (GROWTH, KELLY, RUIN)
