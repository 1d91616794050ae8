"""An agent as a process of this machine, in a process group of its own, under a guard that ends it when we end."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from services.contract import guard
from services.contract.env_file import SETTLED
from services.contract.secrets import SECRET_NAME, register_secret
from services.runner.environment import inherited, resolve
from services.runner.failures import AgentStartError, ScenarioError
from services.runner.participants.base import POLL_S, StartOptions
from services.runner.participants.logs import AgentLog
from services.runner.scenario import AgentSpec

_GUARD: Final = Path(guard.__file__)
_GRACE_S: Final = 5
"""Given to an agent to end by itself."""
_STOP_S: Final = 10.0
"""The guard needs at most the agent's grace and a moment to reap."""
_READY_POLL_S: Final = 0.05
TOLD: Final = "told"
"""`free_port` of an agent that is told its port by flags."""
PORT_PLACE: Final = "{port}"
LOOPBACK: Final = "127.0.0.1"
_TAKEN: Final = re.compile(
    r"address (?:is )?already in use|EADDRINUSE|Errno 98|port \d+ is (?:already )?in use", re.IGNORECASE
)
_told_ports: Final[set[int]] = set()
_PORT_WAIT_S: Final = 6.0
"""A little more than the guard gives an agent to end."""
_REMEDY: Final = "stop it, choose another port, or remove `cmd` to use what runs there"


class ProcessAgent:
    """A started command. Its address is known from the scenario, or from the ready file it writes."""

    def __init__(self, role: str, address: str | Path, process: Process, log: AgentLog) -> None:
        self.role = role
        self.url = address if isinstance(address, str) else ""
        self._ready = address if isinstance(address, Path) else None
        self.facts: dict[str, str] = {}
        self._process = process
        self._log = log
        if process.stdout is None:
            raise AssertionError("started without a pipe")
        self._pump = asyncio.create_task(log.pump(process.stdout), name=f"log of {role}")

    async def locate(self) -> None:
        """Return when the ready file is there."""
        while not self.url:
            if self._ready is not None and self._ready.exists():
                self.url = self._ready.read_text(encoding="utf-8").strip()
            else:
                await asyncio.sleep(_READY_POLL_S)

    async def gone(self) -> str:
        """Return when the command has ended."""
        code = await self._process.wait()
        # The pipe ends with the guard, so that the tail is complete.
        await asyncio.wait({self._pump}, timeout=1.0)
        return f"was killed by signal {code - 128}" if code > 128 else f"ended with exit code {code}"

    @property
    def has_ended(self) -> bool:
        """True when the command has ended."""
        return self._process.returncode is not None

    def tail(self) -> str:
        """The last 40 lines it wrote."""
        return self._log.tail()

    async def stop(self) -> None:
        """SIGTERM to its group, SIGKILL after 5 s, reaped."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), _STOP_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        await asyncio.wait({self._pump}, timeout=1.0)
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)


async def start_process(spec: AgentSpec, options: StartOptions, extra: Mapping[str, str]) -> ProcessAgent:
    """Start `spec.cmd`; `extra` are variables that only the agent's own table overrides.

    Raises AgentStartError when its port is taken by a stranger or its folder is missing.
    """
    command = [*shlex.split(spec.cmd or ""), *spec.args]
    environment = agent_environment(spec, options.variables, extra)
    if spec.free_port == TOLD:
        port = _unused_port()
        return await _spawn(spec, f"http://{LOOPBACK}:{port}/", _told(command, port), environment, options)
    if spec.endpoint is not None:
        await _refuse_stranger(spec.role, spec.endpoint)
        return await _spawn(spec, spec.endpoint, command, environment, options)
    ready = options.state_folder / f"{spec.role}.url"
    command += ["--port", "0", "--ready-file", str(ready.resolve())]
    return await _spawn(spec, ready, command, environment, options)


def lost_its_port(agent: ProcessAgent) -> bool:
    """True when it ended because somebody took the port that was chosen for it: between the choice and its use."""
    return agent.has_ended and _TAKEN.search(agent.tail()) is not None


def _unused_port() -> int:
    """A free port that no other agent of this process was told: one that is slow to listen must not be taken for another."""
    while True:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        if port not in _told_ports:
            _told_ports.add(port)
            return port


def _told(command: Sequence[str], port: int) -> list[str]:
    """The command with its port: in the place of `{port}`, else by the flags of the platform's templates."""
    if any(PORT_PLACE in word for word in command):
        return [word.replace(PORT_PLACE, str(port)) for word in command]
    return [*command, "--host", LOOPBACK, "--port", str(port)]


def agent_environment(spec: AgentSpec, variables: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of an agent's process; values under secret names are masked in logs from now on."""
    everything = spec.env is None if spec.inherit_env is None else spec.inherit_env is True
    names: Sequence[str] = spec.inherit_env if isinstance(spec.inherit_env, tuple) else ()
    environment = inherited(variables, everything=everything, names=names)
    environment["PATH"] = os.pathsep.join(filter(None, (str(Path(sys.executable).parent), environment.get("PATH", ""))))
    environment["PYTHONUNBUFFERED"] = "1"
    if not everything:
        environment[SETTLED] = "1"
    return environment | dict(extra) | resolved_table(spec, variables)


def resolved_table(spec: AgentSpec, variables: Mapping[str, str]) -> dict[str, str]:
    """The agent's `env` table with references replaced. Raises ScenarioError naming every missing variable."""
    resolved: dict[str, str] = {}
    faults: list[str] = []
    for name, template in (spec.env or {}).items():
        try:
            resolved[name] = resolve(template, variables)
        except ScenarioError as error:
            faults.append(f"{spec.role}: env {name}: {error}")
    if faults:
        raise ScenarioError(*faults)
    for name, value in resolved.items():
        if SECRET_NAME.search(name):
            register_secret(value)
    return resolved


async def _spawn(
    spec: AgentSpec, address: str | Path, command: Sequence[str], environment: Mapping[str, str], options: StartOptions
) -> ProcessAgent:
    log = AgentLog(spec.role, options.log_folder / f"{spec.role}.log", options.echo)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(_GUARD), str(_GRACE_S), *command,
            stdin=PIPE, stdout=PIPE, stderr=STDOUT, env=environment, cwd=spec.cwd, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise AgentStartError(f"agent {spec.role}: cannot start in {spec.cwd or '.'} ({error.strerror})") from None
    return ProcessAgent(spec.role, address, process, log)


async def _refuse_stranger(role: str, endpoint: str) -> None:
    """Raise AgentStartError when somebody keeps the agent's port. An agent of a runner that was just killed goes away."""
    parts = urlsplit(endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    clock = asyncio.get_running_loop()
    give_up = clock.time() + _PORT_WAIT_S
    while await _answers(str(parts.hostname), port):
        if clock.time() > give_up:
            raise AgentStartError(
                f"agent {role}: port {port} of {parts.hostname} is in use by another process; {_REMEDY}"
            )
        await asyncio.sleep(POLL_S)


async def _answers(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 2.0)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
