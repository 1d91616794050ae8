"""The simulator against cases computed by hand, and its invariants under arbitrary decisions."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig
from services.green_agent.benchmarks.crypto.simulator import Decision, Simulation, View
from services.green_agent.benchmarks.crypto.transforms import noisy
from tests.green_agent.benchmarks.crypto.markets import (
    CLOSE,
    HOUR_MS,
    MIDNIGHT_MS,
    Bar,
    buy,
    exits,
    flat,
    market,
    of_closes,
    orders,
    play,
    sell,
    watched,
)

RISE: Bar = (100, 110, 100, 110)


def test_fees_are_paid_on_both_fills() -> None:
    run = play(market(flat(), RISE, flat(110)), orders({0: buy(10), 1: CLOSE}))

    assert run.equity == pytest.approx((10_000, 10_099.60, 10_099.16))
    assert [trade.net for trade in run.trades] == pytest.approx([99.16])
    assert run.fees == pytest.approx(0.84)
    assert run.turnover == pytest.approx(2_100)
    assert run.fills == 2


def test_slippage_makes_every_fill_worse() -> None:
    run = play(market(flat(), RISE, flat(110)), orders({0: buy(10), 1: CLOSE}), slippage=0.001)

    assert [event.price for event in run.events] == pytest.approx([100.10, 109.89])
    assert run.equity[-1] == pytest.approx(10_097.06004)


def test_an_order_is_clipped_to_the_leverage_after_its_own_fee() -> None:
    run = play(market(flat(), flat(), flat()), orders({0: buy(1000)}))

    assert [event.size for event in run.events if event.kind == "open"] == pytest.approx([299.640431])
    assert run.clipped == 1
    assert run.equity[-1] == pytest.approx(9_976.028765)


def test_adding_averages_the_entry() -> None:
    seen: list[View] = []
    decisions = {0: buy(10), 1: buy(10)}

    play(market(flat(), RISE, flat(110), flat(110)), watched(seen, decisions))

    assert [position.entry_price for view in seen[2:] for position in view.account.positions] == [105]
    assert [position.size for view in seen[2:] for position in view.account.positions] == [20]


def test_a_partial_close_takes_its_share_of_the_entry_fee() -> None:
    run = play(market(flat(), RISE, (110, 120, 110, 120)), orders({0: buy(10), 1: sell(4)}))

    assert [trade.net for trade in run.trades] == pytest.approx([39.664, 119.472])
    assert [trade.kind for trade in run.trades] == ["close", "final"]
    assert run.equity[-1] == pytest.approx(10_159.136)


def test_selling_more_than_the_position_reverses_it() -> None:
    run = play(market(flat(), RISE, (110, 110, 105, 105)), orders({0: buy(10), 1: sell(15)}))

    assert [trade.net for trade in run.trades] == pytest.approx([99.16, 24.57])
    assert [trade.size for trade in run.trades] == [10, -5]
    assert run.equity[-1] == pytest.approx(10_123.73)


@pytest.mark.parametrize(
    ("bars", "order", "kind", "fill", "end"),
    [
        pytest.param([flat(), (99, 99, 94, 94)], buy(10, stop=95), "stop", 95, 9_949.22, id="stop"),
        pytest.param([flat(), flat(90)], buy(10, stop=95), "stop", 90, 9_899.24, id="gap through the stop"),
        pytest.param([(100, 106, 94, 100)], buy(10, stop=95, target=105), "stop", 95, 9_949.22, id="both"),
        pytest.param([(100, 106, 96, 100)], buy(10, stop=95, target=105), "target", 105, 10_049.18, id="target"),
        pytest.param([flat(), flat(108)], buy(10, stop=95, target=105), "target", 108, 10_079.168, id="gap to target"),
        pytest.param([flat(), (99, 99, 50, 60)], buy(200), "liquidation", 50.545455, 46.501818, id="long liquidated"),
        pytest.param([flat(), (101, 150, 101, 140)], sell(200), "liquidation", 148.475248, 136.597228, id="short"),
        pytest.param([flat(), flat(45)], buy(200), "liquidation", 45, 0, id="gap liquidation"),
        pytest.param([flat(), (99, 99, 40, 50)], buy(200, stop=80), "stop", 80, 5_985.60, id="stop above it"),
    ],
)
def test_resting_levels_fill_where_the_market_lets_them(
    bars: list[Bar], order: Decision, kind: str, fill: float, end: float
) -> None:
    run = play(market(flat(), *bars, flat(bars[-1][3])), orders({0: order}))

    assert [trade.kind for trade in run.trades] == [kind]
    assert [trade.exit_price for trade in run.trades] == pytest.approx([fill], rel=1e-6)
    assert run.equity[-1] == pytest.approx(end, rel=1e-6)
    assert run.liquidations == (kind == "liquidation")
    assert run.bankrupt == (end == 0)


@pytest.mark.parametrize("order", [buy(10, stop=105), sell(10, stop=95), buy(10, target=95), sell(10, target=105)])
def test_a_level_on_the_wrong_side_is_rejected_and_the_order_stands(order: Decision) -> None:
    run = play(market(flat(), flat(), flat()), orders({0: order}))

    assert run.invalid_stop == 1
    assert [trade.kind for trade in run.trades] == ["final"]
    assert run.equity[-1] == pytest.approx(9_999.20)


def test_a_level_between_open_and_fill_is_on_the_wrong_side() -> None:
    bars = market(flat(), flat(), flat())

    for order in (buy(10, stop=100.05), buy(10, target=100.05), sell(10, stop=99.95), sell(10, target=99.95)):
        assert play(bars, orders({0: order}), slippage=0.001).invalid_stop == 1


def test_an_order_is_cancelled_when_a_stop_fires_at_its_open() -> None:
    run = play(market(flat(), flat(), (94, 94, 94, 94), flat(94)), orders({0: buy(10, stop=95), 1: sell(10), 2: CLOSE}))

    assert run.cancelled == 1
    assert exits(run) == [("stop", 94)]
    assert run.equity[-1] == pytest.approx(9_939.224)


@pytest.mark.parametrize("decision", [Decision(action="HOLD", stop_loss=90), sell(0)])
def test_nothing_is_cancelled_where_nothing_was_ordered(decision: Decision) -> None:
    run = play(market(flat(), flat(), flat(94), flat(94)), orders({0: buy(10, stop=95), 1: decision}))

    assert exits(run) == [("stop", 94)]
    assert run.cancelled == 0


@pytest.mark.parametrize(("order", "after"), [(buy(10), 9_999.50), (sell(10), 9_999.70)])
def test_longs_pay_funding_to_shorts_at_utc_multiples_only(order: Decision, after: float) -> None:
    bars = market(*[flat()] * 10, funding=0.0001, start_ms=MIDNIGHT_MS + 6 * HOUR_MS)

    run = play(bars, orders({0: order}))

    assert run.equity[:2] == pytest.approx((10_000, 9_999.60))
    assert run.equity[2:-1] == pytest.approx([after] * 7, rel=1e-9)
    paid = {event.bar: event.net for event in run.events if event.kind == "funding"}
    assert paid == pytest.approx({2: after - 9_999.60})


def test_funding_uses_the_rate_known_before_and_every_multiple_a_bar_spans() -> None:
    day = 24 * HOUR_MS
    bars = replace(market(*[flat()] * 4, bar_ms=day), funding=(0.5, 0.001, 0.002, 0.5))

    run = play(bars, orders({0: buy(10)}))

    assert run.funding == pytest.approx(3 * 10 * 100 * (0.001 + 0.002))
    assert play(bars, orders({0: buy(10)}), EvaluationConfig(funding_interval_hours=0)).funding == 0


def test_funding_belongs_to_the_trade_that_paid_it() -> None:
    bars = market(*[flat()] * 4, funding=0.0001, start_ms=MIDNIGHT_MS + 6 * HOUR_MS)

    run = play(bars, orders({0: buy(10), 2: sell(4)}))

    assert [trade.net for trade in run.trades] == pytest.approx([-0.32 - 0.04, -0.48 - 0.06])


def test_a_null_level_leaves_the_old_one_and_hold_moves_it() -> None:
    bars = market(*[flat()] * 4, (99, 99, 96, 96), flat(96))
    decisions = {0: buy(10, stop=90), 1: Decision(action="HOLD", stop_loss=97), 2: buy(1)}

    run = play(bars, orders(decisions))

    assert [(trade.kind, trade.exit_price, trade.size) for trade in run.trades] == [("stop", 97, 11)]


def test_levels_are_cleared_when_the_position_is_reversed() -> None:
    bars = market(flat(), flat(), flat(), (100, 120, 80, 100), flat())

    run = play(bars, orders({0: buy(10, stop=95, target=105), 1: sell(20)}))

    assert [trade.kind for trade in run.trades] == ["close", "final"]


def test_levels_without_a_position_are_of_no_effect() -> None:
    bars = market(flat(), flat(), flat(), (100, 120, 80, 100), flat())

    run = play(bars, orders({0: Decision(action="HOLD", stop_loss=95, take_profit=105), 1: buy(1)}))

    assert (run.invalid_stop, [trade.kind for trade in run.trades]) == (0, ["final"])


def test_reducing_is_never_refused_and_the_cap_closes_nothing() -> None:
    """At 80 the leverage is above 3, so nothing more opens and selling still works."""
    bars = market(flat(), flat(), flat(80), flat(80), flat(80))

    run = play(bars, orders({0: buy(290), 2: buy(10), 3: sell(100)}))

    assert [(event.kind, event.size) for event in run.events] == [
        ("open", 290),
        ("clipped", 10),
        ("close", -100),
        ("final", -190),
    ]


def test_an_order_as_large_as_the_position_to_eight_digits_closes_all_of_it() -> None:
    run = play(of_closes(100, 100, 100, 100), orders({0: buy(1 / 3), 1: sell(0.33333333)}))

    assert [trade.kind for trade in run.trades] == ["close"]


def test_an_order_of_size_zero_does_nothing() -> None:
    run = play(market(flat(), flat(), flat(), flat()), orders({0: buy(0, stop=105), 1: sell(0), 2: CLOSE}))

    assert (run.fills, run.events, run.equity) == (0, (), (10_000,) * 4)


def test_a_bankrupt_account_is_not_asked_again() -> None:
    bars = market(flat(), flat(), flat(45), flat(45), flat(45))

    run = play(bars, orders({0: buy(200)}))

    assert (run.decisions, run.bankrupt, run.equity[2:]) == (2, True, (0, 0, 0))
    assert run.equity[1] == pytest.approx(9_992)
    assert run.shortfall == pytest.approx(200 * 55 + 8 + 9_000 * 0.0054 - 10_000)


def test_a_position_under_water_as_it_opens_is_liquidated_no_better_than_the_open() -> None:
    config = EvaluationConfig(max_leverage=50, maintenance_margin=0.019)

    run = play(market(flat(), (100, 101, 99, 100), flat()), orders({0: buy(1e6)}), config, slippage=0.01)

    assert exits(run) == [("liquidation", 99.0)]


@pytest.mark.parametrize(("interval", "asked_at"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (3, [0, 3]), (9, [0])])
def test_decisions_are_asked_for_at_the_interval_and_not_at_the_last_bar(interval: int, asked_at: list[int]) -> None:
    seen: list[View] = []

    run = play(of_closes(*[100] * 6), seen.append, EvaluationConfig(decision_interval=interval))

    assert [view.bar for view in seen] == asked_at
    assert [view.steps_left for view in seen] == list(range(len(asked_at)))[::-1]
    assert [view.step for view in seen] == list(range(len(asked_at)))
    assert run.decisions == len(asked_at)


def test_a_view_tells_the_account_and_what_happened_since() -> None:
    seen: list[View] = []
    decisions = {0: buy(10, stop=95, target=120)}

    play(market(flat(), RISE, flat(110), flat(110)), watched(seen, decisions))

    account = seen[1].account
    assert seen[0].account.max_buy == pytest.approx(299.640431)
    assert seen[0].account.max_sell == seen[0].account.max_buy
    assert (account.balance, account.equity) == pytest.approx((9_999.6, 10_099.6))
    assert account.leverage == pytest.approx(1_100 / 10_099.6)
    assert (account.positions[0].stop_loss, account.positions[0].take_profit) == (95, 120)
    assert account.positions[0].unrealised_pnl == 100
    assert account.liquidation_price is None
    assert [(event.kind, event.bar) for event in seen[1].events] == [("open", 1)]
    assert seen[2].events == ()


def test_the_largest_order_shown_fills_whole_when_the_price_stands() -> None:
    bars = market(*[flat()] * 5)
    sizes: list[float] = []

    def agent(view: View) -> Decision:
        size = (view.account.max_buy if view.step % 2 == 0 else view.account.max_sell) * (1 - 1e-9)
        sizes.append(size)
        return buy(size) if view.step % 2 == 0 else sell(size)

    run = play(bars, agent)

    assert run.clipped == 0
    assert sizes[1] > 1.9 * sizes[0]


def test_noise_is_shown_and_never_traded() -> None:
    bars = of_closes(100, 102, 101, 103, 104)
    shown = noisy(bars, (1.01, 0.99, 1.02, 0.98, 1.0))
    views = []
    simulation = Simulation(bars, EvaluationConfig(), slippage=(0.0,) * 5, shown=shown)
    while (view := simulation.advance()) is not None:
        views.append(view)
        simulation.decide(buy(10) if view.step == 0 else Decision(action="HOLD"))

    assert simulation.result() == play(bars, orders({0: buy(10)}))
    assert views[1].account.equity == pytest.approx(10_000 - 0.4 + 10 * (102 * 0.99 - 100))


def test_warm_up_bars_feed_the_indicators_alone() -> None:
    warm, bars = of_closes(*range(100, 160)).slice(0, 57), of_closes(*range(100, 160)).slice(57, 60)
    simulation = Simulation(bars, EvaluationConfig(), slippage=(0.0,) * 3, warm=warm)

    simulation.advance()
    view = simulation.advance()

    assert view is not None
    assert view.bar == 1
    assert view.indicators.ema_50 == pytest.approx(133.5)


def test_a_decision_that_was_not_made_counts_as_hold() -> None:
    simulation = Simulation(of_closes(100, 101, 102), EvaluationConfig(), slippage=(0.0,) * 3)

    while simulation.advance() is not None:
        pass

    assert simulation.result().equity == (10_000,) * 3


def test_the_order_of_calls_is_checked() -> None:
    simulation = Simulation(of_closes(100, 101, 102), EvaluationConfig(), slippage=(0.0,) * 3)

    with pytest.raises(ValueError, match="no decision is due"):
        simulation.decide(CLOSE)
    with pytest.raises(ValueError, match="the episode is not over"):
        simulation.result()
    simulation.advance()
    simulation.decide(CLOSE)
    with pytest.raises(ValueError, match="no decision is due"):
        simulation.decide(CLOSE)


def test_inputs_that_do_not_fit_are_refused() -> None:
    bars = of_closes(100, 101, 102)
    with pytest.raises(ValueError, match="3 bars, 3 shown, 2 values of slippage"):
        Simulation(bars, EvaluationConfig(), slippage=(0.0,) * 2)
    with pytest.raises(ValueError, match="at least 2 bars"):
        Simulation(bars.slice(0, 1), EvaluationConfig(), slippage=(0.0,))


@pytest.mark.parametrize("size", [-1.0, math.nan, math.inf])
def test_a_size_no_order_can_have_is_refused(size: float) -> None:
    with pytest.raises(ValueError, match="size must be 0 or more and finite"):
        Decision(action="BUY", size=size)


@pytest.mark.parametrize("level", [0.0, -5.0, math.nan, math.inf])
def test_a_level_no_order_can_have_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="stop_loss must be above 0"):
        Decision(action="HOLD", stop_loss=level)
    with pytest.raises(ValueError, match="take_profit must be above 0"):
        Decision(action="HOLD", take_profit=level)


levels = st.none() | st.floats(1e-3, 1e4) | st.just(1e308)
decisions_of_any_kind = st.builds(
    Decision,
    action=st.sampled_from(("BUY", "SELL", "HOLD", "CLOSE")),
    size=st.floats(0, 1000) | st.sampled_from((0.0, 5e-324, 1e-9, 1e308)),
    stop_loss=levels,
    take_profit=levels,
)


@st.composite
def any_market(draw: st.DrawFn) -> list[Bar]:
    """Up to 30 bars that gap and swing by up to 60 % each."""
    price = 100.0
    rows: list[Bar] = []
    for _ in range(draw(st.integers(3, 30))):
        steps = [draw(st.floats(-0.6, 0.6)) for _ in range(4)]
        opened = price * math.exp(steps[0])
        price = opened * math.exp(steps[1])
        rows.append(
            (opened, max(opened, price) * math.exp(abs(steps[2])), min(opened, price) * math.exp(-abs(steps[3])), price)
        )
    return rows


configs = st.builds(
    EvaluationConfig,
    max_leverage=st.floats(0.1, 90),
    trading_fee=st.floats(0, 0.1),
    maintenance_margin=st.floats(0, 0.011),
    liquidation_fee=st.floats(0, 0.5),
)


@settings(max_examples=300)
@given(
    rows=any_market(),
    decisions=st.lists(decisions_of_any_kind, min_size=30, max_size=30),
    config=configs,
    slippage=st.floats(0, 0.5),
    funding=st.floats(-0.01, 0.01),
)
def test_no_decisions_break_an_account(
    rows: list[Bar], decisions: list[Decision], config: EvaluationConfig, slippage: float, funding: float
) -> None:
    """Equity is never negative, wallet and trades agree to the cent, and nothing raises."""
    bars = market(*rows, funding=funding)

    run = play(bars, lambda view: decisions[view.step], config, slippage=slippage)

    assert len(run.equity) == len(bars)
    assert all(0 <= equity < math.inf for equity in run.equity)
    booked = config.initial_balance + math.fsum(trade.net for trade in run.trades) + run.shortfall
    assert run.equity[-1] == pytest.approx(booked, rel=1e-6, abs=1e-6 * (config.initial_balance + run.turnover))
    assert run.bankrupt or run.shortfall == 0


@settings(max_examples=100)
@given(rows=any_market(), decisions=st.lists(decisions_of_any_kind, min_size=30, max_size=30))
def test_an_opening_fill_never_exceeds_the_leverage(rows: list[Bar], decisions: list[Decision]) -> None:
    config = EvaluationConfig(trading_fee=0.01)
    bars = market(*(flat(row[3]) for row in rows))

    def agent(view: View) -> Decision:
        if any(event.kind == "open" for event in view.events):
            assert view.account.leverage <= 3 * (1 + 1e-9)
        decision = decisions[view.step]
        return Decision(action=decision.action, size=decision.size)

    play(bars, agent, config)


@settings(max_examples=100)
@given(rows=any_market(), decisions=st.lists(decisions_of_any_kind, min_size=30, max_size=30), data=st.data())
def test_what_is_seen_does_not_depend_on_the_future(
    rows: list[Bar], decisions: list[Decision], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(rows)))
    other = [*rows[:cut], *[flat(50.0)] * (len(rows) - cut)]

    def views(bars: list[Bar]) -> list[View]:
        seen: list[View] = []
        play(market(*bars), watched(seen, dict(enumerate(decisions))))
        return [view for view in seen if view.bar < cut]

    assert views(rows) == views(other)
