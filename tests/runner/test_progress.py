import io

from services.contract.outcomes import Outcome
from services.contract.results import Section
from services.runner.progress import PlainLines, Standing
from tests.runner.support.rows import make_plan, make_row, make_run


def test_a_running_score_leaves_out_what_is_not_scored_and_shows_it_in_the_coverage() -> None:
    plan = make_plan(tasks=4)
    alpha = [trial for trial in plan.trials if trial.benchmark == "alpha"]
    standing = Standing(make_run(plan), [])

    standing.add(make_row(alpha[0], score=1.0))
    standing.add(make_row(alpha[1], score=0.5))
    standing.add(make_row(alpha[2], Outcome.INFRA_ERROR))

    assert standing.section(Section.OPTIONS_TRADING) == (3, 4, 75.0, 0.5)
    assert standing.section(Section.CODE) == (0, 4, None, 0.0)
    assert standing.faults() == [("infra_error/made_up", 1)]


def test_the_time_to_go_follows_the_pace_of_this_execution() -> None:
    plan = make_plan(tasks=5)
    now = [100.0]
    kept = [make_row(trial) for trial in plan.trials[:2]]
    standing = Standing(make_run(plan), kept, clock=lambda: now[0])

    for trial in plan.trials[2:4]:
        standing.add(make_row(trial))
    assert standing.eta_s() is None
    standing.add(make_row(plan.trials[4]))
    now[0] = 106.0

    assert standing.eta_s() == 10.0


def test_plain_lines_say_what_was_left_out() -> None:
    out = io.StringIO()
    plan = make_plan(tasks=1)
    lines = PlainLines(out)

    lines.began(make_run(plan), [])
    lines.finished(make_row(plan.trials[0], Outcome.AGENT_ERROR))

    assert out.getvalue().splitlines() == [
        f"run 20260101-000000-test-0000: 2 trials, plan {plan.digest[:19]}",
        "[1/2] alpha alpha-0 trial 0: 0.0 agent_error/made_up (0.8 s)",
    ]
