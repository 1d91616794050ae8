"""Checks of tasks: what looking can tell, and what reference solutions come to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.contract.execution import Job, JobResult, LimitHit, SandboxInfo
from services.green_agent.benchmarks.base import DatasetError, Setting
from services.green_agent.benchmarks.humaneval import HumanEval, HumanEvalConfig
from services.green_agent.sandbox import open_sandbox
from services.green_agent.scoring.code.benchmark import CodeTask
from services.green_agent.scoring.code.selfcheck import References, checked, faults, references

BENCHMARK = HumanEval(HumanEvalConfig(type="humaneval"), Setting(seed=7))
TASKS = BENCHMARK.tasks()


def task(task_id: str = "a", *, prompt: str = "Write f.", hidden: tuple[str, ...] = ()) -> CodeTask:
    return CodeTask(id=task_id, stratum="s", prompt=prompt, digest="sha256:0", hidden=hidden)


def test_good_tasks_are_given_back_as_they_are() -> None:
    good = [task("a"), task("b", hidden=("assert f(1) == 2", ""))]

    assert checked("mine", good) is good


@pytest.mark.parametrize(
    ("tasks", "fault"),
    [
        ([], "no tasks"),
        ([task("a"), task("a")], "a: the id is there 2 times"),
        ([task("a", prompt=" \n")], "a: nothing is asked"),
        (
            [task("a", prompt="Write f.\nassert f(1) == 2", hidden=("assert f(1) == 2\n",))],
            "a: the prompt holds what decides or solves it",
        ),
    ],
)
def test_a_fault_of_the_tasks_is_named(tasks: list[CodeTask], fault: str) -> None:
    assert faults(tasks) == [fault]
    with pytest.raises(DatasetError, match=f"mine: {fault}"):
        checked("mine", tasks)


def test_of_many_faults_three_are_quoted() -> None:
    with pytest.raises(DatasetError) as refused:
        checked("mine", [task(str(number), prompt="") for number in range(9)])

    assert str(refused.value) == "mine: 0: nothing is asked; 1: nothing is asked; 2: nothing is asked; 6 more"


async def test_references_that_do_not_pass_are_named() -> None:
    sandbox = await open_sandbox(backend="auto", workers=1, allow_unsafe=True)
    wrong = replace(TASKS[0], reference="def has_close_elements(numbers, threshold): return None")
    try:
        found = await references(BENCHMARK, [wrong, *TASKS[1:4], replace(TASKS[5], reference="")], sandbox, most=9)
    finally:
        await sandbox.aclose()

    assert found == References(run=4, of=4, failed=("HumanEval/0: 0 of 7 checks passed; assert 1 of 7: does not hold",))


async def test_a_draw_of_references_is_the_same_every_time() -> None:
    found = [await references(BENCHMARK, tasks, Refusing(), most=3) for tasks in (TASKS, TASKS[::-1])]

    assert (found[0].run, found[0].of) == (3, 164)
    assert found[0] == found[1]


class Refusing:
    """A sandbox in which every program runs out of time at once."""

    info = SandboxInfo(backend="refusing", isolated=True)

    async def run(self, job: Job) -> JobResult:
        return JobResult(limit=LimitHit.WALL)

    async def aclose(self) -> None: ...
