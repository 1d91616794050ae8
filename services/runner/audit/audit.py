"""Plays the exploits: one green, one purple process an exploit, real A2A, the real journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import JsonValue

from services.contract.a2a.client import AgentClient, ArtifactReceived, Ended
from services.contract.assessment import ARTIFACT_RESULT
from services.contract.results import AssessmentResult
from services.runner.audit.exploits import Exploit, Finding, judge
from services.runner.failures import RejectedError, RunnerError
from services.runner.participants import variables_for
from services.runner.progress import Silent
from services.runner.run import RunOptions, agents_of, new_run_id, run_scenario
from services.runner.scenario import GREEN, REFERENCE, AgentSpec, Scenario

SUITES: Final = {
    "audit": {},
    "audit-files": {"options": "options-file", "synthetic": "synthetic-file"},
    "audit-sets": {},
}
"""Bundled suites, and how their benchmarks are called in the table."""
NOBODY: Final = "http://127.0.0.1:9/"
"""The discard port, where nothing listens."""


@dataclass(kw_only=True, slots=True)
class Audit:
    """All findings, and what could not be examined."""

    findings: list[Finding] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Why, by suite."""

    @property
    def held(self) -> bool:
        """True when no exploit is over its limit."""
        return all(finding.held for finding in self.findings)


async def audit(
    exploits: Sequence[Exploit], options: RunOptions, *, suites: Sequence[str], config: dict[str, JsonValue]
) -> Audit:
    """Play every exploit against every suite. `config` is added to each request. Raises RunnerError."""
    found = Audit()
    for suite in suites:
        await _audit_suite(suite, exploits, options, config, found)
    return found


async def _audit_suite(
    suite: str, exploits: Sequence[Exploit], options: RunOptions, config: dict[str, JsonValue], found: Audit
) -> None:
    serve = AgentSpec(role=GREEN, cmd=f"green-agent serve --eval-config {suite}", env=None, free_port=True)
    scenario = Scenario(name=f"audit {suite}", green=serve, participants=())
    quiet = replace(options, listener=Silent())
    variables = variables_for(scenario, options.env_file)
    plays: dict[str | None, AssessmentResult] = {}
    async with agents_of(scenario, new_run_id("audit"), quiet, variables) as agents:
        stage = _Stage(suite=suite, green_url=agents.green_url, options=quiet, config=config)
        for exploit in exploits:
            options.listener.says(f"{suite}: {exploit.name}")
            try:
                result = await stage.play(exploit.agent)
                twin = None
                if exploit.twin is not None:
                    if exploit.twin not in plays:
                        plays[exploit.twin] = await stage.play(exploit.twin)
                    twin = plays[exploit.twin]
            except RejectedError as rejected:
                if exploit is not exploits[0]:
                    raise  # what was accepted once is not left half played
                found.skipped[suite] = str(rejected)
                return
            found.findings += judge(exploit, result, twin, SUITES.get(suite, {}))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stage:
    suite: str
    green_url: str
    options: RunOptions
    config: dict[str, JsonValue]

    async def play(self, agent: str | None) -> AssessmentResult:
        """The result of one agent, given by the arguments of `purple-agent serve`. Raises RunnerError."""
        if agent is None:
            return await self._play_nobody()
        purple = AgentSpec(
            role="purple",
            cmd=f"purple-agent serve {agent}",
            env={},
            model_endpoint=None if "--baseline" in agent else REFERENCE,
            free_port=True,
        )
        scenario = Scenario(
            name=f"audit {self.suite}",
            green=AgentSpec(role=GREEN, endpoint=self.green_url),
            participants=(purple,),
            config=self.config,
        )
        outcome = await run_scenario(scenario, self.options)
        if outcome.report is None or outcome.error is not None:
            raise outcome.error or RunnerError(f"run {outcome.run_id} has no report")
        return outcome.report.result

    async def _play_nobody(self) -> AssessmentResult:
        """What green says of an address where nobody listens. The runner itself would not even begin."""
        request = {"participants": {"purple": NOBODY}, "config": self.config}
        async with aclosing(AgentClient(self.green_url)) as client:
            async for item in client.watch(json.dumps(request), deadline=None):
                if isinstance(item, ArtifactReceived) and item.name == ARTIFACT_RESULT:
                    return AssessmentResult.model_validate_json(item.texts[0])
                if isinstance(item, Ended):
                    raise RejectedError(f"green {item.state} the request: {item.text}")
        raise RunnerError("green ended without a result")
