"""The benchmark as a whole: tasks, scores, exploits, the two windows of AgentBusters."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.contract.outcomes import Failure, Outcome
from services.green_agent.benchmarks.base import DatasetError, Score, Setting
from services.green_agent.benchmarks.crypto import Crypto
from services.green_agent.benchmarks.crypto.config import CryptoConfig
from services.green_agent.data.store import Store
from services.purple_agent.baselines import trading
from tests.green_agent.benchmarks.crypto.scenario_writing import market_data, write
from tests.green_agent.benchmarks.crypto.trials import (
    BASELINE_ONLY,
    HOLD,
    Request,
    benchmark,
    churn,
    entry,
    hold,
    score,
    talk,
    trade,
)

COSTS = {"slippage_range": [0.0002, 0.001]}
KEYS = ("baseline", "noisy", "adversarial", "scale_1_1", "invert_returns")


def data() -> Path:
    """The folder of shared data."""
    folder = Path(os.environ.get("ASSAY_DATA_FROM", "../shared/data"))
    if not (folder / "agentbusters" / "crypto").is_dir():
        pytest.skip("no shared data: set ASSAY_DATA_FROM")
    return folder


def episode_scores(scored: Score) -> dict[str, float]:
    episodes = scored.details["episodes"]
    assert isinstance(episodes, dict)
    return {key: episode["score"] for key, episode in episodes.items()}  # type: ignore[index, call-overload, misc]


@pytest.mark.parametrize("weights", [{}, {"score_weights": {"baseline": 0.1, "noisy": 0.7, "meta": 0.1}}])
async def test_holding_scores_exactly_fifty_in_every_episode_inactive_and_grade_f(weights: dict[str, Any]) -> None:
    scored = await trade(hold, evaluation=COSTS | weights)

    assert set(episode_scores(scored).values()) == {50.0}
    assert (scored.score, scored.passed) == (0.5, False)
    assert (scored.metrics["inactive"], scored.metrics["excess_over_hold"]) == (True, 0.0)
    assert scored.details["grade"] == "F"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), shares=st.lists(st.floats(0.01, 1), min_size=4, max_size=4))
async def test_holding_scores_fifty_whatever_the_weights(seed: int, shares: list[float]) -> None:
    weights = dict(zip(("baseline", "noisy", "adversarial", "meta"), shares, strict=True))

    scored = await trade(hold, seed, evaluation=COSTS | {"score_weights": weights}, max_steps=5)

    assert scored.score == 0.5


async def test_details_hold_what_rows_of_agentbusters_held() -> None:
    scored = await trade(churn, evaluation=COSTS | {"adversarial_injection_rate": 0.3})

    assert scored.details["scenario_id"] == "crypto-g1-0000"
    by_key = episode_scores(scored)
    for kind in ("baseline", "noisy", "adversarial"):
        assert scored.details[f"{kind}_score"] == by_key[kind]
    assert scored.score == pytest.approx(
        (
            0.4 * by_key["baseline"]
            + 0.3 * by_key["noisy"]
            + 0.2 * by_key["adversarial"]
            + 0.1 * float(scored.details["meta_score"])  # type: ignore[arg-type]
        )
        / 100
    )
    assert scored.metrics["buyhold_score"] == scored.details["buyhold_score"]
    assert scored.metrics["excess_over_buyhold"] == pytest.approx(
        100 * scored.score - float(scored.details["buyhold_score"])  # type: ignore[arg-type]
    )
    events = scored.details["events"]
    assert isinstance(events, list)
    assert {event["episode"] for event in events} == {"adversarial"}  # type: ignore[index, call-overload]
    assert {name: sub.possible for name, sub in scored.sub_scores.items()} == dict.fromkeys(
        ("baseline", "noisy", "adversarial", "meta"), 1.0
    )
    assert sum(sub.earned for sub in scored.sub_scores.values()) > 0
    json.dumps(scored.details, allow_nan=False)


async def test_a_kind_without_weight_is_not_run_and_has_no_score() -> None:
    scored = await trade(churn, evaluation=BASELINE_ONLY)

    assert list(episode_scores(scored)) == ["baseline"]
    assert (scored.details["noisy_score"], scored.details["meta_score"]) == (None, None)
    assert list(scored.sub_scores) == ["baseline"]


@pytest.mark.parametrize("reply", ["I would buy now!", '{"action": "BUY"}', "{}"])
async def test_garbage_in_all_episodes_is_the_agents_error(reply: str) -> None:
    bench = benchmark()
    task = bench.tasks()[0]
    transcript = await talk(bench, task, lambda _request: reply)

    with pytest.raises(Failure) as failed:
        await score(bench, task, transcript)

    assert (failed.value.outcome, failed.value.kind) == (Outcome.AGENT_ERROR, "malformed")
    assert len(transcript.turns) == 5 * 10


async def test_garbage_in_one_episode_costs_that_episode_whole() -> None:
    labels = set[str]()

    def mostly(request: Request) -> str:
        labels.add(request["episode"])
        return "garbage" if request["episode"] == "e1" else HOLD

    scored = await trade(mostly)

    assert labels == {"e1", "e2", "e3", "e4", "e5"}
    assert sorted(episode_scores(scored).values()) == [0.0, 50.0, 50.0, 50.0, 50.0]


async def test_malformed_decisions_cost_their_share_of_the_episode() -> None:
    scored = await trade(lambda r: "?" if r["step"] % 4 == 1 else HOLD, evaluation=BASELINE_ONLY)

    assert scored.score == 0.5 * (1 - 26 / 104)
    assert scored.metrics["malformed"] == 26


async def test_repeats_of_a_trial_meet_the_same_market() -> None:
    bench = benchmark()
    task = bench.tasks()[0]
    first, second = [await talk(bench, task, churn) for _ in range(2)]

    assert {turn.question for turn in first.turns} == {turn.question for turn in second.turns}


def test_the_digest_tells_markets_rules_and_seeds_apart() -> None:
    made = [
        benchmark(),
        benchmark(seed=8),
        benchmark(evaluation={"trading_fee": 0.001}),
        benchmark(evaluation={"seed": 9}),
        benchmark(max_steps=30),
        benchmark(reveal=True),
    ]

    assert len({bench.tasks()[0].digest for bench in made}) == len(made)
    assert benchmark().tasks()[0].digest == benchmark().tasks()[0].digest


def test_a_seed_of_the_entry_replaces_the_run_seed_for_the_draws() -> None:
    keys = {"generator": {"count": 1, "bars": 40, "seed": 3}, "evaluation": {"seed": 9}}

    assert benchmark(seed=1, **keys).tasks()[0].digest == benchmark(seed=2, **keys).tasks()[0].digest


def test_planned_messages_are_those_of_all_episodes_run() -> None:
    assert benchmark().tasks()[0].messages == 5 * 104
    assert benchmark(evaluation=BASELINE_ONLY | {"decision_interval": 10}).tasks()[0].messages == 11


def test_a_stride_that_leaves_too_few_bars_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "windows", "short", market_data(20))
    config = CryptoConfig.model_validate({"type": "crypto", "path": "windows", "stride": 10})

    with pytest.raises(DatasetError, match="crypto scenario short: stride 10 leaves 2 of 20 bars"):
        Crypto(config, Setting(seed=1, store=Store(folders=(tmp_path,), mirror=None))).tasks()


def test_a_market_that_no_shock_can_be_added_to_is_refused_by_name(tmp_path: Path) -> None:
    levels = {
        number: dict.fromkeys(("open", "high", "low", "close"), 10.0 ** (-6, 6)[number % 2]) for number in range(20)
    }
    write(tmp_path / "windows", "wild", market_data(20, levels))
    keys = {"type": "crypto", "path": "windows", "evaluation": {"adversarial_injection_rate": 1}}
    store = Store(folders=(tmp_path,), mirror=None)

    with pytest.raises(DatasetError, match="crypto scenario wild: its returns are so large"):
        Crypto(CryptoConfig.model_validate(keys), Setting(seed=1, store=store)).tasks()


def test_episodes_shorter_than_asked_are_recorded(tmp_path: Path) -> None:
    write(tmp_path / "windows", "short", market_data(12))
    config = CryptoConfig.model_validate({"type": "crypto", "path": "windows", "max_steps": 20})
    bench = Crypto(config, Setting(seed=1, store=Store(folders=(tmp_path,), mirror=None)))

    bench.tasks()

    assert bench.notes() == {"source": "path windows", "passed_over": [], "shorter_than_max_steps": ["short"]}


def baseline(decide: trading.Decide) -> Callable[[Request], str]:
    return lambda request: trading.trader(decide, json.dumps(request))


async def test_a_stop_on_the_wrong_side_is_worth_what_the_order_is_worth_without_it() -> None:
    def plain(request: Request) -> str:
        return json.dumps({"action": "BUY", "size": 1})

    with_stop = await trade(baseline(trading.wrong_side_stop), evaluation=COSTS)
    without = await trade(plain, evaluation=COSTS)

    assert with_stop.score == without.score
    assert with_stop.metrics["invalid_stop"] == 104


async def mean_score(trader: Callable[[Request], str], *, scenarios: int = 12) -> float:
    """Mean of 0..100 over generated scenarios, baseline episodes alone."""
    bench = benchmark(11, generator={"count": scenarios, "bars": 200}, evaluation=COSTS | BASELINE_ONLY)
    scores = [await score(bench, task, await talk(bench, task, trader)) for task in bench.tasks()]
    return 100 * fmean(scored.score for scored in scores)


async def test_tiny_wins_stay_within_a_point_of_fifty() -> None:
    scored = await trade(baseline(trading.tiny_wins), generator={"count": 1, "bars": 500}, evaluation=COSTS)

    assert {abs(value - 50) < 1 for value in episode_scores(scored).values()} == {True}
    assert scored.metrics["inactive"] is False


async def test_scalping_loses_on_average() -> None:
    assert await mean_score(baseline(trading.scalp)) < 50


async def test_fading_shocks_loses_on_average() -> None:
    assert await mean_score(baseline(trading.fade_shocks)) < 50


@pytest.mark.parametrize(
    ("window", "points", "invalid"), [("sample_btc_window", 20.93, 11), ("volatile_btc_window", 61.63, 19)]
)
async def test_the_stop_that_earned_94_and_100_points_earns_what_its_twin_earns(
    window: str, points: float, invalid: int
) -> None:
    config = CryptoConfig.model_validate(
        {
            "type": "crypto",
            "path": "data/crypto/scenarios",
            "scenarios": [window],
            "reveal": True,
            "warmup_bars": 0,
            "evaluation": BASELINE_ONLY,
        }
    )
    bench = Crypto(config, Setting(seed=1, store=Store(folders=(), mirror=data())))
    (task,) = bench.tasks()

    def plain(_request: Request) -> str:
        return json.dumps({"action": "BUY", "size": 1})

    play = partial(talk, bench, task)
    scored = await score(bench, task, await play(baseline(trading.wrong_side_stop)))
    twin = await score(bench, task, await play(plain))

    assert 100 * scored.score == pytest.approx(points, abs=0.005)
    assert scored.metrics["invalid_stop"] == invalid
    assert twin.score == scored.score


def test_the_two_windows_of_agentbusters_load() -> None:
    config = entry(path="data/crypto/scenarios", on_missing="error")

    tasks = Crypto(config, Setting(seed=1, store=Store(folders=(), mirror=data()))).tasks()

    assert [(task.id, len(task.course.window.warm), len(task.course.window.bars)) for task in tasks] == [
        ("sample_btc_window", 3, 9),
        ("volatile_btc_window", 5, 15),
    ]
    assert all("BTC" not in task.prompt and "2022" not in task.prompt for task in tasks)
