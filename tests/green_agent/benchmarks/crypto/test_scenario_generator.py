"""The generator: same seed same market, twins, and the statistics its parameters promise."""

import math
import random
from collections import Counter
from itertools import pairwise
from statistics import fmean, linear_regression, pstdev

import pytest
from pydantic import ValidationError

from services.green_agent.benchmarks.crypto.bars import check, round8
from services.green_agent.benchmarks.crypto.scenario_generator import (
    REGIMES,
    WARMUP_BARS,
    GeneratorConfig,
    generate,
    walk,
)
from services.green_agent.benchmarks.crypto.transforms import inverted


@pytest.mark.parametrize("index", range(4))
def test_a_scenario_is_a_sound_market_with_its_warm_up(index: int) -> None:
    bars = generate(7, index, GeneratorConfig(bars=300))

    check(bars, f"scenario {index}")
    assert len(bars) == WARMUP_BARS + 300
    assert round8(bars) == bars


def test_the_same_seed_gives_the_same_market_and_another_seed_another() -> None:
    config = GeneratorConfig(bars=20)

    assert generate(1, 0, config) == generate(1, 0, config)
    assert generate(1, 0, config) != generate(2, 0, config)
    assert generate(1, 0, config) != generate(1, 2, config)


def test_a_market_does_not_depend_on_how_many_are_made() -> None:
    assert generate(1, 4, GeneratorConfig(bars=20, count=5)) == generate(1, 4, GeneratorConfig(bars=20, count=50))


def test_odd_scenarios_are_the_inversion_of_the_one_before() -> None:
    config = GeneratorConfig(bars=20)

    assert generate(1, 5, config) == round8(inverted(generate(1, 4, config)))
    assert generate(1, 4, config) == generate(1, 4, GeneratorConfig(bars=20, inverted_twins=False))
    assert generate(1, 5, config) != generate(1, 5, GeneratorConfig(bars=20, inverted_twins=False))


def test_bars_have_the_length_that_was_asked_for() -> None:
    bars = generate(1, 0, GeneratorConfig(bars=20, bar_minutes=15))

    assert bars.bar_ms == 900_000
    assert {later - earlier for earlier, later in pairwise(bars.times_ms)} == {900_000}


def test_regimes_drift_and_swing_as_their_parameters_say() -> None:
    made = walk(random.Random(1), GeneratorConfig(bars=60_000))
    returns: dict[str, list[float]] = {name: [] for name in REGIMES}
    for t in range(1, len(made.bars)):
        returns[made.regimes[t]].append(math.log(made.bars.closes[t] / made.bars.closes[t - 1]))

    for name, regime in REGIMES.items():
        sd = regime.volatility / math.sqrt(365 * 24)
        drift = regime.drift / (365 * 24)
        assert pstdev(returns[name]) == pytest.approx(sd, rel=0.12), name
        assert fmean(returns[name]) == pytest.approx(drift, abs=4 * sd / math.sqrt(len(returns[name]))), name


def test_regimes_last_and_follow_as_their_parameters_say() -> None:
    regimes = walk(random.Random(1), GeneratorConfig(bars=60_000)).regimes
    changes = Counter((a, b) for a, b in pairwise(regimes) if a != b)
    bars = Counter(regimes)

    for name, regime in REGIMES.items():
        left = {after: changes[name, after] for after in REGIMES}
        assert bars[name] / sum(left.values()) == pytest.approx(regime.mean_bars, rel=0.2), name
        for after, chance in regime.following:
            assert left[after] / sum(left.values()) == pytest.approx(chance, abs=0.12), (name, after)
        assert left[name] == 0


def test_a_range_pulls_the_price_back_to_where_it_was_entered() -> None:
    made = walk(random.Random(1), GeneratorConfig(bars=60_000))
    levels = [math.log(close) for close in made.bars.closes]
    distances, returns = [], []
    entry = levels[0]
    for t in range(1, len(levels)):
        if made.regimes[t] != made.regimes[t - 1]:
            entry = levels[t - 1]
        if made.regimes[t] == "range":
            distances.append(levels[t - 1] - entry)
            returns.append(levels[t] - levels[t - 1])

    assert linear_regression(distances, returns).slope == pytest.approx(-0.04, abs=0.01)


def test_volume_rises_with_the_size_of_the_move() -> None:
    made = walk(random.Random(1), GeneratorConfig(bars=20_000))
    moves, volumes = [], []
    for t in range(1, len(made.bars)):
        sd = REGIMES[made.regimes[t]].volatility / math.sqrt(365 * 24)
        moves.append(abs(math.log(made.bars.closes[t] / made.bars.closes[t - 1])) / sd)
        volumes.append(math.log(made.bars.volumes[t] / 1000))

    fit = linear_regression(moves, volumes)
    assert (fit.slope, fit.intercept) == pytest.approx((0.8, 0.0), abs=0.03)
    assert pstdev(v - 0.8 * m for m, v in zip(moves, volumes, strict=True)) == pytest.approx(0.4, abs=0.01)


def test_funding_changes_each_eighth_hour_and_stays_in_bounds() -> None:
    bars = generate(3, 0, GeneratorConfig(bars=2000))
    changed = [t for t in range(1, len(bars)) if bars.funding[t] != bars.funding[t - 1]]

    assert {bars.times_ms[t] % (8 * 3_600_000) for t in changed} == {0}
    assert len(changed) == (len(bars) - 1) // 8
    assert all(abs(rate) <= 0.00375 for rate in bars.funding)


@pytest.mark.parametrize("table", [{"bars": 2}, {"count": 0}, {"bar_minutes": 0}, {"twins": True}])
def test_a_table_that_makes_no_market_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GeneratorConfig.model_validate(table)
