"""HumanEval from its published file to scores through a real sandbox."""

from __future__ import annotations

import ast
import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from pydantic import ValidationError

from services.contract.conversation import Reply, Transcript, Turn
from services.contract.execution import Job, JobResult, Limits, SandboxError, SandboxInfo, Split
from services.contract.outcomes import Failure, Outcome
from services.green_agent.benchmarks.base import Sandbox, Score, ScoringTools, Setting
from services.green_agent.benchmarks.humaneval import HumanEval, HumanEvalConfig, HumanEvalTask
from services.green_agent.data.registry import known_issues
from services.green_agent.sandbox import open_sandbox
from services.green_agent.scoring.code.examples import examples
from services.green_agent.scoring.code.fences import blocks

CONFIG = HumanEvalConfig(type="humaneval")
BENCHMARK = HumanEval(CONFIG, Setting(seed=7))
TASKS = BENCHMARK.tasks()
BY_ID = {task.id: task for task in TASKS}
SPLIT = {f"HumanEval/{number}" for number in (32, 33, 38, 44, 50, 53, 151)}

EQUAL_TO_EVERYTHING = """
class Any:
    def __eq__(self, other): return True
    def __bool__(self): return True

def {name}(*args, **kwargs): return Any()
"""


def fenced(code: str) -> str:
    return f"Here it is.\n\n```python\n{code}\n```\n"


def function_alone(task: HumanEvalTask) -> str:
    """The reference without imports and helpers."""
    tree = ast.parse(task.reference)
    return next(
        ast.unparse(part)
        for part in tree.body
        if isinstance(part, ast.FunctionDef) and part.name == task.row.entry_point
    )


def said(*replies: str) -> Transcript:
    return Transcript(turns=tuple(Turn(question="?", reply=Reply(text=text)) for text in replies))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = await open_sandbox(backend="auto", workers=2, allow_unsafe=True)
    yield opened
    await opened.aclose()


async def score(sandbox: Sandbox, task_id: str, reply: str) -> Score:
    return await BENCHMARK.score(BY_ID[task_id], 0, said(reply), ScoringTools(sandbox=sandbox))


async def score_all(sandbox: Sandbox, reply: Callable[[HumanEvalTask], str]) -> dict[str, Score]:
    tools = ScoringTools(sandbox=sandbox)
    scores = await asyncio.gather(*(BENCHMARK.score(task, 0, said(reply(task)), tools) for task in TASKS))
    return dict(zip(BY_ID, scores, strict=True))


class TestTasks:
    def test_the_164_published_tasks_come_in_their_order(self) -> None:
        assert [task.id for task in TASKS] == [f"HumanEval/{number}" for number in range(164)]
        assert {(task.stratum, task.messages) for task in TASKS} == {("humaneval", 1)}
        assert len({task.digest for task in TASKS}) == 164

    def test_the_same_digest_comes_from_a_second_load(self) -> None:
        again = HumanEval(CONFIG, Setting(seed=8)).tasks()

        assert [task.digest for task in again] == [task.digest for task in TASKS]

    def test_157_tests_are_taken_apart_and_7_run_as_a_whole(self) -> None:
        taken = [task.pairs for task in TASKS if task.pairs is not None]

        assert {task.id for task in TASKS if task.pairs is None} == SPLIT
        assert len(taken) == 157
        assert sum(len(pairs.assertions) for pairs in taken) == 1103
        assert sum(pairs.vacuous for pairs in taken) == 48

    def test_a_task_shows_its_signature_and_docstring_in_one_fence(self) -> None:
        for task in TASKS:
            shown = blocks(task.prompt, is_whole=lambda _: True)

            assert [block.text for block in shown] == [task.shown.strip("\n")]
            assert task.shown == task.row.prompt or "wrong_example" in task.issues

    def test_a_question_reads_like_this(self) -> None:
        assert BY_ID["HumanEval/53"].prompt == (
            "Write the Python function `add` so that it does what its docstring says.\n"
            "Answer with one fenced block that holds the complete program: imports, helper functions and the function "
            "itself.\n\n"
            "```python\n"
            "def add(x: int, y: int):\n"
            '    """Add two numbers x and y\n'
            "    >>> add(2, 3)\n"
            "    5\n"
            "    >>> add(5, 7)\n"
            "    12\n"
            '    """\n'
            "```\n"
        )

    def test_no_question_holds_its_test_or_its_solution(self) -> None:
        for task in TASKS:
            assert task.row.canonical_solution.strip() not in task.prompt
            assert "candidate" not in task.prompt
            assert "METADATA" not in task.prompt

    def test_without_visible_tests_no_prompt_holds_an_example(self) -> None:
        tasks = HumanEval(CONFIG.model_copy(update={"visible_tests": "none"}), Setting(seed=7)).tasks()

        assert [task.id for task in tasks if ">>>" in task.prompt] == []
        assert {task.id for task in tasks if examples(task.shown, task.entry_point)} == {
            # Where a recurrence starts from stands in the form of an example, and defines the function.
            "HumanEval/46",
            "HumanEval/63",
            "HumanEval/130",
        }
        assert all(ast.parse(task.shown) for task in tasks)
        assert len({task.digest for task in tasks} | {task.digest for task in TASKS}) > 164 + 150
        assert (
            tasks[53].shown.strip("\n") + "\n" == 'def add(x: int, y: int):\n    """Add two numbers x and y\n    """\n'
        )

    def test_a_base_model_is_asked_with_the_bare_prompt(self) -> None:
        benchmark = HumanEval(CONFIG.model_copy(update={"protocol": "completion"}), Setting(seed=7))
        task = benchmark.tasks()[53]

        assert task.prompt == task.row.prompt
        assert task.digest != BY_ID[task.id].digest

    def test_sanitizing_is_part_of_what_defines_a_task(self) -> None:
        tasks = HumanEval(CONFIG.model_copy(update={"sanitize": "entry_closure"}), Setting(seed=7)).tasks()

        assert {task.digest for task in tasks}.isdisjoint(task.digest for task in TASKS)

    def test_a_value_of_visible_tests_without_effect_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="visible_tests"):
            HumanEvalConfig.model_validate({"type": "humaneval", "visible_tests": "all"})


class TestKnownIssues:
    def test_they_name_existing_rows(self) -> None:
        assert {row for issue in known_issues("humaneval") for row in issue.rows} <= BY_ID.keys()

    def test_they_are_noted_on_the_tasks(self) -> None:
        counts = Counter(kind for task in TASKS for kind in task.issues)

        assert counts == {"self_comparison": 1, "random_inputs": 3, "wrong_example": 2, "vacuous_asserts": 36}

    def test_vacuous_asserts_are_where_the_list_says(self) -> None:
        noted = {task.id for task in TASKS if "vacuous_asserts" in task.issues}

        assert noted == {task.id for task in TASKS if task.pairs is not None and task.pairs.vacuous}

    def test_three_of_seven_asserts_of_task_33_compare_the_candidate_with_itself(self) -> None:
        asserts = [line for line in BY_ID["HumanEval/33"].row.test.splitlines() if "assert" in line]

        assert ["sort_third" in line for line in asserts] == [True] * 3 + [False] * 4

    def test_random_inputs_are_where_the_list_says(self) -> None:
        unseeded = {task.id for task in TASKS if "random" in task.row.test and "Random(42)" not in task.row.test}

        assert unseeded == {task.id for task in TASKS if "random_inputs" in task.issues}

    def test_examples_that_the_test_contradicts_are_not_shown(self) -> None:
        median, sort = BY_ID["HumanEval/47"], BY_ID["HumanEval/116"]
        wrong = "    >>> median([-10, 4, 6, 1000, 10, 20])\n    15.0\n"

        assert wrong in median.row.prompt
        assert "candidate([-10, 4, 6, 1000, 10, 20]) == 8.0" in median.row.test
        assert median.shown == median.row.prompt.replace(wrong, "")
        assert ">>> median([3, 1, 2, 4, 5])" in median.shown
        assert sort.row.prompt.count("sort_array([") == 3
        assert "sort_array([" not in sort.shown


@pytest.mark.asyncio(loop_scope="module")
class TestScores:
    async def test_every_reference_solution_passes(self, sandbox: Sandbox) -> None:
        scores = await score_all(sandbox, lambda task: fenced(task.reference))

        assert [task_id for task_id, score in scores.items() if score.score != 1.0 or not score.passed] == []
        assert {task_id for task_id, score in scores.items() if score.scored_by == "split"} == SPLIT
        assert all(score.metrics["exact_match"] is True for score in scores.values())

    async def test_every_reference_body_passes_as_a_completion(self, sandbox: Sandbox) -> None:
        scores = await score_all(sandbox, lambda task: fenced(task.row.canonical_solution))

        assert [task_id for task_id, score in scores.items() if not score.passed] == []
        assert Counter(score.metrics["program_shape"] for score in scores.values()) == {"completion": 164}

    async def test_every_reference_function_alone_passes_with_what_the_prompt_gives(self, sandbox: Sandbox) -> None:
        scores = await score_all(sandbox, lambda task: fenced(function_alone(task)))

        assert [task_id for task_id, score in scores.items() if not score.passed] == []
        assert Counter(score.metrics["program_shape"] for score in scores.values()) == {"whole": 164}

    @pytest.mark.parametrize(
        "program",
        [
            "def {name}(*args, **kwargs):\n    pass",
            "def {name}(*args, **kwargs):\n    print('164 of 164 passed')\n    return True or 1",
            EQUAL_TO_EVERYTHING,
            "import sys\ndef {name}(*args): sys.exit(0)",
            "import sys\n{name} = print\nsys.exit(0)",
            "def {name}(*args): raise AssertionError",
            "def {name}(*args): return args[0]\ndef check(candidate): pass\ncandidate = {name}",
        ],
        ids=["nothing", "claims", "equal to everything", "exit", "exit on load", "raise", "own check"],
    )
    async def test_a_program_that_does_not_solve_it_passes_no_task(self, sandbox: Sandbox, program: str) -> None:
        scores = await score_all(sandbox, lambda task: fenced(program.replace("{name}", task.row.entry_point)))

        assert [task_id for task_id, score in scores.items() if score.score != 0.0 or score.passed] == []
        assert all(score.metrics["extracted"] is True for score in scores.values())

    async def test_words_without_a_program_score_0(self, sandbox: Sandbox) -> None:
        scores = await score_all(sandbox, lambda task: "I am not able to write this function today.")

        assert {(s.score, s.passed, s.scored_by, s.answer) for s in scores.values()} == {(0.0, False, "extraction", "")}
        assert scores["HumanEval/0"].metrics == {
            "extracted": False,
            "pass_rate": 0.0,
            "checks_passed": 0,
            "checks_total": 7,
            "exact_match": False,
            "known_issues": "",
        }
        assert scores["HumanEval/53"].metrics["checks_total"] == 1

    async def test_a_score_carries_what_was_measured(self, sandbox: Sandbox) -> None:
        reply = fenced("def truncate_number(number):\n    return number - 3.0")

        result = await score(sandbox, "HumanEval/2", reply)

        measured = {name: result.metrics.pop(name) for name in ("cpu_s", "wall_s", "peak_memory_bytes")}
        assert all(isinstance(value, int | float) for value in measured.values())
        assert result == Score(
            score=0.0,
            passed=False,
            scored_by="pairs",
            answer="def truncate_number(number):\n    return number - 3.0",
            explanation="1 of 3 checks passed; assert 2 of 3: does not hold",
            metrics={
                "extracted": True,
                "program_shape": "whole",
                "pass_rate": 1 / 3,
                "checks_passed": 1,
                "checks_total": 3,
                "exact_match": False,
                "known_issues": "",
                "sandbox": sandbox.info.backend,
                "limit": None,
                "exit_status": 0,
                "sanitized": "off",
                "verdict_cached": False,
            },
        )

    async def test_an_endless_program_scores_0_and_leaves_the_sandbox_well(self, sandbox: Sandbox) -> None:
        loop = fenced("def greatest_common_divisor(a, b):\n    while True: pass")

        endless = await score(HastySandbox(sandbox), "HumanEval/13", loop)
        right = await score(sandbox, "HumanEval/13", fenced(BY_ID["HumanEval/13"].reference))

        assert (endless.score, endless.metrics["checks_passed"]) == (0.0, 0)
        assert endless.explanation == "0 of 4 checks passed; assert 1 of 4: the call ran out of time"
        assert right.score == 1.0

    @pytest.mark.parametrize(
        ("task_id", "program"),
        [
            (
                "HumanEval/38",
                "def encode_cyclic(s): return s\ndef decode_cyclic(s): return s",
            ),
            ("HumanEval/32", "def poly(xs, x): return 0\ndef find_zero(xs): return 0"),
            ("HumanEval/50", "def encode_shift(s): return s\ndef decode_shift(s): return s"),
            ("HumanEval/33", "def sort_third(l): return l"),
        ],
    )
    async def test_helpers_of_a_test_are_the_published_ones(self, sandbox: Sandbox, task_id: str, program: str) -> None:
        assert (await score(sandbox, task_id, fenced(program))).score == 0.0

    async def test_a_tolerance_is_only_what_the_test_writes(self, sandbox: Sandbox) -> None:
        near = await score(sandbox, "HumanEval/45", fenced("def triangle_area(a, h):\n    return a * h / 2.0 + 1e-12"))
        within = await score(sandbox, "HumanEval/4", fenced(BY_ID["HumanEval/4"].reference.rstrip() + " + 1e-9"))

        assert near.score == 0.0
        assert within.score == 1.0

    async def test_the_last_reply_is_scored(self, sandbox: Sandbox) -> None:
        transcript = said(fenced("def add(x, y):\n    return 0"), fenced("def add(x, y):\n    return x + y"))

        result = await BENCHMARK.score(BY_ID["HumanEval/53"], 0, transcript, ScoringTools(sandbox=sandbox))

        assert result.score == 1.0

    async def test_random_inputs_depend_on_run_seed_task_and_trial_alone(self, sandbox: Sandbox) -> None:
        seeds = [
            await seed_used(sandbox, run_seed=run_seed, task_id=task_id, trial=trial)
            for run_seed, task_id, trial in [
                (7, "HumanEval/53", 0),
                (7, "HumanEval/53", 0),
                (7, "HumanEval/53", 1),
                (7, "HumanEval/38", 0),
                (8, "HumanEval/53", 0),
            ]
        ]

        assert seeds[0] == seeds[1]
        assert len(set(seeds)) == 4

    async def test_every_reference_body_passes_as_the_continuation_of_a_base_model(self, sandbox: Sandbox) -> None:
        benchmark = HumanEval(CONFIG.model_copy(update={"protocol": "completion"}), Setting(seed=7))
        tasks = benchmark.tasks()
        goes_on = "\n\ndef more():\n    return (\n\nprint(more())\n"

        scores = await asyncio.gather(
            *(
                benchmark.score(task, 0, said(task.row.canonical_solution + goes_on), ScoringTools(sandbox=sandbox))
                for task in tasks
            )
        )

        assert [task.id for task, score in zip(tasks, scores, strict=True) if not score.passed] == []

    async def test_sanitizing_drops_what_the_entry_point_does_not_reach(self, sandbox: Sandbox) -> None:
        benchmark = HumanEval(CONFIG.model_copy(update={"sanitize": "entry_closure"}), Setting(seed=7))
        reply = fenced("def add(x, y):\n    return x + y\n\nassert add(1, 1) == 3")

        plain = await score(sandbox, "HumanEval/53", reply)
        sanitized = await benchmark.score(BY_ID["HumanEval/53"], 0, said(reply), ScoringTools(sandbox=sandbox))

        assert (plain.score, plain.metrics["sanitized"]) == (0.0, "off")
        assert (sanitized.score, sanitized.metrics["sanitized"]) == (1.0, "entry_closure")
        assert sanitized.answer == "def add(x, y):\n    return x + y\n"

    async def test_an_equal_program_is_not_run_again_unless_the_trial_or_the_clock_decides(
        self, sandbox: Sandbox
    ) -> None:
        benchmark, listening = HumanEval(CONFIG, Setting(seed=7)), ListeningSandbox(HastySandbox(sandbox))

        async def marked(task_id: str, trial: int, program: str) -> tuple[bool, int]:
            before = len(listening.jobs)
            tools = ScoringTools(sandbox=listening)
            result = await benchmark.score(BY_ID[task_id], trial, said(fenced(program)), tools)
            return result.metrics["verdict_cached"] is True, len(listening.jobs) - before

        by_pairs = [await marked("HumanEval/13", trial, BY_ID["HumanEval/13"].reference) for trial in (0, 1)]
        seeded = [await marked("HumanEval/53", trial, BY_ID["HumanEval/53"].reference) for trial in (0, 1, 0)]
        loop = "def greatest_common_divisor(a, b):\n    while True: pass"
        endless = [await marked("HumanEval/13", trial, loop) for trial in (0, 1)]

        assert by_pairs == [(False, 1), (True, 0)]
        assert seeded == [(False, 1), (False, 1), (True, 0)]
        assert endless == [(False, 1), (False, 1)]

    async def test_a_blank_reply_is_the_agents_error(self, sandbox: Sandbox) -> None:
        with pytest.raises(Failure) as failed:
            await score(sandbox, "HumanEval/0", " \n")

        assert (failed.value.outcome, failed.value.kind) == (Outcome.AGENT_ERROR, "empty")

    @pytest.mark.parametrize("task_id", ["HumanEval/0", "HumanEval/53"])
    async def test_a_broken_sandbox_is_no_verdict(self, task_id: str) -> None:
        with pytest.raises(SandboxError, match="workers are gone"):
            await score(BrokenSandbox(), task_id, fenced(BY_ID[task_id].reference))

    async def test_scoring_without_a_sandbox_is_refused(self) -> None:
        with pytest.raises(SandboxError, match="needs a sandbox"):
            await BENCHMARK.score(TASKS[0], 0, said("x"), ScoringTools())

    async def test_no_explanation_quotes_a_test(self, sandbox: Sandbox) -> None:
        scores = await score_all(sandbox, lambda task: fenced(f"def {task.row.entry_point}(*args): return None"))

        for task in TASKS:
            literals = [
                node.value
                for node in ast.walk(ast.parse(task.row.test))
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) > 4
            ]
            assert not [text for text in literals if text in scores[task.id].explanation]


class BrokenSandbox:
    """A sandbox whose workers have died."""

    info = SandboxInfo(backend="broken", isolated=True)

    async def run(self, job: Job) -> JobResult:
        raise SandboxError("the workers are gone")

    async def aclose(self) -> None: ...


class HastySandbox:
    """Gives each job less time, so that the test takes less."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.info = sandbox.info

    async def run(self, job: Job) -> JobResult:
        return await self.sandbox.run(job.model_copy(update={"limits": Limits(cpu_s=1.0, call_cpu_s=0.1, wall_s=5.0)}))

    async def aclose(self) -> None: ...


class ListeningSandbox:
    """Passes jobs on and remembers them."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.info = sandbox.info
        self.jobs: list[Job] = []

    async def run(self, job: Job) -> JobResult:
        self.jobs.append(job)
        return await self.sandbox.run(job)

    async def aclose(self) -> None: ...


async def seed_used(sandbox: Sandbox, *, run_seed: int, task_id: str, trial: int) -> int:
    listening = ListeningSandbox(sandbox)
    reply = said(fenced(BY_ID[task_id].reference))
    await HumanEval(CONFIG, Setting(seed=run_seed)).score(BY_ID[task_id], trial, reply, ScoringTools(sandbox=listening))
    (job,) = listening.jobs
    assert isinstance(job, Split)
    return job.seed
