"""Request in; plan, progress and artifacts out. Adapts an assessment to the A2A server of the contract.

Order of events: accepted · one update per finished trial, its text the TaskResult · progress while nothing finishes · the
artifact `evaluation_result` · one terminal state. Interop specification 2.1.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import structlog
from pydantic import JsonValue

from services.contract.a2a.client import AgentClient
from services.contract.a2a.server import Emitter, Incoming
from services.contract.a2a.urls import UrlPolicy, refusal
from services.contract.assessment import (
    ARTIFACT_PLAN,
    ARTIFACT_RESULT,
    KIND_ACCEPTED,
    KIND_PROGRESS,
    KIND_TASK_RESULT,
    MAX_FAULT_TEXT,
    META_KIND,
    META_SEQ,
    AssessmentRequest,
    RequestError,
    parse_request,
)
from services.contract.outcomes import AgentFailure
from services.contract.printing import Printed
from services.contract.results import TaskResult
from services.contract.secrets import redact, register_secret
from services.green_agent import reporting
from services.green_agent.assessment import Assessment, Limits
from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.precedence import Flags, settle
from services.green_agent.preparation import PreparedPlan, prepare
from services.green_agent.suite import Suite, SuiteError, bundled_suite, load_suite
from services.green_agent.suites.requested_judge import addresses
from services.green_agent.toolbox import Toolbox, Tools

log = structlog.get_logger()

AGENT_NAME: Final = "Assay green agent"
"""In our card, by which a green agent that is named as its own agent under test is known."""
MOST_UNSENT: Final = 256
"""Rows that may wait for the client before no further trial is begun."""
NOBODY: Final = "http://127.0.0.1:9/"
"""Address of no agent: with given transcripts nobody is asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GreenSettings:
    """What the command line of `green-agent serve` decides."""

    suite_path: Path
    limits: Limits = field(default_factory=Limits)
    max_assessments: int = 4
    """Assessments at once; one more is rejected as busy."""
    progress_every_s: float = 30.0
    participant_urls: UrlPolicy = field(default_factory=UrlPolicy)
    """Which addresses a request may name; those of cloud metadata never."""
    printed: Printed = field(default_factory=Printed)
    flags: Flags = field(default_factory=Flags)
    """What the command line says of the judge and the suite."""


class GreenExecutor:
    """The evaluator as an agent: satisfies `contract.a2a.server.Agent`."""

    def __init__(self, settings: GreenSettings, toolbox: Toolbox) -> None:
        self._settings = settings
        self._toolbox = toolbox
        self._running: dict[str, _Run] = {}

    async def handle(self, incoming: Incoming, out: Emitter) -> None:
        """Answer one request. Whatever is wrong with it ends in `rejected` with every fault named."""
        if len(self._running) >= self._settings.max_assessments:
            await out.rejected(f"busy: {len(self._running)} assessments are running; try again later")
            return
        run = self._running[incoming.task_id] = _Run()
        try:
            await self._answer(parse_request(incoming.text), out, run)
        except (RequestError, SuiteError, DatasetError) as error:
            await out.rejected(redact(str(error))[:MAX_FAULT_TEXT])
        finally:
            del self._running[incoming.task_id]
            run.ended.set()

    async def cancel(self, task_id: str) -> None:
        """Stop an assessment; returns when its terminal state was sent."""
        if (run := self._running.get(task_id)) is not None:
            run.cancel()
            await run.ended.wait()

    async def aclose(self) -> None:
        """Release what scorers used."""
        await self._toolbox.aclose()

    async def _answer(self, request: AssessmentRequest, out: Emitter, run: _Run) -> None:
        policy = self._settings.participant_urls
        if request.participants and (fault := await refusal(request.purple_url, policy)) is not None:
            raise RequestError([f"participants.{request.purple_role}: {fault}"])
        prepared, tools = await self._prepare(request)
        if request.config.plan_only:
            await out.artifact(ARTIFACT_PLAN, [prepared.plan.model_dump_json()])
            await out.completed(reporting.accepted(prepared.plan, to_run=0, ignored_keys=request.ignored_keys))
            return
        examination = _Examination(self._settings, request, prepared=prepared, tools=tools, out=out, run=run)
        await examination.hold()

    async def _prepare(self, request: AssessmentRequest) -> tuple[PreparedPlan, Tools]:
        named = request.config.eval_config
        path = self._settings.suite_path if named is None else bundled_suite(named)
        suite = await asyncio.to_thread(load_suite, path)
        await self._check_judges(request, suite)
        settled = settle(request.config, suite, flags=self._settings.flags)
        tools = await self._toolbox.open_for(settled.types, settled.judge)
        prepared = await asyncio.to_thread(
            prepare,
            settled,
            sandbox_fault=tools.sandbox_fault,
            judge_fault=tools.judge_fault,
            has_judge=tools.judge is not None,
        )
        return prepared, tools

    async def _check_judges(self, request: AssessmentRequest, suite: Suite) -> None:
        """Judges of a request are addresses of a request like any other."""
        faults = [
            f"{where}: {fault}"
            for where, url in addresses(request.config.judge or {}, suite.llm_eval)
            if (fault := await refusal(url, self._settings.participant_urls)) is not None
        ]
        if faults:
            raise RequestError(faults)


class _Run:
    """An assessment that can be cancelled from its first moment, also while it is still being planned."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self._cancelled = False
        self._assessment: Assessment | None = None

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def attach(self, assessment: Assessment) -> None:
        self._assessment = assessment
        if self._cancelled:
            assessment.cancel()

    def cancel(self) -> None:
        self._cancelled = True
        if self._assessment is not None:
            self._assessment.cancel()


class _Unsent:
    """Rows on their way to the client. A client that reads slowly holds new trials back, so that rows do not pile up."""

    def __init__(self) -> None:
        self._rows: asyncio.Queue[TaskResult | None] = asyncio.Queue()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def put(self, row: TaskResult | None) -> None:
        """Take a row at once, room or not; None is the end."""
        self._rows.put_nowait(row)
        if self._rows.qsize() >= MOST_UNSENT:
            self._has_room.clear()

    async def get(self) -> TaskResult | None:
        """The next row, in order."""
        row = await self._rows.get()
        if self._rows.qsize() < MOST_UNSENT:
            self._has_room.set()
        return row

    async def room(self) -> None:
        """Returns when a trial may begin."""
        await self._has_room.wait()


class _Examination:
    """One assessment from the accepted request to its terminal state."""

    def __init__(
        self,
        settings: GreenSettings,
        request: AssessmentRequest,
        *,
        prepared: PreparedPlan,
        tools: Tools,
        out: Emitter,
        run: _Run,
    ) -> None:
        self._settings = settings
        self._request = request
        self._prepared = prepared
        self._tools = tools
        self._out = out
        self._run = run
        planned = {trial.key for trial in prepared.plan.trials}
        if unknown := sorted(request.transcripts.keys() - planned):
            raise RequestError([f"transcripts: {len(unknown)} keys are not in the plan, such as {unknown[0]!r}"])
        skip = frozenset(request.config.completed or ())
        if request.transcripts:
            skip |= planned - request.transcripts.keys()
        self._skip = skip
        self._plan = prepared.plan.model_copy(
            update={"trials": tuple(trial for trial in prepared.plan.trials if trial.key not in skip)}
        )
        self._rows = reporting.FinishedRows()
        self._unsent = _Unsent()

    async def hold(self) -> None:
        """Run the trials, stream the rows, send the artifact and the terminal state."""
        config, limits = self._request.config, self._settings.limits
        started = time.time()
        concurrency = config.max_concurrency or limits.max_concurrency
        async with aclosing(self._client(concurrency)) as agent:
            purple = await _card(agent) if self._request.participants else {}
            if purple.get("name") == AGENT_NAME:
                raise RequestError(
                    [f"participants.{self._request.purple_role}: a green agent; name the agent under test"]
                )
            await self._accept()
            assessment = Assessment(
                self._prepared,
                agent,
                self._tools,
                limits=replace(limits, max_concurrency=concurrency),
                emit=self._unsent.put,
                room=self._unsent.room,
                given=self._request.transcripts,
            )
            self._run.attach(assessment)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send_rows())
                await assessment.run(skip=self._skip)
                self._unsent.put(None)
        await self._conclude(purple, started)

    async def _accept(self) -> None:
        to_run = len(self._plan.trials)
        text = reporting.accepted(self._prepared.plan, to_run=to_run, ignored_keys=self._request.ignored_keys)
        await self._out.working(text, {META_KIND: KIND_ACCEPTED})

    def _client(self, concurrency: int) -> AgentClient:
        """The road to the agent under test."""
        config = self._request.config
        token = None if config.purple_token_env is None else os.environ.get(config.purple_token_env)
        if config.purple_token_env is not None and not token:
            raise RequestError([f"config.purple_token_env: variable {config.purple_token_env} is not set at green"])
        register_secret(token or "")
        return AgentClient(
            self._request.purple_url if self._request.participants else NOBODY,
            concurrency=concurrency,
            token=token,
            a2a_version=config.purple_a2a_version,
            follow_card_url=config.purple_card_url == "follow",
            policy=self._settings.participant_urls,
        )

    async def _send_rows(self) -> None:
        with_transcripts = bool(self._request.config.stream_transcripts)
        while True:
            try:
                row = await asyncio.wait_for(self._unsent.get(), self._settings.progress_every_s)
            except TimeoutError:
                text = reporting.progress(len(self._rows), planned=len(self._plan.trials))
                await self._out.working(text, {META_KIND: KIND_PROGRESS})
                continue
            if row is None:
                return
            bare = reporting.without_transcripts(row)
            self._rows.add(self._settings.printed.cut(bare))
            # Who asks for transcripts reads rows by their schema; the server keeps the text for as long as the task runs.
            text = row.model_dump_json(exclude_defaults=True) if with_transcripts else bare.model_dump_json()
            await self._out.working(text, {META_KIND: KIND_TASK_RESULT, META_SEQ: str(len(self._rows))})

    async def _conclude(self, purple: dict[str, JsonValue], started: float) -> None:
        metadata: dict[str, JsonValue] = {
            "purple_agent": purple,
            "conduct_debate": self._prepared.debate,
            "ignored_keys": list(self._request.ignored_keys),
            "sandbox": None if self._tools.sandbox is None else self._tools.sandbox.info.model_dump(mode="json"),
            "judge_config": None if self._tools.judge is None else self._tools.judge.description(),
            "rescored": len(self._request.transcripts),
            "started_at": started,
            "duration_s": time.time() - started,
        }
        text, summary = await asyncio.to_thread(
            reporting.artifact,
            self._plan,
            self._rows,
            metadata=metadata,
            printed=self._settings.printed,
            streamed_whole=bool(self._request.config.stream_transcripts),
        )
        await self._out.artifact(ARTIFACT_RESULT, [text, summary])
        if self._run.cancelled:
            await self._out.canceled()
        elif self._rows and self._plan.num_shards == 1 and not self._rows.any_counted:
            await self._out.failed(f"no trial could be scored\n{summary}")
        else:
            await self._out.completed(summary)


async def _card(agent: AgentClient) -> dict[str, JsonValue]:
    """Who is examined. A purple that cannot be reached is met again, and counted, in its trials."""
    try:
        card = await agent.card()
    except AgentFailure as failure:
        log.warning("purple_unreachable", kind=failure.kind, reason=failure.message)
        return {"error": failure.message}
    return {"name": card.name, "version": card.version, "dialect": card.dialect}
