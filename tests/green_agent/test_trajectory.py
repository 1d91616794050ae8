"""What is scored beside an answer when the agent tells how it came to it."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from services.contract.conversation import Iteration, Reply, Trace, Transcript, Turn, Usage
from services.contract.execution import SandboxError
from services.contract.outcomes import Failure, Outcome
from services.contract.results import Section
from services.green_agent.benchmarks.base import Benchmark, DatasetConfig, Score, ScoringTools, Setting, Task
from services.green_agent.trajectory import LONGEST_FEEDBACK, MOST_SCORED, scored

TASK = Task(id="sum", stratum="sums", prompt="2 + 2?", digest="sha256:0")


class Sums(Benchmark[DatasetConfig, Task]):
    """Right is `4`; `hm` cannot be judged, `boom` and `cell` break the scorer. Counts how often it is asked."""

    name: ClassVar[str] = "sums"
    section: ClassVar[Section] = Section.MATH
    scorer_version: ClassVar[str] = "1"

    def __init__(self, *, scores_intermediates: bool = True) -> None:
        super().__init__(DatasetConfig(type="sums"), Setting(seed=1))
        self._scores_intermediates = scores_intermediates
        self.asked: list[str] = []

    @property
    def scores_intermediates(self) -> bool:
        return self._scores_intermediates

    def tasks(self) -> Sequence[Task]:
        return [TASK]

    async def score(self, task: Task, trial: int, transcript: Transcript, tools: ScoringTools) -> Score:
        self.asked.append(transcript.answer)
        if transcript.answer == "hm":
            raise Failure(Outcome.JUDGE_ERROR, "no_verdict", "the judge said nothing")
        if transcript.answer == "boom":
            raise RuntimeError("a defect of the scorer")
        if transcript.answer == "cell":
            raise SandboxError("the cell is gone")
        right = transcript.answer == "4"
        return Score(score=float(right), passed=right, scored_by="match", answer=transcript.answer)


def _said(answer: str, *iterations: Iteration, replies: int = 1) -> Transcript:
    trace = Trace(strategy="self_eval_sequential", iterations=iterations) if iterations else None
    turn = Turn(question=TASK.prompt, reply=Reply(text=answer, trace=trace))
    return Transcript(turns=(turn,) * replies)


async def _scored(benchmark: Sums, transcript: Transcript) -> Score:
    return await scored(benchmark, TASK, 0, transcript, ScoringTools())


def _steps(score: Score) -> list[dict[str, Any]]:
    found = score.details["iterations"]
    assert isinstance(found, list)
    return [step for step in found if isinstance(step, dict)]


async def test_a_right_intermediate_that_was_given_up_is_the_oracles_and_never_the_scores() -> None:
    benchmark = Sums()

    score = await _scored(benchmark, _said("5", Iteration(solution="4"), Iteration(solution="5", verdict="no")))

    assert (score.score, score.passed) == (0.0, False)
    assert score.metrics["oracle_passed"] is True
    assert [step["passed"] for step in _steps(score)] == [True, False]


async def test_each_distinct_solution_is_scored_once_and_carried_ones_repeat_their_verdict() -> None:
    benchmark = Sums()
    chain = (Iteration(solution="3"), Iteration(verdict="yes"), Iteration(solution="4", verdict="no"), Iteration())

    score = await _scored(benchmark, _said("4", *chain))

    assert benchmark.asked == ["4", "3"]
    assert [step["passed"] for step in _steps(score)] == [False, False, True, True]
    assert [step["carried"] for step in _steps(score)] == [False, True, False, True]
    assert [step["was_refined"] for step in _steps(score)] == [False, False, True, False]


async def test_an_intermediate_without_a_verdict_leaves_the_answer_its_score() -> None:
    score = await _scored(Sums(), _said("4", Iteration(solution="hm"), Iteration(solution="4")))

    assert (score.score, score.metrics["trajectory_unscored"]) == (1.0, 1)
    assert [step["passed"] for step in _steps(score)] == [None, True]
    assert _steps(score)[0]["feedback"] == "no_verdict: the judge said nothing"


@pytest.mark.parametrize("breaks", ["boom", "cell"])
async def test_an_intermediate_that_breaks_the_scorer_does_not_take_the_answers_score_with_it(breaks: str) -> None:
    score = await _scored(Sums(), _said("5", Iteration(solution=breaks), Iteration(solution="5")))

    assert (score.score, score.passed, score.metrics["trajectory_unscored"]) == (0.0, False, 1)
    assert [step["passed"] for step in _steps(score)] == [None, False]


async def test_an_answer_that_breaks_the_scorer_is_no_answer_with_a_score() -> None:
    with pytest.raises(SandboxError):
        await _scored(Sums(), _said("cell", Iteration(solution="4"), Iteration(solution="cell")))


async def test_what_a_scorer_says_of_an_intermediate_is_bounded_and_holds_no_key() -> None:
    key = "sk-" + "a1B2c3D4" * 5

    class Talker(Sums):
        async def score(self, task: Task, trial: int, transcript: Transcript, tools: ScoringTools) -> Score:
            return Score(score=0.0, passed=False, scored_by="match", explanation=f"{key} {'x' * 100_000}")

    score = await _scored(Talker(), _said("5", Iteration(solution="4"), Iteration(solution="5")))

    assert [len(str(step["feedback"])) for step in _steps(score)] == [LONGEST_FEEDBACK] * 2
    assert key not in str(_steps(score))


async def test_an_empty_solution_is_wrong_and_is_not_shown_to_the_scorer() -> None:
    benchmark = Sums()

    score = await _scored(benchmark, _said("4", Iteration(skipped="too_long"), Iteration(solution="4")))

    assert [step["passed"] for step in _steps(score)] == [False, True]
    assert (benchmark.asked, score.metrics["trajectory_unscored"]) == (["4"], 0)


async def test_an_answer_that_cannot_be_scored_is_not_rescued_by_its_trajectory() -> None:
    with pytest.raises(Failure, match="no_verdict"):
        await _scored(Sums(), _said("hm", Iteration(solution="4"), Iteration(solution="hm")))


@pytest.mark.parametrize(
    "transcript",
    [_said("4"), _said("4", Iteration(solution="3"), replies=2)],
    ids=["without a trace", "in a conversation of several answers"],
)
async def test_nothing_is_said_of_trajectories_where_there_is_none(transcript: Transcript) -> None:
    score = await _scored(Sums(), transcript)

    assert (score.metrics, score.details) == ({}, {})


async def test_a_benchmark_may_leave_intermediates_alone() -> None:
    benchmark = Sums(scores_intermediates=False)

    score = await _scored(benchmark, _said("5", Iteration(solution="4"), Iteration(solution="5")))

    assert (benchmark.asked, "oracle_passed" in score.metrics) == (["5"], False)


async def test_an_agent_that_claims_endless_iterations_has_only_the_first_ones_scored() -> None:
    benchmark = Sums()
    chain = [Iteration(solution=str(number)) for number in range(1000)]

    score = await _scored(benchmark, _said("no", *chain))

    assert len(benchmark.asked) == 1 + MOST_SCORED
    assert score.metrics["trajectory_cut"] == 1000 - MOST_SCORED


async def test_the_usage_of_each_role_stands_with_its_iteration() -> None:
    step = Iteration(solution="4", usage={"generate": Usage(input_tokens=3, output_tokens=1)})

    score = await _scored(Sums(), _said("4", step))

    assert _steps(score)[0]["usage"]["generate"]["input_tokens"] == 3
