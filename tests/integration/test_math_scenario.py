"""Ten problems of AnswerBench from start to end: what the scenario plans, a run of it, and right answers through green."""

from pathlib import Path

import pytest

from services.green_agent.benchmarks.base import Setting
from services.green_agent.benchmarks.imobench import Imobench, ImobenchConfig
from services.green_agent.benchmarks.imobench.answers import AnswerTask
from services.green_agent.suite import bundled_suite
from tests.green_agent.benchmarks.imobench.shared_data import needs_answers
from tests.support.bundled import config_of, plan_of_bundled, run_bundled
from tests.support.greens import assess, green
from tests.support.peer_files import MIRROR, STORE
from tests.support.purples import purple, replay

pytestmark = needs_answers


@pytest.fixture(autouse=True)
def _shared_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_DATA_FROM", str(MIRROR))


def asked() -> list[AnswerTask]:
    wanted = config_of("math")["task_ids"]
    tasks = Imobench(ImobenchConfig(type="imobench"), Setting(seed=1, store=STORE)).tasks()
    return [task for task in tasks if isinstance(task, AnswerTask) and task.id in wanted]


def test_the_scenario_plans_ten_tasks_that_need_no_judge() -> None:
    plan = plan_of_bundled("math", suite="math")

    assert len(plan.trials) == 10
    assert [task.id for task in asked() if task.needs_judge] == []


async def test_right_answers_are_worth_100_and_wrong_ones_0() -> None:
    tasks = asked()
    config = {"task_ids": [task.id for task in tasks]}
    right = {task.problem: rf"Final answer: \boxed{{{task.gold}}}" for task in tasks}
    wrong = {task.problem: r"Final answer: \boxed{-17}" for task in tasks}

    async with green(suite=bundled_suite("math")) as url:
        async with purple(replay(right)) as agent:
            best = await assess(url, agent.url, config)
        async with purple(replay(wrong)) as agent:
            worst = await assess(url, agent.url, config)

    assert (best.result.overall_score.score, best.result.overall_score.coverage) == (100.0, 1.0)
    assert {row.scored_by for row in best.rows} == {"match"}
    assert (worst.result.overall_score.score, worst.result.overall_score.upper) == (0.0, 30.0)
    assert {row.outcome for row in worst.rows} == {"scored", "judge_error"}


@pytest.mark.slow
def test_the_scenario_runs_with_the_reference_engine_and_counts_every_trial(tmp_path: Path) -> None:
    summary = run_bundled("math", tmp_path, ASSAY_DATA_FROM=str(MIRROR))

    assert (summary["overall_score"]["score"], summary["overall_score"]["coverage"]) == (0.0, 1.0)
    assert [(section["section"], section["planned"]) for section in summary["sections"]] == [("math", 10)]
