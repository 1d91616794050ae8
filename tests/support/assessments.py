"""Prepared plans over a small benchmark, and an agent that follows a script, for tests of the assessment loop."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from services.contract.assessment import PlannedTrial
from services.contract.conversation import AgentSession, Reply, Transcript
from services.contract.outcomes import AgentFailure
from services.contract.results import Section, TaskResult
from services.green_agent.assessment import Assessment, Limits
from services.green_agent.benchmarks.base import Benchmark, DatasetConfig, Score, ScoringTools, Setting, Task
from services.green_agent.preparation import PreparedPlan
from services.green_agent.session import Asks
from services.green_agent.toolbox import Tools
from tests.support.rows import plan_of

Answer = Callable[[str, int, float], Awaitable[Reply]]
"""(question, how often it was asked before, deadline) -> reply, or raises AgentFailure."""

FAST = Limits(backoff_s=(0.0, 0.0), probe_every_s=0.01, give_up_after_s=0.05)


class Parrot(Benchmark[DatasetConfig, Task]):
    """Right answers repeat the question."""

    name: ClassVar[str] = "parrot"
    section: ClassVar[Section] = Section.KNOWLEDGE_RETRIEVAL
    scorer_version: ClassVar[str] = "1"

    def tasks(self) -> Sequence[Task]:
        return [Task(id=f"q{n}", stratum="q", prompt=f"say {n}", digest=f"sha256:{n}") for n in range(100)]

    async def score(self, task: Task, trial: int, transcript: Transcript, tools: ScoringTools) -> Score:
        right = transcript.answer == task.prompt
        return Score(score=float(right), passed=right, scored_by="rule", answer=transcript.answer)


class TwoQuestions(Parrot):
    """Asks twice."""

    async def converse(self, task: Task, trial: int, agent: AgentSession) -> None:
        await agent.ask(task.prompt)
        await agent.ask(task.prompt)


@dataclass
class ScriptedAgent:
    """Answers by a function; counts what it was asked."""

    answer: Answer
    card_failure: AgentFailure | None = None
    lost: bool = False
    probes: int = 0

    def __post_init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.told: list[tuple[str, dict[str, str]]] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def card(self) -> object:
        if self.card_failure is not None:
            raise self.card_failure
        return "card"

    async def alive(self) -> bool:
        self.probes += 1
        return not self.lost

    def conversation(self, *, metadata: Mapping[str, str]) -> Asks:
        return _Conversation(self, metadata)


class _Conversation:
    def __init__(self, agent: ScriptedAgent, metadata: Mapping[str, str]) -> None:
        self._agent = agent
        self._metadata = metadata

    async def ask(self, text: str, deadline: float) -> Reply:
        agent = self._agent
        agent.told.append((text, dict(self._metadata)))
        before = agent.asked.get(text, 0)
        agent.asked[text] = before + 1
        agent.in_flight += 1
        agent.most_in_flight = max(agent.most_in_flight, agent.in_flight)
        try:
            return await agent.answer(text, before, deadline)
        finally:
            agent.in_flight -= 1


async def echo(text: str, before: int, deadline: float) -> Reply:
    """Always right for Parrot."""
    await asyncio.sleep(0)
    return Reply(text=text)


def prepared(*, tasks: int, trials: int = 1, benchmark: type[Parrot] = Parrot, debate: bool = False) -> PreparedPlan:
    """A plan over the first `tasks` of a benchmark."""
    made = benchmark(DatasetConfig(type=benchmark.name), Setting(seed=1))
    found = made.tasks()[:tasks]
    planned = [
        PlannedTrial(
            benchmark=made.name,
            section=made.section,
            stratum=task.stratum,
            task_id=task.id,
            task_digest=task.digest,
            trial=trial,
        )
        for task in found
        for trial in range(trials)
    ]
    return PreparedPlan(
        plan=plan_of(*planned),
        benchmarks={made.name: made},
        tasks={(made.name, task.id): task for task in found},
        reply_timeout_s=5.0,
        trial_timeout_s=None,
        debate=debate,
    )


async def run(plan: PreparedPlan, agent: ScriptedAgent, *, limits: Limits = FAST) -> list[TaskResult]:
    """Run a plan to its end and return its rows."""
    rows: list[TaskResult] = []
    await Assessment(plan, agent, Tools(), limits=limits, emit=rows.append).run()
    return rows
