"""MBPP: the published file through a real sandbox where it is here, and rows of our own in the schemas of both subsets."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import JsonValue, ValidationError

from services.contract.conversation import Reply, Transcript, Turn
from services.contract.outcomes import Failure, Outcome
from services.green_agent.benchmarks.base import DatasetError, Sandbox, Score, ScoringTools, Setting
from services.green_agent.benchmarks.mbpp import SPLITS, Mbpp, MbppConfig, MbppTask
from services.green_agent.data.loading import content_sha256, load_json, load_jsonl
from services.green_agent.data.registry import known_issues, source
from services.green_agent.data.store import DataError, Store
from services.green_agent.sandbox import open_sandbox
from services.green_agent.scoring.code.selfcheck import references
from tests.support.peer_files import MIRROR, STORE

DATA = MIRROR / "mbpp" / "mbpp.jsonl"
needs_mbpp = pytest.mark.skipif(not DATA.exists(), reason="no mbpp/mbpp.jsonl in the folder ASSAY_DATA_FROM")

SMALL_EXPLOITS = {
    "nothing": "def {name}(*args):\n    pass",
    "equal to everything": (
        "class Any:\n    def __eq__(self, other): return True\n    __hash__ = None\ndef {name}(*args): return Any()"
    ),
    "exit": "import os\ndef {name}(*args): os._exit(0)",
    "asserts are off": "import builtins\nbuiltins.AssertionError = None\ndef {name}(*args): return None",
}


def benchmark(store: Store = STORE, **keys: object) -> Mbpp:
    return Mbpp(MbppConfig.model_validate({"type": "mbpp", **keys}), Setting(seed=7, store=store))


def said(text: str) -> Transcript:
    return Transcript(turns=(Turn(question="?", reply=Reply(text=text)),))


def fenced(code: str) -> str:
    return f"Here it is.\n\n```python\n{code}\n```\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = await open_sandbox(backend="auto", workers=2, allow_unsafe=True)
    yield opened
    await opened.aclose()


async def score_all(
    sandbox: Sandbox, mbpp: Mbpp, tasks: list[MbppTask], reply: Callable[[MbppTask], str]
) -> dict[str, Score]:
    tools = ScoringTools(sandbox=sandbox)
    scores = await asyncio.gather(*(mbpp.score(task, 0, said(reply(task)), tools) for task in tasks))
    return {task.id: score for task, score in zip(tasks, scores, strict=True)}


@needs_mbpp
class TestTasks:
    @pytest.mark.parametrize(
        ("split", "count", "first", "last"),
        [
            ("prompt", 10, "MBPP/1", "MBPP/10"),
            ("test", 500, "MBPP/11", "MBPP/510"),
            ("validation", 90, "MBPP/511", "MBPP/600"),
            ("train", 374, "MBPP/601", "MBPP/974"),
            ("all", 974, "MBPP/1", "MBPP/974"),
        ],
    )
    def test_a_split_holds_its_published_tasks(self, split: str, count: int, first: str, last: str) -> None:
        tasks = benchmark(split=split).tasks()

        assert (len(tasks), tasks[0].id, tasks[-1].id) == (count, first, last)

    def test_the_content_digest_does_not_depend_on_the_file(self) -> None:
        rows = load_jsonl(source("mbpp"), DATA)

        assert (
            content_sha256(rows, id_field="task_id")
            == "b17a51cff10fa252e70e223f129834a4d84a533952caa5618032d3f4be3e52e6"
        )

    def test_a_changed_byte_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "mbpp").mkdir()
        (tmp_path / "mbpp" / "mbpp.jsonl").write_bytes(DATA.read_bytes().replace(b"character", b"Character", 1))

        with pytest.raises(DatasetError, match=r"sha256 of mbpp.jsonl is .* `assay data pull mbpp`"):
            benchmark(Store(mirror=tmp_path)).tasks()

    def test_a_question_reads_like_this(self) -> None:
        task = benchmark().tasks()[0]

        assert task.prompt == (
            "Write a python function to remove first and last occurrence of a given character from the string.\n\n"
            "Write it as the Python function `remove_Occ`.\n"
            "Answer with one fenced block that holds the complete program: imports, helper functions and the function "
            "itself.\n\n"
            "Your program should pass these tests:\n\n"
            "```python\n"
            'assert remove_Occ("hello","l") == "heo"\n'
            'assert remove_Occ("abcda","a") == "bcd"\n'
            'assert remove_Occ("PHP","P") == "H"\n'
            "```\n"
        )

    @pytest.mark.parametrize(("visible", "shown"), [("none", 0), ("first", 1), ("all", 3)])
    def test_visible_tests_says_how_many_asserts_are_shown(self, visible: str, shown: int) -> None:
        tasks = benchmark(visible_tests=visible).tasks()

        assert {len(re.findall("^assert ", task.prompt, re.MULTILINE)) for task in tasks} == {shown}

    def test_the_class_that_a_test_needs_is_named(self) -> None:
        tasks = {task.id: task for task in benchmark(split="all", visible_tests="none").tasks()}

        named = [task_id for task_id, task in tasks.items() if "which your program defines as well" in task.prompt]
        assert named == ["MBPP/367", "MBPP/601", "MBPP/927"]
        assert "objects of the class `Node`, which" in tasks["MBPP/367"].prompt

    def test_worked_examples_come_first_and_from_the_prompt_split(self) -> None:
        plain, worked = benchmark().tasks()[0], benchmark(shots=3).tasks()[0]

        assert worked.prompt.endswith("Now your task.\n\n" + plain.prompt)
        assert worked.prompt.count("def ") == 3
        assert "def similar_elements" in worked.prompt
        assert worked.digest != plain.digest
        assert "\r" not in worked.prompt

    def test_a_base_model_gets_the_form_of_the_paper(self) -> None:
        task = benchmark(protocol="completion", shots=1, visible_tests="first").tasks()[0]

        head, _, tail = task.prompt.rpartition('\n\n"""\n')
        assert head.startswith('"""\nWrite a function to find the similar elements from the given two tuple lists.\n')
        assert "def similar_elements(test_tup1, test_tup2):\n" in head
        assert tail == (
            "Write a python function to remove first and last occurrence of a given character from the string.\n"
            'assert remove_Occ("hello","l") == "heo"\n"""\ndef remove_Occ('
        )

    @pytest.mark.parametrize(
        "keys",
        [{"visible_tests": "first"}, {"shots": 1}, {"protocol": "completion"}, {"sanitize": "entry_closure"}],
        ids=str,
    )
    def test_every_key_changes_the_tasks(self, keys: dict[str, str | int]) -> None:
        plain = {task.digest for task in benchmark(split="validation").tasks()}

        other = Mbpp(
            MbppConfig.model_validate({"type": "mbpp", "split": "validation", **keys}), Setting(seed=7, store=STORE)
        )
        assert plain.isdisjoint(task.digest for task in other.tasks())

    def test_969_tests_are_taken_apart_and_five_are_not(self) -> None:
        tasks = benchmark(split="all").tasks()

        kinds = Counter(type(task.test).__name__ for task in tasks)
        assert kinds == {"Pairs": 969, "Guarded": 3, "NoneType": 2}
        assert [task.id for task in tasks if task.test is None] == ["MBPP/533", "MBPP/596"]

    def test_known_issues_stand_on_their_tasks(self) -> None:
        noted = {task.id: task.issues for task in benchmark(split="all").tasks() if task.issues}

        assert set(noted) == {row for issue in known_issues("mbpp") for row in issue.rows}
        assert noted["MBPP/123"] == ("slow_reference",)

    def test_the_source_is_noted(self) -> None:
        mbpp = benchmark()
        mbpp.tasks()

        assert mbpp.notes() == {"source": "mirror mbpp/mbpp.jsonl", "dataset_verified": True, "left_out": []}

    def test_a_base_model_is_not_asked_for_a_class_beside_its_function(self) -> None:
        mbpp = benchmark(protocol="completion", split="all")

        assert len(mbpp.tasks()) == 971
        assert mbpp.notes()["left_out"] == [367, 601, 927]


@pytest.mark.parametrize("split", ["prompt", "all"])
def test_worked_examples_are_never_of_the_split_under_test(split: str) -> None:
    with pytest.raises(ValidationError, match="holds the worked examples themselves"):
        MbppConfig.model_validate({"type": "mbpp", "split": split, "shots": 1})


def test_more_worked_examples_than_there_are_is_refused() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 3"):
        MbppConfig.model_validate({"type": "mbpp", "shots": 4})


def test_the_splits_share_no_task() -> None:
    numbers = [number for name, split in SPLITS.items() if name != "all" for number in split]

    assert sorted(numbers) == list(SPLITS["all"])


def test_data_that_is_absent_names_the_pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASSAY_OFFLINE", "1")

    with pytest.raises(DatasetError, match="`assay data pull mbpp`"):
        benchmark(Store(mirror=tmp_path)).tasks()


@needs_mbpp
@pytest.mark.asyncio(loop_scope="module")
class TestScores:
    async def test_all_974_reference_solutions_pass(self, sandbox: Sandbox) -> None:
        mbpp = benchmark(split="all")

        found = await references(mbpp, mbpp.tasks(), sandbox, most=974)

        assert (found.run, found.of, found.failed) == (974, 974, ())

    async def test_a_do_nothing_agent_passes_no_task(self, sandbox: Sandbox) -> None:
        mbpp = benchmark(split="all")
        nothing = SMALL_EXPLOITS["nothing"]

        scores = await score_all(
            sandbox, mbpp, [*mbpp.tasks()], lambda task: fenced(nothing.replace("{name}", task.entry_point))
        )

        assert len(scores) == 974
        assert [task_id for task_id, score in scores.items() if score.score != 0.0 or score.passed] == []

    @pytest.mark.parametrize("exploit", list(SMALL_EXPLOITS))
    async def test_no_exploit_passes_under_any_method(self, sandbox: Sandbox, exploit: str) -> None:
        mbpp = benchmark(split="all")
        numbers = {f"MBPP/{number}" for number in (11, 123, 367, 533, 596, 601, 927)}
        tasks = [task for task in mbpp.tasks() if task.id in numbers]
        classes = "class Node:\n    def __init__(self, *args): pass\nPair = Node\n"

        scores = await score_all(
            sandbox,
            mbpp,
            tasks,
            lambda task: fenced(classes + SMALL_EXPLOITS[exploit].replace("{name}", task.entry_point)),
        )

        assert {score.scored_by for score in scores.values()} == {"pairs", "split", "guarded"}
        assert {score.score for score in scores.values()} == {0.0}

    async def test_sanitizing_keeps_the_class_that_a_test_builds_objects_of(self, sandbox: Sandbox) -> None:
        mbpp = benchmark(split="all", sanitize="entry_closure")
        tasks = [task for task in mbpp.tasks() if task.id in {"MBPP/367", "MBPP/601", "MBPP/927"}]

        scores = await score_all(sandbox, mbpp, tasks, lambda task: fenced(task.reference + "\nprint(1)\n"))

        assert [score.passed for score in scores.values()] == [True, True, True]
        assert all("print" not in str(score.answer) for score in scores.values())

    async def test_methods_and_issues_stand_in_the_score(self, sandbox: Sandbox) -> None:
        mbpp = benchmark(split="all")
        tasks = [task for task in mbpp.tasks() if task.id in {"MBPP/2", "MBPP/367", "MBPP/596"}]

        scores = await score_all(sandbox, mbpp, tasks, lambda task: fenced(task.reference))

        assert {task_id: score.scored_by for task_id, score in scores.items()} == {
            "MBPP/2": "pairs",
            "MBPP/367": "guarded",
            "MBPP/596": "split",
        }
        assert {task_id: score.metrics["checks_total"] for task_id, score in scores.items()} == {
            "MBPP/2": 3,
            "MBPP/367": 1,
            "MBPP/596": 1,
        }
        assert scores["MBPP/367"].metrics["known_issues"] == "objects_of_the_candidate"
        assert scores["MBPP/2"].metrics["exact_match"] is True

    async def test_a_base_model_that_goes_on_to_the_next_task_is_cut_off(self, sandbox: Sandbox) -> None:
        mbpp = benchmark(protocol="completion", split="prompt")
        goes_on = '\n\n"""\nWrite a function to find\n"""\ndef half(\n'

        alone = {task.id: f"def {task.entry_point}(" for task in mbpp.tasks() if task.reference.count("def ") == 1}
        tasks = [task for task in mbpp.tasks() if task.reference.startswith(alone.get(task.id, "?"))]
        scores = await score_all(
            sandbox, mbpp, tasks, lambda task: task.reference.removeprefix(alone[task.id]) + goes_on
        )

        assert len(scores) >= 3
        assert [task_id for task_id, score in scores.items() if score.score != 1.0] == []

    async def test_words_without_a_program_score_0_and_a_blank_reply_is_the_agents_error(
        self, sandbox: Sandbox
    ) -> None:
        mbpp = benchmark()
        task = mbpp.tasks()[0]

        words = await mbpp.score(task, 0, said("No idea."), ScoringTools(sandbox=sandbox))
        with pytest.raises(Failure) as blank:
            await mbpp.score(task, 0, said("  "), ScoringTools(sandbox=sandbox))

        assert (words.score, words.metrics["extracted"], words.metrics["checks_total"]) == (0.0, False, 3)
        assert blank.value.outcome is Outcome.AGENT_ERROR


SANITIZED_NUMBERS = [2, 3, 4, 6, 7, 8, 9, *range(11, 268), *range(511, 554), *range(601, 721)]
"""As many of each split as published: 7, 257, 43, 120."""


def sanitized_row(number: int) -> dict[str, JsonValue]:
    """A row in the published schema of the sanitized subset, which is not on every machine."""
    return {
        "source_file": "made by Assay's tests",
        "task_id": number,
        "prompt": f"Write a function to add {number} to a number.",
        "code": f"def add_{number}(x):\r\n  return x + {number}",
        "test_imports": ["import math"] if number % 2 else [],
        "test_list": [
            f"assert add_{number}(1) == {number + 1}",
            f"assert math.isclose(add_{number}(0.5), {number + 0.5})"
            if number % 2
            else f"assert add_{number}(0) == {number}",
        ],
    }


def sanitized(folder: Path, rows: list[dict[str, JsonValue]]) -> Store:
    (folder / "mbpp").mkdir()
    (folder / "mbpp" / "sanitized-mbpp.json").write_text(json.dumps(rows))
    return Store(mirror=folder)


class TestSanitized:
    def test_its_splits_have_the_published_sizes(self, tmp_path: Path) -> None:
        store = sanitized(tmp_path, [sanitized_row(number) for number in SANITIZED_NUMBERS])

        sizes = {
            split: len(benchmark(store, subset="sanitized", split=split).tasks())
            for split in ("prompt", "test", "validation", "train", "all")
        }

        assert sizes == {"prompt": 7, "test": 257, "validation": 43, "train": 120, "all": 427}

    def test_its_tasks_are_other_tasks_than_those_of_the_full_set(self, tmp_path: Path) -> None:
        store = sanitized(tmp_path, [sanitized_row(number) for number in SANITIZED_NUMBERS])

        task = benchmark(store, subset="sanitized", shots=1).tasks()[0]

        assert task.id == "MBPP-sanitized/11"
        assert "def add_2(x):\n  return x + 2\n" in task.prompt
        assert task.prompt.endswith(
            "Write a function to add 11 to a number.\n\n"
            "Write it as the Python function `add_11`.\n"
            "Answer with one fenced block that holds the complete program: imports, helper functions and the function "
            "itself.\n\nYour program should pass these tests:\n\n```python\n"
            "assert add_11(1) == 12\nassert math.isclose(add_11(0.5), 11.5)\n```\n"
        )

    @pytest.mark.asyncio(loop_scope="module")
    async def test_its_reference_solutions_pass(self, sandbox: Sandbox, tmp_path: Path) -> None:
        mbpp = benchmark(
            sanitized(tmp_path, [sanitized_row(number) for number in SANITIZED_NUMBERS]), subset="sanitized"
        )

        found = await references(mbpp, mbpp.tasks(), sandbox, most=20)

        assert (found.run, found.of, found.failed) == (20, 257, ())

    def test_a_missing_row_or_field_refuses_the_file(self, tmp_path: Path) -> None:
        rows = [sanitized_row(number) for number in SANITIZED_NUMBERS]
        del rows[0]["prompt"]
        store = sanitized(tmp_path, rows)

        with pytest.raises(DatasetError, match="prompt"):
            benchmark(store, subset="sanitized").tasks()
        (tmp_path / "short.json").write_text(json.dumps(rows[1:]))
        with pytest.raises(DataError, match="expected 427 rows"):
            load_json(source("mbpp_sanitized"), tmp_path / "short.json")
