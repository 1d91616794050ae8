"""The finance suite without a download: what the scenario plans, and a whole run of it."""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.bundled import plan_of_bundled, run_bundled


def test_the_scenario_plans_a_hundred_and_two_tasks_that_need_nobody() -> None:
    plan = plan_of_bundled("finance_offline", suite="offline")

    assert Counter(trial.benchmark for trial in plan.trials) == {"synthetic": 45, "options": 45, "crypto": 12}
    assert plan.shortfalls == ()
    assert {found.judge_need for found in plan.benchmarks} == {"never"}


@pytest.mark.slow
def test_the_scenario_runs_with_the_reference_engine_and_counts_every_trial(tmp_path: Path) -> None:
    summary = run_bundled("finance_offline", tmp_path)

    assert summary["overall_score"]["coverage"] == 1.0
    assert {section["section"]: section["planned"] for section in summary["sections"]} == {
        "analytical_reasoning": 45,
        "options_trading": 45,
        "crypto_trading": 12,
    }
