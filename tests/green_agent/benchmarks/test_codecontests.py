"""CodeContests from Parquet in its published schema, written here since the set needs a pull, to scores in a real sandbox."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytest_asyncio

from services.contract.conversation import Reply, Transcript, Turn
from services.green_agent.benchmarks.base import DatasetError, Sandbox, Score, ScoringTools, Setting
from services.green_agent.benchmarks.codecontests import CodeContests, CodeContestsConfig, CodeContestsTask
from services.green_agent.data.store import Store
from services.green_agent.scoring.code.selfcheck import references
from tests.support.quick_sandbox import needs_compiler, quick_sandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

Records = list[dict[str, Any]]  # rows of a data set: any JSON

PAIR = pa.struct([("input", pa.string()), ("output", pa.string())])
SOLUTION = pa.struct([("language", pa.int64()), ("solution", pa.string())])
PAIR_LISTS = pa.struct([("input", pa.list_(pa.string())), ("output", pa.list_(pa.string()))])
SOLUTION_LISTS = pa.struct([("language", pa.list_(pa.int64())), ("solution", pa.list_(pa.string()))])

SUM = "print(sum(map(int, input().split())))"
SUM_CPP = "#include <iostream>\nint main() { long long a, b; std::cin >> a >> b; std::cout << a + b << std::endl; }"


def schema(*, lists_of_records: bool) -> pa.Schema:
    """Both encodings in which the set is found."""
    pairs = pa.list_(PAIR) if lists_of_records else PAIR_LISTS
    solutions = pa.list_(SOLUTION) if lists_of_records else SOLUTION_LISTS
    return pa.schema(
        {
            "name": pa.string(),
            "description": pa.string(),
            "public_tests": pairs,
            "private_tests": pairs,
            "generated_tests": pairs,
            "source": pa.int64(),
            "difficulty": pa.int64(),
            "solutions": solutions,
            "incorrect_solutions": solutions,
            "cf_contest_id": pa.int64(),
            "cf_index": pa.string(),
            "cf_points": pa.float32(),
            "cf_rating": pa.int32(),
            "cf_tags": pa.list_(pa.string()),
            "is_description_translated": pa.bool_(),
            "untranslated_description": pa.string(),
            "time_limit": pa.struct([("seconds", pa.int64()), ("nanos", pa.int64())]),
            "memory_limit_bytes": pa.int64(),
            "input_file": pa.string(),
            "output_file": pa.string(),
        }
    )


def row(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "description": f"Statement of {name}.",
        "public_tests": [{"input": "1 2\n", "output": "3\n"}],
        "private_tests": [{"input": "2 2\n", "output": "4\n"}],
        "generated_tests": [{"input": f"{n} 5\n", "output": f"{n + 5}\n"} for n in range(3)],
        "source": 2,
        "difficulty": 7,
        "solutions": [
            {"language": 1, "solution": "print sum(map(int, raw_input().split()))"},
            {"language": 2, "solution": SUM_CPP},
            {"language": 3, "solution": SUM},
        ],
        "incorrect_solutions": [{"language": 3, "solution": "print(3)"}],
        "cf_contest_id": 1,
        "cf_index": "A",
        "cf_points": 0.0,
        "cf_rating": 800,
        "cf_tags": ["math"],
        "is_description_translated": False,
        "untranslated_description": "",
        "time_limit": {"seconds": 1, "nanos": 500_000_000},
        "memory_limit_bytes": 256_000_000,
        "input_file": "",
        "output_file": "",
    } | fields


ROWS = [
    row("1_A. Sum"),
    row("2_B. Files", input_file="input.txt"),
    row("3_C. Nothing", public_tests=[], private_tests=[], generated_tests=[]),
    row("5_E. Silence", public_tests=[], private_tests=[{"input": "1", "output": " \n"}], generated_tests=[]),
    row("4_D. Figures <image>", description="See <image>.", time_limit=None, memory_limit_bytes=0, solutions=[]),
]


def as_lists(record: dict[str, Any]) -> dict[str, Any]:
    """Records of lists in place of lists of records."""
    keys = {
        "public_tests": ("input", "output"),
        "private_tests": ("input", "output"),
        "generated_tests": ("input", "output"),
    }
    keys |= {"solutions": ("language", "solution"), "incorrect_solutions": ("language", "solution")}
    return record | {
        column: {name: [item[name] for item in record[column]] for name in names} for column, names in keys.items()
    }


def folder(where: Path, rows: Records, *, split: str = "test", shard: int = 0, lists_of_records: bool = True) -> Path:
    path = where / "codecontests" / "data" / f"{split}-{shard:05}-of-00002-9c49eeff30aacaa8.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    records = rows if lists_of_records else [as_lists(record) for record in rows]
    pq.write_table(pa.Table.from_pylist(records, schema=schema(lists_of_records=lists_of_records)), path)
    return where


def made(mirror: Path, **keys: object) -> CodeContests:
    config = CodeContestsConfig.model_validate({"type": "codecontests", **keys})
    return CodeContests(config, Setting(seed=1, store=Store(mirror=mirror)))


def by_id(benchmark: CodeContests) -> dict[str, CodeContestsTask]:
    return {task.id: task for task in benchmark.tasks()}


async def score(benchmark: CodeContests, task: CodeContestsTask, reply: str, sandbox: Sandbox) -> Score:
    transcript = Transcript(turns=(Turn(question=task.prompt, reply=Reply(text=reply)),))
    return await benchmark.score(task, 0, transcript, ScoringTools(sandbox=sandbox))


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("mirror")
    folder(where, [row("5_E. Last")], shard=1)
    folder(where, [row("6_F. Valid")], split="valid")
    return folder(where, ROWS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with quick_sandbox() as opened:
        yield opened


class TestTasks:
    async def test_rows_that_can_be_tested_become_tasks_shard_by_shard(self, mirror: Path) -> None:
        tasks = made(mirror).tasks()

        assert [(task.id, task.units) for task in tasks] == [
            ("1_A. Sum", 5),
            ("4_D. Figures <image>", 5),
            ("5_E. Last", 5),
        ]

    async def test_every_row_is_accounted_for(self, mirror: Path) -> None:
        benchmark = made(mirror)
        benchmark.tasks()

        assert benchmark.notes() == {
            "sources": [f"mirror codecontests/data/test-0000{n}-of-00002-9c49eeff30aacaa8.parquet" for n in (0, 1)],
            "dataset_verified": False,
            "rows": 6,
            "rows_published": 165,
            "left_out": {
                "reads or writes files instead of standard input and output": {"rows": 1, "ids": ["2_B. Files"]},
                "no tests": {"rows": 1, "ids": ["3_C. Nothing"]},
                "no output is expected": {"rows": 1, "ids": ["5_E. Silence"]},
            },
            "statements_with_missing_figures": 1,
        }

    async def test_both_encodings_give_the_same_tasks(self, mirror: Path, tmp_path: Path) -> None:
        other = by_id(made(folder(tmp_path, ROWS, lists_of_records=False)))
        task = by_id(made(mirror))["1_A. Sum"]

        assert (other["1_A. Sum"].prompt, other["1_A. Sum"].reference) == (task.prompt, task.reference)
        assert (other["1_A. Sum"].limits, other["1_A. Sum"].units) == (task.limits, 5)

    async def test_a_file_of_ones_own_may_be_text_or_parquet(self, mirror: Path, tmp_path: Path) -> None:
        text = tmp_path / "own.jsonl"
        text.write_text("".join(json.dumps(one) + "\n" for one in ROWS), encoding="utf-8")
        own = made(tmp_path / "nothing", path=str(text))
        published = mirror / "codecontests" / "data" / "test-00000-of-00002-9c49eeff30aacaa8.parquet"
        parquet = made(tmp_path / "nothing", path=str(published))

        assert by_id(own).keys() == by_id(parquet).keys() == {"1_A. Sum", "4_D. Figures <image>"}
        assert by_id(own)["1_A. Sum"].prompt == by_id(made(mirror))["1_A. Sum"].prompt
        assert (own.notes()["sources"], own.notes()["rows_published"]) == (["path own.jsonl"], None)

    async def test_a_path_that_leads_nowhere_is_named(self, mirror: Path) -> None:
        with pytest.raises(DatasetError, match=r"gone\.jsonl: not found"):
            made(mirror, path="gone.jsonl").tasks()

    async def test_split_chooses_the_files(self, mirror: Path) -> None:
        assert [*by_id(made(mirror, split="valid"))] == ["6_F. Valid"]

    async def test_a_question_reads_like_this(self, mirror: Path) -> None:
        assert by_id(made(mirror))["1_A. Sum"].prompt == (
            "Solve this problem of a programming contest in Python 3.\n\n"
            "Statement of 1_A. Sum.\n\n"
            "Example 1, input:\n```\n1 2\n```\nExample 1, output:\n```\n3\n```\n\n"
            "The program reads standard input and writes standard output.\n"
            "Limits for each input: 4.5 seconds of CPU time, 256 MiB of memory.\n"
            "Answer with one fenced block, tagged python, that holds the complete program.\n"
        )

    async def test_visible_tests_none_shows_no_test(self, mirror: Path) -> None:
        prompt = by_id(made(mirror, visible_tests="none"))["1_A. Sum"].prompt

        assert "Example" not in prompt
        assert "1 2" not in prompt

    async def test_hidden_tests_are_in_no_question(self, mirror: Path) -> None:
        assert all("2 2" not in task.prompt for task in made(mirror).tasks())

    async def test_language_changes_question_and_limits(self, mirror: Path) -> None:
        task = by_id(made(mirror, language="cpp"))["1_A. Sum"]

        assert task.prompt.startswith("Solve this problem of a programming contest in C++17.")
        assert (task.limits.cpu_s, task.limits.memory_bytes, task.limits.processes) == (1.5, 256_000_000, 4)
        assert (task.reference, by_id(made(mirror))["1_A. Sum"].reference) == ("", SUM)

    async def test_keys_that_change_what_passes_change_the_digests(self, mirror: Path) -> None:
        keys: list[dict[str, object]] = [
            {},
            {"all_cases": True},
            {"time_factor": 5},
            {"language": "cpp"},
            {"visible_tests": "none"},
        ]

        assert len({by_id(made(mirror, **chosen))["1_A. Sum"].digest for chosen in keys}) == 5

    async def test_without_limits_of_the_problem_the_defaults_hold(self, mirror: Path) -> None:
        limits = by_id(made(mirror))["4_D. Figures <image>"].limits

        assert (limits.cpu_s, limits.wall_s, limits.memory_bytes) == (4.0, 10.0, 256 << 20)

    async def test_a_file_without_a_column_is_refused(self, tmp_path: Path) -> None:
        path = folder(tmp_path, ROWS) / "codecontests" / "data" / "test-00000-of-00002-9c49eeff30aacaa8.parquet"
        pq.write_table(pq.read_table(path).drop_columns(["private_tests", "cf_tags"]), path)

        with pytest.raises(DatasetError, match="lacks the column private_tests, cf_tags"):
            made(tmp_path).tasks()

    async def test_problems_of_one_name_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"1_A\. Sum: the id is there 2 times"):
            made(folder(tmp_path, [ROWS[0], ROWS[0]])).tasks()

    async def test_columns_of_different_lengths_are_refused(self, tmp_path: Path) -> None:
        record = as_lists(ROWS[0]) | {"public_tests": {"input": ["1"], "output": []}}
        where = folder(tmp_path, [])
        path = next((where / "codecontests" / "data").iterdir())
        pq.write_table(pa.Table.from_pylist([record], schema=schema(lists_of_records=False)), path)

        with pytest.raises(DatasetError, match="columns of different lengths: input, output"):
            made(where).tasks()


class TestScores:
    async def test_every_reference_passes_its_own_tests(self, mirror: Path, sandbox: Sandbox) -> None:
        benchmark = made(mirror)

        found = await references(benchmark, benchmark.tasks(), sandbox, most=100)

        assert (found.run, found.of, found.failed) == (2, 2, ())

    async def test_a_reference_that_fails_is_found(self, tmp_path: Path, sandbox: Sandbox) -> None:
        several_answers = row("7_G. Any", generated_tests=[{"input": "1 1\n", "output": "9\n"}])
        benchmark = made(folder(tmp_path, [several_answers]))

        found = await references(benchmark, benchmark.tasks(), sandbox, most=100)

        assert found.failed == ("7_G. Any: 2 of 3 checks passed; case 3 of 3: WA",)

    async def test_what_passes_the_examples_alone_fails(self, mirror: Path, sandbox: Sandbox) -> None:
        benchmark = made(mirror)

        result = await score(benchmark, by_id(benchmark)["1_A. Sum"], "```python\nprint(3)\n```", sandbox)

        assert (result.score, result.metrics["pass_rate"], result.metrics["failing_case"]) == (0.0, 0.2, 2)
        assert result.metrics["exact_match"] is False

    @pytest.mark.parametrize(
        "reply", ["I cannot.", "```python\nimport os\nos._exit(0)\n```", "```\nprint('3 ' * 10**10)\n```"]
    )
    async def test_what_solves_nothing_passes_nothing(self, mirror: Path, sandbox: Sandbox, reply: str) -> None:
        benchmark = made(mirror)

        result = await score(benchmark, by_id(benchmark)["1_A. Sum"], reply, sandbox)

        assert (result.score, result.metrics["pass_rate"]) == (0.0, 0.0)

    @needs_compiler
    async def test_a_cpp_program_is_built_once_and_run_on_every_case(self, mirror: Path, sandbox: Sandbox) -> None:
        benchmark = made(mirror, language="cpp")

        result = await score(benchmark, by_id(benchmark)["1_A. Sum"], f"```cpp\n{SUM_CPP}\n```", sandbox)

        assert (result.score, result.metrics["verdict"], result.metrics["cases_run"]) == (1.0, "AC", 5)
        assert result.metrics["exact_match"] is None

    @needs_compiler
    async def test_a_cpp_program_that_does_not_build_is_told_so(self, mirror: Path, sandbox: Sandbox) -> None:
        benchmark = made(mirror, language="cpp")

        result = await score(benchmark, by_id(benchmark)["1_A. Sum"], "```cpp\nint main() { return x; }\n```", sandbox)

        assert (result.score, result.metrics["verdict"], result.metrics["cases_run"]) == (0.0, "CE", 0)
        assert result.explanation == "0 of 5 checks passed; the program does not build"

    async def test_all_cases_are_run_only_when_asked_for(self, mirror: Path, sandbox: Sandbox) -> None:
        program = "```python\na, b = map(int, input().split())\nif a + b < 6: [0] * 10**10\nprint(a + b)\n```"
        ran = []
        for all_cases in (False, True):
            benchmark = made(mirror, all_cases=all_cases)
            ran.append((await score(benchmark, by_id(benchmark)["1_A. Sum"], program, sandbox)).metrics)

        assert [(one["cases_run"], one["checks_passed"]) for one in ran] == [(3, 0), (5, 2)]
