"""A small question file in the peer's format."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import JsonValue

from services.green_agent.benchmarks.synthetic.item import FileItem


def row(**changes: JsonValue) -> dict[str, JsonValue]:
    """A sound item whose key is 20 %, changed."""
    sound: dict[str, JsonValue] = {
        "question_id": "Q1",
        "category": "Financial Logic",
        "difficulty": "easy",
        "question": "A share rises from $50 to $60. By how much?",
        "ground_truth_value": 0.2,
        "ground_truth_formatted": "20%",
        "calculation_steps": ["60 / 50 = 1.2", "1.2 - 1 = 20%"],
        "rubric": {
            "components": [{"name": "answer", "description": "Says 20%", "expected_value": "20%", "weight": 1.0}]
        },
    }
    return sound | changes


def item(**changes: JsonValue) -> FileItem:
    return FileItem.model_validate(row(**changes))


def rubric(expected: JsonValue, *, name: str = "answer") -> JsonValue:
    return {"components": [{"name": name, "description": "The answer", "expected_value": expected, "weight": 1.0}]}


def written(folder: Path, *rows: dict[str, JsonValue], **beside: JsonValue) -> Path:
    path = folder / "questions.json"
    path.write_text(json.dumps({**beside, "questions": list(rows)}), encoding="utf-8")
    return path
