"""The table of presets in the guide says what the planner says."""

# ruff: noqa: RUF001 - the guide writes the sign for "times"

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from services.inference.planning.alternatives import plan
from services.inference.planning.planner import Alternative, Plan, Request
from services.inference.planning.presets import EngineName, catalogue

GUIDE = Path(__file__).parents[2] / "docs/guides/serving.md"
ROW = re.compile(r"\| `(.+?)` \| (\d+) × (\S+), TP (\d+), (\d+), (0\.\d+) \| (\w+) \| (.+) \|")
LINES = [line for line in GUIDE.read_text(encoding="utf-8").splitlines() if re.match(r"\| `.+` \| \d+ × ", line)]


def test_the_guide_has_a_table() -> None:
    assert len(LINES) >= 30


@pytest.mark.parametrize("line", LINES)
def test_the_guides_table_agrees_with_the_planner(line: str) -> None:
    row = ROW.fullmatch(line)
    assert row is not None
    preset, count, gpu, tp, tokens, part, engine, said = row.groups()
    known = catalogue()
    name: EngineName = next(name for name in get_args(EngineName) if name == engine)
    request = Request(
        preset=known.preset(preset),
        gpu=known.gpu(gpu),
        count=int(count),
        tp=int(tp),
        max_model_len=int(tokens),
        engine=name,
        utilization=float(part),
    )

    assert said == told(plan(request, known))


def told(found: Plan) -> str:
    weights = f"{found.memory.weights_gib:.1f} of {found.memory.ceiling_gib:.1f}"
    if found.verdict == "fit":
        return f"fit | {weights} | — | —"
    own = found.request.preset.key
    return f"{found.verdict} | {weights} | {short(found.same_model, own)} | {short(found.same_gpus, own)}"


def short(found: Alternative | None, own: str) -> str:
    if found is None:
        return "none"
    other = "" if found.preset.key == own else f"`{found.preset.key}` "
    return f"{other}{found.count} × {found.gpu.key}, TP {found.tp}, {found.max_model_len}"
