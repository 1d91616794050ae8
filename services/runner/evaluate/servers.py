"""The servers of the model: launched here, awaited, and stopped again when that was asked for.

With `--cleanup` a server lives under the runner's guard and ends with this command, however that ends. Without it, it belongs to
nobody: it goes on, and its process id is told.
"""

from __future__ import annotations

import asyncio
import shlex
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from services.contract.secrets import redact
from services.runner.evaluate.asked import REFERENCE, Asked
from services.runner.failures import AgentStartError, ScenarioError
from services.runner.participants.base import POLL_S, RunningAgent, StartOptions, awaited
from services.runner.participants.process import agent_environment, refuse_stranger, start_process
from services.runner.participants.running import ExternalAgent
from services.runner.scenario import AgentSpec

_PROBE_S: Final = 5.0
_LARGEST_LIST: Final = 4 << 20
_TAIL_BYTES: Final = 4_000
_TAIL_LINES: Final = 40
_TAKEN: Final = "to use what runs there add --skip-launch, else stop it or choose another --start-port"


class LastingServer:
    """A server that outlives this command. Implements RunningAgent, though nobody stops it but its user."""

    def __init__(self, spec: AgentSpec, process: subprocess.Popen[bytes], log: Path) -> None:
        self.role = spec.role
        self.url = spec.endpoint or ""
        self.facts: dict[str, str] = {}
        self.pid = process.pid
        self._process = process
        self._log = log

    async def locate(self) -> None:
        """The address is given."""

    async def gone(self) -> str:
        """Return when it has ended."""
        while (code := self._process.poll()) is None:  # noqa: ASYNC110 - nobody tells when a process ends
            await asyncio.sleep(POLL_S)
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def tail(self) -> str:
        """The end of its log."""
        try:
            end = self._log.read_bytes()[-_TAIL_BYTES:]
        except OSError:
            return ""
        return redact("\n".join(end.decode(errors="replace").splitlines()[-_TAIL_LINES:]))

    async def stop(self) -> None:
        """Left running."""

    @property
    def runs(self) -> bool:
        """True until it has ended."""
        return self._process.poll() is None


@asynccontextmanager
async def servers(
    asked: Asked, options: StartOptions, *, says: Callable[[str], None]
) -> AsyncIterator[list[RunningAgent]]:
    """Launch what was asked for; none with `--skip-launch`. What `--cleanup` covers is stopped at the end, whatever happens.

    Raises AgentStartError for a port that is taken.
    """
    launched: list[RunningAgent] = []
    specs = [] if asked.skip_launch else [_spec(url) for url in asked.local_urls]
    try:
        for spec in specs:
            await refuse_stranger(spec.role, spec.endpoint or "", remedy=_TAKEN)
        for spec in specs:
            launched.append(await start_process(spec, options, {}) if asked.cleanup else _lasting(spec, options))
            says(f"launched {spec.cmd}, log {options.log_folder / spec.role}.log")
        yield launched
    finally:
        for server in reversed(launched):
            await server.stop()
        for server in launched:
            if isinstance(server, LastingServer) and server.runs:
                says(f"{server.url} goes on as process {server.pid}: `kill {server.pid}` stops it")


def _spec(url: str) -> AgentSpec:
    port = url.rpartition(":")[2].removesuffix("/v1")
    return AgentSpec(
        role=f"server-{port}", cmd=f"inference up {REFERENCE} --port {port}", endpoint=url.removesuffix("/v1"), env={}
    )


def _lasting(spec: AgentSpec, options: StartOptions) -> LastingServer:
    path = options.log_folder / f"{spec.role}.log"
    environment = agent_environment(spec, options.variables, {})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log:
            process = subprocess.Popen(
                shlex.split(spec.cmd or ""),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
    except OSError as error:
        raise AgentStartError(f"{spec.role}: cannot start ({error.strerror or error})") from None
    return LastingServer(spec, process, path)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str


class _Models(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    data: tuple[_Model, ...]


async def serving(asked: Asked, urls: Sequence[str], launched: Sequence[RunningAgent], *, key: SecretStr | None) -> str:
    """Wait until every server is well, and return the model they all list.

    Raises AgentStartError when one is gone or the time is up, ScenarioError naming the ids found when the model is not among
    them, or when none was named and they do not serve one and the same.
    """
    agents = launched or [ExternalAgent(role=_place(url), url=url) for url in urls]
    try:
        async with asyncio.TaskGroup() as group:
            waiting = [
                group.create_task(_ids(asked, url, agent, key=key)) for url, agent in zip(urls, agents, strict=True)
            ]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return _agreed_model(asked.model, {url: task.result() for url, task in zip(urls, waiting, strict=True)})


def _place(url: str) -> str:
    return url.partition("://")[2].removesuffix("/v1")


def _agreed_model(named: str | None, found: dict[str, tuple[str, ...]]) -> str:
    every = sorted({model for ids in found.values() for model in ids})
    if named is None:
        if len(every) == 1 and all(found.values()):
            return every[0]
        raise ScenarioError(f"--model-name: name one of the models that are served: {', '.join(every) or 'none'}")
    faults = [
        f"--model-name: {url} does not serve {named!r}; it serves {', '.join(ids) or 'nothing'}"
        for url, ids in found.items()
        if named not in ids
    ]
    if faults:
        raise ScenarioError(*faults)
    return named


async def _ids(asked: Asked, url: str, agent: RunningAgent, *, key: SecretStr | None) -> tuple[str, ...]:
    problem = "it was not asked"

    async def poll() -> tuple[str, ...]:
        nonlocal problem
        headers = {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
        async with httpx.AsyncClient(trust_env=False, timeout=_PROBE_S, headers=headers) as client:
            while True:
                found = await _probe(client, url)
                if isinstance(found, tuple):
                    return found
                problem = found
                if asked.skip_wait:
                    raise AgentStartError(f"server {agent.role} is not ready: {problem}")
                await asyncio.sleep(POLL_S)

    return await awaited(agent, poll(), timeout_s=asked.timeout_s, problem=lambda: problem)


async def _probe(client: httpx.AsyncClient, url: str) -> tuple[str, ...] | str:
    """The ids a server lists once it is well, or what is wrong with it now."""
    health = f"{url.removesuffix('/v1')}/health"
    try:
        well = await client.get(health)
        # Servers beyond the usual engines have no such page; what they list then has to do.
        if well.status_code not in {200, 404}:
            return f"{health} says HTTP {well.status_code}"
        listed = await client.get(f"{url}/models")
    except httpx.HTTPError as error:
        return f"{health}: {str(error) or type(error).__name__}"
    if listed.status_code != 200 or len(listed.content) > _LARGEST_LIST:
        return f"{url}/models says HTTP {listed.status_code}"
    try:
        return tuple(model.id for model in _Models.model_validate_json(listed.content).data)
    except ValidationError:
        return f"{url}/models is no list of models"
