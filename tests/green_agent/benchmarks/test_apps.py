"""APPS from a file in its published schema, written here since the set needs a pull, to scores through a real sandbox."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import JsonValue, ValidationError

from services.contract.conversation import Reply, Transcript, Turn
from services.contract.outcomes import Failure, Outcome
from services.green_agent.benchmarks.apps import Apps, AppsConfig, AppsTask, extract_function
from services.green_agent.benchmarks.base import DatasetError, Sandbox, Score, ScoringTools, Setting
from services.green_agent.data.store import Store
from services.green_agent.scoring.code.selfcheck import references
from tests.support.quick_sandbox import quick_sandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

PUBLISHED = 5000


def row(number: int, **fields: JsonValue) -> dict[str, JsonValue]:
    published: dict[str, JsonValue] = {
        "problem_id": number,
        "question": f"Statement {number}.",
        "solutions": "",
        "input_output": "",
        "difficulty": "interview",
        "url": f"https://example.org/{number}",
        "starter_code": "",
    }
    return published | fields


def both(inputs: list[JsonValue], outputs: list[JsonValue], **more: JsonValue) -> str:
    return json.dumps({"inputs": inputs, "outputs": outputs, **more})


ROWS = [
    row(
        0,
        question="Print the sum of two numbers.",
        input_output=both(["1 2\n", "5 5\n", ["7", "8"]], ["3\n", "10\n", ["15"]]),
        solutions=json.dumps(["a = open(0).read().split()\nprint(sum(map(int, a)))\n"]),
        difficulty="introductory",
    ),
    row(
        1,
        input_output=both([[[1, 2]], [[3]]], [[[2, 1]], [3]], fn_name="backwards"),
        solutions=json.dumps(
            ["class Solution:\n    def backwards(self, values):\n        return tuple(values[::-1])\n"]
        ),
        starter_code="class Solution:\n    def backwards(self, values: List[int]) -> List[int]:\n        ",
    ),
    row(2, difficulty="competition"),
    row(3, input_output="{", difficulty="competition"),
    row(4, input_output=both([], [])),
    row(5, input_output=both(["1"], [])),
    row(
        6,
        input_output=f'{{"fn_name": "next_number", "inputs": [[{"1" + "0" * 5000}]], "outputs": [{"1" + "0" * 4999 + "1"}]}}',
        solutions=json.dumps(["def next_number(n):\n    return n + 1\n"]),
        starter_code="def next_number(n):\n\t",
        difficulty="introductory",
    ),
    row(7, input_output=both(["2\n"], ["0.5\n"]), solutions=json.dumps(["print(1 / int(input()))"])),
    row(8, input_output=both(["2\n", "3\n"], ["", "\n"]), difficulty="competition"),
    row(9, input_output=both([[1]], [2], fn_name="lambda"), difficulty="competition"),
]
LONG = "1" + "0" * 5000
OWN = [
    row(0, input_output=f'{{"inputs": [{LONG}], "outputs": [{LONG}]}}', solutions=json.dumps(["print(input())"])),
    row(
        1,
        input_output=both([[1]], [2], fn_name="plus_one"),
        solutions=json.dumps(["def plus_one(n):\n    return n + 1"]),
    ),
]


def folder(where: Path, *rows: dict[str, JsonValue], split: str = "test") -> Path:
    """A mirror whose file has as many rows as are published; those beyond `rows` are of competition and without tests."""
    path = where / "apps" / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    filling = (row(number, difficulty="competition") for number in range(len(rows), PUBLISHED))
    path.write_text("".join(json.dumps(one) + "\n" for one in (*rows, *filling)), encoding="utf-8")
    return where


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = folder(tmp_path_factory.mktemp("mirror"), *ROWS)
    return folder(where, row(0, input_output=both(["\n"], ["1\n"])), split="train")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with quick_sandbox() as opened:
        yield opened


def made(mirror: Path, **keys: object) -> Apps:
    return Apps(AppsConfig.model_validate({"type": "apps", **keys}), Setting(seed=1, store=Store(mirror=mirror)))


def by_id(benchmark: Apps) -> dict[str, AppsTask]:
    return {task.id: task for task in benchmark.tasks()}


def fenced(program: str) -> str:
    return f"So:\n\n```python\n{program}\n```\n"


async def score(benchmark: Apps, task: AppsTask, reply: str, sandbox: Sandbox) -> Score:
    transcript = Transcript(turns=(Turn(question=task.prompt, reply=Reply(text=reply)),))
    return await benchmark.score(task, 0, transcript, ScoringTools(sandbox=sandbox))


class TestTasks:
    async def test_rows_with_tests_become_tasks_in_their_order(self, mirror: Path) -> None:
        tasks = made(mirror).tasks()

        assert [(task.id, task.stratum, task.entry_point, task.units) for task in tasks] == [
            ("test/0", "introductory", "", 3),
            ("test/1", "interview", "backwards", 2),
            ("test/6", "introductory", "next_number", 1),
            ("test/7", "interview", "", 1),
        ]

    async def test_every_row_is_accounted_for(self, mirror: Path) -> None:
        benchmark = made(mirror)
        benchmark.tasks()

        notes = benchmark.notes()

        assert (notes["source"], notes["rows"]) == ("mirror apps/test.jsonl", 5000)
        assert notes["problems"] == {"stdin": 2, "call": 2}
        untestable = notes["untestable"]
        assert isinstance(untestable, dict)
        assert {reason: told["rows"] for reason, told in untestable.items() if isinstance(told, dict)} == {
            "no tests": 4992,
            "the tests are no JSON": 1,
            "not as many outputs as inputs": 1,
            "no output is expected": 1,
            "the function has no name that can be called": 1,
        }
        assert untestable["the tests are no JSON"] == {"rows": 1, "ids": ["test/3"]}

    async def test_a_file_of_ones_own_may_have_any_number_of_rows(self, tmp_path: Path, sandbox: Sandbox) -> None:
        path = tmp_path / "own.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in OWN), encoding="utf-8")
        benchmark = made(tmp_path / "nothing", path=str(path), visible_tests="first")

        tasks = benchmark.tasks()

        assert [task.id for task in tasks] == ["test/0", "test/1"]
        assert (benchmark.notes()["source"], benchmark.notes()["rows"]) == ("path own.jsonl", 2)
        assert (await references(benchmark, tasks, sandbox=sandbox, most=9)).failed == ()

    async def test_a_path_that_leads_nowhere_is_named(self, mirror: Path) -> None:
        with pytest.raises(DatasetError, match=r"gone\.jsonl: not found"):
            made(mirror, path="gone.jsonl").tasks()

    async def test_difficulties_keep_only_these(self, mirror: Path) -> None:
        assert [*by_id(made(mirror, difficulties=["introductory"]))] == ["test/0", "test/6"]

    async def test_split_chooses_the_file(self, mirror: Path) -> None:
        assert [*by_id(made(mirror, split="train"))] == ["train/0"]

    async def test_a_question_reads_like_this(self, mirror: Path) -> None:
        assert by_id(made(mirror))["test/0"].prompt == (
            "Solve this programming problem in Python 3.\n\n"
            "Print the sum of two numbers.\n\n"
            "The program reads standard input and writes standard output.\n"
            "Limits for each input: 4 seconds of CPU time, 1024 MiB of memory.\n"
            "Answer with one fenced block that holds the complete program.\n"
        )

    async def test_a_function_is_asked_for_by_name_with_its_starter_code(self, mirror: Path) -> None:
        prompt = by_id(made(mirror))["test/1"].prompt

        assert "Write the function `backwards`, or a class `Solution` with this method." in prompt
        assert (
            "```python\nclass Solution:\n    def backwards(self, values: List[int]) -> List[int]:\n        \n```"
            in prompt
        )

    async def test_visible_tests_show_one_when_that_is_asked_for(self, mirror: Path) -> None:
        hidden, shown = by_id(made(mirror)), by_id(made(mirror, visible_tests="first"))

        assert "1 2" not in hidden["test/0"].prompt
        assert "Input:\n```\n1 2\n```\nOutput:\n```\n3\n```" in shown["test/0"].prompt
        assert "Arguments: [[1, 2]]\nResult: [[2, 1]]" in shown["test/1"].prompt
        assert "Arguments: too long to be shown" in shown["test/6"].prompt
        assert hidden["test/0"].digest != shown["test/0"].digest

    async def test_keys_that_change_what_passes_change_the_digests(self, mirror: Path) -> None:
        keys: list[dict[str, object]] = [{}, {"all_cases": True}, {"cpu_s": 8.0}, {"visible_tests": "first"}]

        assert len({by_id(made(mirror, **chosen))["test/0"].digest for chosen in keys}) == 4

    async def test_a_test_that_changed_changes_the_digest(self, mirror: Path, tmp_path: Path) -> None:
        changed = folder(tmp_path, ROWS[0] | {"input_output": both(["1 2\n"], ["4\n"])})

        assert by_id(made(changed))["test/0"].digest != by_id(made(mirror))["test/0"].digest

    async def test_another_number_of_rows_is_refused(self, tmp_path: Path) -> None:
        path = folder(tmp_path, *ROWS) / "apps" / "test.jsonl"
        path.write_text(path.read_text(encoding="utf-8").rsplit("\n", 2)[0] + "\n", encoding="utf-8")

        with pytest.raises(DatasetError, match=r"expected 5000 rows, got 4999; `assay data pull apps`"):
            made(tmp_path).tasks()

    async def test_a_row_without_a_field_is_refused(self, tmp_path: Path) -> None:
        lacking = {name: value for name, value in ROWS[0].items() if name != "question"}

        with pytest.raises(DatasetError, match="question"):
            made(folder(tmp_path, lacking)).tasks()

    async def test_a_problem_that_comes_twice_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="test/0: the id is there 2 times"):
            made(folder(tmp_path, ROWS[0], ROWS[0])).tasks()

    async def test_absent_data_name_the_pull(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")

        with pytest.raises(DatasetError, match=r"assay data pull apps"):
            made(tmp_path / "nothing").tasks()

    async def test_a_value_that_no_key_has_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="visible_tests"):
            AppsConfig.model_validate({"type": "apps", "visible_tests": "examples"})


class TestScores:
    async def test_every_reference_passes_its_own_tests(self, mirror: Path, sandbox: Sandbox) -> None:
        benchmark = made(mirror)

        found = await references(benchmark, benchmark.tasks(), sandbox, most=100)

        assert (found.run, found.of, found.failed) == (4, 4, ())

    async def test_a_program_is_judged_by_its_output(self, mirror: Path, sandbox: Sandbox) -> None:
        benchmark = made(mirror)
        task = by_id(benchmark)["test/0"]

        result = await score(benchmark, task, fenced("print(sum(map(int, input().split())))"), sandbox)

        assert (result.score, result.passed, result.scored_by) == (0.0, False, "stdout")
        assert result.explanation == "2 of 3 checks passed; case 3 of 3: WA"
        told = {
            name: result.metrics[name] for name in ("pass_rate", "verdict", "failing_case", "cases_run", "compared")
        }
        assert told == {"pass_rate": 2 / 3, "verdict": "WA", "failing_case": 3, "cases_run": 3, "compared": "exact"}

    async def test_a_number_within_the_tolerance_passes(self, mirror: Path, sandbox: Sandbox) -> None:
        benchmark = made(mirror)

        result = await score(benchmark, by_id(benchmark)["test/7"], fenced("print(0.50000001)"), sandbox)

        assert (result.score, result.metrics["compared"]) == (1.0, "float")

    @pytest.mark.parametrize(
        "program",
        [
            "def backwards(values): return values[::-1]",
            "class Solution:\n    def backwards(self, values):\n        return values[::-1]",
            "from typing import List\nclass Solution:\n    def backwards(self, values: List[int]):\n        return values[::-1]",
        ],
    )
    async def test_a_function_passes_alone_or_as_a_method(self, mirror: Path, sandbox: Sandbox, program: str) -> None:
        benchmark = made(mirror)

        result = await score(benchmark, by_id(benchmark)["test/1"], fenced(program), sandbox)

        assert (result.score, result.scored_by, result.metrics["pass_rate"]) == (1.0, "pairs", 1.0)

    @pytest.mark.parametrize(
        "program",
        [
            "print(3)",
            "import os; os._exit(0)",
            "import sys; sys.stdout = open('/proc/self/fd/1', 'w'); print('AC')",
            "def backwards(values): return values",
            "class Any:\n    def __eq__(self, o): return True\ndef backwards(v): return Any()\ndef next_number(n): return Any()",
        ],
    )
    async def test_a_program_that_solves_nothing_passes_nothing(
        self, mirror: Path, sandbox: Sandbox, program: str
    ) -> None:
        benchmark = made(mirror)

        scores = [await score(benchmark, task, fenced(program), sandbox) for task in benchmark.tasks()]

        assert [result.score for result in scores] == [0.0] * 4

    async def test_a_reply_without_the_function_has_no_program(self, mirror: Path, sandbox: Sandbox) -> None:
        benchmark = made(mirror)

        result = await score(benchmark, by_id(benchmark)["test/1"], fenced("def other(): pass"), sandbox)

        assert (result.score, result.scored_by, result.metrics["extracted"]) == (0.0, "extraction", False)
        assert result.metrics["checks_total"] == 2

    async def test_an_empty_reply_is_the_agents_error(self, mirror: Path, sandbox: Sandbox) -> None:
        benchmark = made(mirror)

        with pytest.raises(Failure) as failed:
            await score(benchmark, by_id(benchmark)["test/0"], " \n", sandbox)

        assert failed.value.outcome is Outcome.AGENT_ERROR

    async def test_all_cases_are_run_only_when_asked_for(self, tmp_path: Path, sandbox: Sandbox) -> None:
        greedy = row(0, input_output=both([f"{n}\n" for n in range(5)], [f"{n}\n" for n in range(5)]))
        folder(tmp_path, greedy)
        program = fenced("n = int(input())\nif n < 3: [0] * 10**10\nprint(n)")
        ran = []
        for all_cases in (False, True):
            benchmark = made(tmp_path, all_cases=all_cases)
            ran.append((await score(benchmark, by_id(benchmark)["test/0"], program, sandbox)).metrics)

        assert [(one["verdict"], one["cases_run"], one["checks_passed"]) for one in ran] == [
            ("MLE", 3, 0),
            ("MLE", 5, 2),
        ]


class TestExtraction:
    @pytest.mark.parametrize(
        ("reply", "found"),
        [
            (fenced("def f(x):\n    return 1"), True),
            (fenced("class Solution:\n    def f(self, x):\n        return 1"), True),
            (fenced("return 1"), True),
            (fenced("x = 1"), True),
            (fenced("def g():\n    return 1"), True),
            ("def f(x):\n    return 1", True),
            ("I cannot.", False),
        ],
    )
    async def test_what_defines_the_function_after_a_signature(self, reply: str, *, found: bool) -> None:
        assert (extract_function(reply, starter_code="def f(x):\n    ", name="f") is not None) is found

    @pytest.mark.parametrize(
        "program",
        [
            "return 1",
            "x = 1",
            "class Solution:\n    def g(self, x):\n        return 1",
            "class Other:\n    def f(self, x):\n        return 1",
        ],
    )
    async def test_without_a_signature_there_is_nothing_to_complete(self, program: str) -> None:
        assert extract_function(fenced(program), starter_code="", name="f") is None
