"""LiveCodeBench-Pro from rows and archives to scores, with checkers and interactors in a real sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.contract.conversation import Reply, Transcript, Turn
from services.contract.execution import Limits
from services.contract.outcomes import Failure, Outcome
from services.green_agent.benchmarks.base import DatasetError, Sandbox, Score, ScoringTools, Setting
from services.green_agent.benchmarks.lcb_pro import LcbPro, LcbProConfig, LcbProTask
from services.green_agent.benchmarks.lcb_pro.archive import Judge
from services.green_agent.benchmarks.lcb_pro.checking import JudgedCase, run_interactive
from services.green_agent.data.store import Store
from services.green_agent.scoring.code.stdio import Word
from tests.green_agent.benchmarks.lcb_pro.files import GUESS, INTERACTOR, SUM, archive, config, row, split
from tests.support.quick_sandbox import needs_compiler, quick_sandbox
from tests.support.scripted_session import ScriptedSession

pytestmark = pytest.mark.asyncio(loop_scope="module")

EARLY, LATE = "quater_2024_10_12", "quater_2025_1_3"


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("mirror")
    split(where, EARLY, [row("1A"), row("1B", difficulty="hard")])
    split(
        where,
        LATE,
        [row("1B", difficulty="hard"), row("1A", link="https://example.org/moved"), row("1C", difficulty="medium")],
    )
    archive(where, "1A")
    archive(where, "1B", cases=[("7", "7"), ("500", "500"), ("0", "0")], stated=config(type="interactive"))
    return where


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with quick_sandbox() as opened:
        yield opened


def made(mirror: Path, **keys: object) -> LcbPro:
    return LcbPro(LcbProConfig.model_validate({"type": "lcb_pro", **keys}), Setting(seed=1, store=Store(mirror=mirror)))


def by_id(benchmark: LcbPro) -> dict[str, LcbProTask]:
    return {task.id: task for task in benchmark.tasks()}


async def score(mirror: Path, sandbox: Sandbox, program: str, *, problem: str = "1A", **keys: object) -> Score:
    benchmark = made(mirror, **keys)
    task = by_id(benchmark)[problem]
    transcript = Transcript(turns=(Turn(question=task.prompt, reply=Reply(text=f"```cpp\n{program}\n```")),))
    return await benchmark.score(task, 0, transcript, ScoringTools(sandbox=sandbox))


def printing(text: str) -> str:
    return f'#include <cstdio>\nint main() {{ puts("{text}"); }}'


class TestTasks:
    async def test_a_problem_is_one_task_whichever_splits_it_is_in(self, mirror: Path) -> None:
        tasks = made(mirror).tasks()

        assert [(task.id, task.stratum) for task in tasks] == [("1A", "easy"), ("1B", "hard"), ("1C", "medium")]

    async def test_split_keeps_the_problems_of_one(self, mirror: Path) -> None:
        assert [*by_id(made(mirror, split=EARLY))] == ["1A", "1B"]
        assert [*by_id(made(mirror, split=LATE))] == ["1B", "1A", "1C"]

    async def test_difficulties_keep_only_these(self, mirror: Path) -> None:
        assert [*by_id(made(mirror, difficulties=["medium", "hard"]))] == ["1B", "1C"]

    async def test_the_rows_are_accounted_for(self, mirror: Path) -> None:
        benchmark = made(mirror)
        benchmark.tasks()

        assert benchmark.notes() == {
            "sources": [f"mirror lcb_pro/data/{name}-00000-of-00001.parquet" for name in (EARLY, LATE)],
            "dataset_verified": False,
            "rows": {EARLY: 2, LATE: 3},
            "problems": 3,
            "rows_that_differ_between_splits": ["1A"],
        }

    async def test_an_unknown_split_names_the_nearest(self, mirror: Path) -> None:
        with pytest.raises(DatasetError, match=f"no split is called 'quater_2025_1_4'; did you mean '?{LATE}"):
            made(mirror, split="quater_2025_1_4").tasks()

    @pytest.mark.parametrize("fields", [{"difficulty": "brutal"}, {"problem_statement": ""}, {"problem_id": "../1A"}])
    async def test_a_row_that_is_not_as_published_is_refused(self, tmp_path: Path, fields: dict[str, str]) -> None:
        split(tmp_path, EARLY, [row("1A") | fields])

        with pytest.raises(DatasetError, match=f"quater_2024_10_12-00000-of-00001.parquet row 1: {next(iter(fields))}"):
            made(tmp_path).tasks()

    async def test_all_cases_changes_the_digests(self, mirror: Path) -> None:
        assert by_id(made(mirror))["1A"].digest != by_id(made(mirror, all_cases=True))["1A"].digest


class TestConversation:
    async def test_the_question_states_the_limits_of_the_archive(self, mirror: Path) -> None:
        benchmark, session = made(mirror), ScriptedSession("x")

        await benchmark.converse(by_id(benchmark)["1A"], 0, session)

        assert session.turns[0].question == (
            "Solve this problem of a programming contest in C++17.\n\n"
            "Title of 1A\n\n"
            "Statement of 1A.\n\n"
            "The program reads standard input and writes standard output.\n"
            "Answer with one fenced block, tagged cpp, that holds the complete program.\n"
            "Limits for each test: 0.3 seconds of CPU time, 256 MiB of memory.\n"
        )

    async def test_an_interactive_problem_asks_for_flushing(self, mirror: Path) -> None:
        benchmark, session = made(mirror), ScriptedSession("x")

        await benchmark.converse(by_id(benchmark)["1B"], 0, session)

        assert "This problem is interactive: flush the output" in session.turns[0].question

    async def test_an_agent_is_not_asked_what_cannot_be_scored(
        self, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        benchmark, session = made(mirror), ScriptedSession("x")

        with pytest.raises(
            Failure, match=r"1C: LiveCodeBench-Pro, test cases: .*archives come problem by problem"
        ) as failed:
            await benchmark.converse(by_id(benchmark)["1C"], 0, session)

        assert (failed.value.outcome, failed.value.kind, session.turns) == (Outcome.INFRA_ERROR, "test_data", [])


@needs_compiler
class TestChecked:
    async def test_a_program_that_the_checker_accepts_everywhere_passes(self, mirror: Path, sandbox: Sandbox) -> None:
        result = await score(mirror, sandbox, SUM)

        assert (result.score, result.passed, result.scored_by) == (1.0, True, "stdout")
        told = {name: result.metrics[name] for name in ("verdict", "failing_case", "cases_run", "checks_total")}
        assert told == {"verdict": "AC", "failing_case": None, "cases_run": 3, "checks_total": 3}

    @pytest.mark.parametrize(
        ("printed", "word", "partial"),
        [
            ("3", "WA", False),
            ("3 +0", "WA", False),
            ("0", "WA", False),
            ("three", "PE", False),
            ("3 and more", "PE", False),
            ("", "PE", False),
            ("half", "WA", True),
        ],
    )
    async def test_what_the_checker_rejects_fails(
        self, mirror: Path, sandbox: Sandbox, printed: str, word: str, *, partial: bool
    ) -> None:
        result = await score(mirror, sandbox, printing(printed))

        assert (result.score, result.metrics["verdict"], result.metrics["partial_points"]) == (0.0, word, partial)
        assert result.metrics["failing_case"] == (2 if printed.startswith("3") and "and" not in printed else 1)

    @pytest.mark.parametrize(
        ("program", "word"),
        [
            ("int main() { return 1; }", "RE"),
            ("int main() { __builtin_trap(); }", "RE"),
            ("int main() { for (volatile int n = 0;; ++n) {} }", "TLE"),
            ("int main() { return x; }", "CE"),
            ("void f() {}", "CE"),
        ],
    )
    async def test_a_program_that_fails_by_itself_is_never_checked(
        self, mirror: Path, sandbox: Sandbox, program: str, word: str
    ) -> None:
        result = await score(mirror, sandbox, program)

        assert (result.score, result.metrics["verdict"]) == (0.0, word)

    async def test_it_stops_at_the_first_failure_unless_all_cases_are_asked_for(
        self, mirror: Path, sandbox: Sandbox
    ) -> None:
        first = await score(mirror, sandbox, printing("10"))
        every = await score(mirror, sandbox, printing("10"), all_cases=True)

        assert (first.metrics["cases_run"], first.metrics["checks_passed"]) == (1, 0)
        assert (every.metrics["cases_run"], every.metrics["checks_passed"], every.score) == (3, 1, 0.0)

    @pytest.mark.parametrize("printed", ["break", "odd"])
    async def test_a_broken_checker_is_never_the_agents_fault(
        self, mirror: Path, sandbox: Sandbox, printed: str
    ) -> None:
        with pytest.raises(Failure, match="1A: the checker ended with exit status") as failed:
            await score(mirror, sandbox, printing(printed))

        assert (failed.value.outcome, failed.value.kind) == (Outcome.INFRA_ERROR, "checker")

    @pytest.mark.parametrize("printed", ["noisy", "crash"])
    async def test_what_alone_is_too_much_for_a_checker_is_wrong(
        self, mirror: Path, sandbox: Sandbox, printed: str
    ) -> None:
        assert (await score(mirror, sandbox, printing(printed))).metrics["verdict"] == "WA"

    async def test_a_checker_that_always_crashes_is_broken(self, tmp_path: Path, sandbox: Sandbox) -> None:
        split(tmp_path, EARLY, [row("1A")])
        archive(tmp_path, "1A", files={"chk.cc": "#include <cstdlib>\nint main() { std::abort(); }"})

        with pytest.raises(Failure, match="1A: the checker ended with exit status -6"):
            await score(tmp_path, sandbox, SUM)

    async def test_a_checker_that_is_always_at_its_limits_is_broken(self, tmp_path: Path, sandbox: Sandbox) -> None:
        split(tmp_path, EARLY, [row("1A")])
        archive(tmp_path, "1A", files={"chk.cc": '#include <cstdio>\nint main() { for (;;) puts("no end of words"); }'})

        with pytest.raises(Failure, match="1A: the checker ended at its output limit"):
            await score(tmp_path, sandbox, SUM)

    async def test_a_checker_that_does_not_build_is_named(self, mirror: Path, tmp_path: Path, sandbox: Sandbox) -> None:
        split(tmp_path, EARLY, [row("1A")])
        archive(tmp_path, "1A", files={"chk.cc": "int main() { return x; }"})

        with pytest.raises(Failure, match="1A: the checker does not build") as failed:
            await score(tmp_path, sandbox, SUM)

        assert failed.value.outcome is Outcome.INFRA_ERROR

    async def test_expected_values_are_nowhere_near_the_program(self, mirror: Path, sandbox: Sandbox) -> None:
        thief = (
            "#include <fstream>\n#include <iostream>\n#include <string>\n"
            'int main() { for (std::string name : {"answer", "../answer", "output", "input"}) {\n'
            "  std::ifstream file(name); std::string word; if (file >> word) { std::cout << word; return 0; } } }"
        )

        assert (await score(mirror, sandbox, thief)).metrics["verdict"] == "PE"

    async def test_a_reply_without_a_program_scores_0(self, mirror: Path, sandbox: Sandbox) -> None:
        benchmark = made(mirror)
        task = by_id(benchmark)["1A"]
        transcript = Transcript(turns=(Turn(question="?", reply=Reply(text="I cannot.")),))

        result = await benchmark.score(task, 0, transcript, ScoringTools(sandbox=sandbox))

        assert (result.score, result.metrics["extracted"]) == (0.0, False)


@needs_compiler
class TestInteractive:
    async def test_a_program_that_finds_every_secret_passes(self, mirror: Path, sandbox: Sandbox) -> None:
        result = await score(mirror, sandbox, GUESS, problem="1B")

        assert (result.score, result.metrics["verdict"], result.metrics["cases_run"]) == (1.0, "AC", 3)

    @pytest.mark.parametrize(
        ("program", "word", "case"),
        [
            (printing("! 7"), "WA", 2),
            (printing("! seven"), "PE", 1),
            ("int main() {}", "PE", 1),
            ("int main() { return 3; }", "RE", 1),
            ("int main() { for (volatile int n = 0;; ++n) {} }", "TLE", 1),
            ("int main() { return x; }", "CE", None),
        ],
    )
    async def test_what_the_interactor_rejects_fails(
        self, mirror: Path, sandbox: Sandbox, program: str, word: str, case: int | None
    ) -> None:
        result = await score(mirror, sandbox, program, problem="1B")

        assert (result.score, result.metrics["verdict"], result.metrics["failing_case"]) == (0.0, word, case)

    async def test_two_that_wait_for_each_other_end_as_out_of_time(self, sandbox: Sandbox) -> None:
        judge = Judge(source=INTERACTOR, headers={}, interactive=True)
        limits = Limits(cpu_s=0.2, wall_s=0.6)
        case = JudgedCase(problem_id="1B", judge=judge, input="7", answer=None, limits=limits)
        waiting = "#include <iostream>\nint main() { int n; std::cin >> n; }"

        assert (await run_interactive(sandbox, case, source=waiting)).word is Word.TLE

    async def test_a_broken_interactor_is_never_the_agents_fault(self, mirror: Path, sandbox: Sandbox) -> None:
        with pytest.raises(Failure, match="1B: the interactor ended with exit status 3") as failed:
            await score(mirror, sandbox, printing("break"), problem="1B")

        assert (failed.value.outcome, failed.value.kind) == (Outcome.INFRA_ERROR, "checker")
