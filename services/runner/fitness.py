"""Asks `inference doctor` whether an agent's model endpoint is fit, before a run spends a token on it.

Asked is what the runner itself told the agents it started; an agent given by its address keeps its model to itself. What does
not answer, or answers for another model, stops the run; anything else that failed is said aloud and kept with the run.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, JsonValue, SecretStr, ValidationError

from services.contract.endpoints import DEFAULT_URLS, Endpoint, EndpointError, endpoint_from_environment
from services.contract.env_file import SETTLED
from services.contract.fitness import Examination, Finding, Fitness
from services.contract.secrets import SECRET_NAME, redact
from services.runner.environment import read_env_file
from services.runner.failures import EndpointLostError, ScenarioError
from services.runner.scenario import REFERENCE, AgentSpec, Scenario

KEY: Final = "fitness"
"""Of the provenance."""
HOSTED: Final = frozenset(
    {*(urlsplit(url).hostname for url in DEFAULT_URLS.values()), "openrouter.ai", "api.deepseek.com"}
)
"""Hosts of the providers that are paid by the token: those of the contract, and of `hosted` in config/models.yaml."""
PAID_CHECKS: Final = ("D01", "D03")
"""All that is asked where each question costs money."""
UNTEMPLATED_CHECKS: Final = ("D01", "D02", "D17", "D18")
"""All that is asked of a base model, which has no chat template."""
_PATIENCE_S: Final = 600.0
_SETTINGS: Final = frozenset(
    {
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "LLM_ENDPOINT_FILE",
        "LLM_MODEL",
        "OPENAI_API_BASE",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "SGLANG_API_BASES",
    }
)
"""Variables in an agent's own table that say that it uses a model."""
_SKIP: Final = "`--no-doctor` runs without this question"

Says = Callable[[str], None]


class AgentFitness(BaseModel):
    """What is known of one agent's model endpoint, as the run record keeps it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    not_asked: str = ""
    """Why nothing was asked; empty when it was."""
    only: tuple[str, ...] = ()
    """The checks that were asked; empty: all."""
    endpoints: tuple[Fitness, ...] = ()
    """One for each replica."""


@dataclass(kw_only=True, slots=True)
class Doctor:
    """Asks about the endpoints of a command's runs, about each once."""

    refused: str = ""
    """Why nobody is asked, such as `--no-doctor`."""
    program: str | None = field(default_factory=lambda: found_program())  # noqa: PLW0108 - defined below
    _known: dict[tuple[str | SecretStr | None, ...], AgentFitness] = field(default_factory=dict)

    async def examine(
        self, scenario: Scenario, told: Mapping[str, Mapping[str, str]], *, says: Says
    ) -> dict[str, JsonValue]:
        """The record for the provenance, by role; `told` is each started agent's environment.

        Raises ScenarioError for a model that is not served or a key that is refused, EndpointLostError for a server that does
        not answer or does not generate. Both name the cure.
        """
        found = {spec.role: await self._of(spec, told.get(spec.role, {}), says) for spec in scenario.participants}
        for spec in scenario.participants:
            _stop_if_hopeless(spec, found[spec.role])
        return {role: fitness.model_dump(mode="json") for role, fitness in found.items()}

    async def _of(self, spec: AgentSpec, environment: Mapping[str, str], says: Says) -> AgentFitness:
        asked = _endpoint(spec, environment)
        if isinstance(asked, str):
            return AgentFitness(not_asked=asked)
        if self.refused:
            return AgentFitness(not_asked=self.refused)
        if self.program is None:
            missing = "`inference` is not installed"
            says(f"doctor: the model endpoint of {spec.role} is not examined: {missing}")
            return AgentFitness(not_asked=missing)
        only = _checks(spec, asked)
        identity = (asked.provider, asked.model, asked.api_key, *asked.urls, *only)
        if identity not in self._known:
            says(f"doctor: examining {asked.model} at {', '.join(asked.urls)}")
            self._known[identity] = await _asked(self.program, asked, only)
            for line in _lines(spec.role, self._known[identity]):
                says(f"doctor: {line}")
        return self._known[identity]


def found_program() -> str | None:
    """The command `inference`: beside this Python, as agents are found, else on PATH. None where it is not installed.

    The runner's image has its script without the service behind it.
    """
    beside = Path(sys.executable).with_name("inference")
    if beside.is_file():
        return str(beside) if find_spec("services.inference") is not None else None
    return shutil.which("inference")


def stored(provenance: Mapping[str, JsonValue]) -> dict[str, AgentFitness]:
    """What a run's provenance holds, by role; nothing for runs of other times."""
    table = provenance.get(KEY)
    if not isinstance(table, dict):
        return {}
    try:
        return {role: AgentFitness.model_validate(fitness) for role, fitness in table.items()}
    except ValidationError:
        return {}


def failures(provenance: Mapping[str, JsonValue]) -> list[tuple[str, Fitness, Finding]]:
    """Role, endpoint and finding of every check that failed before a run."""
    return [
        (role, fitness, finding)
        for role, agent in stored(provenance).items()
        for fitness in agent.endpoints
        for finding in fitness.failed
    ]


def facts(provenance: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
    """One line an endpoint, for the run record of a report."""
    lines = []
    for role, agent in stored(provenance).items():
        if agent.not_asked:
            lines.append((f"endpoint of {role}", f"not examined: {agent.not_asked}"))
        for fitness in agent.endpoints:
            by = {verdict: _ids(fitness, verdict) for verdict in ("fail", "warn", "pass")}
            counts = "; ".join(f"{verdict} {', '.join(ids)}" for verdict, ids in by.items() if ids)
            lines.append((f"endpoint of {role}", f"{fitness.url}, {fitness.model}: {counts}"))
    return lines


def _ids(fitness: Fitness, verdict: str) -> list[str]:
    return [finding.id for finding in fitness.findings if finding.verdict == verdict]


def _endpoint(spec: AgentSpec, environment: Mapping[str, str]) -> Endpoint | str:
    """The endpoint that the runner told the agent, or why there is none to ask."""
    words = [*shlex.split(spec.cmd or ""), *spec.args]
    if spec.cmd is None and spec.image is None:
        return "its model is unknown here: the agent was already running"
    if _value(words, "--baseline") is not None:
        return "it answers without a model"
    if spec.image is not None and spec.model_endpoint == REFERENCE:
        return "it is the reference engine, in a container of its own"
    ours = _is_purple(words)
    if spec.model_endpoint is None and not ours and not _SETTINGS & set(spec.env or {}):
        return "no model endpoint is configured for it"
    try:
        variables = {**_env_file(spec, words, environment), **environment} if ours else dict(environment)
        if ours and (model := _value(words, "--model")) is not None:
            variables["LLM_MODEL"] = model
        endpoint = endpoint_from_environment(variables, aloud=False)  # the agent says it itself
    except (EndpointError, ScenarioError) as error:
        return redact(str(error))
    if spec.image is not None and any(_is_here(url) for url in endpoint.urls):
        return "its address is one inside the agent's container"
    return endpoint


def _is_purple(words: Sequence[str]) -> bool:
    names = [Path(word).name for word in words[:2]]
    return names[:1] == ["purple-agent"] or names == ["assay", "purple"]


def _value(words: Sequence[str], flag: str) -> str | None:
    """What follows a flag; None when it is not there."""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def _env_file(spec: AgentSpec, words: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """What our purple agent reads itself: `--env-file`, else `.env` where it works. Raises ScenarioError."""
    folder = Path(spec.cwd or ".")
    if (named := _value(words, "--env-file")) is not None:
        return read_env_file(folder / named)
    beside = folder / ".env"
    return read_env_file(beside) if SETTLED not in environment and beside.is_file() else {}


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def _is_paid(url: str) -> bool:
    """A provider, or one of its regions."""
    host = f".{urlsplit(url).hostname}"
    return any(host.endswith(f".{known}") for known in HOSTED)


def _checks(spec: AgentSpec, endpoint: Endpoint) -> tuple[str, ...]:
    """The checks to ask; empty: all."""
    if any(map(_is_paid, endpoint.urls)):
        return PAID_CHECKS
    words = [*shlex.split(spec.cmd or ""), *spec.args]
    strategy = _value(words, "--strategy") or (spec.env or {}).get("PURPLE_STRATEGY")
    return UNTEMPLATED_CHECKS if strategy == "completion" else ()


async def _asked(program: str, endpoint: Endpoint, only: tuple[str, ...]) -> AgentFitness:
    """What the doctor says. Its own troubles are recorded, and are no reason not to run."""
    command = [program, "doctor", *endpoint.urls, f"--model={endpoint.model}", "--json", "--api-key-file=-"]
    key = endpoint.api_key.get_secret_value() if endpoint.api_key is not None else ""
    if not key:
        command.pop()
    command += [
        *(["--anthropic"] if endpoint.provider == "anthropic" else []),
        *([f"--only={','.join(only)}"] if only else []),
    ]
    # The key goes by standard input, and to these addresses only.
    environment = {name: value for name, value in os.environ.items() if not SECRET_NAME.search(name)}
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, start_new_session=True
        )
    except OSError as error:
        return AgentFitness(not_asked=f"the doctor cannot be started: {error}", only=only)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            out, err = await process.communicate(key.encode())
        found = Examination.model_validate_json(out)
    except TimeoutError:
        return AgentFitness(not_asked=f"the doctor was not done within {_PATIENCE_S:g} s", only=only)
    except ValidationError:
        printable = "".join(
            mark if mark.isprintable() else " " for mark in redact(err[-4000:].decode(errors="replace"))
        )
        said = " ".join(printable.split())[-300:]
        return AgentFitness(not_asked=f"the doctor failed (exit code {process.returncode}): {said}", only=only)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return AgentFitness(only=only, endpoints=found.endpoints)


def _lines(role: str, fitness: AgentFitness) -> list[str]:
    """What people are told: every failure with its cure."""
    if fitness.not_asked:
        return [f"the model endpoint of {role} is not examined: {fitness.not_asked}"]
    lines = []
    for one in fitness.endpoints:
        passed = len(_ids(one, "pass"))
        lines.append(f"{one.url}: {passed} checks passed, {len(one.failed)} failed, {len(_ids(one, 'warn'))} to note")
        lines += [f"{finding.id} {finding.title} failed: {finding.seen} > {finding.cure}" for finding in one.failed]
    return lines


def _stop_if_hopeless(spec: AgentSpec, fitness: AgentFitness) -> None:
    """No trial could be scored: no replica answers with the model. One that is lost among others is the client's to avoid."""
    if not fitness.endpoints:
        return
    for one in fitness.endpoints:
        if one.reachable and (finding := _failed(one, "D01")) is not None:
            raise ScenarioError(_text(spec, one, finding))
    lost = [(one, finding) for one in fitness.endpoints if (finding := _failed(one, "D01") or _failed(one, "D03"))]
    if len(lost) < len(fitness.endpoints):
        return
    if spec.image is not None and not any(one.reachable for one, _ in lost):
        return  # other names hold in the agent's network
    raise EndpointLostError("\n".join(_text(spec, one, finding) for one, finding in lost))


def _failed(fitness: Fitness, number: str) -> Finding | None:
    return next((finding for finding in fitness.failed if finding.id == number), None)


def _text(spec: AgentSpec, fitness: Fitness, finding: Finding) -> str:
    return f"agent {spec.role}: model endpoint {fitness.url}: {finding.seen} > {finding.cure}; {_SKIP}"
