import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from services.contract.conversation import (
    LONGEST_FACT,
    LONGEST_WORD,
    AgentSession,
    FailedCall,
    Iteration,
    ModelCalls,
    Reply,
    Trace,
    Transcript,
)
from services.contract.outcomes import AgentFailure, Failure, Outcome
from services.green_agent.benchmarks.base import Task
from services.green_agent.session import Session, Terms
from tests.support.assessments import FAST, Parrot, ScriptedAgent, echo, prepared, run


@dataclass
class Crowd:
    """An agent that says how many it talks to at once."""

    takes_s: float
    in_flight: int = 0
    most: int = 0
    deadlines: list[float] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)

    def conversation(self, *, metadata: Mapping[str, str]) -> "Crowd":
        self.metadata.append(dict(metadata))
        return self

    async def ask(self, text: str, deadline: float) -> Reply:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        self.deadlines.append(deadline - asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes_s)
        self.in_flight -= 1
        return Reply(text=text)


def session(agent: Crowd, *, places: int, reply_s: float = 5.0, trial_s: float = 5.0) -> Session:
    deadline = asyncio.get_running_loop().time() + trial_s
    terms = Terms(trial="t", sample=3, reply_timeout_s=reply_s, deadline=deadline, places=asyncio.Semaphore(places))
    return Session(agent, terms)


async def test_branches_are_kept_in_one_transcript_and_read_by_name() -> None:
    first = session(Crowd(takes_s=0), places=4)
    left, right = first.branch("left"), first.branch("right")

    await first.ask("a")
    await asyncio.gather(left.ask("b"), right.ask("c"))
    await left.ask("d")

    assert [turn.question for turn in first.transcript.branch("left")] == ["b", "d"]
    assert [turn.question for turn in first.transcript.branch("right")] == ["c"]
    assert [turn.question for turn in first.transcript.branch("")] == ["a"]
    assert len(first.transcript.turns) == 4


async def test_waiting_for_a_free_place_costs_the_agent_nothing() -> None:
    agent = Crowd(takes_s=0.05)
    first = session(agent, places=1, reply_s=1.0, trial_s=0.2)

    await asyncio.gather(*(first.branch(str(n)).ask("x") for n in range(8)))

    assert agent.most == 1
    # The eighth began after 0.35 s, when the trial's 0.2 s had passed; waiting put the end off.
    assert min(agent.deadlines) > 0
    assert first.told.waited_s > 0.2


async def test_a_failed_message_stays_in_its_branch_and_ends_only_that_message() -> None:
    class Failing(Crowd):
        async def ask(self, text: str, deadline: float) -> Reply:
            raise AgentFailure(Outcome.AGENT_ERROR, "empty", "nothing was said")

    first = session(Failing(takes_s=0), places=1)

    with pytest.raises(AgentFailure, match="nothing was said"):
        await first.branch("one").ask("x")

    (turn,) = first.transcript.branch("one")
    assert turn.error is not None
    assert turn.error.startswith("empty: nothing was said")


async def test_without_a_shelf_no_file_can_be_offered() -> None:
    with pytest.raises(Failure, match="cannot serve files"):
        session(Crowd(takes_s=0), places=1).offer(Path("a.pdf"), name="a.pdf")


class Branching(Parrot):
    """Holds four conversations a trial."""

    async def converse(self, task: Task, trial: int, agent: AgentSession) -> None:
        branches = (agent.branch(f"b{n}") for n in range(4))
        await asyncio.gather(*(branch.ask(task.prompt) for branch in branches))


async def test_no_more_messages_are_in_flight_than_the_assessment_allows_whatever_a_trial_opens() -> None:
    agent = ScriptedAgent(echo)

    rows = await run(prepared(tasks=6, benchmark=Branching), agent, limits=FAST)

    assert [row.score for row in rows] == [1.0] * 6
    assert agent.most_in_flight <= FAST.max_concurrency
    assert sum(agent.asked.values()) == 24


async def test_every_conversation_of_a_trial_tells_the_agent_the_same_number_and_nothing_else() -> None:
    agent = Crowd(takes_s=0)
    first = session(agent, places=1)

    first.branch("left").branch("deeper")

    assert agent.metadata == [{"assay/sample": "3"}] * 3


async def test_a_trial_that_is_tried_again_asks_for_the_same_sample() -> None:
    async def away_once(text: str, before: int, deadline: float) -> Reply:
        if before == 0:
            raise AgentFailure(Outcome.INFRA_ERROR, "http_503", "engine away")
        return Reply(text=text)

    agent = ScriptedAgent(away_once)
    rows = await run(prepared(tasks=2, trials=3), agent, limits=replace(FAST, max_concurrency=1))

    assert [row.score for row in rows] == [1.0] * 6
    assert [(text, metadata["assay/sample"]) for text, metadata in agent.told] == [
        ("say 0", "0"),
        ("say 0", "0"),
        ("say 0", "1"),
        ("say 0", "2"),
        ("say 1", "0"),
        ("say 1", "0"),
        ("say 1", "1"),
        ("say 1", "2"),
    ]


class Tracer(Crowd):
    """Tells how it came to its answer, a key included."""

    async def ask(self, text: str, deadline: float) -> Reply:
        key = "sk-" + "a" * 24
        step = Iteration(solution=f"use {key}", report=f"{key} is right", decision=f"yes {key}", verdict="yes")
        return Reply(text=text, trace=Trace(strategy="s", iterations=(step, Iteration())))


async def test_what_looks_like_a_key_is_masked_in_traces_too() -> None:
    first = session(Tracer(takes_s=0), places=1)

    await first.ask("x")

    reply = first.transcript.turns[0].reply
    assert reply is not None
    assert reply.trace is not None
    told = reply.trace.iterations[0]
    assert "sk-" + "a" * 24 not in reply.model_dump_json()
    assert (told.solution or "").startswith("use ")
    assert reply.trace.iterations[1].solution is None


class Boaster(Crowd):
    """Fills the short texts of its trace to the brim with what is masked by something longer."""

    async def ask(self, text: str, deadline: float) -> Reply:
        brim = ("://a:b@ " * 20)[:LONGEST_WORD]
        trace = Trace(strategy=brim, iterations=(Iteration(skipped=brim),), settings={brim: brim})
        return Reply(text=text, trace=trace)


async def test_a_trace_that_was_masked_can_be_read_again() -> None:
    first = session(Boaster(takes_s=0), places=1)

    await first.ask("x")

    stored = first.transcript.model_dump_json()
    assert "a:b" not in stored
    assert Transcript.model_validate_json(stored) == first.transcript


LOST = FailedCall(replica="http://a:1/v1", kind="connection", message="refused")


async def test_a_row_tells_of_the_model_calls_of_all_its_attempts_and_each_turn_of_its_own() -> None:
    async def away_once(text: str, before: int, deadline: float) -> Reply:
        if before == 0:
            failure = AgentFailure(Outcome.INFRA_ERROR, "connection", "engine away")
            failure.model_calls = ModelCalls(failed=(LOST,), failures=1)
            raise failure
        return Reply(text=text, model_calls=ModelCalls(answered_by=("http://b:1/v1",), switched=1))

    [row] = await run(prepared(tasks=1), ScriptedAgent(away_once), limits=FAST)

    both = ModelCalls(answered_by=("http://b:1/v1",), switched=1, failed=(LOST,), failures=1)
    assert row.model_calls == both
    [attempt] = row.attempts
    assert attempt.transcript is not None
    assert attempt.transcript.turns[0].model_calls == ModelCalls(failed=(LOST,), failures=1)
    assert row.transcript is not None
    assert row.transcript.turns[0].reply is not None
    assert row.transcript.turns[0].reply.model_calls == ModelCalls(answered_by=("http://b:1/v1",), switched=1)


async def test_what_an_agent_says_of_its_model_calls_is_masked_and_can_be_read_again() -> None:
    key, brim = "sk-" + "a" * 24, ("://a:b@ " * 80)[:LONGEST_FACT]
    said = ModelCalls(answered_by=(brim,), failed=(FailedCall(replica=brim, kind=key, message=f"use {key}"),))

    class Talker(Crowd):
        async def ask(self, text: str, deadline: float) -> Reply:
            return Reply(text=text, model_calls=said)

    first = session(Talker(takes_s=0), places=1)
    await first.ask("x")

    stored = first.transcript.model_dump_json()
    assert key not in stored
    assert "a:b@" not in stored
    assert Transcript.model_validate_json(stored) == first.transcript
