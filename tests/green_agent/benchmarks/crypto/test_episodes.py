"""Which episodes are run, and which market each one is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.benchmarks.crypto.bars import round8
from services.green_agent.benchmarks.crypto.episodes import Course, Window, cut, episodes, planned
from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig
from services.green_agent.benchmarks.crypto.scenario_generator import GeneratorConfig, generate
from tests.green_agent.benchmarks.crypto.markets import of_closes

BARS = generate(3, 0, GeneratorConfig(bars=60))


def course(**keys: object) -> Course:
    config = EvaluationConfig.model_validate(keys.pop("config", {}))
    window = cut(BARS, stride=1, max_steps=60, warmup_bars=100)
    made = Course(scenario_id="s", symbol="BTCUSDT", window=window, config=config, seed=1)
    return replace(made, **keys)  # type: ignore[arg-type]  # fields by name


def ratios(window: Window) -> list[float]:
    closes = window.bars.closes
    return [close / closes[0] for close in closes]


@pytest.mark.parametrize(
    ("count", "max_steps", "warmup_bars", "expected"),
    [
        (600, None, 100, (100, 500)),
        (200, None, 100, (50, 150)),
        (600, 300, 100, (100, 300)),
        (350, 300, 100, (50, 300)),
        (12, 20, 100, (0, 12)),
        (12, None, 0, (0, 12)),
        (7, None, 100, (1, 6)),
    ],
)
def test_warm_up_and_episode_share_the_window(
    count: int, max_steps: int | None, warmup_bars: int, expected: tuple[int, int]
) -> None:
    window = cut(of_closes(*range(1, count + 1)), stride=1, max_steps=max_steps, warmup_bars=warmup_bars)

    assert (len(window.warm), len(window.bars)) == expected
    assert window.bars.closes[0] == expected[0] + 1


def test_a_stride_aggregates_before_the_window_is_cut() -> None:
    window = cut(of_closes(*range(1, 41)), stride=4, max_steps=None, warmup_bars=2)

    assert (len(window.warm), len(window.bars)) == (2, 8)
    assert list(window.bars.closes) == [12, 16, 20, 24, 28, 32, 36, 40]
    assert window.bars.volumes[0] == 4_000


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        ({}, ("baseline", "noisy", "adversarial", "scale_1_1", "invert_returns")),
        ({"score_weights": {"baseline": 1}}, ("baseline",)),
        ({"score_weights": {"noisy": 1, "adversarial": 1}}, ("noisy", "adversarial")),
        ({"score_weights": {"meta": 1}}, ("baseline", "scale_1_1", "invert_returns")),
        ({"score_weights": {"meta": 1}, "meta_transforms": ["invert_returns"]}, ("invert_returns",)),
        ({"score_weights": {"baseline": 1, "meta": 1}, "meta_transforms": ["identity"]}, ("baseline",)),
    ],
)
def test_episodes_without_weight_are_not_run_and_the_identity_is_the_baseline(
    config: dict[str, object], keys: tuple[str, ...]
) -> None:
    made = EvaluationConfig.model_validate(config)

    assert planned(made) == keys
    assert tuple(episode.key for episode in episodes(course(config=config))) == keys


def test_the_same_course_gives_the_same_episodes() -> None:
    assert episodes(course()) == episodes(course())


def test_another_seed_or_scenario_gives_other_draws() -> None:
    first, seed, name = (
        episodes(made)[1].market.shown.closes for made in (course(), course(seed=2), course(scenario_id="t"))
    )

    assert first != seed
    assert first != name


@given(seed=st.integers(0, 10_000))
def test_the_first_close_is_rescaled_into_its_range_and_returns_stay(seed: int) -> None:
    made = course(seed=seed, config={"score_weights": {"baseline": 1}})

    (baseline,) = episodes(made)

    assert 19.99 <= baseline.bars.closes[0] <= 500.01
    assert [close / baseline.bars.closes[0] for close in baseline.bars.closes] == pytest.approx(
        ratios(made.window), rel=1e-6
    )
    money = baseline.market.shown.open_interest[0] / made.window.bars.open_interest[0]
    assert 0.0999 <= money <= 10.001


def test_revealed_bars_are_the_true_ones_with_their_symbol_and_time() -> None:
    made = course(reveal=True, config={"score_weights": {"baseline": 1}})

    (baseline,) = episodes(made)

    assert baseline.bars == round8(made.window.bars)
    assert (baseline.market.symbol, baseline.market.clock_ms) == ("BTCUSDT", 0)


def test_noise_is_shown_and_never_traded() -> None:
    baseline, noisy, *_ = episodes(course())

    assert noisy.bars == baseline.bars
    assert noisy.market.shown.closes != baseline.bars.closes
    assert noisy.market.shown.closes == pytest.approx(baseline.bars.closes, rel=0.0041)


def test_slippage_is_drawn_once_for_all_episodes_and_fivefold_in_a_crisis() -> None:
    config = {"slippage_range": [0.0002, 0.001], "adversarial_injection_rate": 0.5}
    baseline, noisy, adversarial, scaled, inverted = episodes(course(config=config))

    assert baseline.slippage == noisy.slippage == scaled.slippage == inverted.slippage
    factors = {round(hit / base, 6) for hit, base in zip(adversarial.slippage, baseline.slippage, strict=True)}
    assert factors == {1.0, 5.0}
    assert {event.kind for event in adversarial.events} == {"flash_crash", "flash_pump", "liquidity_crisis"}


def test_the_inverted_market_undoes_every_return_and_begins_at_the_same_close() -> None:
    baseline, *_, inverted = episodes(course())

    products = [a * b for a, b in zip(baseline.bars.closes, inverted.bars.closes, strict=True)]
    assert products == pytest.approx([baseline.bars.closes[0] ** 2] * 60, rel=1e-6)
    assert inverted.bars.funding == tuple(-rate for rate in baseline.bars.funding)


def test_labels_are_dealt_by_seed_so_that_they_do_not_tell_the_kind() -> None:
    labels = {seed: tuple(one.market.label for one in episodes(course(seed=seed))) for seed in range(8)}

    assert {tuple(sorted(dealt)) for dealt in labels.values()} == {("e1", "e2", "e3", "e4", "e5")}
    assert len({dealt[0] for dealt in labels.values()}) > 1
