"""What becomes of the ends of two programs that talk to each other."""

from __future__ import annotations

import pytest

from services.contract.execution import Built, Ended, JobResult, LimitHit, Limits
from services.contract.execution import Job as AnyJob
from services.contract.outcomes import Failure
from services.green_agent.benchmarks.lcb_pro.archive import Judge
from services.green_agent.benchmarks.lcb_pro.checking import JudgedCase, run_interactive
from services.green_agent.scoring.code.stdio import Word

pytestmark = pytest.mark.asyncio

CASE = JudgedCase(
    problem_id="1B",
    judge=Judge(source="int main() {}", headers={}, interactive=True),
    input="7",
    answer=None,
    limits=Limits(),
)


class Told:
    """A sandbox that tells one result."""

    def __init__(self, result: JobResult) -> None:
        self.result = result

    async def run(self, job: AnyJob) -> JobResult:
        return self.result


async def word(program: JobResult, interactor: Ended | None) -> Word:
    told = program.model_copy(update={"interactor": interactor})
    return (await run_interactive(Told(told), CASE, source="")).word


@pytest.mark.parametrize(
    ("program", "interactor", "expected"),
    [
        (JobResult(exit_status=0), Ended(exit_status=0), Word.AC),
        (JobResult(exit_status=None), Ended(exit_status=0), Word.AC),
        (JobResult(exit_status=0), Ended(exit_status=1), Word.WA),
        (JobResult(exit_status=0), Ended(exit_status=2), Word.PE),
        (JobResult(exit_status=0), Ended(exit_status=4), Word.PE),
        (JobResult(exit_status=0), Ended(exit_status=8), Word.PE),
        (JobResult(exit_status=0), Ended(exit_status=7), Word.WA),
        (JobResult(exit_status=-11), Ended(exit_status=8), Word.RE),
        (JobResult(exit_status=-13), Ended(exit_status=1), Word.WA),
        (JobResult(exit_status=None, limit=LimitHit.CPU), Ended(exit_status=8), Word.TLE),
        (JobResult(exit_status=None, limit=LimitHit.MEMORY), Ended(exit_status=8), Word.MLE),
        (JobResult(exit_status=None), Ended(limit=LimitHit.WALL), Word.TLE),
        (JobResult(build=Built(ok=False)), None, Word.CE),
    ],
)
async def test_the_exit_code_of_the_interactor_is_the_verdict(
    program: JobResult, interactor: Ended | None, expected: Word
) -> None:
    assert await word(program, interactor) is expected


@pytest.mark.parametrize(
    "interactor",
    [Ended(exit_status=3), Ended(exit_status=5), Ended(exit_status=-11), Ended(limit=LimitHit.MEMORY), Ended(), None],
)
async def test_any_other_end_of_the_interactor_is_not_scored(interactor: Ended | None) -> None:
    with pytest.raises(Failure, match="infra_error/checker: 1B: "):
        await word(JobResult(exit_status=0), interactor)
