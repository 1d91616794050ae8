"""Ten problems of AnswerBench from start to end: what the scenario plans, a run of it, and right answers through green."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from services.contract.assessment import parse_config
from services.green_agent.benchmarks.base import Setting
from services.green_agent.benchmarks.imobench import Imobench, ImobenchConfig
from services.green_agent.benchmarks.imobench.answers import AnswerTask
from services.green_agent.precedence import settle
from services.green_agent.preparation import prepare
from services.green_agent.suite import bundled_suite, load_suite
from services.runner.scenario import read_scenario
from tests.green_agent.benchmarks.imobench.shared_data import needs_answers
from tests.runner.support.processes import free_ports
from tests.support.greens import assess, green
from tests.support.peer_files import MIRROR, STORE
from tests.support.processes import BIN
from tests.support.purples import purple, replay

SCENARIO = Path(__file__).parents[2] / "config" / "scenarios" / "math.toml"

pytestmark = needs_answers


@pytest.fixture(autouse=True)
def _shared_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_DATA_FROM", str(MIRROR))


def asked() -> list[AnswerTask]:
    wanted = parse_config(read_scenario(SCENARIO).config).task_ids or []
    tasks = Imobench(ImobenchConfig(type="imobench"), Setting(seed=1, store=STORE)).tasks()
    return [task for task in tasks if isinstance(task, AnswerTask) and task.id in wanted]


def test_the_scenario_plans_ten_tasks_that_need_no_judge() -> None:
    config = parse_config(read_scenario(SCENARIO).config)

    plan = prepare(settle(config, load_suite(bundled_suite("math")), variables={})).plan

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
    text = SCENARIO.read_text()
    for port, free in zip(("9009", "9010"), free_ports(2), strict=True):
        text = text.replace(port, str(free))
    (tmp_path / "math.toml").write_text(text)

    done = subprocess.run(
        [str(BIN / "assay"), "run", "math.toml", "--json"],
        cwd=tmp_path,
        env={**os.environ, "ASSAY_DATA_FROM": str(MIRROR)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["overall_score"]["score"], summary["overall_score"]["coverage"]) == (0.0, 1.0)
    assert [(section["section"], section["planned"]) for section in summary["sections"]] == [("math", 10)]
