"""Hidden windows: stretches of a database of one's own that a secret master seed picks (finance specification 7.2).

Reads only. Neither the seed nor the times of a window enter a task id, a prompt or the record.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from services.contract.secrets import redact
from services.contract.seeds import rank
from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.crypto.bars import Bars, check
from services.green_agent.benchmarks.crypto.config import CryptoConfig
from services.green_agent.benchmarks.crypto.scenario_files import Scenario
from services.green_agent.data.errors import DataError
from services.green_agent.data.hidden_seeds import hidden_seed

if TYPE_CHECKING:
    import psycopg

BAR_MS: Final = 60_000
CONNECT_TIMEOUT_S: Final = 10
FUNDING_BEFORE: Final = timedelta(days=2)
"""How far before a window its first funding rate is looked for."""

Row = tuple[Any, ...]
"""Whatever types the tables have; every value is converted where it is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """One stretch of one symbol."""

    id: str
    symbol: str
    start: datetime
    bars: int

    @property
    def end(self) -> datetime:
        """First minute behind the window."""
        return self.start + self.bars * timedelta(minutes=1)


def windows(master: int, config: CryptoConfig) -> list[Window]:
    """The windows that a master seed picks. Window i of symbol s follows from sha256("<master>|i|s") alone."""
    return [
        _window(master, number, config.symbols[number % len(config.symbols)], config)
        for number in range(config.window_count)
    ]


def hidden_scenarios(config: CryptoConfig) -> list[Scenario]:
    """Read every window from the database. Raises DatasetError; its text never holds the seed or a password."""
    try:
        master = hidden_seed(config.hidden_seed_config or "")
    except DataError as error:
        raise DatasetError(f"crypto: hidden_seed_config: {error}") from None
    picked = windows(master, config)
    with _connected(config) as connection:
        return [_scenario(connection, window, config) for window in picked]


def _window(master: int, number: int, symbol: str, config: CryptoConfig) -> Window:
    if config.date_range_start is None or config.date_range_end is None:
        raise DatasetError("crypto: hidden windows need date_range_start and date_range_end")
    drawn = rank(master, str(number), symbol)
    lengths = config.window_max_bars - config.window_min_bars + 1
    bars = config.window_min_bars + int(drawn[:16], 16) % lengths
    minutes = (config.date_range_end - config.date_range_start) // timedelta(minutes=1)
    if minutes < bars:
        raise DatasetError(f"crypto: the date range holds {minutes} minutes, window {number} needs {bars}")
    offset = int(drawn[16:32], 16) % (minutes - bars + 1)
    return Window(
        id=f"hidden-{drawn[-12:]}",
        symbol=symbol,
        start=config.date_range_start + offset * timedelta(minutes=1),
        bars=bars,
    )


@contextmanager
def _connected(config: CryptoConfig) -> Iterator[psycopg.Connection[Row]]:
    """A connection that can read only."""
    try:
        import psycopg  # noqa: PLC0415 - an extra
    except ImportError:
        raise DatasetError("crypto: pg_enabled needs the extra `postgres`: pip install 'assay[postgres]'") from None
    try:
        with psycopg.connect(_address(config), connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.read_only = True
            yield connection
    except psycopg.Error as error:
        told = redact(str(error).strip().split("\n", 1)[0])
        raise DatasetError(
            f"crypto: the database of the hidden windows failed ({type(error).__name__}: {told})"
        ) from None


def _address(config: CryptoConfig) -> str:
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415

    if config.pg_dsn is not None:
        return config.pg_dsn.get_secret_value()
    password = None if config.pg_password is None else config.pg_password.get_secret_value()
    return make_conninfo(
        host=config.pg_host, port=config.pg_port, dbname=config.pg_dbname, user=config.pg_user, password=password
    )


def _scenario(connection: psycopg.Connection[Row], window: Window, config: CryptoConfig) -> Scenario:
    rows = _rows(
        connection,
        "SELECT bucket_ts, open, high, low, close, volume FROM {table} "
        "WHERE symbol = %s AND bucket_ts >= %s AND bucket_ts < %s ORDER BY bucket_ts",
        config.pg_ohlcv_table,
        (window.symbol, window.start, window.end),
    )
    rates: list[Row] = []
    if config.pg_funding_table is not None:
        rates = _rows(
            connection,
            "SELECT funding_time, funding_rate FROM {table} "
            "WHERE symbol = %s AND funding_time >= %s AND funding_time < %s ORDER BY funding_time",
            config.pg_funding_table,
            (window.symbol, window.start - FUNDING_BEFORE, window.end),
        )
    name = f"crypto scenario {window.id}"
    try:
        bars = _bars(rows, rates)
        check(bars, name)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{name}: {error}" if name not in str(error) else str(error)) from None
    return Scenario(id=window.id, symbol=window.symbol, bars=bars)


def _rows(connection: psycopg.Connection[Row], query: str, table: str, values: Sequence[object]) -> list[Row]:
    from psycopg import sql  # noqa: PLC0415

    named = sql.SQL(query).format(table=sql.Identifier(*table.split(".")))
    return connection.execute(named, values).fetchall()


def _bars(rows: Sequence[Row], rates: Sequence[Row]) -> Bars:
    """Candles with the funding rate known at each; before the first known one it is 0."""
    times = tuple(_milliseconds(row[0]) for row in rows)
    # Exchanges stamp a rate some milliseconds late; it is known at the close of the bar that ends at its minute.
    rate_times = [round(_milliseconds(row[0]) / BAR_MS) * BAR_MS for row in rates]
    known = [0.0, *(float(row[1]) for row in rates)]
    blank = (0.0,) * len(rows)
    opens, highs, lows, closes, volumes = (tuple(float(row[column]) for row in rows) for column in range(1, 6))
    return Bars(
        opens=opens,
        highs=highs,
        lows=lows,
        closes=closes,
        volumes=volumes,
        times_ms=times,
        funding=tuple(known[bisect_right(rate_times, time + BAR_MS)] for time in times),
        open_interest=blank,
        cvd=blank,
        bar_ms=BAR_MS,
    )


def _milliseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)
