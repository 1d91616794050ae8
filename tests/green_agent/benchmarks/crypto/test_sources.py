"""Where market windows come from, in which order, and what is said when there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.crypto.config import CryptoConfig
from services.green_agent.benchmarks.crypto.sources import Loaded, load
from services.green_agent.data.store import Store
from tests.green_agent.benchmarks.crypto.scenario_writing import write


def loaded(folder: Path, **keys: Any) -> Loaded:
    config = CryptoConfig.model_validate({"type": "crypto", "generator": {"bars": 20, "count": 4}} | keys)
    return load(config, 7, Store(folders=(folder,), mirror=None))


def ids(found: Loaded) -> list[str]:
    return [scenario.id for scenario in found.scenarios]


@pytest.fixture
def windows(tmp_path: Path) -> Path:
    for name in ("b", "a"):
        write(tmp_path / "windows", name)
    return tmp_path


def test_a_folder_is_read_and_recorded(windows: Path) -> None:
    found = loaded(windows, path="windows")

    assert ids(found) == ["a", "b"]
    assert found.notes == {"source": "path windows", "passed_over": []}


def test_named_scenarios_are_kept_in_the_order_they_are_named(windows: Path) -> None:
    assert ids(loaded(windows, path="windows", scenarios=["b", "a", "b"])) == ["b", "a"]


def test_an_unknown_scenario_is_refused_with_the_nearest(windows: Path) -> None:
    write(windows / "windows", "volatile")

    with pytest.raises(DatasetError, match="no scenario 'volatil'; did you mean 'volatile'"):
        loaded(windows, path="windows", scenarios=["volatil"])


@pytest.mark.parametrize("keys", [{}, {"path": "nowhere"}, {"remote_manifest": "https://example.org/m.json"}])
def test_without_data_the_remedy_is_named(tmp_path: Path, keys: dict[str, object]) -> None:
    with pytest.raises(DatasetError, match=r"Set on_missing: generate to play markets of our own generator"):
        loaded(tmp_path, **keys)


def test_a_manifest_that_may_not_be_fetched_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not fetched unless download_on_missing is true"):
        loaded(tmp_path, remote_manifest="https://example.org/m.json")


def test_on_missing_generate_makes_the_asked_number_and_records_it(tmp_path: Path) -> None:
    found = loaded(tmp_path, path="nowhere", on_missing="generate")

    assert ids(found) == ["crypto-g1-0000", "crypto-g1-0001", "crypto-g1-0002", "crypto-g1-0003"]
    assert (found.notes["source"], found.notes["generated"]) == ("generator", 4)


def test_a_limit_above_the_count_makes_more(tmp_path: Path) -> None:
    assert len(loaded(tmp_path, on_missing="generate", limit=6).scenarios) == 6


def test_a_made_scenario_does_not_depend_on_how_many_are_made(tmp_path: Path) -> None:
    few = loaded(tmp_path, on_missing="generate")
    many = loaded(tmp_path, on_missing="generate", limit=9)

    assert many.scenarios[:4] == few.scenarios


def test_own_data_win_over_the_generator(windows: Path) -> None:
    assert ids(loaded(windows, path="windows", on_missing="generate")) == ["a", "b"]


def test_fill_tops_up_behind_the_own_data(windows: Path) -> None:
    found = loaded(windows, path="windows", fill="generate")

    assert ids(found) == ["a", "b", "crypto-g1-0000", "crypto-g1-0001"]
    assert found.notes["generated"] == 2


def test_the_generator_may_draw_from_a_hidden_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = tmp_path / "seeds.yaml"
    seeds.write_text("season: 41\n")
    monkeypatch.setenv("ASSAY_HIDDEN_SEEDS", str(seeds))

    named = loaded(tmp_path, on_missing="generate", generator={"bars": 20, "count": 1, "seed": "season"})
    numbered = loaded(tmp_path, on_missing="generate", generator={"bars": 20, "count": 1, "seed": 41})

    assert named.scenarios == numbered.scenarios


def test_an_unknown_hidden_seed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_HIDDEN_SEEDS", str(tmp_path / "none.yaml"))

    with pytest.raises(DatasetError, match=r"generator\.seed: the file of hidden seeds cannot be read"):
        loaded(tmp_path, on_missing="generate", generator={"seed": "season"})


def test_a_file_where_a_folder_is_expected_is_refused(tmp_path: Path) -> None:
    (tmp_path / "windows").write_text("")

    with pytest.raises(DatasetError, match="expected a folder"):
        loaded(tmp_path, path="windows")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"stride": 0}, "stride"),
        ({"max_steps": 2}, "max_steps"),
        ({"symbols": []}, "symbols"),
        ({"pg_ohlcv_table": "candles; drop table x"}, "pg_ohlcv_table"),
        ({"window_min_bars": 50, "window_max_bars": 40}, "window_min_bars 50 is above window_max_bars 40"),
        ({"pg_enabled": True}, "hidden_seed_config, date_range_start, date_range_end"),
        ({"record_interactions": False}, "computable again from its transcript"),
        ({"evaluation": {"score_weights": {"baseline": 0}}}, "at least one weight"),
        ({"evaluation": {"score_weights": {"baseline": -1}}}, "score_weights"),
        ({"trading_fee": 0.1}, "trading_fee"),
    ],
)
def test_a_wrong_entry_is_refused_when_it_is_read(keys: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        CryptoConfig.model_validate({"type": "crypto"} | keys)


def test_a_password_is_not_printed_and_survives_the_way_to_the_plan() -> None:
    password = "correct " + "horse"
    config = CryptoConfig.model_validate({"type": "crypto", "pg_password": password})

    assert password not in repr(config)
    assert password not in config.model_dump_json()
    again = CryptoConfig.model_validate(config.model_dump(exclude_unset=True) | {"stride": 2})
    assert again.pg_password is not None
    assert again.pg_password.get_secret_value() == password
