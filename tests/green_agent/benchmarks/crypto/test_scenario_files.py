"""Reading `<id>/market_data.json`: what is taken, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.crypto.scenario_files import read_scenario, scenarios_in
from tests.green_agent.benchmarks.crypto.scenario_writing import market_data, state, write


def test_prices_times_and_metrics_are_read_and_indicators_are_not(tmp_path: Path) -> None:
    scenario = read_scenario(write(tmp_path, "one", market_data(3, {1: {"close": 100.5}})), "one")

    assert (scenario.id, scenario.symbol) == ("one", "BTCUSDT")
    assert scenario.bars.closes == (101.0, 100.5, 101.0)
    assert scenario.bars.times_ms == (1_640_995_200_000, 1_640_995_260_000, 1_640_995_320_000)
    assert (scenario.bars.funding[0], scenario.bars.open_interest[0], scenario.bars.cvd[0]) == (0.0001, 5.0, 1.0)
    assert scenario.bars.bar_ms == 60_000


@pytest.mark.parametrize(
    ("in_file", "beside", "bar_ms"),
    [("5m", None, 300_000), (None, "4h", 14_400_000), ("1d", "1m", 86_400_000), (None, None, 900_000)],
)
def test_the_bar_length_is_the_timeframe_or_else_the_median_step(
    tmp_path: Path, in_file: str | None, beside: str | None, bar_ms: int
) -> None:
    states = [state(number, minutes=15) for number in range(5)]
    content = {"metadata": {"timeframe": in_file}, "market_states": states}
    folder = write(tmp_path, "one", content, {"timeframe": beside})

    assert read_scenario(folder, "one").bars.bar_ms == bar_ms


def test_missing_metrics_count_as_zero(tmp_path: Path) -> None:
    bare = market_data(4)
    for one in bare["market_states"]:
        del one["market_metrics"], one["indicators"]

    bars = read_scenario(write(tmp_path, "one", bare), "one").bars

    assert (bars.funding, bars.open_interest) == ((0.0,) * 4, (0.0,) * 4)


NAN = float("nan")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (market_data(6, {2: {"close": NAN}}), "bar 2: closes is nan"),
        (market_data(6, {2: {"volume": float("inf")}}), "bar 2: volumes is inf"),
        (market_data(6, {4: {"low": -1.0}}), "bar 4: low -1.0 is not above 0"),
        (market_data(6, {4: {"low": 0}}), "bar 4: low 0.0 is not above 0"),
        (market_data(6, {5: {"high": 100.5}}), "bar 5: open 100.0 and close 101.0 do not lie between"),
        (market_data(6, {1: {"volume": -3.0}}), "bar 1: volume -3.0 is negative"),
        (market_data(6, {1: {"close": "101"}}), "market_states.1.ohlcv.close: Input should be a valid number"),
        (market_data(6, {1: {"close": None}}), "market_states.1.ohlcv.close: Input should be a valid number"),
        (market_data(2), "2 bars, at least 3 are needed"),
        (market_data(0), "0 bars, at least 3 are needed"),
        ({"market_states": [state(0), state(2), state(1), state(3)]}, "bar 2: time 1640995260000 does not come after"),
        ({"market_states": [state(0), state(0), state(0)]}, "the times do not increase"),
        (market_data(6, metadata={"timeframe": "soon"}), "timeframe 'soon' is none, expected for example 1m"),
        ({"market_states": [state(0), state(1) | {"symbol": "ETHUSDT"}, state(2)]}, "of one symbol, got BTCUSDT, ETH"),
        ({"market_states": [state(0), {"symbol": "BTCUSDT"}]}, "market_states.1.timestamp: Field required"),
        ({"states": []}, "market_states: Field required"),
        ([1, 2], "Input should be an object"),
    ],
)
def test_broken_bars_are_refused_by_scenario_place_and_fault(tmp_path: Path, content: Any, told: str) -> None:
    folder = write(tmp_path, "window_7", content)

    with pytest.raises(DatasetError) as refused:
        read_scenario(folder, "window_7")

    assert str(refused.value).startswith("crypto scenario window_7: market_data.json: ")
    assert told in str(refused.value)


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, "one")
    whole = (folder / "market_data.json").read_bytes()
    (folder / "market_data.json").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(DatasetError, match=r"crypto scenario one: market_data.json: Invalid JSON"):
        read_scenario(folder, "one")


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path, "one")
    with (folder / "market_data.json").open("r+b") as opened:
        opened.truncate((200 << 20) + 1)

    with pytest.raises(DatasetError, match="at most 200 MB are read"):
        read_scenario(folder, "one")


def test_sub_folders_come_by_name_and_those_without_data_are_told(tmp_path: Path) -> None:
    for name in ("beta", "alpha"):
        write(tmp_path, name)
    (tmp_path / "notes").mkdir()
    (tmp_path / ".git").mkdir()

    found = scenarios_in(tmp_path)

    assert list(found.paths) == ["alpha", "beta"]
    assert found.passed_over == ("notes",)


def test_where_a_folder_is_called_scenario_only_such_are_taken(tmp_path: Path) -> None:
    for name in ("alpha", "scenario_b", "scenario_a"):
        write(tmp_path, name)

    found = scenarios_in(tmp_path)

    assert list(found.paths) == ["scenario_a", "scenario_b"]
    assert found.passed_over == ("alpha",)


def test_a_folder_without_scenarios_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(DatasetError, match="holds no scenario"):
        scenarios_in(tmp_path)
