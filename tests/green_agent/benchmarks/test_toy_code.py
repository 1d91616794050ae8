"""toy_code: the functions that are asked, what is shown of their tests, and scores through a real sandbox."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.contract.conversation import Reply, Transcript, Turn
from services.green_agent.benchmarks.base import Sandbox, ScoringTools, Setting, digest
from services.green_agent.benchmarks.toy_code import FAMILIES, ToyCode, ToyCodeConfig, ToyTask, held_out
from services.green_agent.sandbox import open_sandbox
from services.purple_agent.baselines.toys import solve


def benchmark(**keys: str) -> ToyCode:
    return ToyCode(ToyCodeConfig.model_validate({"type": "toy_code", **keys}), Setting(seed=7))


def tasks(**keys: str) -> list[ToyTask]:
    return list(benchmark(**keys).tasks())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = await open_sandbox(backend="auto", workers=2, allow_unsafe=True)
    yield opened
    await opened.aclose()


async def passed(sandbox: Sandbox, replies: dict[str, str], *, split: str = "all") -> list[str]:
    """Ids of the tasks that pass; replies by id."""
    asked = benchmark(split=split)
    found = asked.tasks()
    scores = await asyncio.gather(
        *(
            asked.score(
                task,
                0,
                Transcript(turns=(Turn(question=task.prompt, reply=Reply(text=replies[task.id])),)),
                ScoringTools(sandbox=sandbox),
            )
            for task in found
        )
    )
    return [task.id for task, score in zip(found, scores, strict=True) if score.score == 1.0]


class TestTasks:
    def test_eight_families_of_ten_numbers_are_eighty_functions(self) -> None:
        assert len(FAMILIES) == 8
        assert [task.id for task in tasks(split="all")[:11]] == [*(f"toy/add/{n}" for n in range(10)), "toy/sub/0"]
        assert len({task.digest for task in tasks(split="all")}) == 80

    @pytest.mark.parametrize(
        ("family", "numbers"),
        [
            ("add", {4, 8, 9}),
            ("sub", {2, 6, 7}),
            ("mul", {2, 7, 9}),
            ("rsub", {3, 5, 9}),
            ("sqadd", {3, 4, 6}),
            ("dbladd", {1, 6, 7}),
            ("largest", {0, 3, 4}),
            ("smallest", {2, 7, 9}),
        ],
    )
    def test_three_numbers_of_each_family_are_held_out(self, family: str, numbers: set[int]) -> None:
        assert held_out(family) == numbers

    def test_the_splits_share_no_task(self) -> None:
        train, test, both = ({task.id for task in tasks(split=split)} for split in ("train", "test", "all"))

        assert (len(train), len(test)) == (56, 24)
        assert train | test == both
        assert {task.id for task in tasks()} == test

    def test_the_generator_makes_what_it_made_before(self) -> None:
        made = digest([[task.id, task.digest] for task in tasks(split="all")])

        assert made == "sha256:4a9f4f8fdad654470e4bbfdf102a5f639f116330a8b73240f94479f4ee6e8f22"

    def test_a_question_of_the_test_split_shows_three_of_five_asserts(self) -> None:
        assert tasks(split="test")[0].prompt == (
            "Write the Python function f(x): return x plus 4.\n"
            "Answer with one fenced block that holds the complete program.\n\n"
            "Your program should pass these tests:\n\n"
            "```python\nassert f(-3) == 1\nassert f(0) == 4\nassert f(1) == 5\n```\n"
        )

    def test_training_tasks_show_all_five_asserts(self) -> None:
        assert {task.prompt.count("assert ") for task in tasks(split="train")} == {5}
        assert {task.prompt.count("assert ") for task in tasks(split="test")} == {3}

    @pytest.mark.parametrize(("visible", "count"), [("none", 0), ("first", 3), ("all", 5)])
    def test_visible_tests_hold_for_both_splits(self, visible: str, count: int) -> None:
        assert {task.prompt.count("assert ") for task in tasks(split="all", visible_tests=visible)} == {count}

    def test_all_five_asserts_score_whatever_is_shown(self) -> None:
        assert {len(task.pairs.assertions) for task in tasks(split="all", visible_tests="none")} == {5}

    def test_the_functions_that_five_inputs_cannot_tell_apart_are_known(self) -> None:
        outputs: dict[tuple[object, ...], list[str]] = {}
        for task in tasks(split="all"):
            values = tuple(ast.unparse(assertion.expression) for assertion in task.pairs.assertions)
            outputs.setdefault(values, []).append(task.id)

        assert [same for same in outputs.values() if len(same) > 1] == [
            ["toy/add/0", "toy/sub/0", "toy/mul/1", *(f"toy/smallest/{number}" for number in range(5, 10))],
            ["toy/mul/2", "toy/dbladd/0"],
        ]


@pytest.mark.asyncio(loop_scope="module")
class TestScores:
    async def test_every_reference_passes(self, sandbox: Sandbox) -> None:
        replies = {task.id: f"```python\n{task.reference}```" for task in tasks(split="all")}

        assert len(await passed(sandbox, replies)) == 80

    async def test_the_rule_based_solver_passes_every_task_with_and_without_tests(self, sandbox: Sandbox) -> None:
        for visible in ("none", "first", "all"):
            replies = {task.id: await solve(task.prompt) for task in tasks(split="all", visible_tests=visible)}

            assert len(await passed(sandbox, replies)) == 80

    async def test_a_program_made_of_the_visible_tests_passes_none(self, sandbox: Sandbox) -> None:
        replies = {}
        for task in tasks(split="test"):
            shown = [line.split() for line in task.prompt.splitlines() if line.startswith("assert ")]
            table = {int(words[1][2:-1]): int(words[3]) for words in shown}
            replies[task.id] = f"```python\ndef f(x):\n    return {table}.get(x)\n```"

        assert await passed(sandbox, replies, split="test") == []

    @pytest.mark.parametrize(
        "program",
        [
            "def f(x): pass",
            "class A:\n    def __eq__(self, other): return True\ndef f(x): return A()",
            "import os\ndef f(x): os._exit(0)",
            "def f(x): return f'{x}'",
        ],
        ids=["nothing", "equal to everything", "exit", "text"],
    )
    async def test_a_program_that_does_not_solve_it_passes_no_task(self, sandbox: Sandbox, program: str) -> None:
        replies = {task.id: f"```python\n{program}\n```" for task in tasks(split="all")}

        assert await passed(sandbox, replies) == []

    async def test_the_question_as_an_answer_passes_no_task(self, sandbox: Sandbox) -> None:
        assert await passed(sandbox, {task.id: task.prompt for task in tasks(split="all")}) == []
