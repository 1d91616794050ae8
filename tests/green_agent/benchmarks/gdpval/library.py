"""A small data set in the published form of GDPval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from services.green_agent.benchmarks.base import Setting
from services.green_agent.benchmarks.gdpval import GDPval, GDPvalConfig
from services.green_agent.data.store import Store

REFERENCE = "reference_files/ab12/Ledger 2026.csv"
Row = Mapping[str, object]


def row(number: int, **changes: object) -> Row:
    """A row as published; every second one has a reference file."""
    return {
        "task_id": f"task-{number}",
        "sector": "Finance and Insurance" if number % 2 else "Government",
        "occupation": "Financial Managers" if number % 2 else "Lawyers",
        "prompt": f"Write memo {number}.",
        "reference_files": [REFERENCE] if number % 2 else [],
        "reference_file_urls": ["https://example.org/x"] if number % 2 else [],
        "reference_file_hf_uris": ["hf://x"] if number % 2 else [],
        "rubric_pretty": "never shown",
    } | changes


def publish(folder: Path, rows: Sequence[Row]) -> Path:
    """Write a data set: the table and the one reference file."""
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / "data" / "train-00000-of-00001.parquet")
    path = folder / REFERENCE
    path.parent.mkdir(parents=True)
    path.write_text("account,amount\ncash,120\n")
    (folder / "reference_files" / "broken.pdf").write_bytes(b"nonsense")
    return folder


def benchmark(store: Store, *, seed: int = 42, **config: object) -> GDPval:
    """The benchmark over a store."""
    return GDPval(GDPvalConfig.model_validate({"type": "gdpval", **config}), Setting(seed=seed, store=store))
