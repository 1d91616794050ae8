"""Whole programs over cases, in the real sandbox: words, what stops a run, and how programs are found in replies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from services.contract.execution import Built, JobResult, LimitHit, Limits
from services.green_agent.benchmarks.base import Sandbox
from services.green_agent.scoring.code import stdio
from services.green_agent.scoring.code.outputs import How
from services.green_agent.scoring.code.stdio import Case, Ran, Word
from tests.support.quick_sandbox import quick_sandbox

SUMS = [Case(stdin=f"{n} {n}\n", expected=f"{2 * n}\n") for n in range(1, 6)]
QUICK = Limits(cpu_s=0.3, wall_s=3.0, output_bytes=1 << 20, memory_bytes=256 << 20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with quick_sandbox(workers=1) as opened:
        yield opened


class TestOneCase:
    pytestmark = pytest.mark.asyncio(loop_scope="module")

    @pytest.mark.parametrize(
        ("source", "word", "how"),
        [
            ("print(sum(map(int, input().split())))", Word.AC, "exact"),
            ("print(' 2')", Word.AC, "tokens"),
            ("print(3)", Word.WA, None),
            ("print(2, 2)", Word.WA, None),
            ("", Word.WA, None),
            ("print(2); raise SystemExit(1)", Word.RE, None),
            ("print(2); 1 / 0", Word.RE, None),
            ("print(2); import os; os.abort()", Word.RE, None),
            ("x = 1 +", Word.RE, None),
            ("print(2)\nwhile True: pass", Word.TLE, None),
            ("print(2)\nwhile True: print('2' * 5000)", Word.OLE, None),
            ("print(2); x = [0] * 10**9", Word.MLE, None),
            ("print(2); raise SystemExit", Word.AC, "exact"),
            ("if __name__ == '__main__': print(2)", Word.AC, "exact"),
        ],
    )
    async def test_a_case_ends_in_one_word(self, sandbox: Sandbox, source: str, word: Word, how: str | None) -> None:
        ran = await stdio.run_case(sandbox, SUMS[0], source=source, language="python", limits=QUICK)

        assert (ran.word, ran.how) == (word, how)
        assert (ran.job.stdout, ran.job.stderr) == ("", "")

    async def test_a_number_within_the_tolerance_is_noted_as_such(self, sandbox: Sandbox) -> None:
        case = Case(stdin="", expected="0.5\n")

        ran = await stdio.run_case(sandbox, case, source="print(0.5000001)", language="python", limits=QUICK)

        assert (ran.word, ran.how) == (Word.AC, "float")


class TestWords:
    def test_a_program_that_does_not_build_has_no_other_fault(self) -> None:
        assert stdio.failure_of(JobResult(build=Built(ok=False), exit_status=1)) is Word.CE

    @pytest.mark.parametrize(
        ("limit", "word"),
        [
            (LimitHit.CPU, Word.TLE),
            (LimitHit.WALL, Word.TLE),
            (LimitHit.MEMORY, Word.MLE),
            (LimitHit.OUTPUT, Word.OLE),
            (LimitHit.PROCESSES, Word.RE),
        ],
    )
    def test_a_limit_comes_before_the_exit_status(self, limit: LimitHit, word: Word) -> None:
        assert stdio.failure_of(JobResult(exit_status=0, limit=limit)) is word

    def test_output_that_was_cut_is_not_judged(self) -> None:
        assert stdio.failure_of(JobResult(exit_status=0, truncated=True)) is Word.OLE

    @pytest.mark.parametrize("exit_status", [None, 1, -9])
    def test_any_other_end_than_0_is_a_fault(self, exit_status: int | None) -> None:
        assert stdio.failure_of(JobResult(exit_status=exit_status)) is Word.RE

    def test_a_good_end_leaves_the_output_to_be_judged(self) -> None:
        assert stdio.failure_of(JobResult(exit_status=0, build=Built(ok=True))) is None


def scripted(*words: Word) -> tuple[list[int], Callable[[int], Awaitable[Ran]]]:
    """A run that ends as told, and the numbers of the cases it was asked for."""
    asked: list[int] = []

    async def run(number: int) -> Ran:
        asked.append(number)
        how: How | None = "exact" if words[number] is Word.AC else None
        return Ran(word=words[number], job=JobResult(cpu_s=number + 1.0), how=how)

    return asked, run


@pytest.mark.asyncio
class TestVerdicts:
    async def test_every_case_passed_is_accepted_and_the_slowest_is_told(self) -> None:
        asked, run = scripted(Word.AC, Word.AC, Word.AC)

        verdict = await stdio.verdict_by_cases(run, 3, stops=stdio.FIRST_FAILURE)

        assert (asked, verdict.passed, verdict.total, verdict.faults) == ([0, 1, 2], 3, 3, ())
        assert verdict.job.cpu_s == 3.0
        assert verdict.metrics == {
            "verdict": "AC",
            "failing_case": None,
            "cases_run": 3,
            "compared": "exact",
            "partial_points": False,
        }

    async def test_the_first_failure_can_stop_it(self) -> None:
        asked, run = scripted(Word.AC, Word.WA, Word.AC, Word.TLE)

        verdict = await stdio.verdict_by_cases(run, 4, stops=stdio.FIRST_FAILURE)

        assert (asked, verdict.passed, verdict.total) == ([0, 1], 1, 4)
        assert (verdict.metrics["verdict"], verdict.metrics["failing_case"]) == ("WA", 2)
        assert verdict.faults == ("case 2 of 4: WA",)
        assert verdict.ran_out_of_time is False

    async def test_all_cases_are_run_when_asked_for(self) -> None:
        asked, run = scripted(Word.TLE, Word.WA, Word.TLE, Word.TLE, Word.AC)

        verdict = await stdio.verdict_by_cases(run, 5, stops=stdio.ALL_CASES)

        assert (asked, verdict.passed, verdict.metrics["cases_run"]) == ([0, 1, 2, 3, 4], 1, 5)
        assert verdict.metrics["verdict"] == "TLE"
        assert verdict.ran_out_of_time is True

    async def test_a_program_that_hits_its_limits_again_and_again_is_not_run_on(self) -> None:
        asked, run = scripted(Word.AC, Word.TLE, Word.WA, Word.OLE, Word.MLE, Word.AC, Word.AC)

        verdict = await stdio.verdict_by_cases(run, 7, stops=stdio.HOPELESS)

        assert (asked, verdict.pass_rate) == ([0, 1, 2, 3, 4], 1 / 7)

    async def test_what_does_not_build_is_not_tried_again(self) -> None:
        asked, run = scripted(Word.CE, Word.AC)

        verdict = await stdio.verdict_by_cases(run, 2, stops=stdio.ALL_CASES)

        assert (asked, verdict.passed, verdict.faults) == ([0], 0, ("the program does not build",))
        assert (verdict.metrics["verdict"], verdict.metrics["failing_case"], verdict.metrics["cases_run"]) == (
            "CE",
            None,
            0,
        )


class TestLimits:
    def test_python_gets_more_time_and_a_least_memory(self) -> None:
        limits = stdio.limits_of("python", time_limit_s=2.0, memory_bytes=64 << 20)

        assert (limits.cpu_s, limits.wall_s, limits.memory_bytes, limits.processes) == (6.0, 14.0, 256 << 20, 32)
        assert (limits.output_bytes, limits.file_bytes, limits.scratch_bytes) == (64 << 20, 16 << 20, 64 << 20)

    def test_cpp_gets_what_the_problem_says(self) -> None:
        limits = stdio.limits_of("cpp", time_limit_s=2.0, memory_bytes=64 << 20)

        assert (limits.cpu_s, limits.wall_s, limits.memory_bytes, limits.processes) == (2.0, 6.0, 64 << 20, 4)

    def test_without_limits_of_the_problem_there_are_four_seconds(self) -> None:
        limits = stdio.limits_of("python", time_limit_s=None, memory_bytes=None)

        assert (limits.cpu_s, limits.memory_bytes, limits.open_files) == (4.0, 256 << 20, 64)


class TestScripts:
    @pytest.mark.parametrize(
        ("reply", "source"),
        [
            ("```python\nprint(1)\n```", "print(1)"),
            ("```python\nprint(1)\n```\nIt prints\n```\n1\n```\n", "print(1)"),
            ("```python\nprint(1)\n```\nor\n```python\nprint(2)\n```", "print(2)"),
            ("```python\nprint(1)\n```\nfor\n```text\n3 4\n```", "print(1)"),
            ("```cpp\nint main() {}\n```\n```py\nprint(1)\n```", "print(1)"),
            ("```python\nprint(1)\n```\n```python\nprint(2\n```", "print(1)"),
            ("```python\nprint 1\n```", "print 1"),
            ("```python\n'''\n```\n'''\nprint(1)\n```", "'''\n```\n'''\nprint(1)"),
            ("print(1)", "print(1)"),
            ("import sys", "import sys"),
            ("<think>\n```python\nprint(0)\n```\n</think>\nprint(1)", "\nprint(1)"),
            ("42", None),
            ("Sorry", None),
            ("I cannot solve this.", None),
            ("", None),
        ],
    )
    def test_the_program_in_a_reply(self, reply: str, source: str | None) -> None:
        found = stdio.extract_script(reply)

        assert (found.source if found is not None else None) == source
