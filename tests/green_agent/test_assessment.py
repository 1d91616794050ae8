import asyncio
from collections import Counter
from dataclasses import replace

from services.contract.conversation import Reply, Transcript
from services.contract.execution import SandboxError
from services.contract.outcomes import AgentFailure, Outcome
from services.contract.results import TaskResult
from services.green_agent.assessment import DEBATE_QUESTION, Assessment, Limits
from services.green_agent.benchmarks.base import Score, ScoringTools, Task
from services.green_agent.toolbox import Tools
from tests.support.assessments import FAST, Parrot, ScriptedAgent, TwoQuestions, echo, prepared, run


def infra(kind: str = "http_503") -> AgentFailure:
    return AgentFailure(Outcome.INFRA_ERROR, kind, "engine away")


async def test_every_planned_trial_ends_in_one_row() -> None:
    rows = await run(prepared(tasks=20, trials=3), ScriptedAgent(echo))

    assert Counter(row.outcome for row in rows) == {Outcome.SCORED: 60}
    assert len({row.key for row in rows}) == 60
    assert all(row.score == 1.0 and row.transcript is not None and row.transcript_id for row in rows)


async def test_no_more_conversations_run_at_once_than_allowed() -> None:
    agent = ScriptedAgent(echo)

    await run(prepared(tasks=40), agent, limits=replace(FAST, max_concurrency=3))

    assert agent.most_in_flight == 3


async def test_an_infrastructure_fault_is_tried_again_and_kept_as_an_attempt() -> None:
    async def twice_away(text: str, before: int, deadline: float) -> Reply:
        if before < 2:
            raise infra()
        return Reply(text=text)

    (row,) = await run(prepared(tasks=1), ScriptedAgent(twice_away))

    assert (row.outcome, row.score) == (Outcome.SCORED, 1.0)
    assert [attempt.error.kind for attempt in row.attempts] == ["http_503", "http_503"]
    assert row.attempts[0].transcript is not None


async def test_a_fault_that_stays_is_unscored_after_three_tries() -> None:
    async def away(text: str, before: int, deadline: float) -> Reply:
        raise infra()

    agent = ScriptedAgent(away)
    (row,) = await run(prepared(tasks=1), agent)

    assert (row.outcome, row.score) == (Outcome.INFRA_ERROR, None)
    assert agent.asked == {"say 0": 3}


async def test_the_agents_own_fault_counts_zero_and_is_not_tried_again() -> None:
    async def empty(text: str, before: int, deadline: float) -> Reply:
        raise AgentFailure(Outcome.AGENT_ERROR, "empty", "nothing came", evidence="\n\n")

    agent = ScriptedAgent(empty)
    (row,) = await run(prepared(tasks=1), agent)

    assert (row.outcome, row.score, row.passed) == (Outcome.AGENT_ERROR, 0.0, False)
    assert row.error is not None
    assert row.error.kind == "empty"
    assert agent.asked == {"say 0": 1}


async def test_what_was_said_before_a_failure_is_kept() -> None:
    async def silent_the_second_time(text: str, before: int, deadline: float) -> Reply:
        if before:
            raise AgentFailure(Outcome.AGENT_ERROR, "deadline", "no reply in time")
        return Reply(text="first")

    (row,) = await run(prepared(tasks=1, benchmark=TwoQuestions), ScriptedAgent(silent_the_second_time))

    assert row.transcript is not None
    assert [turn.reply.text if turn.reply else turn.error for turn in row.transcript.turns] == [
        "first",
        "deadline: no reply in time",
    ]


async def test_after_ten_faults_in_a_row_the_assessment_waits_for_the_agent() -> None:
    agent = ScriptedAgent(echo)

    async def away_until_probed(text: str, before: int, deadline: float) -> Reply:
        if agent.probes == 0:
            raise infra("unreachable")
        return Reply(text=text)

    agent.answer = away_until_probed
    limits = replace(FAST, max_concurrency=1, backoff_s=())
    rows = await run(prepared(tasks=12), agent, limits=limits)

    assert agent.probes == 1
    assert Counter(row.outcome for row in rows) == {Outcome.INFRA_ERROR: 10, Outcome.SCORED: 2}


async def test_a_lost_agent_leaves_the_rest_unscored_and_unasked() -> None:
    async def away(text: str, before: int, deadline: float) -> Reply:
        raise infra("unreachable")

    agent = ScriptedAgent(away, lost=True)
    rows = await run(prepared(tasks=50), agent, limits=replace(FAST, max_concurrency=1, backoff_s=()))

    assert Counter(row.error.kind for row in rows if row.error) == {"unreachable": 10, "agent_lost": 40}
    assert sum(agent.asked.values()) == 10


async def test_an_agent_that_was_never_there_is_not_asked() -> None:
    agent = ScriptedAgent(echo, card_failure=infra("unreachable"))

    rows = await run(prepared(tasks=30), agent)

    assert agent.asked == {}
    assert Counter(row.error.kind for row in rows if row.error) == {"unreachable": 30}


async def test_refused_credentials_stop_the_assessment_at_once() -> None:
    async def refused(text: str, before: int, deadline: float) -> Reply:
        raise infra("auth")

    agent = ScriptedAgent(refused)
    rows = await run(prepared(tasks=30), agent, limits=replace(FAST, max_concurrency=1))

    assert sum(agent.asked.values()) == 1
    assert {row.error.kind for row in rows if row.error} == {"auth"}


async def test_cancel_ends_in_flight_and_waiting_trials_as_cancelled_and_keeps_the_finished() -> None:
    reached = asyncio.Event()

    async def first_only(text: str, before: int, deadline: float) -> Reply:
        if text == "say 0":
            return Reply(text=text)
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    rows: list[TaskResult] = []
    finished = asyncio.Event()

    def emit(row: TaskResult) -> None:
        rows.append(row)
        finished.set()

    limits = replace(FAST, max_concurrency=2)
    agent = ScriptedAgent(first_only)
    assessment = Assessment(prepared(tasks=9), agent, Tools(), limits=limits, emit=emit)
    running = asyncio.create_task(assessment.run())
    await reached.wait()
    await finished.wait()
    assessment.cancel()
    await running

    assert Counter(row.outcome for row in rows) == {Outcome.SCORED: 1, Outcome.CANCELLED: 8}
    assert len({row.key for row in rows}) == 9


async def test_no_trial_begins_while_there_is_no_room_for_its_row() -> None:
    rows: list[TaskResult] = []
    full, has_room = asyncio.Event(), asyncio.Event()
    agent = ScriptedAgent(echo)

    async def room() -> None:
        if len(rows) >= 2:
            full.set()
            await has_room.wait()

    limits = replace(FAST, max_concurrency=1)
    assessment = Assessment(prepared(tasks=5), agent, Tools(), limits=limits, emit=rows.append, room=room)
    running = asyncio.create_task(assessment.run())
    await full.wait()
    held = sum(agent.asked.values())
    has_room.set()
    await running

    assert held < 5
    assert len(rows) == 5


async def test_completed_trials_are_not_run_again() -> None:
    rows: list[TaskResult] = []
    agent = ScriptedAgent(echo)
    assessment = Assessment(prepared(tasks=5), agent, Tools(), limits=FAST, emit=rows.append)

    await assessment.run(skip=frozenset({"parrot|q1|0", "parrot|q3|0"}))

    assert sorted(row.task_id for row in rows) == ["q0", "q2", "q4"]
    assert "say 1" not in agent.asked


async def test_the_debate_is_kept_beside_the_transcript_and_never_scored() -> None:
    async def changes_its_mind(text: str, before: int, deadline: float) -> Reply:
        return Reply(text="I take it all back" if text == DEBATE_QUESTION else text)

    (row,) = await run(prepared(tasks=1, debate=True), ScriptedAgent(changes_its_mind))

    assert row.score == 1.0
    assert row.transcript is not None
    assert len(row.transcript.turns) == 1
    assert "I take it all back" in str(row.transcript.notes["debate"])


async def test_a_failing_debate_costs_nothing() -> None:
    async def refuses(text: str, before: int, deadline: float) -> Reply:
        if text == DEBATE_QUESTION:
            raise AgentFailure(Outcome.AGENT_ERROR, "refused", "no")
        return Reply(text=text)

    (row,) = await run(prepared(tasks=1, debate=True), ScriptedAgent(refuses))

    assert (row.outcome, row.score) == (Outcome.SCORED, 1.0)


async def test_a_defect_met_in_the_debate_costs_nothing() -> None:
    async def breaks(text: str, before: int, deadline: float) -> Reply:
        if text == DEBATE_QUESTION:
            raise ZeroDivisionError
        return Reply(text=text)

    rows = await run(prepared(tasks=2, debate=True), ScriptedAgent(breaks))

    assert [(row.outcome, row.score) for row in rows] == [(Outcome.SCORED, 1.0)] * 2


async def test_a_failure_told_in_megabytes_stands_in_the_row_in_short() -> None:
    async def babbles(text: str, before: int, deadline: float) -> Reply:
        raise AgentFailure(Outcome.AGENT_ERROR, "k" * 1_000_000, "m" * 1_000_000)

    (row,) = await run(prepared(tasks=1), ScriptedAgent(babbles))

    assert row.error is not None
    assert (len(row.error.kind), len(row.error.message)) == (100, 4_000)


class SandboxMendsItself(Parrot):
    """The first look at each answer fails for want of a sandbox."""

    seen: int = 0

    async def score(self, task: Task, trial: int, transcript: Transcript, tools: ScoringTools) -> Score:
        self.seen += 1
        if self.seen == 1:
            raise SandboxError("worker died")
        return await super().score(task, trial, transcript, tools)


class Broken(Parrot):
    """A scorer with a defect."""

    async def score(self, task: Task, trial: int, transcript: Transcript, tools: ScoringTools) -> Score:
        raise ZeroDivisionError("secret detail")


async def test_a_broken_sandbox_is_tried_again_without_asking_the_agent_again() -> None:
    agent = ScriptedAgent(echo)

    (row,) = await run(prepared(tasks=1, benchmark=SandboxMendsItself), agent)

    assert (row.outcome, row.score) == (Outcome.SCORED, 1.0)
    assert [attempt.error.kind for attempt in row.attempts] == ["sandbox"]
    assert agent.asked == {"say 0": 1}


async def test_a_defect_of_a_scorer_never_costs_the_agent_and_never_ends_the_others() -> None:
    rows = await run(prepared(tasks=3, benchmark=Broken), ScriptedAgent(echo))

    assert [(row.outcome, row.score) for row in rows] == [(Outcome.INFRA_ERROR, None)] * 3
    assert all(row.error is not None and row.error.kind == "scorer" for row in rows)
    assert "secret detail" not in "".join(row.model_dump_json() for row in rows)


async def test_a_row_that_cannot_be_written_becomes_one_that_can() -> None:
    async def half_a_character(text: str, before: int, deadline: float) -> Reply:
        return Reply(text="\ud83d")

    rows = await run(prepared(tasks=2), ScriptedAgent(half_a_character))

    assert [(row.outcome, row.error.kind if row.error else "") for row in rows] == [
        (Outcome.INFRA_ERROR, "internal")
    ] * 2


async def test_a_reply_is_due_before_the_trials_deadline_too() -> None:
    left: list[float] = []

    async def measure(text: str, before: int, deadline: float) -> Reply:
        left.append(deadline - asyncio.get_running_loop().time())
        return Reply(text=text)

    plan = prepared(tasks=1, benchmark=TwoQuestions)
    await run(replace(plan, reply_timeout_s=5.0, trial_timeout_s=2.0), ScriptedAgent(measure))

    assert all(0.0 < seconds <= 2.0 for seconds in left)


def test_default_limits_are_those_of_the_documentation() -> None:
    limits = Limits()

    assert (limits.max_concurrency, limits.backoff_s) == (16, (1.0, 4.0))
    assert (limits.probe_every_s, limits.give_up_after_s) == (5.0, 120.0)
