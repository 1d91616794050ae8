"""A small question file in the peer's format, and the benchmark over a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from services.green_agent.benchmarks.base import Setting
from services.green_agent.benchmarks.options import Options, OptionsConfig
from services.green_agent.data.store import Store


def row(**changes: JsonValue) -> dict[str, JsonValue]:
    """A sound item that nobody has settled, changed."""
    sound: dict[str, JsonValue] = {
        "question_id": "Q1",
        "category": "Copy Trading",
        "difficulty": "easy",
        "question": "A 100/105 call spread costs $2.00 with the share at $101. What are profit, loss and break-even?",
        "ground_truth": {"max_profit": 3.0, "max_loss": 2.0, "breakeven": 102, "assessment": "fair"},
        "rubric": {
            "components": [
                {"name": "numbers", "weight": 0.75, "description": "Right numbers"},
                {"name": "advice", "weight": 0.25, "description": "Sound advice"},
            ]
        },
        "spot_price": 101,
        "spread_strikes": [100, 105],
        "debit": 2.0,
    }
    return sound | changes


def written(folder: Path, *rows: dict[str, JsonValue], **beside: JsonValue) -> Path:
    path = folder / "questions.json"
    path.write_text(json.dumps({**beside, "questions": list(rows)}), encoding="utf-8")
    return path


def over(path: Path, *, has_judge: bool = False, **keys: Any) -> Options:
    """The benchmark over a file; `keys` are those of the suite entry."""
    config = OptionsConfig.model_validate({"type": "options", "path": str(path), **keys})
    return Options(config, Setting(seed=42, has_judge=has_judge, store=Store()))
