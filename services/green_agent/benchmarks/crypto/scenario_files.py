"""Reads market windows in the scenario format: `<id>/market_data.json` and, beside it, `metadata.json`.

Indicators in the files are not read: they are computed again from the bars that are shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median_low
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.crypto.bars import MIN_BARS, Bars, check

MARKET_FILE: Final = "market_data.json"
METADATA_FILE: Final = "metadata.json"
LARGEST_BYTES: Final = 200 << 20
"""Of one scenario, unpacked."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIMEFRAME: Final = re.compile(r"([1-9][0-9]{0,4})\s?(s|m|min|h|d|w)", re.IGNORECASE)
_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}

T = TypeVar("T")
Number = Annotated[float, Field(strict=True)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One market window as its source has it; checked."""

    id: str
    symbol: str
    bars: Bars


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Ohlcv(_Part):
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number = 0.0


class _MarketMetrics(_Part):
    funding_rate: Number | None = None
    open_interest: Number | None = None
    cvd: Number | None = None


class _MarketState(_Part):
    timestamp: datetime
    symbol: str = ""
    ohlcv: _Ohlcv
    market_metrics: _MarketMetrics = _MarketMetrics()


class _Metadata(_Part):
    timeframe: str | None = None


class _MarketFile(_Part):
    metadata: _Metadata = _Metadata()
    market_states: tuple[_MarketState, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """The scenarios of a folder and the names that were passed over."""

    paths: dict[str, Path]
    """By scenario id, in order."""
    passed_over: tuple[str, ...]


def scenarios_in(folder: Path) -> Folder:
    """Sub-folders by name; if any is called `scenario_*`, only those. Raises DatasetError when there is none."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    chosen = [name for name in names if name.startswith("scenario_")] or names
    with_data = [name for name in chosen if (folder / name / MARKET_FILE).is_file()]
    if not with_data:
        raise DatasetError(f"crypto: {folder.name} holds no scenario, expected <id>/{MARKET_FILE} in it")
    return Folder(
        paths={name: folder / name for name in with_data},
        passed_over=tuple(name for name in names if name not in with_data),
    )


def read_scenario(folder: Path, scenario_id: str) -> Scenario:
    """The window in `folder`. Raises DatasetError that names the scenario, the place in the file and the fault."""
    where = f"crypto scenario {scenario_id}: {MARKET_FILE}"
    market = _parsed(folder / MARKET_FILE, TypeAdapter(_MarketFile), where)
    timeframe = market.metadata.timeframe
    if timeframe is None and (folder / METADATA_FILE).is_file():
        metadata = f"crypto scenario {scenario_id}: {METADATA_FILE}"
        timeframe = _parsed(folder / METADATA_FILE, TypeAdapter(_Metadata), metadata).timeframe
    states = market.market_states
    if len(states) < MIN_BARS:
        raise DatasetError(f"{where}: {len(states)} bars, at least {MIN_BARS} are needed")
    symbols = sorted({state.symbol for state in states})
    if len(symbols) > 1:
        raise DatasetError(f"{where}: one window is of one symbol, got {', '.join(symbols[:5])}")
    times = tuple(_milliseconds(state.timestamp) for state in states)
    bar_ms = _bar_ms(times, where) if timeframe is None else _timeframe_ms(timeframe, where)
    bars = _bars(states, times, bar_ms)
    try:
        check(bars, where)
    except ValueError as error:
        raise DatasetError(str(error)) from None
    return Scenario(id=scenario_id, symbol=symbols[0], bars=bars)


def _parsed(path: Path, form: TypeAdapter[T], where: str) -> T:
    if path.stat().st_size > LARGEST_BYTES:
        raise DatasetError(f"{where}: {path.stat().st_size} bytes, at most {LARGEST_BYTES >> 20} MB are read")
    try:
        return form.validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise DatasetError(f"{where}{': ' if place else ''}{place}: {fault['msg']}") from None


def _milliseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)


def _bar_ms(times: Sequence[int], where: str) -> int:
    step = median_low(later - earlier for earlier, later in pairwise(times))
    if step <= 0:
        raise DatasetError(f"{where}: the times do not increase, the median step is {step} ms")
    return step


def _timeframe_ms(text: str, where: str) -> int:
    match = _TIMEFRAME.fullmatch(text.strip())
    if match is None:
        raise DatasetError(f"{where}: timeframe {text!r} is none, expected for example 1m, 4h or 1d")
    return int(match[1]) * _UNIT_MS[match[2].lower()]


def _bars(states: Sequence[_MarketState], times: tuple[int, ...], bar_ms: int) -> Bars:
    metrics = [state.market_metrics for state in states]
    return Bars(
        opens=tuple(state.ohlcv.open for state in states),
        highs=tuple(state.ohlcv.high for state in states),
        lows=tuple(state.ohlcv.low for state in states),
        closes=tuple(state.ohlcv.close for state in states),
        volumes=tuple(state.ohlcv.volume for state in states),
        times_ms=times,
        funding=tuple(metric.funding_rate or 0.0 for metric in metrics),
        open_interest=tuple(metric.open_interest or 0.0 for metric in metrics),
        cvd=tuple(metric.cvd or 0.0 for metric in metrics),
        bar_ms=bar_ms,
    )
