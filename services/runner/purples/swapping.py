"""Several purples on one plan: one run each, with a green of its own, one after the other or some at once.

Nothing that one purple does touches the run of another, and every run can be resumed by itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from services.contract.assessment import Plan
from services.contract.secrets import redact
from services.runner.failures import ExitCode, InterruptedRunError, RunnerError, ScenarioError
from services.runner.interruption import Interruption, shared_interruption
from services.runner.participants import start_faults, variables_for
from services.runner.participants.logs import Echo
from services.runner.progress import listener_of
from services.runner.run import RunOptions, RunOutcome, dry_run, run_scenario
from services.runner.scenario import GREEN, AgentSpec, Scenario


@dataclass(frozen=True, kw_only=True, slots=True)
class Swapped:
    """How the run of one purple ended. Without an outcome there is no run, and `error` says why."""

    role: str
    outcome: RunOutcome | None
    error: RunnerError | None

    @property
    def exit_code(self) -> ExitCode:
        """As if it had been run alone."""
        if self.outcome is not None:
            return self.outcome.exit_code
        return ExitCode.LOST if self.error is None else self.error.exit_code


def alone(scenario: Scenario) -> list[Scenario]:
    """The scenario of each purple: green and this one. With one purple the scenario itself."""
    if len(scenario.purples) == 1:
        return [scenario]
    return [
        scenario.only(spec.role).model_copy(update={"name": f"{scenario.name} {spec.role}"})
        for spec in scenario.purples
    ]


def worst(done: Sequence[Swapped]) -> ExitCode:
    """Of the whole: interrupted before lost, lost before refused, refused before incomplete."""
    return max(one.exit_code for one in done)


def copy_for(path: Path, role: str) -> Path:
    """The results file of one of several purples: `results.json` becomes `results-<name>.json`."""
    return path.with_name(f"{path.stem}-{role}{path.suffix}")


async def run_each(scenario: Scenario, options: RunOptions, *, at_once: int = 1) -> list[Swapped]:
    """Run every purple of the scenario; what happens to one does not end the others. In the order of the scenario.

    Raises ScenarioError before anything starts, with all that is wrong with any of them.
    """
    scenarios = alone(scenario)
    if faults := _faults(scenarios, options, at_once=at_once):
        raise ScenarioError(*faults)
    stop = shared_interruption()
    turns = asyncio.Semaphore(at_once)
    runs = [
        asyncio.create_task(_run(one, _options_for(one.purple.role, options, at_once=at_once), stop, turns))
        for one in scenarios
    ]
    try:
        await asyncio.wait(runs)
    finally:
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
    return [_ended(one.purple.role, run) for one, run in zip(scenarios, runs, strict=True)]


async def plan_each(scenario: Scenario, options: RunOptions) -> dict[str, Plan]:
    """What green plans for each purple, by its role. Starts and stops their agents; stores nothing."""
    scenarios = alone(scenario)
    if faults := _faults(scenarios, options, at_once=1):
        raise ScenarioError(*faults)
    return {one.purple.role: await dry_run(one, options) for one in scenarios}


async def _run(scenario: Scenario, options: RunOptions, stop: Interruption, turns: asyncio.Semaphore) -> Swapped:
    role = scenario.purple.role
    async with turns:
        if stop.asked:
            return Swapped(role=role, outcome=None, error=InterruptedRunError(f"{role} was not begun: interrupted"))
        try:
            with stop.watched():
                outcome = await run_scenario(scenario, options, stop=stop)
        except RunnerError as error:
            options.listener.says(f"{role} has no run: {redact(str(error)).splitlines()[0]}")
            return Swapped(role=role, outcome=None, error=error)
        return Swapped(role=role, outcome=outcome, error=outcome.error)


def _ended(role: str, run: asyncio.Task[Swapped]) -> Swapped:
    """What became of a run; one that a signal ended has no result of its own."""
    if run.cancelled():
        return Swapped(role=role, outcome=None, error=InterruptedRunError(f"{role} was interrupted"))
    return run.result()


def _options_for(role: str, options: RunOptions, *, at_once: int) -> RunOptions:
    """Files of its own; and, at once with others, lines that say whose they are."""
    own = replace(options, copy_to=None if options.copy_to is None else copy_for(options.copy_to, role))
    if at_once == 1:
        return own
    return replace(own, listener=listener_of(options.listener, role), echo=_echo_of(options.echo, role))


def _echo_of(echo: Echo | None, role: str) -> Echo | None:
    if echo is None:
        return None
    return lambda who, line: echo(who if who == role else f"{role}/{who}", line)


def _faults(scenarios: Sequence[Scenario], options: RunOptions, *, at_once: int) -> list[str]:
    """Of all purples together, each said once."""
    found: dict[str, None] = {}
    for one in scenarios:
        variables = variables_for(one, options.env_file)
        found |= dict.fromkeys(start_faults(one, variables, isolate=options.isolate))
    if at_once > 1:
        found |= dict.fromkeys(_side_by_side_faults([one.purple for one in scenarios], scenarios[0].green))
    return list(found)


def _side_by_side_faults(purples: Sequence[AgentSpec], green: AgentSpec) -> list[str]:
    """What cannot be there twice at the same time: an address."""
    faults = []
    if _is_bound(green):
        remedy = "remove its endpoint" if green.image else "use an image, or start it yourself and leave `cmd` out"
        faults.append(
            f"{GREEN}: each purple has a green of its own, and only one can listen at {green.endpoint}; for"
            f" --parallel-purples {remedy}"
        )
    places = Counter(spec.endpoint for spec in purples if _is_bound(spec))
    faults += [f"several purples listen at {place}: give each its own" for place, n in places.items() if n > 1]
    return faults


def _is_bound(spec: AgentSpec) -> bool:
    return spec.endpoint is not None and spec.kind != "endpoint"
