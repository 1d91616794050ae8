"""HumanEval+ and MBPP+ from a file of rows to scores through a real sandbox."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError

from services.contract.conversation import Reply, Transcript, Turn
from services.contract.execution import Calls, Job, JobResult
from services.contract.outcomes import Failure
from services.contract.results import SubScore
from services.green_agent.benchmarks.base import DatasetError, Sandbox, Score, ScoringTools, Setting
from services.green_agent.benchmarks.evalplus import HumanEvalPlus, MbppPlus
from services.green_agent.benchmarks.evalplus.benchmark import (
    HumanEvalPlusConfig,
    MbppPlusConfig,
    PlusTask,
)
from services.green_agent.data.loading import load_jsonl
from services.green_agent.data.registry import source
from services.green_agent.data.store import Store
from services.green_agent.sandbox import open_sandbox
from tests.green_agent.benchmarks.evalplus.rows_by_hand import MEAN, ROWS, written
from tests.support.peer_files import MIRROR


def mbpp_plus(folder: Path, *names: str, **keys: Any) -> MbppPlus:
    config = MbppPlusConfig(type="mbpp_plus", path=str(written(folder, *names)), **keys)
    return MbppPlus(config, Setting(seed=7))


def one(folder: Path, name: str, **keys: Any) -> tuple[MbppPlus, PlusTask]:
    benchmark = mbpp_plus(folder, name, **keys)
    (task,) = benchmark.tasks()
    return benchmark, task


def said(code: str) -> Transcript:
    return Transcript(turns=(Turn(question="?", reply=Reply(text=f"```python\n{code}\n```")),))


@dataclass
class Listening:
    """Passes jobs on and remembers them."""

    sandbox: Sandbox
    jobs: list[Calls] = field(default_factory=list)

    @property
    def info(self) -> Any:
        return self.sandbox.info

    async def run(self, job: Job) -> JobResult:
        assert isinstance(job, Calls)
        self.jobs.append(job)
        return await self.sandbox.run(job)

    async def aclose(self) -> None: ...


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = await open_sandbox(backend="auto", workers=2, allow_unsafe=True)
    yield opened
    await opened.aclose()


class TestTasks:
    def test_a_question_of_mbpp_plus_shows_the_assert_of_the_published_prompt(self, tmp_path: Path) -> None:
        _, task = one(tmp_path, "mean")

        assert task.prompt == (
            "Write a function for task 3.\n\n"
            "Write it as the Python function `mean`.\n"
            "Answer with one fenced block that holds the complete program: imports, helper functions and the function "
            "itself.\n\n"
            "Your program should pass this test:\n\n"
            "```python\nassert mean([1, 2]) == 1.5\n```\n"
        )

    def test_visible_tests_decide_how_many_asserts_are_shown(self, tmp_path: Path) -> None:
        shown = {
            visible: one(tmp_path, "mean", visible_tests=visible)[1].prompt.count("assert ")
            for visible in ("none", "first", "all")
        }

        assert shown == {"none": 0, "first": 1, "all": 2}

    def test_a_task_whose_test_accepts_everything_is_left_out_and_noted_unless_it_is_asked_for(
        self, tmp_path: Path
    ) -> None:
        without = mbpp_plus(tmp_path, "mean", "anything")
        asked = mbpp_plus(tmp_path, "mean", "anything", include_vacuous=True)

        assert [task.id for task in without.tasks()] == ["Mbpp/3"]
        assert without.notes() == {
            "source": "path rows.jsonl",
            "dataset_verified": False,
            "vacuous_left_out": ["Mbpp/164"],
        }
        assert [(task.id, task.issues) for task in asked.tasks()] == [
            ("Mbpp/3", ()),
            ("Mbpp/164", ("accepts_everything",)),
        ]

    def test_inputs_have_the_shapes_of_the_asserts(self, tmp_path: Path) -> None:
        _, task = one(tmp_path, "polar")

        assert (task.base, task.plus, task.units) == ([[1]], [[3 + 4j], [1j]], 3)

    def test_an_empty_object_stands_for_no_further_inputs(self, tmp_path: Path) -> None:
        assert one(tmp_path, "no plus")[1].plus == []

    def test_a_row_whose_asserts_have_other_arguments_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "rows.jsonl").write_text(json.dumps(ROWS["mean"] | {"base_input": [[[1, 2.0]], [[4]]]}))

        with pytest.raises(DatasetError, match=r"Mbpp/3 has an assert whose arguments are not among its base inputs"):
            MbppPlus(MbppPlusConfig(type="mbpp_plus", path=str(tmp_path / "rows.jsonl")), Setting(seed=7)).tasks()

    @pytest.mark.parametrize(
        "field", ["base_input", "plus_input", "atol", "contract", "canonical_solution", "assertion"]
    )
    def test_a_row_without_a_field_refuses_the_data_set(self, tmp_path: Path, field: str) -> None:
        row = {key: value for key, value in ROWS["mean"].items() if key != field}
        (tmp_path / "rows.jsonl").write_text(json.dumps(row))

        with pytest.raises(DatasetError, match=f"mbpp_plus: (.|\n)*{field}"):
            MbppPlus(MbppPlusConfig(type="mbpp_plus", path=str(tmp_path / "rows.jsonl")), Setting(seed=7)).tasks()

    def test_only_tasks_that_accept_everything_are_no_data_set(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="mbpp_plus: no tasks"):
            mbpp_plus(tmp_path, "anything").tasks()

    def test_without_data_the_error_names_the_pull(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
        monkeypatch.setenv("ASSAY_OFFLINE", "1")
        benchmark = HumanEvalPlus(
            HumanEvalPlusConfig(type="humaneval_plus"), Setting(seed=7, store=Store(folders=(), mirror=None))
        )

        with pytest.raises(DatasetError, match=r"`assay data pull humaneval_plus`, with `--from DIR`"):
            benchmark.tasks()

    def test_a_value_of_visible_tests_without_effect_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="visible_tests"):
            HumanEvalPlusConfig.model_validate({"type": "humaneval_plus", "visible_tests": "all"})

    def test_sanitizing_is_part_of_what_a_task_is(self, tmp_path: Path) -> None:
        assert one(tmp_path, "mean")[1].digest != one(tmp_path, "mean", sanitize="entry_closure")[1].digest

    @pytest.mark.parametrize(
        ("kind", "config", "member", "count"),
        [
            (HumanEvalPlus, HumanEvalPlusConfig(type="humaneval_plus"), "humaneval_plus/HumanEvalPlus.jsonl.gz", 164),
            (MbppPlus, MbppPlusConfig(type="mbpp_plus"), "mbpp_plus/MbppPlus.jsonl.gz", 378),
        ],
    )
    def test_the_released_rows_have_the_arguments_of_their_asserts(
        self, kind: Any, config: Any, member: str, count: int
    ) -> None:
        if not (MIRROR / member).exists():
            pytest.skip(f"no {member} in the folder ASSAY_DATA_FROM")

        tasks = kind(config, Setting(seed=7, store=Store(folders=(), mirror=MIRROR))).tasks()

        assert len(tasks) == count


@pytest.mark.asyncio(loop_scope="module")
class TestScores:
    async def score(self, sandbox: Sandbox, folder: Path, name: str, code: str, **keys: Any) -> Score:
        benchmark, task = one(folder, name, **keys)
        return await benchmark.score(task, 0, said(code), ScoringTools(sandbox=sandbox))

    @pytest.mark.parametrize("name", ROWS)
    async def test_every_published_solution_passes(self, sandbox: Sandbox, tmp_path: Path, name: str) -> None:
        benchmark, task = one(tmp_path, name, include_vacuous=True)

        score = await benchmark.score(task, 0, said(task.reference), ScoringTools(sandbox=sandbox))

        assert (score.score, score.metrics["base"], score.metrics["plus"]) == (1.0, True, True)
        assert score.sub_scores == {name: SubScore(earned=1.0, possible=1.0) for name in ("base", "plus")}

    async def test_a_program_that_passes_the_base_inputs_alone_scores_0(self, sandbox: Sandbox, tmp_path: Path) -> None:
        score = await self.score(
            sandbox, tmp_path, "mean", "def mean(values):\n    return 1.5 if len(values) == 2 else 4"
        )

        kept = (
            "base",
            "plus",
            "base_passed",
            "base_total",
            "plus_passed",
            "plus_total",
            "inputs_left_out",
            "pass_rate",
        )
        assert score.score == 0.0
        assert [score.metrics[name] for name in kept] == [True, False, 2, 2, 0, 2, 1, 0.5]
        assert score.sub_scores["base"] == SubScore(earned=1.0, possible=1.0)
        assert score.sub_scores["plus"] == SubScore(earned=0.0, possible=1.0)
        assert score.explanation == "2 of 4 checks passed; input 3 of 4: not the right output"

    async def test_another_way_to_add_floats_is_right(self, sandbox: Sandbox, tmp_path: Path) -> None:
        other = "import math\ndef mean(values):\n    return math.fsum(reversed(values)) / len(values)"

        assert (await self.score(sandbox, tmp_path, "mean", other)).score == 1.0

    async def test_words_without_a_program_earn_nothing(self, sandbox: Sandbox, tmp_path: Path) -> None:
        benchmark, task = one(tmp_path, "mean")
        words = Transcript(turns=(Turn(question="?", reply=Reply(text="I cannot.")),))

        score = await benchmark.score(task, 0, words, ScoringTools(sandbox=sandbox))

        assert (score.score, score.scored_by, score.metrics["extracted"]) == (0.0, "extraction", False)
        assert score.sub_scores == {name: SubScore(earned=0.0, possible=1.0) for name in ("base", "plus")}

    @pytest.mark.parametrize("name", sorted(set(ROWS) - {"anything"}))
    @pytest.mark.parametrize(
        "program",
        [
            "def {name}(*args): return None",
            "def {name}(*args): return 0",
            "class A:\n    def __eq__(self, other): return True\ndef {name}(*args): return A()",
            "import os\ndef {name}(*args): os._exit(0)",
            "import sys\nsys.exit(0)\n{name} = print",
            "def {name}(*args): raise AssertionError",
        ],
        ids=["nothing", "zero", "equal to everything", "exit", "exit on load", "raise"],
    )
    async def test_a_program_that_does_not_solve_it_passes_no_task(
        self, sandbox: Sandbox, tmp_path: Path, name: str, program: str
    ) -> None:
        code = program.replace("{name}", ROWS[name]["entry_point"])

        assert (await self.score(sandbox, tmp_path, name, code)).score == 0.0

    async def test_the_published_solution_never_runs_beside_the_program(self, sandbox: Sandbox, tmp_path: Path) -> None:
        listening = Listening(sandbox)
        benchmark, task = one(tmp_path, "mean")
        candidate = "def mean(values):\n    return sum(values) / max(len(values), 1)"

        await benchmark.score(task, 0, said(candidate), ScoringTools(sandbox=listening))

        assert [job.source for job in listening.jobs] == [f"\n{MEAN}", candidate]
        assert [len(job.calls) for job in listening.jobs] == [5, 4]

    async def test_the_published_solution_runs_once_for_many_trials(self, sandbox: Sandbox, tmp_path: Path) -> None:
        listening = Listening(sandbox)
        benchmark, task = one(tmp_path, "mean")
        programs = [f"{MEAN}# {number}" for number in range(4)]

        scores = await asyncio.gather(
            *(benchmark.score(task, 0, said(code), ScoringTools(sandbox=listening)) for code in programs)
        )

        assert [score.score for score in scores] == [1.0] * 4
        assert sum(job.source == f"\n{MEAN}" for job in listening.jobs) == 1

    async def test_inputs_that_the_published_solution_cannot_answer_are_left_out_and_counted(
        self, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        score = await self.score(sandbox, tmp_path, "extreme", "def repeat(n):\n    return n * ['x']")

        assert (score.score, score.metrics["inputs_left_out"], score.metrics["checks_total"]) == (1.0, 2, 2)

    async def test_a_published_solution_that_answers_nothing_is_no_verdict(
        self, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        row = ROWS["mean"] | {"canonical_solution": "def mean(values):\n    raise ValueError\n"}
        (tmp_path / "rows.jsonl").write_text(json.dumps(row))
        benchmark = MbppPlus(MbppPlusConfig(type="mbpp_plus", path=str(tmp_path / "rows.jsonl")), Setting(seed=7))

        with pytest.raises(Failure, match="the published solution answers no input") as failed:
            await benchmark.score(benchmark.tasks()[0], 0, said(MEAN), ScoringTools(sandbox=sandbox))

        assert (failed.value.outcome, failed.value.kind) == ("infra_error", "reference")

    async def test_humaneval_plus_reads_rows_made_from_the_installed_package(
        self, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        data_file = Store(mirror=None).member("humaneval", "HumanEval.jsonl.gz")
        original = {row["task_id"]: row for row in load_jsonl(source("humaneval"), data_file.path)}
        rows = [
            original["HumanEval/53"]
            | {"base_input": [[0, 1], [1, 0], [2, 3], [5, 7], [7, 5]], "plus_input": [[10**30, 1]], "atol": 0},
            original["HumanEval/127"]
            | {"test": "", "base_input": [[[1, 2], [2, 3]]], "plus_input": [[[-3, -1], [-5, 5]]], "atol": 0},
        ]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row | {"contract": ""}) + "\n" for row in rows))
        config = HumanEvalPlusConfig(type="humaneval_plus", path=str(tmp_path / "rows.jsonl"))
        benchmark = HumanEvalPlus(config, Setting(seed=7))

        tasks = benchmark.tasks()
        bodies = ["    return x + y", "    return 'YES'"]
        scores = [
            await benchmark.score(task, 0, said(body), ScoringTools(sandbox=sandbox))
            for task, body in zip(tasks, bodies, strict=True)
        ]

        assert [task.base[0] for task in tasks] == [[0, 1], [(1, 2), (2, 3)]]
        assert "def add(x: int, y: int):" in tasks[0].prompt
        assert [(score.score, score.metrics["program_shape"]) for score in scores] == [
            (1.0, "completion"),
            (0.0, "completion"),
        ]
