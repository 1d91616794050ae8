"""The durable unit: plan, store, execute what is missing, report. Every finished trial is in the journal at once."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn, Protocol

import structlog
from pydantic import JsonValue, ValidationError

from services.contract.a2a.client import AgentClient, ArtifactReceived, Ended, Progress
from services.contract.assessment import ARTIFACT_PLAN, ARTIFACT_RESULT, KIND_TASK_RESULT, META_KIND, Plan
from services.contract.outcomes import POLICY, AgentFailure
from services.contract.results import AssessmentResult, TaskResult
from services.runner.failures import (
    AgentLostError,
    ExitCode,
    InterruptedRunError,
    JournalError,
    PlanChangedError,
    RejectedError,
    RunnerError,
    RunTimeoutError,
    ScenarioError,
)
from services.runner.fitness import KEY, Doctor
from services.runner.journal import Journal, Recorded, RunRecord, RunStatus
from services.runner.locks import run_lock
from services.runner.participants import Agents, StartOptions, start_agents, variables_for
from services.runner.participants.logs import Echo
from services.runner.provenance import gather
from services.runner.report import Report, write_report
from services.runner.scenario import Scenario

log = structlog.get_logger()

CANCEL_GRACE_S: Final = 7.0
"""Green ends a cancelled assessment within 5 s and tells its last rows."""
Json = dict[str, JsonValue]


class Listener(Protocol):
    """Who watches a run."""

    def began(self, run: RunRecord, rows: Sequence[TaskResult]) -> None:
        """Trials are about to run; `rows` were finished before."""
        ...

    def finished(self, row: TaskResult) -> None:
        """A trial is in the journal."""
        ...

    def says(self, text: str) -> None:
        """Something a person waits for, such as the start of an agent."""
        ...

    def ended(self) -> None:
        """No more trials come."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """How a run is made, beside its scenario."""

    results_dir: Path
    listener: Listener
    env_file: Path | None = None
    start_timeout_s: float | None = None
    timeout_s: float | None = None
    """How long the trials may take together; None waits for all."""
    echo: Echo | None = None
    copy_to: Path | None = None
    doctor: Doctor = field(default_factory=Doctor)
    """Asks whether the agents' model endpoints are fit; shared by the runs of one command."""
    noted: Json = field(default_factory=dict)
    """Further facts for the provenance, such as which servers were launched for the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOutcome:
    """How a run ended. `error` is why it is not complete, when something went wrong on the way."""

    run_id: str
    exit_code: ExitCode
    report: Report | None
    error: RunnerError | None = None


class Interruption:
    """SIGINT and SIGTERM: at first in order where that is possible, the second time at once."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._main = asyncio.current_task()
        self._orderly = False

    def handle(self) -> None:
        """A signal came."""
        if self._orderly and not self._asked.is_set():
            self._asked.set()
        elif self._main is not None:
            self._main.cancel()

    @asynccontextmanager
    async def orderly(self) -> AsyncIterator[asyncio.Event]:
        """Inside, a first signal only sets the event."""
        self._orderly = True
        try:
            yield self._asked
        finally:
            self._orderly = False


def interruption() -> Interruption:
    """Take over the signals of this process for the current task."""
    handler, loop = Interruption(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handler.handle)
    return handler


def new_run_id(name: str) -> str:
    """Time, scenario and four random digits: sorts by age, reads well, is a folder's name."""
    safe = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:32] or "run"
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{safe}-{secrets.token_hex(2)}"


async def run_scenario(scenario: Scenario, options: RunOptions) -> RunOutcome:
    """Plan a scenario, store the plan, run it, report. Raises RunnerError when it ends before there is a run."""
    stop = interruption()
    run_id = new_run_id(scenario.name)
    variables = variables_for(scenario, options.env_file)
    async with AsyncExitStack() as stack:
        journal = Journal.open(options.results_dir)
        stack.callback(journal.close)
        stack.enter_context(run_lock(options.results_dir / run_id))
        try:
            async with agents_of(scenario, run_id, options, variables) as agents:
                client = await stack.enter_async_context(client_of(scenario, agents))
                request: Json = {"participants": dict(agents.participant_urls), "config": scenario.config}
                plan, fitness = await _planned(client, request, scenario, agents, options)
                run = RunRecord(
                    id=run_id,
                    created=datetime.now(UTC).isoformat(timespec="microseconds"),
                    name=scenario.name,
                    scenario=scenario.storable(),
                    request=request,
                    plan=plan,
                    provenance=gather(scenario, agents, variables) | {KEY: fitness, **options.noted},
                )
                await asyncio.to_thread(journal.create_run, run)
                error = await _execute(run, client=client, agents=agents, journal=journal, options=options, stop=stop)
        except BaseException:
            _remove_if_empty(options.results_dir / run_id)
            raise
        return await conclude(journal, run_id, options, error)


async def resume_run(reference: str, options: RunOptions, *, agents_now: Scenario | None = None) -> RunOutcome:
    """Run what a stored run still lacks, and report. Raises PlanChangedError when green now plans something else.

    `agents_now`: the scenario in place of the stored one, when the same agents and models have other addresses now.
    """
    stop = interruption()
    async with AsyncExitStack() as stack:
        journal = Journal.open(options.results_dir, create=False)
        stack.callback(journal.close)
        run = journal.run(reference)
        stack.enter_context(run_lock(options.results_dir / run.id))
        if run.rescored_from is not None:
            raise ScenarioError(
                f"run {run.id} scores the transcripts of run {run.rescored_from} again and asks no agent:"
                f" say `assay rescore {run.rescored_from}` once more instead of resuming it"
            )
        kept = len(journal.final_keys(run.id))
        if kept == len(run.plan.trials):
            options.listener.says(f"run {run.id} lacks nothing")
            return await conclude(journal, run.id, options, None)
        scenario = agents_now or Scenario.model_validate(run.scenario)
        variables = variables_for(scenario, options.env_file)
        async with agents_of(scenario, run.id, options, variables) as agents:
            client = await stack.enter_async_context(client_of(scenario, agents))
            request: Json = {"participants": dict(agents.participant_urls), "config": scenario.config}
            plan, fitness = await _planned(client, request, scenario, agents, options)
            _check_plan(run, plan)
            await asyncio.to_thread(
                journal.reopen, run.id, gather(scenario, agents, variables) | {KEY: fitness, **options.noted}
            )
            again = run.model_copy(update={"request": request})
            error = await _execute(again, client=client, agents=agents, journal=journal, options=options, stop=stop)
        return await conclude(journal, run.id, options, error)


async def dry_run(scenario: Scenario, options: RunOptions) -> Plan:
    """Start the agents, ask green for the plan, stop. Stores nothing."""
    interruption()
    run_id = new_run_id(scenario.name)
    variables = variables_for(scenario, options.env_file)
    async with agents_of(scenario, run_id, options, variables) as agents, client_of(scenario, agents) as client:
        return await ask_plan(client, {"participants": dict(agents.participant_urls), "config": scenario.config})


async def serve_only(scenario: Scenario, options: RunOptions) -> NoReturn:
    """Start the agents and keep them until a signal or until one is lost."""
    interruption()
    variables = variables_for(scenario, options.env_file)
    async with agents_of(scenario, new_run_id(scenario.name), options, variables) as agents:
        for agent in agents.started:
            options.listener.says(f"{agent.role} is at {agent.url}")
        raise await agents.lost()


async def _planned(
    client: AgentClient, request: Json, scenario: Scenario, agents: Agents, options: RunOptions
) -> tuple[Plan, Json]:
    """Green's plan, and what the doctor found meanwhile. Raises RunnerError."""
    examining = asyncio.create_task(
        options.doctor.examine(scenario, agents.told, says=options.listener.says), name="doctor"
    )
    try:
        return await ask_plan(client, request), await examining
    finally:
        examining.cancel()
        await asyncio.gather(examining, return_exceptions=True)


async def ask_plan(client: AgentClient, request: Mapping[str, JsonValue]) -> Plan:
    """Green's plan for a request. Raises RejectedError with green's reasons, AgentLostError when green is gone."""
    plan: Plan | None = None
    try:
        async with aclosing(client.watch(_with_config(request, plan_only=True), deadline=None)) as news:
            async for item in news:
                if isinstance(item, ArtifactReceived) and item.name == ARTIFACT_PLAN:
                    plan = Plan.model_validate_json(item.texts[0])
                elif isinstance(item, Ended) and item.state != "completed":
                    raise RejectedError(f"green {item.state} the request: {item.text or 'no reason given'}")
    except AgentFailure as failure:
        raise AgentLostError(f"green gave no plan: {failure.message} ({failure.kind})") from None
    except ValidationError as error:
        raise RejectedError(
            f"green's plan cannot be read ({error.error_count()} faults): is it an Assay green?"
        ) from None
    if plan is None:
        raise RejectedError("green completed without an artifact `plan`: is it an Assay green?")
    if not plan.trials and plan.num_shards == 1:
        raise RejectedError("green's plan is empty")
    return plan


def _check_plan(run: RunRecord, plan: Plan) -> None:
    if plan.digest != run.plan.digest:
        raise PlanChangedError(
            f"run {run.id} has plan {run.plan.digest}, green now plans {plan.digest}: data sets, scorers or settings have"
            " changed since. Restore them, or start a new run; results of two plans are never mixed."
        )


def _with_config(request: Mapping[str, JsonValue], **values: JsonValue) -> str:
    config = request["config"]
    if not isinstance(config, dict):
        raise TypeError("config is an object")
    return json.dumps({**request, "config": config | values}, ensure_ascii=False)


@asynccontextmanager
async def agents_of(
    scenario: Scenario, run_id: str, options: RunOptions, variables: dict[str, str]
) -> AsyncIterator[Agents]:
    """The scenario's agents, started and stopped around the block."""
    names = ", ".join(agent.role for agent in (*scenario.participants, scenario.green))
    options.listener.says(f"starting {names}")
    with tempfile.TemporaryDirectory(prefix="assay-") as state:
        start = StartOptions(
            run_id=run_id,
            log_folder=Path("logs") / run_id,
            state_folder=Path(state),
            variables=variables,
            start_timeout_s=options.start_timeout_s,
            echo=options.echo,
        )
        async with start_agents(scenario, start) as agents:
            yield agents


@asynccontextmanager
async def client_of(scenario: Scenario, agents: Agents) -> AsyncIterator[AgentClient]:
    """A client of the scenario's green."""
    client = AgentClient(
        agents.green_url,
        concurrency=4,
        token=agents.green_token,
        a2a_version=scenario.green.a2a_version,
        follow_card_url=scenario.green.card_url == "follow",
    )
    async with aclosing(client):
        yield client


async def _execute(
    run: RunRecord,
    *,
    client: AgentClient,
    agents: Agents,
    journal: Journal,
    options: RunOptions,
    stop: Interruption,
) -> RunnerError | None:
    """Run what is missing. Whatever ends it early is returned: what was finished still has to be reported."""
    rows = await asyncio.to_thread(journal.rows, run.id)
    options.listener.began(run, [row for row in rows if POLICY[row.outcome].final])
    execution = _Execution(run, client=client, journal=journal, listener=options.listener)
    try:
        async with stop.orderly() as asked:
            await execution.hold(agents, asked, timeout_s=options.timeout_s)
    except RunnerError as error:
        return error
    finally:
        options.listener.ended()
    return None


class _Execution:
    """One request to green, from the first row to the last."""

    def __init__(self, run: RunRecord, *, client: AgentClient, journal: Journal, listener: Listener) -> None:
        self._run = run
        self._client = client
        self._journal = journal
        self._listener = listener
        self._planned = {trial.key for trial in run.plan.trials}
        self._task_id = ""
        self._told: set[str] = set()
        """Keys of the trials whose row came as an update."""
        self._waiting: asyncio.Queue[TaskResult | None] = asyncio.Queue()
        """Rows that are not on disk yet; None ends them."""

    async def hold(self, agents: Agents, asked: asyncio.Event, *, timeout_s: float | None) -> None:
        """Returns when green has ended. Raises RunnerError: interrupted, out of time, an agent lost, journal not writable."""
        watching = asyncio.create_task(self._watch())
        lost = asyncio.create_task(agents.lost())
        interrupted = asyncio.create_task(asked.wait())
        try:
            ends = {watching, lost, interrupted}
            await asyncio.wait(ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                return watching.result()
            await self._client.cancel(self._task_id)
            await asyncio.wait({watching}, timeout=CANCEL_GRACE_S)
            if watching.done() and isinstance(error := watching.exception(), JournalError):
                raise error
            if lost.done():
                raise lost.result()
            if interrupted.done():
                raise InterruptedRunError("interrupted")
            raise RunTimeoutError(f"the {timeout_s:g} s given to the run have passed")
        finally:
            for task in (watching, lost, interrupted):
                task.cancel()
            await asyncio.gather(watching, lost, interrupted, return_exceptions=True)

    async def _watch(self) -> None:
        completed: list[JsonValue] = [*await asyncio.to_thread(self._journal.final_keys, self._run.id)]
        values: Json = {"plan_digest": self._run.plan.digest, "stream_transcripts": True}
        text = _with_config(self._run.request, **values, **({"completed": completed} if completed else {}))
        committing = asyncio.create_task(self._commit_waiting())
        try:
            async with aclosing(self._client.watch(text, deadline=None)) as news:
                async for item in news:
                    await self._take(item)
                    if committing.done():
                        break
        except AgentFailure as failure:
            raise AgentLostError(f"green was lost: {failure.message} ({failure.kind})") from None
        except RunnerError:
            await self._client.cancel(self._task_id)
            raise
        finally:
            self._waiting.put_nowait(None)
            await self._committed(committing)

    async def _committed(self, committing: asyncio.Task[None]) -> None:
        """What came is on disk, however the watch ended."""
        try:
            await committing
        except RunnerError:
            await self._client.cancel(self._task_id)
            raise

    async def _commit_waiting(self) -> None:
        """Commit rows in the order they came; those that come while a commit runs share the next one."""
        more = True
        while more:
            rows = [await self._waiting.get()]
            while not self._waiting.empty():
                rows.append(self._waiting.get_nowait())
            more = None not in rows
            await self._commit([row for row in rows if row is not None])

    async def _take(self, item: Progress | ArtifactReceived | Ended) -> None:
        if isinstance(item, Progress):
            self._task_id = item.task_id or self._task_id
            if item.metadata.get(META_KIND) == KIND_TASK_RESULT:
                row = _row(item.text)
                self._keep(row)
                self._told.add(row.key)
        elif isinstance(item, ArtifactReceived):
            if item.name == ARTIFACT_RESULT:
                await self._take_result(item.texts)
        elif item.state == "rejected":
            raise RejectedError(f"green rejected the request: {item.text}")
        elif item.state not in {"completed", "failed"}:
            raise AgentLostError(f"green ended the assessment as {item.state}: {item.text or 'no reason given'}")

    def _keep(self, row: TaskResult) -> None:
        if row.key not in self._planned:
            raise AgentLostError(
                f"green sent a row for {row.key!r}, which is not in its plan; nothing after it was taken"
            )
        self._waiting.put_nowait(row)

    async def _commit(self, rows: Sequence[TaskResult]) -> None:
        recorded = await asyncio.to_thread(self._journal.record_all, self._run.id, rows)
        for row, became in zip(rows, recorded, strict=True):
            log.debug("trial_recorded", trial=row.key, outcome=row.outcome, recorded=became)
            if became in {Recorded.ADDED, Recorded.REPLACED}:
                self._listener.finished(row)
            elif became is Recorded.REFUSED:
                await asyncio.to_thread(
                    self._journal.note, self._run.id, "row_refused", key=row.key, outcome=str(row.outcome)
                )

    async def _take_result(self, texts: Sequence[str]) -> None:
        """Keep what green says of itself, and rows whose update was missed; their answers may be shortened."""
        try:
            result = AssessmentResult.model_validate_json(texts[0])
        except (ValidationError, IndexError):
            log.warning("result_artifact_unreadable", run=self._run.id)
            return
        await asyncio.to_thread(self._journal.store_reported, self._run.id, result.evaluation_metadata)
        for row in result.results:
            if row.key not in self._told:
                self._keep(row)


def _row(text: str) -> TaskResult:
    try:
        return TaskResult.model_validate_json(text)
    except ValidationError as error:
        raise AgentLostError(f"green sent a row that cannot be read: {error}") from None


async def conclude(journal: Journal, run_id: str, options: RunOptions, error: RunnerError | None) -> RunOutcome:
    """Store how the run ended and write the report."""
    planned = len(journal.run(run_id).plan.trials)
    counted = sum(POLICY[row.outcome].counts for row in journal.rows(run_id))
    status, exit_code = _status(error, complete=counted == planned)
    try:
        journal.finish(run_id, status)
        report = await asyncio.to_thread(
            write_report, journal, run_id, options.results_dir / run_id, copy_to=options.copy_to
        )
    except RunnerError as unwritten:
        return RunOutcome(
            run_id=run_id,
            exit_code=exit_code if error is not None else unwritten.exit_code,
            report=None,
            error=error or unwritten,
        )
    return RunOutcome(run_id=run_id, exit_code=exit_code, report=report, error=error)


def _status(error: RunnerError | None, *, complete: bool) -> tuple[RunStatus, ExitCode]:
    if error is None:
        return (RunStatus.COMPLETE, ExitCode.COMPLETE) if complete else (RunStatus.INCOMPLETE, ExitCode.INCOMPLETE)
    if isinstance(error, InterruptedRunError):
        return RunStatus.INTERRUPTED, error.exit_code
    return (RunStatus.LOST if isinstance(error, AgentLostError) else RunStatus.INCOMPLETE), error.exit_code


def _remove_if_empty(folder: Path) -> None:
    """A run that never began leaves no folder."""
    try:
        if {path.name for path in folder.iterdir()} <= {".lock"}:
            (folder / ".lock").unlink(missing_ok=True)
            folder.rmdir()
    except OSError:
        return
