"""Scores against the specification's episode, and the neutral point that nothing moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.benchmarks.crypto.bars import Bars
from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig, MetricWeights
from services.green_agent.benchmarks.crypto.metrics import (
    EpisodeScore,
    buy_and_hold,
    close_returns_sd,
    episode_score,
    grade,
    meta_score,
    scenario_score,
)
from services.green_agent.benchmarks.crypto.scenario_generator import GeneratorConfig, generate
from services.green_agent.benchmarks.crypto.simulator import Decision
from tests.green_agent.benchmarks.crypto.markets import CLOSE, Agent, buy, flat, market, of_closes, orders, play

EPISODE = market(
    (100, 100, 100, 100), (100, 100, 99, 100), (100, 100, 97, 98), (98, 102, 98, 102), (102, 103, 101, 103)
)


def scored(bars: Bars, agent: Agent, config: EvaluationConfig | None = None) -> EpisodeScore:
    """Run and score a baseline episode."""
    config = config or EvaluationConfig()
    return episode_score(play(bars, agent, config), bars, close_returns_sd(bars), config)


def test_the_episode_of_the_specification_scores_as_computed_by_hand() -> None:
    run = play(EPISODE, orders({0: buy(100)}))
    score = episode_score(run, EPISODE, close_returns_sd(EPISODE), EvaluationConfig())

    assert run.equity == pytest.approx((10_000, 9_996, 9_796, 10_196, 10_291.88))
    assert close_returns_sd(EPISODE) == pytest.approx(0.0219527, rel=1e-5)
    assert score.metrics["total_return"] == pytest.approx(0.029188)
    assert score.metrics["max_drawdown"] == pytest.approx(0.0204)
    assert score.metrics["sharpe"] == pytest.approx(0.674953, rel=1e-6)
    assert score.components == pytest.approx(
        {"sharpe": 0.612492, "total_return": 0.666198, "max_drawdown": 0.550039, "win_rate": 0.872410}, rel=1e-6
    )
    assert score.score == pytest.approx(64.254250, rel=1e-6)


def test_native_metrics_are_named_and_undefined_ones_are_none() -> None:
    traded = scored(EPISODE, orders({0: buy(100), 1: CLOSE, 2: buy(1)}))
    held = scored(EPISODE, orders({}))

    assert traded.metrics["win_rate"] == 0.5
    assert traded.metrics["trade_count"] == 2
    assert traded.metrics["decisions"] == 4
    assert traded.metrics["turnover"] == pytest.approx(20_000 + 98 + 103)
    assert held.metrics["win_rate"] is None
    assert held.metrics["sharpe_annualised"] is None
    assert set(held.metrics) == {
        "total_return", "max_drawdown", "sharpe", "sharpe_annualised", "win_rate", "turnover", "fees", "funding",
        "trade_count", "decisions", "invalid_stop", "clipped", "cancelled", "liquidations",
    }  # fmt: skip


weight = st.floats(1e-3, 1e3)


@given(
    closes=st.lists(st.floats(0.01, 1e6), min_size=3, max_size=40),
    weights=st.tuples(weight, weight, weight, weight),
    balance=st.floats(0.01, 1e9),
    cap=st.floats(0.1, 50),
)
def test_doing_nothing_scores_exactly_50_in_every_market_under_any_weights(
    closes: list[float], weights: tuple[float, float, float, float], balance: float, cap: float
) -> None:
    sharpe, total, fall, wins = weights
    metric_weights = MetricWeights(sharpe=sharpe, total_return=total, max_drawdown=fall, win_rate=wins)
    config = EvaluationConfig(metric_weights=metric_weights, initial_balance=balance, sharpe_cap=cap)

    score = scored(of_closes(*closes), orders({}), config).score

    kinds = ("baseline", "noisy", "adversarial", "meta")
    assert score == 50.0
    assert meta_score([score] * 3) == 50.0
    assert scenario_score(dict.fromkeys(kinds, score), dict(zip(kinds, weights, strict=True))) == 50.0


def test_doing_nothing_in_a_flat_market_scores_exactly_50() -> None:
    assert scored(market(*[flat()] * 5), orders({})).score == 50.0


@pytest.mark.parametrize("index", range(6))
def test_one_tiny_trade_stays_at_neutral(index: int) -> None:
    """0.1 % of equity, in and out, on either side."""
    bars = generate(1, index, GeneratorConfig(bars=200)).slice(100, 300)
    size = 10 / bars.closes[0]

    for action in ("BUY", "SELL"):
        order = Decision(action="BUY" if action == "BUY" else "SELL", size=size)
        assert scored(bars, orders({0: order, 100: CLOSE})).score == pytest.approx(50, abs=1)
        assert scored(bars, orders({0: order})).score == pytest.approx(50, abs=1)


def test_bankruptcy_scores_at_the_bottom() -> None:
    score = scored(market(flat(), flat(), flat(45), flat(45)), orders({0: buy(200)}))

    assert score.components["total_return"] == 0
    assert score.components["max_drawdown"] == 0
    assert score.score < 20


@given(closes=st.lists(st.floats(50, 200), min_size=3, max_size=30), sizes=st.lists(st.floats(0, 300), min_size=30))
def test_scores_stay_between_0_and_100(closes: list[float], sizes: list[float]) -> None:
    score = scored(of_closes(*closes), lambda view: buy(sizes[view.step]) if view.step % 2 else CLOSE)

    assert 0 <= score.score <= 100
    assert all(0 <= value <= 1 for value in score.components.values())


def test_a_set_cap_replaces_the_automatic_one() -> None:
    config = EvaluationConfig(return_cap=0.029188 / 0.5, drawdown_cap=0.0204)

    score = scored(EPISODE, orders({0: buy(100)}), config)

    assert score.components["total_return"] == pytest.approx(0.75)
    assert score.components["max_drawdown"] == pytest.approx(0.25)


def test_buy_and_hold_buys_the_balance_at_the_next_open() -> None:
    config = EvaluationConfig()
    sd = close_returns_sd(EPISODE)

    held = buy_and_hold(EPISODE, sd, config, (0.0,) * 5)

    assert held == scored(EPISODE, orders({0: buy(100)}))
    assert buy_and_hold(EPISODE, sd, config, (0.01,) * 5).score < held.score


def test_meta_takes_half_a_deviation_off_the_mean() -> None:
    assert meta_score([60, 70, 80]) == pytest.approx(70 - 0.5 * (200 / 3) ** 0.5)
    assert meta_score([0, 0, 10]) < 3.4
    assert meta_score([0, 1, 0, 0, 0, 0, 0, 0, 0, 0]) == 0
    with pytest.raises(ValueError, match="at least one episode"):
        meta_score([])


def test_a_scenario_is_the_weighted_mean_of_its_episodes() -> None:
    episodes = {"baseline": 60.0, "noisy": 50.0}

    assert scenario_score(episodes, {"baseline": 1, "noisy": 3}) == pytest.approx(52.5)
    assert scenario_score(episodes, {"baseline": 0.4}) == pytest.approx(60)
    with pytest.raises(ValueError, match="no value for meta"):
        scenario_score(episodes, {"baseline": 0.4, "meta": 0.1})


@pytest.mark.parametrize(
    ("score", "letter"),
    [(100, "S"), (90, "S"), (89.99, "A"), (80, "A"), (70, "B"), (60, "C"), (50.01, "D"), (50, "F"), (0, "F")],
)
def test_grades_have_their_limits(score: float, letter: str) -> None:
    assert grade(score) == letter
