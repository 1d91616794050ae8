"""The durable unit: plan, store, execute what is missing, report. Every finished trial is in the journal at once."""

from __future__ import annotations

import asyncio
import re
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn

from pydantic import JsonValue

from services.contract.a2a.client import AgentClient
from services.contract.assessment import Plan
from services.contract.outcomes import POLICY
from services.contract.secrets import MASK
from services.runner.execution import Execution, ask_plan
from services.runner.failures import (
    AgentLostError,
    ExitCode,
    InterruptedRunError,
    PlanChangedError,
    RunnerError,
    RunTimeoutError,
    ScenarioError,
)
from services.runner.fitness import KEY, Doctor
from services.runner.interruption import Interruption, interruption
from services.runner.journal import Journal, RunRecord, RunStatus
from services.runner.locks import run_lock
from services.runner.participants import Agents, StartOptions, guarded, start_agents, variables_for
from services.runner.participants.logs import Echo
from services.runner.progress import Listener
from services.runner.provenance import gather, moved_images
from services.runner.report import Report, write_report
from services.runner.scenario import GREEN, Scenario

ISOLATED: Final = "isolated"
"""Of the provenance: the agents ran with `--isolate`, and do so again when the run is resumed."""
Json = dict[str, JsonValue]


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
    isolate: bool = False
    """Purple reaches green's port and its model, nothing else; needs containers."""
    noted: Json = field(default_factory=dict)
    """Further facts for the provenance, such as which servers were launched for the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOutcome:
    """How a run ended. `error` is why it is not complete, when something went wrong on the way."""

    run_id: str
    exit_code: ExitCode
    report: Report | None
    error: RunnerError | None = None


def new_run_id(name: str) -> str:
    """Time, scenario and four random digits: sorts by age, reads well, is a folder's name."""
    safe = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:32] or "run"
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{safe}-{secrets.token_hex(2)}"


async def run_scenario(scenario: Scenario, options: RunOptions, *, stop: Interruption | None = None) -> RunOutcome:
    """Plan a scenario, store the plan, run it, report. Raises RunnerError when it ends before there is a run.

    `stop` is told of signals; without one, those of the process are taken over.
    """
    stop = stop or interruption()
    run_id = new_run_id(scenario.name)
    variables = variables_for(scenario, options.env_file)
    safe = guarded(scenario)
    async with AsyncExitStack() as stack:
        journal = Journal.open(options.results_dir)
        stack.callback(journal.close)
        stack.enter_context(run_lock(options.results_dir / run_id))
        try:
            async with agents_of(safe, run_id, options, variables) as agents:
                client = await stack.enter_async_context(client_of(scenario, agents))
                request: Json = {"participants": dict(agents.participant_urls), "config": safe.asked_config()}
                plan, fitness = await _planned(client, request, scenario, agents, options)
                run = RunRecord(
                    id=run_id,
                    created=datetime.now(UTC).isoformat(timespec="microseconds"),
                    name=scenario.name,
                    scenario=scenario.storable(),
                    request=request,
                    plan=plan,
                    provenance=_provenance(scenario, agents, variables, options) | {KEY: fitness},
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
        scenario = agents_now or _stored_scenario(run)
        options = replace(options, isolate=run.provenance.get(ISOLATED) is True)
        variables = variables_for(scenario, options.env_file)
        safe = guarded(scenario)
        async with agents_of(safe, run.id, options, variables) as agents:
            client = await stack.enter_async_context(client_of(scenario, agents))
            request: Json = {"participants": dict(agents.participant_urls), "config": safe.asked_config()}
            plan, fitness = await _planned(client, request, scenario, agents, options)
            provenance = _provenance(scenario, agents, variables, options) | {KEY: fitness}
            _check_plan(run, plan)
            _check_images(run, provenance)
            await asyncio.to_thread(journal.reopen, run.id, provenance)
            again = run.model_copy(update={"request": request})
            error = await _execute(again, client=client, agents=agents, journal=journal, options=options, stop=stop)
        return await conclude(journal, run.id, options, error)


def _check_images(run: RunRecord, provenance: Json) -> None:
    roles = [agent.role for agent in Scenario.model_validate(run.scenario).participants]
    if moved := moved_images(run.provenance, provenance, roles):
        raise PlanChangedError(
            f"run {run.id}: {'; '.join(moved)}. One run holds one agent: name the image by its digest, or start a new run"
        )


def _stored_scenario(run: RunRecord) -> Scenario:
    """Raises ScenarioError for a command that held a secret: it was not stored, so it cannot be started as it was."""
    scenario = Scenario.model_validate(run.scenario)
    masked = [
        agent.role
        for agent in scenario.agents()
        if any(
            MASK in text for text in (agent.cmd or "", agent.endpoint or "", agent.model_endpoint or "", *agent.args)
        )
    ]
    if masked:
        raise ScenarioError(
            *(
                f"{role}: its command, arguments or address held a secret, which is never stored, so run {run.id} cannot be"
                " resumed: run it anew with the secret in a variable (--purple-env NAME, or the env table)"
                for role in masked
            )
        )
    return scenario


def _provenance(scenario: Scenario, agents: Agents, variables: dict[str, str], options: RunOptions) -> Json:
    isolated: Json = {ISOLATED: True} if options.isolate else {}
    return gather(scenario, agents, variables) | isolated | options.noted


async def dry_run(scenario: Scenario, options: RunOptions) -> Plan:
    """Start the agents, ask green for the plan, stop. Stores nothing."""
    interruption()
    run_id = new_run_id(scenario.name)
    variables = variables_for(scenario, options.env_file)
    async with agents_of(scenario, run_id, options, variables) as agents, client_of(scenario, agents) as client:
        return await ask_plan(
            client, {"participants": dict(agents.participant_urls), "config": scenario.asked_config()}
        )


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


def _check_plan(run: RunRecord, plan: Plan) -> None:
    if plan.digest != run.plan.digest:
        raise PlanChangedError(
            f"run {run.id} has plan {run.plan.digest}, green now plans {plan.digest}: data sets, scorers or settings have"
            " changed since. Restore them, or start a new run; results of two plans are never mixed."
        )


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
            isolate=options.isolate,
        )
        async with start_agents(scenario, start) as agents:
            yield agents


@asynccontextmanager
async def client_of(scenario: Scenario, agents: Agents) -> AsyncIterator[AgentClient]:
    """A client of the scenario's green."""
    client = AgentClient(
        agents.green_url,
        concurrency=4,
        token=agents.tokens.get(GREEN),
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
    execution = Execution(run, client=client, journal=journal, listener=options.listener)
    try:
        async with stop.orderly() as asked:
            await execution.hold(agents, asked, timeout_s=options.timeout_s)
    except RunnerError as error:
        return error
    finally:
        options.listener.ended()
    return None


async def conclude(journal: Journal, run_id: str, options: RunOptions, error: RunnerError | None) -> RunOutcome:
    """Store how the run ended and write the report."""
    planned = len(journal.run(run_id).plan.trials)
    counted = sum(POLICY[row.outcome].counts for row in journal.rows(run_id))
    if counted == planned and isinstance(error, RunTimeoutError | InterruptedRunError):
        error = None  # it came too late to cost a trial
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
