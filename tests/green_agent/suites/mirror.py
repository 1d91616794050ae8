"""A folder that looks like a mirror of every data set of the guide's suites, with small rows made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from tests.support.peer_files import MIRROR

TASK_TYPES = (
    "anomaly_information_tracing",
    "event_logic_reasoning",
    "financial_data_description",
    "financial_quantitative_computation",
    "user_sentiment_analysis",
    "stock_price_predict",
    "financial_multi-turn_perception",
)
REFERENCES = {"event_logic_reasoning": "2,1,4,3", "financial_data_description": "[1, 3]"}
SPLITS = ("finance", "legal", "finance_hard", "legal_hard")
SECTORS = ("Finance", "Government", "Retail")


def fill(folder: Path, *, rows_each: int) -> Path:
    """Write `rows_each` rows of each bizfinbench file and prbench split, 60 gdpval tasks, and the peer's question files."""
    for language in ("en", "cn"):
        for task in TASK_TYPES:
            reference = REFERENCES.get(task, "12.5")
            _jsonl(folder / "bizfinbench" / language / f"{task}_{language}.jsonl", [_row(reference)] * rows_each)
    for split in SPLITS:
        _jsonl(folder / "prbench" / f"{split}.jsonl", [_professional(number) for number in range(rows_each)])
    work = pa.Table.from_pylist([_piece_of_work(number) for number in range(60)])
    (folder / "gdpval" / "data").mkdir(parents=True)
    parquet.write_table(work, folder / "gdpval" / "data" / "train-00000-of-00001.parquet")
    (folder / "agentbusters").symlink_to(MIRROR.resolve() / "agentbusters")
    return folder


def hidden_markets(folder: Path, *, number: int) -> Path:
    """Write a private folder of market windows: one-minute bars of a flat market with a small wave."""
    for window in range(number):
        states = [
            {
                "timestamp": f"2024-01-{1 + minute // 1440:02d}T{minute // 60 % 24:02d}:{minute % 60:02d}:00Z",
                "symbol": "BTCUSDT",
                "ohlcv": {
                    "open": 100.0,
                    "high": 101.0 + window,
                    "low": 99.0,
                    "close": 100.0 + minute % 2,
                    "volume": 10.0,
                },
            }
            for minute in range(2000)
        ]
        place = folder / f"scenario_{window:02d}"
        place.mkdir(parents=True)
        text = json.dumps({"metadata": {"timeframe": "1m"}, "market_states": states})
        (place / "market_data.json").write_text(text)
        (place / "metadata.json").write_text("{}")
    return folder


def _jsonl(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _row(reference: str) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": "What is it?"}],
        "choices": [{"message": {"role": "assistant", "content": reference}}],
    }


def _professional(number: int) -> dict[str, Any]:
    annotations = {
        "criteria_category": "accuracy",
        "weight_class": "critically important",
        "critically_important_weight": 10,
    }
    return {
        "task": f"t{number}",
        "field": "Finance",
        "topic": "Tax",
        "turns": 1,
        "prompt_0": "Advise me.",
        "rubric": [{"id": "c1", "title": "Names the deadline", "annotations": annotations}],
    }


def _piece_of_work(number: int) -> dict[str, Any]:
    return {
        "task_id": f"work-{number}",
        "sector": SECTORS[number % 3],
        "occupation": "Accountant",
        "prompt": "Write the memo.",
        "reference_files": [],
    }
