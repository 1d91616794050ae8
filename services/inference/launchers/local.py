"""Servers as processes of this machine: one for each group of GPUs, each in a process group of its own.

Every server lives under a guard (`contract/guard.py`): it ends whole, and when we end, however we end. Servers that were let go
outlive us with their guards and are found again by the registry.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import structlog

from services.contract.endpoint_files import ServiceLine
from services.contract.secrets import SECRET_NAME, redact
from services.inference.engines.base import Command, Place
from services.inference.engines.log import facts as facts_of
from services.inference.engines.registry import engine
from services.inference.failures import InferenceError, StartError, UsageError
from services.inference.launchers.base import Launch, Server, State
from services.inference.launchers.child import GRACE_S, Child, ProcessId, end_group, orphans, started
from services.inference.launchers.failing import died, overdue, stranger, tail_of
from services.inference.launchers.foretold import Foretold
from services.inference.launchers.places import Slot, gpu_slots, port_of, port_slots
from services.inference.machine.ports import answers, group_listens, listens, named_owner
from services.inference.planning.planner import on_cpu
from services.inference.servers.readiness import Readiness, probe
from services.inference.servers.registry import Registry, ServerFacts, stamp

log = structlog.get_logger()

POLL_S: Final = 0.1
"""A server that is ready, or dead, is noticed this much later at most."""
_TOKEN_S: Final = 60.0
"""For the questions to a server that listens already; the first token of a cold engine takes its time."""
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on
_ELSEWHERE: Final = {"0.0.0.0": "192.0.2.1", "::": "2001:db8::1"}  # noqa: S104 - of the ranges for documentation
_STAMP: Final = "%Y%m%d_%H%M%S"
_OF_ENGINES: Final = re.compile(
    r"(VLLM|SGLANG|SGL|TRTLLM|TLLM|FLASHINFER|TRANSFORMERS|HF|TORCH|TORCHDYNAMO|TORCHINDUCTOR|PYTORCH|CUDA|CUBLAS|NCCL|OMP)_"
)
"""Variables that change what an engine answers, or where it finds its model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalOptions:
    """What only servers of this machine are told."""

    gpu_ids: tuple[int, ...] = ()
    """As the driver counts; empty: every free one."""
    stagger_s: float = 60.0
    """The next server starts when this one is ready, or after this time."""
    strict_ports: bool = False
    """A taken port is an error, not skipped."""
    forced: bool = False
    """The plan was impossible; recorded."""
    weights: str | None = None
    """Folder of the checkpoint, for an engine that takes nothing else; None: it finds it by id and revision."""


@dataclass(kw_only=True, slots=True)
class _Running:
    """A server between its start and its end."""

    server: Server
    registry: Path
    child: Child
    out: Path
    err: Path
    facts: ServerFacts
    started: str = field(default_factory=lambda: stamp(datetime.now(UTC)))

    def line(self, status: str) -> ServiceLine:
        return ServiceLine(
            job_id=self.server.id,
            hostname=self.server.host,
            host_ip=self.server.ip,
            port=self.server.port,
            model_path=self.server.model,
            start_time=self.started,
            status=status,
        )


class LocalLauncher:
    """Starts servers here. One launcher watches the servers of one `start`."""

    def __init__(self, options: LocalOptions | None = None) -> None:
        self._options = options or LocalOptions()
        self._running: list[_Running] = []

    async def start(self, launch: Launch) -> Sequence[Server]:
        """Start them one after the other and return when all are ready; each has its own time.

        Raises StartError, NotReadyError or UsageError; what had been started is stopped then, also when this is cancelled.
        """
        slots = self._slots(launch)
        try:
            async with asyncio.TaskGroup() as group:
                for index, slot in enumerate(slots):
                    running = await self._started(launch, slot, index)
                    ready = group.create_task(self._ready(launch, running))
                    if index + 1 < len(slots):
                        await asyncio.wait({ready}, timeout=self._options.stagger_s)
        except BaseExceptionGroup as failures:
            await self.stop_all()
            first, *_rest = failures.exceptions
            raise first from None
        except BaseException:
            await self.stop_all()
            raise
        finally:
            for slot in slots:
                slot.close()
        return [running.server for running in self._running]

    def commands(self, launch: Launch) -> list[Command]:
        """What `start` would execute, on the first GPUs and the ports as they are asked for; asks nobody."""
        tp, ids = launch.plan.tp, self._options.gpu_ids
        count = launch.count if _without_gpu(launch) else min(launch.count, len(ids) // tp or launch.plan.replicas)
        if count < launch.count:
            launch.says(f"{count} instead of {launch.count} servers: each takes {tp} GPUs")
        numbers = () if _without_gpu(launch) else tuple(map(str, ids or range(count * tp)))
        chosen = engine(launch.engine)
        return [
            chosen.command(
                launch.plan,
                launch.serving,
                self._place(launch, index, launch.start_port + index, numbers[tp * index : tp * (index + 1)]),
            )
            for index in range(count)
        ]

    async def state(self, ids: Sequence[str]) -> Mapping[str, State]:
        """`running` while the very process lives, ready or not; else `lost`: what was stopped, the registry knows."""
        found = {one: ProcessId.parse(one) for one in ids}
        return {one: "running" if process is not None and process.lives else "lost" for one, process in found.items()}

    def left_behind(self, ids: Sequence[str]) -> Sequence[str]:
        """Servers that have ended, while processes of theirs have not."""
        found = orphans(process for one in ids if (process := ProcessId.parse(one)) is not None)
        return sorted(map(str, found))

    async def stop(self, ids: Sequence[str], *, timeout_s: float) -> Sequence[str]:
        """SIGTERM to each group, after `timeout_s` SIGKILL; returns those that were ended. A reused number is left alone."""
        processes = [process for one in ids if (process := ProcessId.parse(one)) is not None]
        ended = await asyncio.gather(*(end_group(process, timeout_s) for process in processes))
        return [str(process) for process, was_ours in zip(processes, ended, strict=True) if was_ours]

    def tail(self, server: Server) -> str:
        """The last 40 lines of its error output."""
        return tail_of(server.log) if server.log is not None else ""

    async def first_death(self) -> StartError:
        """Wait until a server ends; the error says which, why as far as is known, and what it wrote last."""
        while True:
            for running in self._running:
                if (code := await running.child.death()) is not None:
                    return died(running.server, code, when="ended")
            await asyncio.sleep(POLL_S)

    def let_go(self) -> None:
        """The servers go on when we end."""
        for running in self._running:
            running.child.let_go()
        self._running.clear()

    async def stop_all(self) -> None:
        """Stop every server of this launcher and say so in the registry."""
        codes = await asyncio.gather(*(running.child.stop(GRACE_S) for running in self._running))
        for running, code in zip(self._running, codes, strict=True):
            log.debug("server_stopped", server=running.server.id, port=running.server.port, exit_code=code)
            try:
                Registry(running.registry).ended(running.server.id, exit_code=str(code), at=stamp(datetime.now(UTC)))
            except InferenceError as error:
                # What had gone wrong is told, not that it could not be noted; readers find the server lost.
                log.warning("end_not_registered", server=running.server.id, reason=str(error))
        self._running.clear()

    def _slots(self, launch: Launch) -> list[Slot]:
        by = f"`inference up` of {launch.plan.request.preset.key} (process {os.getpid()})"
        groups = (
            [()] * launch.count
            if _without_gpu(launch)
            else gpu_slots(tp=launch.plan.tp, count=launch.count, ids=self._options.gpu_ids, by=by, says=launch.says)
        )
        ports = port_slots(launch.start_port, len(groups), strict=self._options.strict_ports, by=by, says=launch.says)
        return [
            Slot(port=port_of(port), gpus=tuple(gpu.name for gpu in gpus), leases=(port, *gpus))
            for port, gpus in zip(ports, groups, strict=True)
        ]

    def _place(self, launch: Launch, index: int, port: int, gpus: tuple[str, ...]) -> Place:
        return Place(
            index=index,
            host=launch.host,
            port=port,
            program=launch.program,
            gpus=gpus,
            cpu=_without_gpu(launch),
            weights=self._options.weights,
        )

    async def _started(self, launch: Launch, slot: Slot, index: int) -> _Running:
        chosen = engine(launch.engine)
        command = chosen.command(launch.plan, launch.serving, self._place(launch, index, slot.port, slot.gpus))
        moment = datetime.now().strftime(_STAMP)  # noqa: DTZ005 - the guides' name, in the time of this place
        base = launch.log_folder.resolve() / f"{launch.engine}_port_{slot.port}_{moment}"
        argv, env = _prepared(command, base)
        with _logs(command, base) as (out, err):
            child = await started(argv, env, out=out, err=err, handles=[lease.handle for lease in slot.leases])
        running = self._described(launch, slot, child, replace(command, argv=tuple(argv)), base)
        self._running.append(running)
        for lease in slot.leases:
            lease.note(f"server {running.server.id} ({running.server.served_name} on port {slot.port})")
        Registry(launch.registry).put(running.line("starting"), running.facts)
        launch.says(f"server {index + 1}: {launch.serving.served_name} starts on port {slot.port}, log {err.name}")
        return running

    def _described(self, launch: Launch, slot: Slot, child: Child, command: Command, base: Path) -> _Running:
        out, err = base.with_suffix(".out"), base.with_suffix(".err")
        identity = str(child.identity) if child.identity is not None else f"local-0-{slot.port}"
        server = Server(
            id=identity,
            engine=launch.engine,
            model=launch.plan.request.preset.id,
            served_name=launch.serving.served_name,
            host=socket.gethostname(),
            ip=_address(launch.host),
            port=slot.port,
            log=err,
        )
        facts = ServerFacts(
            id=identity,
            engine=launch.engine,
            served_name=server.served_name,
            gpus=slot.gpus,
            max_model_len=launch.plan.max_model_len,
            log=str(err),
            output=str(out),
            command=command.argv,
            environment=_recorded(command),
            forced=self._options.forced,
            kv_planned_tokens=None if _without_gpu(launch) else Foretold.of(launch.plan).tokens,
        )
        return _Running(server=server, registry=launch.registry, child=child, out=out, err=err, facts=facts)

    async def _ready(self, launch: Launch, running: _Running) -> None:
        """Return when it is ready. Raises StartError when it dies or is not ours, NotReadyError when its time is over."""
        clock = asyncio.get_running_loop()
        give_up = clock.time() + launch.server_timeout_s
        seen: Readiness | None = None
        while seen is None or not seen.ready:
            if (code := await running.child.death()) is not None:
                raise died(running.server, code, when="ended at its start", plan=launch.plan)
            if (left := give_up - clock.time()) <= 0:
                raise overdue(running.server, launch.server_timeout_s, seen, plan=launch.plan)
            seen = await self._asked(running, left) or seen
            if seen is None or not seen.ready:
                await asyncio.sleep(POLL_S)
        self._is_running(launch, running)

    async def _asked(self, running: _Running, left_s: float) -> Readiness | None:
        """What the server answers; None before it listens. Raises StartError when somebody else answers in its place."""
        port, identity = running.server.port, running.child.identity
        if identity is None or not await answers(running.server.ip, port):
            return None
        if not group_listens(port, identity.pid):
            # Ours may have ended between the looks, or somebody may only have tried the port: look again.
            await asyncio.sleep(POLL_S)
            if running.child.exit_code is None and listens(port) and not group_listens(port, identity.pid):
                raise stranger(running.server, f"port {port} answers, but it is not ours: {named_owner(port)}")
            return None
        server = running.server
        answer = await probe(server.url, served_name=server.served_name, timeout_s=min(_TOKEN_S, left_s))
        if answer.condition == "wrong_model":
            raise stranger(server, answer.problem)
        return answer

    def _is_running(self, launch: Launch, running: _Running) -> None:
        said = facts_of(_text(running.out) + _text(running.err))
        running.facts = running.facts.model_copy(
            update={"version": said.version, "kv_measured_tokens": said.kv_tokens, "concurrency": said.concurrency}
        )
        Registry(launch.registry).put(running.line("running"), running.facts)
        launch.says(f"ready: {running.server.served_name} at {running.server.url}")
        if said.kv_tokens is not None and not _without_gpu(launch):
            warning = Foretold.of(launch.plan).contradicted_by(said.kv_tokens)
            if warning:
                launch.says(f"warning: port {running.server.port}: {warning}")
        log.debug("server_ready", server=running.server.id, port=running.server.port, kv_tokens=said.kv_tokens)


def program_of(command: Command, env: Mapping[str, str]) -> str:
    """The engine's executable, on PATH or beside our own. Raises UsageError with the remedy."""
    name = command.argv[0]
    program = shutil.which(name, path=os.pathsep.join((env.get("PATH", os.defpath), str(Path(sys.executable).parent))))
    if program is None:
        raise UsageError(
            f"{name!r}, the engine's program, was not found: install the engine in an environment of its own and put that on "
            "PATH, or name the executable with --program"
        )
    return program


def _without_gpu(launch: Launch) -> bool:
    return launch.engine == "reference" or on_cpu(launch.plan.request)


def _address(host: str) -> str:
    """By which a server that listens on `host` is reached, from other machines too if it listens everywhere."""
    if host not in _WILDCARDS:
        return "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_ELSEWHERE[host], 9))  # sends nothing, only asks for the way
        except OSError:
            return _WILDCARDS[host]
        address: str = probe.getsockname()[0]
        return address


def _prepared(command: Command, base: Path) -> tuple[list[str], dict[str, str]]:
    """Whole command line and environment. Raises UsageError without the program."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1", **command.env}
    env |= {name: Path(path).read_text(encoding="utf-8").strip() for name, path in command.secrets.items()}
    argv = [word.replace("{folder}", str(base)) for word in command.argv]
    return [program_of(command, env), *argv[1:]], env


def _recorded(command: Command) -> dict[str, str]:
    """Variables of engines that it has, inherited or ours, except secrets."""
    inherited = {name: value for name, value in os.environ.items() if _OF_ENGINES.match(name)}
    return {name: redact(value) for name, value in {**inherited, **command.env}.items() if not SECRET_NAME.search(name)}


@contextmanager
def _logs(command: Command, base: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Its logs, open, beside the files that it needs. Raises UsageError where they cannot be."""
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        for name, content in command.files.items():
            base.mkdir(exist_ok=True)
            (base / name).write_text(content, encoding="utf-8")
        out, err = base.with_suffix(".out").open("ab"), base.with_suffix(".err").open("ab")
    except OSError as error:
        raise UsageError(f"cannot write {base}: {error.strerror}; choose another place with --log-dir") from error
    with out, err:
        yield out, err


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
