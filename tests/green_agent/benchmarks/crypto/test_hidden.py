"""Hidden windows: which ones a master seed picks, and reading them from a real PostgreSQL server where one is installed."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.benchmarks.base import DatasetError, Setting
from services.green_agent.benchmarks.crypto import Crypto
from services.green_agent.benchmarks.crypto.config import CryptoConfig
from services.green_agent.benchmarks.crypto.hidden import hidden_scenarios, windows

MASTER: Final = 1_234_567
START: Final = datetime(2024, 1, 1, tzinfo=UTC)


def entry(**keys: Any) -> CryptoConfig:
    made = {
        "type": "crypto",
        "pg_enabled": True,
        "hidden_seed_config": "season",
        "symbols": ["BTCUSDT", "ETHUSDT"],
        "date_range_start": "2024-01-01",
        "date_range_end": "2024-02-01",
    }
    return CryptoConfig.model_validate(made | keys)


@given(master=st.integers(0, 2**63))
def test_windows_lie_in_the_range_and_have_a_length_in_the_bounds(master: int) -> None:
    config = entry()

    picked = windows(master, config)

    assert [window.symbol for window in picked] == ["BTCUSDT", "ETHUSDT"] * 6
    assert all(1_440 <= window.bars <= 10_080 for window in picked)
    assert all(START <= window.start < window.end <= datetime(2024, 2, 1, tzinfo=UTC) for window in picked)
    assert len({window.id for window in picked}) == 12


def test_a_window_follows_from_master_number_and_symbol_alone() -> None:
    few, many = windows(MASTER, entry(window_count=2)), windows(MASTER, entry(window_count=20))

    assert many[:2] == few
    assert windows(MASTER + 1, entry(window_count=2)) != few


def test_a_known_master_picks_known_windows() -> None:
    drawn = hashlib.sha256(b"1234567|0|BTCUSDT").hexdigest()
    bars = 1_440 + int(drawn[:16], 16) % 8_641
    offset = int(drawn[16:32], 16) % (31 * 1_440 - bars + 1)

    first = windows(MASTER, entry())[0]

    assert (first.bars, first.start) == (bars, START + timedelta(minutes=offset))


def test_neither_seed_nor_time_is_in_an_id() -> None:
    for window in windows(MASTER, entry()):
        assert str(MASTER) not in window.id
        assert f"{window.start:%Y}" not in window.id.removeprefix("hidden-")[:4]


def test_a_range_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(DatasetError, match="the date range holds 1440 minutes, window 0 needs"):
        windows(MASTER, entry(date_range_end="2024-01-02", window_min_bars=2_000))


@pytest.fixture
def seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "seeds.yaml"
    file.write_text(f"season: {MASTER}\n")
    monkeypatch.setenv("ASSAY_HIDDEN_SEEDS", str(file))


@pytest.mark.usefixtures("seeds")
def test_an_unreachable_database_is_told_without_the_password() -> None:
    password = "open " + "sesame"

    with pytest.raises(DatasetError, match="the database of the hidden windows failed") as refused:
        hidden_scenarios(entry(pg_host="127.0.0.1", pg_port=1, pg_password=password))

    assert password not in str(refused.value)
    assert str(MASTER) not in str(refused.value)


def test_an_unknown_seed_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "seeds.yaml"
    file.write_text("winter: 1\n")
    monkeypatch.setenv("ASSAY_HIDDEN_SEEDS", str(file))

    with pytest.raises(DatasetError, match="hidden_seed_config: no hidden seed is called 'season'"):
        hidden_scenarios(entry())


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    names = {user.pw_name for user in pwd.getpwall()}
    return {"user": next(name for name in ("postgres", "nobody") if name in names), "extra_groups": []}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of a fresh PostgreSQL server on a socket of its own, with two weeks of minutes."""
    if shutil.which("initdb") is None or shutil.which("pg_ctl") is None:
        pytest.skip("PostgreSQL is not installed (initdb, pg_ctl)")
    folder = Path(tempfile.mkdtemp(prefix="assay-pg-"))
    as_user = _unprivileged()
    if as_user:
        shutil.chown(folder, as_user["user"])
    data = str(folder / "data")

    def run(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_user)

    run("initdb", "-D", data, "-U", "assay", "-A", "trust", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start")
    try:
        address = f"host={folder} dbname=postgres user=assay"
        _fill(address)
        yield address
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def _fill(address: str) -> None:
    with psycopg.connect(address) as connection:
        connection.execute("CREATE SCHEMA market_data")
        connection.execute(
            "CREATE TABLE market_data.candles_1m (symbol text, bucket_ts timestamptz, open numeric, high numeric,"
            " low numeric, close numeric, volume double precision)"
        )
        connection.execute(
            "INSERT INTO market_data.candles_1m SELECT 'BTCUSDT', timestamptz '2024-01-01 00:00Z' + n * interval '1 min',"
            " 100 + n % 7, 110, 90, 100 + (n + 1) % 7, n FROM generate_series(0, 20159) n"
        )
        connection.execute(
            "CREATE TABLE market_data.funding_rates (symbol text, funding_time timestamptz, funding_rate numeric)"
        )
        connection.execute(
            "INSERT INTO market_data.funding_rates SELECT 'BTCUSDT', timestamptz '2024-01-01 00:00:00.004Z'"
            " + n * interval '8 hours', 0.0001 * n FROM generate_series(0, 41) n"
        )


@pytest.mark.usefixtures("seeds")
def test_windows_are_read_from_the_database(database: str) -> None:
    config = entry(
        pg_dsn=database,
        pg_funding_table="market_data.funding_rates",
        symbols=["BTCUSDT"],
        date_range_end="2024-01-15",
        window_min_bars=600,
        window_max_bars=900,
        window_count=3,
    )
    picked = windows(MASTER, config)

    read = hidden_scenarios(config)

    assert [scenario.id for scenario in read] == [window.id for window in picked]
    for scenario, window in zip(read, picked, strict=True):
        first = (window.start - START) // timedelta(minutes=1)
        bars = scenario.bars
        assert len(bars) == window.bars
        assert bars.volumes == tuple(float(first + t) for t in range(window.bars))
        assert (bars.opens[0], bars.closes[0]) == (100 + first % 7, 100 + (first + 1) % 7)
        # The rate of 08:00 is known at the close of the minute before it.
        assert bars.funding[0] == pytest.approx(0.0001 * ((first + 1) // 480))


@pytest.mark.usefixtures("seeds")
def test_tasks_of_hidden_windows_show_neither_symbol_nor_time(database: str) -> None:
    config = entry(
        pg_dsn=database,
        symbols=["BTCUSDT"],
        date_range_end="2024-01-15",
        window_min_bars=300,
        window_max_bars=300,
        window_count=1,
    )

    (task,) = Crypto(config, Setting(seed=1)).tasks()

    assert task.id.startswith("hidden-")
    assert "BTC" not in task.prompt
    assert "2024" not in task.prompt
    assert '"timestamp":"2000-01-01T00:00:00Z"' in task.prompt


@pytest.mark.usefixtures("seeds")
def test_a_window_the_database_lacks_is_refused_by_id(database: str) -> None:
    config = entry(pg_dsn=database, symbols=["DOGEUSDT"], window_count=1)

    with pytest.raises(DatasetError, match=r"crypto scenario hidden-[0-9a-f]{12}: 0 bars, at least 3 are needed"):
        hidden_scenarios(config)


@pytest.mark.usefixtures("seeds")
def test_a_missing_table_is_told(database: str) -> None:
    with pytest.raises(DatasetError, match=r'UndefinedTable: relation "market_data.none" does not exist'):
        hidden_scenarios(entry(pg_dsn=database, pg_ohlcv_table="market_data.none"))
