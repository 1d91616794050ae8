"""Writes scenarios in the file format, for tests of what reads them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

START = datetime(2022, 1, 1, tzinfo=UTC)


def state(number: int, *, minutes: int = 1, **ohlcv: Any) -> dict[str, Any]:
    """One bar; prices default to 100 .. 102, keys of `ohlcv` replace."""
    prices = {"open": 100.0, "high": 102.0, "low": 99.0, "close": 101.0, "volume": 10.0} | ohlcv
    return {
        "timestamp": (START + number * timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z"),
        "symbol": "BTCUSDT",
        "ohlcv": prices,
        "indicators": {"rsi": 1e9},
        "market_metrics": {"funding_rate": 0.0001, "open_interest": 5.0, "cvd": 1.0},
    }


def market_data(count: int = 12, changes: Mapping[int, Mapping[str, Any]] | None = None, **keys: Any) -> dict[str, Any]:
    """The content of `market_data.json`; `changes` replace the prices of single bars, `keys` top-level ones."""
    states = [state(number, **(changes or {}).get(number, {})) for number in range(count)]
    return {"metadata": {"source": "test", "timeframe": "1m"}, "market_states": states} | keys


def write(folder: Path, name: str, content: object | None = None, metadata: object | None = None) -> Path:
    """One scenario folder."""
    path = folder / name
    path.mkdir(parents=True)
    (path / "market_data.json").write_text(json.dumps(market_data() if content is None else content))
    if metadata is not None:
        (path / "metadata.json").write_text(json.dumps(metadata))
    return path


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip archive of these files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()
