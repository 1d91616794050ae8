"""Runs a plan against one agent under limits: conversations, scoring, retries of infrastructure faults, cancel.

The one owner of deadlines and of repeated trials. Every planned trial ends in exactly one TaskResult, handed to `emit` as
soon as it is known; nothing raises out of a trial. Conversations and scoring are two stages with a bounded queue between
them, so slow scoring holds new conversations back and memory does not grow with the plan.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol, Required, TypedDict

import structlog
from pydantic import JsonValue

from services.contract import telemetry
from services.contract.assessment import PlannedTrial
from services.contract.conversation import ModelCalls, ModelFacts, Transcript, Usage
from services.contract.execution import SandboxError
from services.contract.judgements import Judgement
from services.contract.outcomes import POLICY, SANDBOX, SCORER, STOPS_ASSESSMENT, AgentFailure, Failure, Outcome
from services.contract.results import Attempt, Digests, ErrorInfo, Latency, SubScore, TaskResult
from services.contract.secrets import redact
from services.contract.seeds import generator
from services.green_agent.benchmarks.base import Score, Task
from services.green_agent.breaker import Breaker
from services.green_agent.preparation import PreparedPlan
from services.green_agent.session import Asks, Session, Terms
from services.green_agent.toolbox import Tools
from services.green_agent.trajectory import scored

log = structlog.get_logger()

DEBATE_QUESTION: Final = (
    "One more question, for the record: which step of your answer are you least sure of, and what would change it?"
)
LONGEST_MESSAGE: Final = 4_000
LONGEST_KIND: Final = 100
Emit = Callable[[TaskResult], None]
"""Takes a finished row at once, so that a cancel can never come between a trial and its row."""
Room = Callable[[], Awaitable[None]]
"""Returns when more rows can be taken; until then no trial is begun."""


class Examined(Protocol):
    """The part of `contract.a2a.client.AgentClient` that an assessment needs."""

    async def card(self) -> object:
        """The agent's card. Raises AgentFailure."""
        ...

    async def alive(self) -> bool:
        """True when the card answers now."""
        ...

    def conversation(self, *, metadata: Mapping[str, str]) -> Asks:
        """A fresh conversation; each of its messages carries `metadata`."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds of one assessment; times in seconds."""

    max_concurrency: int = 16
    """Conversations in flight."""
    max_scoring: int = 8
    """Scorers in flight; four times as many finished conversations may wait for them."""
    backoff_s: tuple[float, ...] = (1.0, 4.0)
    """Waits before each repetition of a trial that met an infrastructure fault; as many repetitions as waits."""
    probe_every_s: float = 5.0
    give_up_after_s: float = 120.0
    """How often, and for how long, a lost agent is looked for."""


@dataclass(kw_only=True, slots=True)
class _Trial:
    """A trial under way: what is known of it so far."""

    planned: PlannedTrial
    task: Task
    started: float
    attempts: list[Attempt] = field(default_factory=list)
    transcript: Transcript = field(default_factory=Transcript)
    usage: Usage = field(default_factory=Usage)
    model: ModelFacts | None = None
    model_calls: ModelCalls | None = None
    agent_s: float = 0.0
    judge_s: float = 0.0

    judgements: list[Judgement] = field(default_factory=list)

    def take(self, session: Session) -> None:
        told = session.told
        self.transcript, self.model = session.transcript, told.model
        self.usage, self.agent_s = told.usage, told.agent_s
        if told.model_calls is not None:
            self.model_calls = (self.model_calls or ModelCalls()) + told.model_calls


class Assessment:
    """One run of one plan. `run` may be called once; `cancel` from anywhere on the same loop."""

    def __init__(
        self,
        prepared: PreparedPlan,
        agent: Examined,
        tools: Tools,
        *,
        limits: Limits,
        emit: Emit,
        room: Room | None = None,
        given: Mapping[str, Transcript] | None = None,
    ) -> None:
        """`given` holds transcripts by trial key: these trials are scored as they stand and nobody is asked."""
        self._prepared = prepared
        self._agent = agent
        self._tools = tools
        self._limits = limits
        self._emit = emit
        self._room = room
        self._given = given or {}
        self._places = asyncio.Semaphore(limits.max_concurrency)
        self._breaker = Breaker(agent.alive, probe_every_s=limits.probe_every_s, give_up_after_s=limits.give_up_after_s)
        self._open: dict[str, _Trial] = {}
        self._done: set[str] = set()
        self._cancelled = asyncio.Event()

    @property
    def cancelled(self) -> bool:
        """True once `cancel` was called."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End at once: conversations and scorers are stopped, what is missing becomes `cancelled`."""
        self._cancelled.set()

    async def run(self, *, skip: frozenset[str] = frozenset()) -> None:
        """Run every trial of the plan whose key is not in `skip`. Returns when each has its row."""
        planned = [trial for trial in self._prepared.plan.trials if trial.key not in skip]
        stages = asyncio.create_task(self._stages(iter(planned)))
        stop = asyncio.create_task(self._cancelled.wait())
        try:
            await asyncio.wait({stages, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stages.cancel()
            stop.cancel()
            with suppress(asyncio.CancelledError):
                await stages
        for trial in planned:
            if trial.key not in self._done:
                self._finish(self._begun(trial), Failure(Outcome.CANCELLED, "operator", "the assessment was cancelled"))

    async def _stages(self, trials: Iterator[PlannedTrial]) -> None:
        if not self._given:
            await self._meet_agent()
        finished: asyncio.Queue[_Trial | None] = asyncio.Queue(4 * self._limits.max_scoring)
        async with asyncio.TaskGroup() as scorers:
            for _ in range(self._limits.max_scoring):
                scorers.create_task(self._score_stage(finished))
            async with asyncio.TaskGroup() as talkers:
                for _ in range(self._limits.max_concurrency):
                    talkers.create_task(self._talk_stage(trials, finished))
            for _ in range(self._limits.max_scoring):
                await finished.put(None)

    async def _meet_agent(self) -> None:
        """An agent that cannot be reached from the start costs seconds, not a pause: its trials end unscored."""
        for wait_s in (*self._limits.backoff_s, None):
            try:
                await self._agent.card()
            except Failure as failure:
                if wait_s is None:
                    self._breaker.end(failure)
                    return
                await asyncio.sleep(wait_s)
            else:
                return

    async def _talk_stage(self, trials: Iterator[PlannedTrial], finished: asyncio.Queue[_Trial | None]) -> None:
        for planned in trials:
            if self._room is not None:
                await self._room()
            trial = self._begun(planned)
            with structlog.contextvars.bound_contextvars(trial=planned.key):
                failure = await self._talk(trial)
                if failure is None:
                    await finished.put(trial)
                else:
                    self._finish(trial, failure)

    async def _score_stage(self, finished: asyncio.Queue[_Trial | None]) -> None:
        while (trial := await finished.get()) is not None:
            with structlog.contextvars.bound_contextvars(trial=trial.planned.key):
                self._finish(trial, await self._score(trial))

    def _begun(self, planned: PlannedTrial) -> _Trial:
        if planned.key not in self._open:
            now = asyncio.get_running_loop().time()
            self._open[planned.key] = _Trial(planned=planned, task=self._prepared.task(planned), started=now)
        return self._open[planned.key]

    async def _talk(self, trial: _Trial) -> Failure | None:
        """Hold the conversation, again after infrastructure faults. None, or the failure it ends in."""
        if (given := self._given.get(trial.planned.key)) is not None:
            trial.transcript = given
            return None
        for wait_s in (*self._limits.backoff_s, None):
            failure = await self._talk_once(trial)
            if failure is None:
                return None
            hopeless = failure.kind in STOPS_ASSESSMENT or not POLICY[failure.outcome].retried
            if wait_s is None or hopeless:
                return failure
            await self._before_retry(trial, failure, wait_s, said=trial.transcript)
            trial.transcript = Transcript()
        return failure

    async def _talk_once(self, trial: _Trial) -> Failure | None:
        try:
            await self._breaker.admit()
        except Failure as over:
            return over
        loop = asyncio.get_running_loop()
        trial.started = loop.time()
        reply_s, task = self._prepared.reply_timeout_s, trial.task
        deadline = trial.started + (self._prepared.trial_timeout_s or reply_s * task.messages)
        terms = Terms(
            # Two assessments may hold the same trial at once; what one withdraws must stay with the other.
            trial=f"{trial.planned.key}|{uuid.uuid4().hex}",
            sample=trial.planned.trial,
            reply_timeout_s=reply_s,
            deadline=deadline,
            places=self._places,
            shelf=self._tools.shelf,
        )
        session = Session(self._agent, terms)
        try:
            failure = await self._converse(trial, session)
        finally:
            if self._tools.shelf is not None:
                self._tools.shelf.withdraw(terms.trial)
        trial.take(session)
        if failure is None:
            self._breaker.succeeded()
            await self._debate(session, trial)
        else:
            self._breaker.failed(failure)
        return failure

    async def _converse(self, trial: _Trial, session: Session) -> Failure | None:
        benchmark = self._prepared.benchmark(trial.planned)
        try:
            await benchmark.converse(trial.task, trial.planned.trial, session)
        except Failure as failure:
            return failure
        except Exception as defect:  # noqa: BLE001 - the boundary: our defect ends one trial, not the assessment
            return _internal(defect, "conversation")
        return None

    async def _debate(self, session: Session, trial: _Trial) -> None:
        """Ask the follow-up for the record. The scored transcript was taken before; this one is kept beside it."""
        if not self._prepared.debate:
            return
        try:
            await session.ask(DEBATE_QUESTION)
        except AgentFailure as failure:
            log.info("debate_failed", outcome=failure.outcome, kind=failure.kind)
        except Exception as defect:  # noqa: BLE001 - the boundary: the trial is held already
            _internal(defect, "debate")
        debate = session.transcript.turns[len(trial.transcript.turns) :]
        notes = trial.transcript.notes | {"debate": [turn.model_dump(mode="json") for turn in debate]}
        trial.usage, trial.agent_s = session.told.usage, session.told.agent_s
        trial.transcript = trial.transcript.model_copy(update={"notes": notes})

    async def _score(self, trial: _Trial) -> Score | Failure:
        """Score the stored transcript. A broken sandbox is tried again without asking the agent again."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        for wait_s in (*self._limits.backoff_s, None):
            outcome = await self._score_once(trial)
            trial.judge_s = loop.time() - started
            if isinstance(outcome, Score) or wait_s is None or outcome.kind != SANDBOX:
                return outcome
            await self._before_retry(trial, outcome, wait_s, said=None)
        return outcome

    async def _score_once(self, trial: _Trial) -> Score | Failure:
        planned = trial.planned
        benchmark = self._prepared.benchmark(planned)
        with self._tools.scoring(planned) as (tools, judgements):
            try:
                return await scored(benchmark, trial.task, planned.trial, trial.transcript, tools)
            except Failure as failure:
                return failure
            except SandboxError as error:
                return Failure(Outcome.INFRA_ERROR, SANDBOX, str(error))
            except Exception as defect:  # noqa: BLE001 - the boundary, as above
                return _internal(defect, "scoring", kind=SCORER)
            finally:
                trial.judgements += judgements

    async def _before_retry(self, trial: _Trial, failure: Failure, wait_s: float, *, said: Transcript | None) -> None:
        """Keep the failed attempt, with what was said in it if the agent is asked again, and wait."""
        loop = asyncio.get_running_loop()
        trial.attempts.append(
            Attempt(
                outcome=failure.outcome,
                error=_error(failure),
                total_s=loop.time() - trial.started,
                transcript=said,
            )
        )
        planned, tries = trial.planned, len(trial.attempts)
        jitter = generator(
            self._prepared.plan.seed, planned.benchmark, planned.task_id, planned.trial, "backoff", tries
        )
        log.info("trial_retried", outcome=failure.outcome, kind=failure.kind, attempt=tries, wait_s=wait_s)
        await asyncio.sleep(wait_s * jitter.uniform(0.75, 1.25))

    def _finish(self, trial: _Trial, outcome: Score | Failure) -> None:
        total_s = asyncio.get_running_loop().time() - trial.started
        try:
            row = _row(trial, outcome, self._prepared, total_s=total_s)
        except Exception as defect:  # noqa: BLE001 - the boundary: a trial without a row would be lost
            failure = _internal(defect, "row")
            trial.transcript = Transcript()
            row = _row(trial, failure, self._prepared, total_s=total_s)
        self._done.add(trial.planned.key)
        self._open.pop(trial.planned.key, None)
        log.info(
            "trial_finished",
            outcome=row.outcome,
            score=row.score,
            kind=row.error.kind if row.error else None,
            total_s=round(row.latency.total_s, 3),
            attempts=len(row.attempts) + 1,
        )
        facts: dict[str, str | int] = {
            "benchmark": row.benchmark,
            "task_id": row.task_id,
            "trial": row.trial,
            "outcome": str(row.outcome),
        }
        telemetry.record("trial", duration_s=total_s, attributes=facts)
        self._emit(row)


def _row(trial: _Trial, outcome: Score | Failure, prepared: PreparedPlan, *, total_s: float) -> TaskResult:
    planned, transcript = trial.planned, trial.transcript
    facts = {benchmark.name: benchmark for benchmark in prepared.plan.benchmarks}[planned.benchmark]
    text = transcript.model_dump_json()
    possible = prepared.benchmark(planned).possible(trial.task)
    return TaskResult(
        task_id=planned.task_id,
        benchmark=planned.benchmark,
        section=planned.section,
        stratum=planned.stratum,
        trial=planned.trial,
        transcript_id="t-" + hashlib.sha256(f"{planned.key}\n{text}".encode()).hexdigest()[:16],
        usage=trial.usage,
        model=trial.model,
        model_calls=trial.model_calls,
        latency=Latency(total_s=total_s, agent_s=trial.agent_s, judge_s=trial.judge_s),
        attempts=tuple(trial.attempts),
        judgements=tuple(trial.judgements),
        question=trial.task.prompt,
        expected=trial.task.expected,
        digests=Digests(dataset=facts.dataset_digest, scorer=facts.scorer, prompt=_digest(trial.task.prompt)),
        transcript=transcript,
        **_verdict(outcome, possible),
    )


class _Verdict(TypedDict, total=False):
    """The part of a row that the outcome decides."""

    outcome: Required[Outcome]
    score: Required[float | None]
    passed: bool
    metrics: dict[str, float | int | bool | str | None]
    sub_scores: dict[str, SubScore]
    details: dict[str, JsonValue]
    answer: str
    explanation: str
    scored_by: str
    error: ErrorInfo


def _verdict(outcome: Score | Failure, possible: Mapping[str, float]) -> _Verdict:
    if isinstance(outcome, Failure):
        counts = POLICY[outcome.outcome].counts
        # Without its points a failed task would vanish from the sub-scores of its section.
        lost = {name: SubScore(earned=0.0, possible=points) for name, points in possible.items()} if counts else {}
        return {
            "outcome": outcome.outcome,
            "score": 0.0 if counts else None,
            "sub_scores": lost,
            "error": _error(outcome),
        }
    return {
        "outcome": Outcome.SCORED,
        "score": outcome.score,
        "passed": outcome.passed,
        "metrics": outcome.metrics,
        "sub_scores": outcome.sub_scores,
        "details": outcome.details,
        "answer": outcome.answer,
        "explanation": outcome.explanation,
        "scored_by": outcome.scored_by,
    }


def _error(failure: Failure) -> ErrorInfo:
    """Both texts may be the agent's, and stand in every artifact."""
    message = redact(failure.message)[:LONGEST_MESSAGE]
    return ErrorInfo(kind=failure.kind[:LONGEST_KIND], message=message, self_reported=failure.self_reported)


def _internal(defect: Exception, stage: str, *, kind: str = "internal") -> Failure:
    reference = uuid.uuid4().hex[:8]
    log.error("trial_defect", stage=stage, reference=reference, exc_info=defect)
    return Failure(Outcome.INFRA_ERROR, kind, f"a defect of the evaluator in {stage}, log reference {reference}")


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
