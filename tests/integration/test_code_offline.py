"""Code without a download: the scenario as it comes, and its golden result."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.support.bundled import plan_of_bundled, run_bundled


def planned(**keys: object) -> Counter[str]:
    return Counter(trial.benchmark for trial in plan_of_bundled("code_offline", suite="code_offline", **keys).trials)


def test_the_scenario_plans_all_toy_functions_and_five_tasks_of_humaneval() -> None:
    assert planned() == {"toy_code": 80, "humaneval": 5}


def test_a_request_may_ask_for_another_split() -> None:
    assert planned(split="test") == {"toy_code": 24, "humaneval": 5}
    assert planned(split="train") == {"toy_code": 56, "humaneval": 5}


def test_the_scenario_gives_1_on_toy_code_and_0_on_humaneval(tmp_path: Path) -> None:
    summary = run_bundled("code_offline", tmp_path)

    (result,) = json.loads((tmp_path / summary["results_json"]).read_text())["results"]
    rows = result["results"]
    assert summary["overall_score"]["coverage"] == 1.0
    assert Counter((row["benchmark"], row["outcome"], row["score"]) for row in rows) == {
        ("toy_code", "scored", 1.0): 80,
        ("humaneval", "scored", 0.0): 5,
    }
    assert {row["metrics"]["extracted"] for row in rows if row["benchmark"] == "humaneval"} == {False}
    assert result["overall_score"]["score"] == pytest.approx(100 * 80 / 85, abs=1e-9)
