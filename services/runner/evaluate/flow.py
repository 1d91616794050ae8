"""The flow: check, launch, wait, run each benchmark with each strategy, export.

Every run is a normal run in the journal of the output folder, so that `assay report`, `resume` and `compare` know it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from services.contract.assessment import Plan
from services.contract.endpoints import key_of
from services.contract.results import Section
from services.contract.secrets import register_environment
from services.runner.evaluate.agents import ADDRESSES, NOBODY, Case, cases, planning, request_config, scenario
from services.runner.evaluate.asked import Asked, check, places
from services.runner.evaluate.launching import check_launch, launched
from services.runner.evaluate.servers import Served, serving
from services.runner.execution import ask_plan
from services.runner.failures import ExitCode, RunnerError, ScenarioError
from services.runner.interruption import interruption
from services.runner.journal import FILE_NAME, Journal
from services.runner.rollouts.rescoring import SECTIONS
from services.runner.rollouts.writing import kept_fresh, write_rollouts
from services.runner.run import (
    RunOptions,
    RunOutcome,
    agents_of,
    client_of,
    new_run_id,
    resume_run,
    run_scenario,
)
from services.runner.scenario import Scenario

LAUNCHED: Final = "launched"
"""Of the provenance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A case and what green plans for it."""

    case: Case
    plan: Plan

    @property
    def section(self) -> Section:
        """Of its benchmark."""
        return self.plan.trials[0].section


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """How one case ended. Without an outcome nothing was run, and `error` says why."""

    planned: Planned
    outcome: RunOutcome | None
    error: RunnerError | None
    rollouts: tuple[Path, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """As if it had been run alone."""
        if self.error is not None:
            return self.error.exit_code
        return ExitCode.LOST if self.outcome is None else self.outcome.exit_code


async def plans(asked: Asked, options: RunOptions) -> list[Planned]:
    """Check all that can be checked before a server is asked for: options, addresses or launch, data, sandbox, judge.

    Raises RunnerError; green and `inference` name what is missing.
    """
    interruption()
    check(asked)
    variables = dict(os.environ)
    register_environment(variables)
    if asked.skip_launch:
        found = places(asked, variables)
        options.listener.says(f"servers: {', '.join(found.urls)} (from {found.source})")
    else:
        await check_launch(asked)
    alone = planning()
    async with (
        agents_of(alone, new_run_id("evaluate"), options, variables) as agents,
        client_of(alone, agents) as client,
    ):
        return [_checked(case, await ask_plan(client, _request(asked, case))) for case in cases(asked)]


def _request(asked: Asked, case: Case) -> dict[str, JsonValue]:
    return {"participants": dict(NOBODY), "config": request_config(asked, case)}


def _checked(case: Case, plan: Plan) -> Planned:
    planned = Planned(case=case, plan=plan)
    if planned.section not in SECTIONS:
        raise ScenarioError(
            f"--benchmarks: {case.benchmark} is of section {planned.section}; this command evaluates code and mathematics,"
            " for anything else write a scenario"
        )
    return planned


async def evaluate(asked: Asked, planned: Sequence[Planned], options: RunOptions) -> list[Evaluated]:
    """Launch and await the servers, run what was planned, export. Raises RunnerError when no run could begin."""
    interruption()
    variables = dict(os.environ)
    async with _served(asked, options, variables) as served:
        options.listener.says(f"every server serves {served.model}")
        recorded = replace(options, noted={LAUNCHED: dict(served.record)} if served.record else {})
        done: list[Evaluated] = []
        for one in planned:
            wanted = scenario(
                asked, one.case, section=one.section, model=served.model, urls=served.urls, variables=variables
            )
            done.append(await _evaluate(one, wanted, recorded, resume=asked.resume))
            if done[-1].exit_code is ExitCode.INTERRUPTED:
                break
        return done


@asynccontextmanager
async def _served(asked: Asked, options: RunOptions, variables: Mapping[str, str]) -> AsyncIterator[Served]:
    """The model, ready; what is launched for it and has to end ends with the block."""
    if not asked.skip_launch:
        async with launched(asked, Path("logs") / new_run_id("servers"), says=options.listener.says) as served:
            yield served
        return
    urls = places(asked, variables).urls
    options.listener.says("waiting for the servers")
    yield Served(model=await serving(asked, urls, key=key_of(variables, "OPENAI_API_KEY")), urls=urls)


def exit_code(asked: Asked, done: Sequence[Evaluated]) -> ExitCode:
    """Of the whole: interrupted before all else, then lost agents, then what is incomplete or was not begun."""
    codes = {one.exit_code for one in done}
    for code in (ExitCode.INTERRUPTED, ExitCode.LOST):
        if code in codes:
            return code
    whole = codes == {ExitCode.COMPLETE} and len(done) == len(cases(asked))
    return ExitCode.COMPLETE if whole else ExitCode.INCOMPLETE


async def _evaluate(planned: Planned, wanted: Scenario, options: RunOptions, *, resume: bool) -> Evaluated:
    """One run and its files. What goes wrong with one case does not cost the next."""
    outcome: RunOutcome | None = None
    try:
        earlier = _earlier(planned, wanted, options.results_dir) if resume else None
        if resume and earlier is None:
            options.listener.says(f"nothing to resume of {wanted.name} with these settings: it begins")
        async with kept_fresh(options.results_dir, options.listener) as listener:
            watched = replace(options, listener=listener)
            outcome = (
                await run_scenario(wanted, watched)
                if earlier is None
                else await resume_run(earlier, watched, agents_now=wanted)
            )
        written = write_rollouts(options.results_dir, outcome.run_id)
    except RunnerError as error:
        return Evaluated(planned=planned, outcome=outcome, error=error)
    return Evaluated(planned=planned, outcome=outcome, error=outcome.error, rollouts=tuple(written))


def _earlier(planned: Planned, wanted: Scenario, folder: Path) -> str | None:
    """The newest run of the same plan, model and settings; where the model is served may have changed."""
    if not (folder / FILE_NAME).is_file():
        return None
    with closing(Journal.open(folder, create=False)) as journal:
        for summary in journal.runs():
            if summary.name == wanted.name and summary.plan_digest == planned.plan.digest:
                run = journal.run(summary.id)
                if run.rescored_from is None and _settings(run.scenario) == _settings(wanted.storable()):
                    return run.id
    return None


def _settings(stored: dict[str, JsonValue]) -> tuple[JsonValue, ...]:
    """What must be equal for a run to be the same one: the request without its pace, and the agent without addresses."""
    found = Scenario.model_validate(stored)
    (agent,) = found.participants
    told = {name: value for name, value in (agent.env or {}).items() if name not in ADDRESSES}
    config = {name: value for name, value in found.config.items() if name != "max_concurrency"}
    return (config, agent.cmd, list(agent.args), dict(told))
