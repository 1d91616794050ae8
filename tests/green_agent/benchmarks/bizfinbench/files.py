"""Small files in the format of BizFinBench.v2, made for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.green_agent.benchmarks.base import Setting
from services.green_agent.benchmarks.bizfinbench import BizFinBench, BizFinBenchConfig
from services.green_agent.data.store import Store

Content = str | float | dict[str, Any] | list[Any]


def parts(text: object) -> list[dict[str, object]]:
    """Content as most files have it."""
    return [{"text": text, "type": "text"}]


def row(reference: Content, *turns: tuple[str, str]) -> dict[str, Any]:
    """A row; one user turn when none is given."""
    said = turns or (("user", "What is it?"),)
    return {
        "messages": [{"role": role, "content": parts(text)} for role, text in said],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": parts(reference)}}],
    }


def write(folder: Path, member: str, rows: Sequence[dict[str, Any] | str]) -> Path:
    """Write a file of the data set; a string is written as it is."""
    file = folder / member
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def benchmark(folder: Path, *, seed: int = 7, has_judge: bool = False, **keys: Any) -> BizFinBench:
    """The benchmark over a folder with files."""
    config = BizFinBenchConfig.model_validate({"type": "bizfinbench", "path": str(folder), **keys})
    return BizFinBench(config, Setting(seed=seed, has_judge=has_judge, store=Store(folders=(), mirror=None)))
