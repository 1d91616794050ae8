from pathlib import Path

from services.contract.outcomes import Outcome
from services.runner.failures import AgentStartError, ExitCode
from services.runner.journal import Journal
from services.runner.purples.standings import standings, standings_object, standings_table
from services.runner.purples.swapping import Swapped
from services.runner.run import RunOutcome
from tests.runner.support.rows import make_plan, make_row, make_run

STRANGE, SHARED = (make_plan(tasks=2, seed=seed) for seed in (8, 7))


def made(folder: Path, role: str, *, strange: bool = False, lost: int = 0) -> Swapped:
    """A stored run with four trials, the first of which may have no score."""
    plan = STRANGE if strange else SHARED
    journal = Journal.open(folder)
    journal.create_run(make_run(plan, run_id=role))
    rows = [
        make_row(trial, Outcome.INFRA_ERROR if number < lost else Outcome.SCORED, score=number % 2)
        for number, trial in enumerate(plan.trials)
    ]
    journal.record_all(role, rows)
    journal.close()
    return Swapped(role=role, outcome=RunOutcome(run_id=role, exit_code=ExitCode.COMPLETE, report=None), error=None)


def test_a_purple_with_another_plan_is_named_and_the_others_are_compared_even_if_it_came_first(tmp_path: Path) -> None:
    done = [made(tmp_path, "odd", strange=True), made(tmp_path, "b"), made(tmp_path, "c", lost=1)]

    found = standings(done, tmp_path)

    assert [(pair.first, pair.second) for pair in found.pairs] == [("b", "c")]
    overall = found.pairs[0].differences[-1]
    assert (overall.tasks, overall.left_out, overall.difference) == (3, 1, 0.0)
    assert found.not_compared == [
        f"{role} has plan {SHARED.digest[:19]}, odd has {STRANGE.digest[:19]}: green planned other tasks for it, which"
        " cannot be compared"
        for role in ("b", "c")
    ]
    assert "! not compared: b has plan" in standings_table(found)


def test_a_purple_that_never_started_has_its_place_in_the_object_without_the_secrets_of_its_log(tmp_path: Path) -> None:
    error = AgentStartError("agent x ended; the end of its log:\nkey " + "sk-" + "a" * 24)

    found = standings([made(tmp_path, "b"), Swapped(role="x", outcome=None, error=error)], tmp_path)

    told = standings_object(found)
    assert told["exit_code"] == 3
    assert told["not_compared"] == ["x has no run"]
    assert told["comparisons"] == []
    assert told["runs"] == [
        {"purple": "b", "run": "b", "exit_code": 0, "error": None},
        {"purple": "x", "run": None, "exit_code": 3, "error": "agent x ended; the end of its log:\nkey [redacted]"},
    ]
