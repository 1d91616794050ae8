"""Servers as containers: one compose project a launch, found again by the labels that compose puts on containers.

Every launch writes its compose file beside the logs, publishes each replica on a free port of this machine and removes
containers and networks at the end. Weights stay in their volume.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from services.contract.endpoint_files import ServiceLine
from services.inference.engines.faults import fault as fault_of
from services.inference.engines.log import facts as facts_of
from services.inference.failures import InferenceError, NotReadyError, StartError, UsageError
from services.inference.launchers.base import Launch, Server, State
from services.inference.launchers.compose_check import checked
from services.inference.launchers.compose_services import (
    ComposeOptions,
    Wanted,
    compose_file,
    described,
    gpu_groups,
    name_of,
)
from services.inference.launchers.foretold import Foretold
from services.inference.machine.ports import is_free
from services.inference.planning.presets import catalogue
from services.inference.servers.readiness import probe
from services.inference.servers.registry import Registry, ServerFacts, stamp

log = structlog.get_logger()

TAIL_LINES: Final = 40
_PROBE_S: Final = 30.0
_POLL_S: Final = 0.2
_LABEL: Final = "assay.engine"
_STOP_S: Final = 60.0
_REACHED_BY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a client finds it


class DockerError(InferenceError):
    """Docker refused, failed or is not there; the text holds its words."""


class _Health(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    status: str = Field(alias="Status")


class _State(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    status: str = Field(alias="Status")
    exit_code: int = Field(alias="ExitCode")
    health: _Health | None = Field(default=None, alias="Health")


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    labels: dict[str, str] | None = Field(default=None, alias="Labels")


class Container(BaseModel):
    """A container of ours, as docker describes it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(alias="Id")
    image: str = Field(alias="Image")
    """By its id."""
    state: _State = Field(alias="State")
    settings: _Settings = Field(alias="Config")

    @property
    def project(self) -> str:
        """Compose project that it belongs to."""
        return (self.settings.labels or {}).get("com.docker.compose.project", "")

    @property
    def server_id(self) -> str:
        """What the registry calls it."""
        return f"compose-{self.project}-{(self.settings.labels or {}).get('com.docker.compose.service', '')}"

    @property
    def standing(self) -> State:
        """What has become of it."""
        if self.state.status in {"running", "restarting", "paused"}:
            return "starting" if self.state.health and self.state.health.status == "starting" else "running"
        if self.state.status == "created":
            return "starting"
        # 143 is SIGTERM, which is how servers are stopped.
        return "stopped" if self.state.exit_code in {0, 143} else "failed"


_CONTAINERS: Final = TypeAdapter(list[Container])


class ComposeLauncher:
    """A launcher. Without options it can still tell the state of containers and stop them."""

    def __init__(self, options: ComposeOptions | None = None) -> None:
        self._options = options or ComposeOptions()

    async def start(self, launch: Launch) -> Sequence[Server]:
        """Start containers and write them into the registry; returns when all are ready.

        Raises UsageError, DockerError, StartError or NotReadyError with the end of a server's output; everything that had been
        started is removed then.
        """
        wanted = _wanted(launch, self._options)
        file = _written(launch, wanted)
        servers = [_server(launch, wanted, index) for index in range(launch.count)]
        lines = [_line(server) for server in servers]
        registry = Registry(launch.registry)
        registry.drop(frozenset())  # takes the lock and changes nothing
        try:
            facts = [_facts(launch, wanted, server, index) for index, server in enumerate(servers)]
            for line, noted in zip(lines, facts, strict=True):
                registry.put(line, noted)
            launch.says(f"{launch.count} container(s) of {launch.serving.served_name} start, file {file}")
            await self._up(launch, wanted, file, servers)
            await _ready(launch, servers, self)
            facts = [await _measured(launch, noted) for noted in facts]
        except BaseException:
            await asyncio.shield(self._abandon(wanted.project, servers, registry))
            raise
        for server, line, noted in zip(servers, lines, facts, strict=True):
            registry.put(replace(line, status="running"), noted)
            launch.says(f"ready: {server.served_name} at {server.url}")
        log.info("containers_started", project=wanted.project, servers=len(servers))
        return servers

    async def state(self, ids: Sequence[str]) -> Mapping[str, State]:
        """What has become of each; a container that is gone is lost. Raises DockerError when docker gives no answer."""
        found = {one.server_id: one.standing for one in await _ours()} if ids else {}
        return {server_id: found.get(server_id, "lost") for server_id in ids}

    async def stop(self, ids: Sequence[str], *, timeout_s: float) -> Sequence[str]:
        """Stop and remove containers. Returns those that lived; a project without servers is removed with its networks."""
        ours = await _ours() if ids else []
        chosen = [one for one in ours if one.server_id in ids]
        if not chosen:
            return []
        await _docker("stop", "--time", str(round(timeout_s)), *(one.id for one in chosen))
        await _docker("rm", "--force", *(one.id for one in chosen))
        for project in sorted({one.project for one in chosen}):
            if all(one in chosen for one in ours if one.project == project):
                await _down(project)
        return [one.server_id for one in chosen if one.standing in {"starting", "running"}]

    def tail(self, server: Server) -> str:
        """The end of its output, of both streams; empty when it is gone."""
        project_service = server.id.removeprefix("compose-")
        listed = _run("docker", "ps", "--all", "--quiet", "--filter", f"name=^{project_service}-[0-9]+$")
        names = listed.stdout.split()
        if not names:
            return ""
        ran = _run("docker", "logs", "--tail", str(TAIL_LINES), names[0])
        return (ran.stdout + ran.stderr).strip()

    async def _up(self, launch: Launch, wanted: Wanted, file: Path, servers: Sequence[Server]) -> None:
        base = ("docker", "compose", "-p", wanted.project, "-f", str(file), "--profile", launch.engine)
        wait = ("--wait", "--wait-timeout", str(max(1, round(launch.server_timeout_s))))
        # Named one by one: what has done its work and ended, as `fetch` does, counts as a failure of --wait.
        names = [name_of(wanted, index) for index in range(wanted.count)]
        ran = await _ran(*base, "up", "--detach", "--no-build", *wait, *names)
        if ran.returncode:
            raise await self._failed(launch, wanted.project, servers, ran.stderr)

    async def _failed(self, launch: Launch, project: str, servers: Sequence[Server], said: str) -> InferenceError:
        """Which server failed, its own words, and what they mean."""
        states = await self.state([server.id for server in servers])
        for server in servers:
            if states[server.id] == "failed":
                end = await asyncio.to_thread(self.tail, server)
                fault = fault_of(end)
                cause = f"\n{fault.cause}: {fault.remedy}" if fault else ""
                return StartError(f"{server.id} ended at its start:\n{end}{cause}")
        if all(state == "lost" for state in states.values()):
            return DockerError(f"docker compose started nothing: {_words(said)}{_advice(said, launch)}")
        logs = await _ran("docker", "compose", "-p", project, "logs", "--no-color", "--tail", str(TAIL_LINES))
        words = f"{_words(said)}{_advice(said, launch)}\n{logs.stdout.strip()}"
        if "starting" in states.values():
            return NotReadyError(f"not ready within {launch.server_timeout_s:g} s: {words}")
        return StartError(f"{project} did not start: {words}")

    async def _abandon(self, project: str, servers: Sequence[Server], registry: Registry) -> None:
        try:
            await _down(project)
        finally:
            for server in servers:
                registry.ended(server.id, exit_code="", at=stamp(datetime.now(UTC)))


async def _ready(launch: Launch, servers: Sequence[Server], launcher: ComposeLauncher) -> None:
    """Healthy is not enough: the name is listed and a token comes. Raises NotReadyError."""
    give_up = asyncio.get_running_loop().time() + _PROBE_S
    for server in servers:
        seen = await probe(server.url, served_name=launch.serving.served_name, timeout_s=_PROBE_S)
        while not seen.ready and asyncio.get_running_loop().time() < give_up:
            await asyncio.sleep(_POLL_S)
            seen = await probe(server.url, served_name=launch.serving.served_name, timeout_s=_PROBE_S)
        if not seen.ready:
            raise NotReadyError(f"{server.id}: {seen.problem}\n{await asyncio.to_thread(launcher.tail, server)}")


async def _measured(launch: Launch, facts: ServerFacts) -> ServerFacts:
    """What is known once it runs: the image by digest, and what the engine says of itself. A wrong forecast is told."""
    container = next((one for one in await _ours() if one.server_id == facts.id), None)
    if container is None:
        raise StartError(f"{facts.id} was removed while it started")
    logs = await _ran("docker", "logs", container.id)
    said = facts_of(logs.stdout + logs.stderr)
    if said.kv_tokens is not None and (warning := Foretold.of(launch.plan).contradicted_by(said.kv_tokens)):
        launch.says(f"warning: {facts.id}: {warning}")
    measured = {"version": said.version, "kv_measured_tokens": said.kv_tokens, "concurrency": said.concurrency}
    return facts.model_copy(update={**measured, "image": await _digest(container.image)})


async def _digest(image: str) -> str:
    """The image as others can pull it; one that was built here has no other name than its id."""
    listed = await _docker("image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', image)
    return next(iter(listed.stdout.split()), image)


def _wanted(launch: Launch, options: ComposeOptions) -> Wanted:
    ports = _free_ports(launch)
    host = f"[{launch.host}]" if ":" in launch.host else launch.host
    return Wanted(
        plan=launch.plan,
        serving=launch.serving,
        count=launch.count,
        options=replace(options, publish=None, router=False, consumers=()),
        known=catalogue(),
        project=f"assay-{launch.engine}-{secrets.token_hex(4)}",
        ports=tuple(f"{host}:{port}" for port in ports),
    )


def _free_ports(launch: Launch) -> tuple[int, ...]:
    """A port of this machine for each replica; a taken one is skipped aloud."""
    found: list[int] = []
    for port in range(launch.start_port, 65_536):
        if len(found) == launch.count:
            break
        if is_free(port):
            found.append(port)
        else:
            launch.says(f"port {port} is taken, the next one is tried")
    if len(found) < launch.count:
        raise UsageError(f"no {launch.count} free ports from {launch.start_port} on; choose another --start-port")
    return tuple(found)


def _written(launch: Launch, wanted: Wanted) -> Path:
    text, _ = checked(compose_file(wanted), comment=described(wanted))
    try:
        launch.log_folder.mkdir(parents=True, exist_ok=True)
        path = launch.log_folder.absolute() / f"{wanted.project}.yaml"
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--log-dir: cannot write into {launch.log_folder}: {error.strerror}") from error
    return path


def _server(launch: Launch, wanted: Wanted, index: int) -> Server:
    ports = wanted.ports or ()
    return Server(
        id=f"compose-{wanted.project}-{name_of(wanted, index)}",
        engine=launch.engine,
        model=launch.plan.request.preset.id,
        served_name=launch.serving.served_name,
        host=socket.gethostname(),
        ip=_REACHED_BY.get(launch.host, launch.host),
        port=int(ports[index].rpartition(":")[2]),
    )


def _facts(launch: Launch, wanted: Wanted, server: Server, index: int) -> ServerFacts:
    service = compose_file(wanted).services[name_of(wanted, index)]
    return ServerFacts(
        id=server.id,
        engine=launch.engine,
        served_name=server.served_name,
        gpus=tuple(map(str, gpu_groups(wanted.plan, wanted.options, wanted.count)[index])),
        max_model_len=launch.plan.max_model_len,
        command=service.command or (),
        kv_planned_tokens=None if launch.engine == "reference" else Foretold.of(launch.plan).tokens,
        forced=wanted.options.forced,
    )


def _line(server: Server) -> ServiceLine:
    return ServiceLine(
        job_id=server.id,
        hostname=server.host,
        host_ip=server.ip,
        port=server.port,
        model_path=server.model,
        start_time=stamp(datetime.now(UTC)),
        status="starting",
    )


async def _ours() -> list[Container]:
    """Every container that a file of ours made, running or not."""
    listed = await _docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={_LABEL}")
    ids = listed.stdout.split()
    if not ids:
        return []
    # One that is removed between the two questions is missing in the answer, with an exit code other than 0.
    described = await _ran("docker", "inspect", "--type", "container", *ids)
    return _CONTAINERS.validate_python(json.loads(described.stdout or "[]"))


async def _down(project: str) -> None:
    """Remove what is left of a project: containers such as `fetch`, and its networks; never a volume."""
    await _docker("compose", "-p", project, "down", "--remove-orphans", "--timeout", str(round(_STOP_S)))


async def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    ran = await _ran("docker", *arguments)
    if ran.returncode:
        raise DockerError(f"docker {arguments[0]} failed: {_words(ran.stderr)}")
    return ran


async def _ran(*command: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end; ended with us when we are cancelled."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except FileNotFoundError:
        raise DockerError("docker was not found: install it, or start servers with --launcher local") from None
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    return subprocess.CompletedProcess(
        command, process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace")
    )


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def _words(said: str) -> str:
    return "; ".join(line.strip() for line in said.strip().splitlines()[-5:])[:800] or "no words"


def _advice(said: str, launch: Launch) -> str:
    if "No such image" in said or "pull access denied" in said:
        return f"\nthe image of {launch.engine} is not here: docker compose build inference makes that of the reference engine"
    if "could not select device driver" in said:
        return "\nthis docker has no NVIDIA container toolkit: `inference doctor --host`"
    return ""
