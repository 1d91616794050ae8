"""An agent as a container: networks of the run's own, limits, no new privileges, logs kept, nothing left behind."""

from __future__ import annotations

import asyncio
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import structlog

from services.runner.failures import AgentStartError, ScenarioError
from services.runner.participants.base import POLL_S, StartOptions, with_tail
from services.runner.participants.logs import TAIL_LINES, AgentLog
from services.runner.participants.model_roads import Helper
from services.runner.participants.networks import LABEL, Networks
from services.runner.participants.process import resolved_table
from services.runner.scenario import AgentSpec
from services.runner.scenario.agents import is_ours

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

T = TypeVar("T")
PORT: Final = 9009
"""Where every agent image listens (interop specification 7)."""
_REAPER: Final = Path(__file__).with_name("reaper.py")
_STOP_S: Final = 5
_INSIDE: Final = f"http://localhost:{PORT}"
_ASK: Final = ("curl", "-sS", "-f", "--max-time", "5", "--max-filesize", "1000000")
_NO_SUCH_PROGRAM: Final = frozenset({126, 127})
"""Exit codes of a command that the container does not have."""


@dataclass(kw_only=True, slots=True)
class ContainerHost:
    """The Docker engine, and the networks in which the agents of one run know each other by role."""

    run_id: str
    _client: DockerClient
    _networks: Networks
    _reaper: Process
    _helpers: dict[tuple[str, str], Container] = field(default_factory=dict)
    """What stands for models, by the purple it is for (empty: for all) and its alias."""

    @classmethod
    async def open(cls, run_id: str, *, isolate: bool = False) -> ContainerHost:
        """Connect, create the network, and start the reaper that cleans up after a killed runner."""
        # Before anything that it removes.
        reaper = await asyncio.create_subprocess_exec(
            sys.executable, str(_REAPER), run_id, stdin=PIPE, start_new_session=True
        )
        try:
            client, networks = await _whole(lambda: _connect(run_id, isolate=isolate))
        except BaseException:
            await _sent_home(reaper)
            raise
        return cls(run_id=run_id, _client=client, _networks=networks, _reaper=reaper)

    async def start(self, spec: AgentSpec, options: StartOptions, extra: Mapping[str, str]) -> ContainerAgent:
        """Start `spec.image`. Raises AgentStartError when the engine refuses."""
        environment = {"PYTHONUNBUFFERED": "1", **extra, **resolved_table(spec, options.variables)}
        await self._pull_if_missing(spec, spec.image or "")
        container = await self._call(spec, lambda: self._run(spec, environment))
        log = AgentLog(spec.role, options.log_folder / f"{spec.role}.log", options.echo)
        agent = ContainerAgent(spec.role, container, log, asyncio.get_running_loop())
        if self._networks.is_closed(spec.role):
            agent.url, agent.is_closed = f"http://{spec.role}:{PORT}/", True
        else:
            try:
                published = await self._call(spec, lambda: _published_port(container))
            except BaseException:
                await agent.stop()
                raise
            agent.url = spec.endpoint or f"http://127.0.0.1:{published}/"
        agent.facts["image"] = spec.image or ""
        agent.facts["image_id"] = str(container.image.id if container.image else "")
        agent.facts["image_digest"] = (
            next(iter(container.image.attrs.get("RepoDigests", [])), "") if container.image else ""
        )
        return agent

    async def help(self, spec: AgentSpec, helper: Helper, *, timeout_s: float) -> None:
        """Start what stands for an agent's model, unless it runs already, and await it. Raises AgentStartError."""
        whose = spec.role if self._networks.is_closed(spec.role) else ""
        if (whose, helper.alias) in self._helpers:
            return
        await self._pull_if_missing(spec, helper.image)
        container = await self._call(spec, lambda: self._start_helper(spec, helper), image=helper.image)
        self._helpers[whose, helper.alias] = container
        if helper.health_url is None:
            return
        give_up = asyncio.get_running_loop().time() + timeout_s
        while not await self._call(spec, lambda: _is_healthy(container, str(helper.health_url)), image=helper.image):
            if asyncio.get_running_loop().time() > give_up:
                tail = await self._call(spec, lambda: container.logs(tail=TAIL_LINES), image=helper.image)
                message = f"agent {spec.role}: its model, {helper.image}, did not answer within {timeout_s:g} s"
                raise AgentStartError(with_tail(message, tail.decode(errors="replace")))
            await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        """Remove helpers and networks and send the reaper home."""
        for container in self._helpers.values():
            with suppress(Exception):
                await asyncio.to_thread(container.remove, force=True, v=True)
        await asyncio.to_thread(self._networks.remove)
        await _sent_home(self._reaper)
        await asyncio.to_thread(self._client.close)

    async def _call(self, spec: AgentSpec, work: Callable[[], Any], *, image: str | None = None) -> Any:
        with _refusals(spec, image or spec.image):
            return await _whole(work)

    async def _pull_if_missing(self, spec: AgentSpec, image: str) -> None:
        """A pull makes nothing that has to be removed, and may take minutes: a signal does not wait for it."""
        with _refusals(spec, image):
            await asyncio.to_thread(_pull_if_missing, self._client, image)

    def _run(self, spec: AgentSpec, environment: dict[str, str]) -> Container:
        limits = spec.limits
        # 0 lets the engine choose.
        published = 0 if spec.endpoint is None else urlsplit(spec.endpoint).port or 0
        command = ["--host", "0.0.0.0", "--port", str(PORT), "--card-url", f"http://{spec.role}:{PORT}/", *spec.args]  # noqa: S104 - inside its own network
        closed = self._networks.is_closed(spec.role)
        container = self._client.containers.create(
            spec.image or "",
            command,
            name=f"assay-{self.run_id}-{spec.role}",
            labels={LABEL: self.run_id},
            environment=environment,
            ports=None if closed else {f"{PORT}/tcp": ("127.0.0.1", published)},
            security_opt=["no-new-privileges"],
            cap_drop=["ALL"] if is_ours(spec.image or "") else None,
            nano_cpus=None if limits is None or limits.cpus is None else int(limits.cpus * 1e9),
            mem_limit=None if limits is None else limits.memory,
            pids_limit=None if limits is None else limits.pids,
            network=self._networks.first_of(spec.role),
            init=True,
        )
        try:
            self._networks.join(container, spec.role)
            if spec.model_endpoint is not None:
                self._networks.join_model(container, spec.role)
            container.start()
        except BaseException:
            container.remove(force=True)
            raise
        return container

    def _start_helper(self, spec: AgentSpec, helper: Helper) -> Container:
        container = self._client.containers.create(
            helper.image,
            list(helper.command),
            entrypoint=None if helper.entrypoint is None else list(helper.entrypoint),
            name=f"assay-{self.run_id}-{spec.role}.{helper.alias}",
            labels={LABEL: self.run_id},
            security_opt=["no-new-privileges"],
            cap_drop=["ALL"],
            network=self._networks.outside,
            init=True,
        )
        try:
            self._networks.place_model(container, spec.role, alias=helper.alias, way_out=helper.way_out)
            container.start()
        except BaseException:
            container.remove(force=True)
            raise
        return container


class ContainerAgent:
    """A started container."""

    def __init__(self, role: str, container: Container, log: AgentLog, loop: asyncio.AbstractEventLoop) -> None:
        self.role = role
        self.url = ""
        self.facts: dict[str, str] = {}
        self.is_closed = False
        """True when this machine cannot reach `url`."""
        self._container = container
        self._log = log
        self._ended: asyncio.Future[str] = loop.create_future()
        self._removed = False
        self._loop = loop
        # A daemon: an engine that never answers must not keep the runner alive.
        threading.Thread(target=self._follow, name=f"log of {role}", daemon=True).start()

    async def locate(self) -> None:
        """The engine told the address at the start."""

    async def gone(self) -> str:
        """Return when the container has ended."""
        return await asyncio.shield(self._ended)

    def tail(self) -> str:
        """The last 40 lines it wrote."""
        return self._log.tail()

    async def get_inside(self, path: str) -> tuple[bytes | None, str]:
        """What it answers to a request from inside its own container, or why there is no answer."""
        try:
            code, said = await asyncio.to_thread(_asked_inside, self._container, f"{_INSIDE}{path}")
        except Exception as error:  # noqa: BLE001 - whatever the engine says; the next try may do
            return None, str(error)
        if code == 0:
            return said, ""
        if code in _NO_SUCH_PROGRAM:
            raise AgentStartError(f"agent {self.role}: its image has no curl, by which --isolate asks for the card")
        return None, said.decode(errors="replace").strip()

    async def stop(self) -> None:
        """SIGTERM, SIGKILL after 5 s, removed with its anonymous volumes."""
        if self._removed:
            return
        self._removed = True
        try:
            await asyncio.to_thread(self._container.stop, timeout=_STOP_S)
            await asyncio.wait({self._ended}, timeout=2.0)
            await asyncio.to_thread(self._container.remove, force=True, v=True)
        except Exception as error:  # noqa: BLE001 - stopping the other agents matters more; the reaper tries again
            structlog.get_logger().warning("container_not_removed", role=self.role, reason=str(error))

    def _follow(self) -> None:
        """In a thread of its own: copy the log until the container ends."""
        try:
            for chunk in self._container.logs(stream=True, follow=True):
                self._log.feed(chunk)
            status = self._container.wait()["StatusCode"]
            how = f"ended with exit code {status}"
        except Exception as error:  # noqa: BLE001 - whatever the engine says, the container cannot be followed any more
            how = f"cannot be followed any more ({error})"
        self._log.end()
        with suppress(RuntimeError):  # the loop may be gone
            self._loop.call_soon_threadsafe(self._settle, how)

    def _settle(self, how: str) -> None:
        if not self._ended.done():
            self._ended.set_result(how)


def url_between(*, green_in_container: bool, agent_in_container: bool, role: str, url: str) -> str:
    """Where green reaches a participant. Raises ScenarioError when it cannot."""
    if not green_in_container:
        return url
    if agent_in_container:
        return f"http://{role}:{PORT}/"
    if urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1", "0.0.0.0"}:  # noqa: S104 - compared, not bound
        raise ScenarioError(
            f"green runs in a container and cannot reach {role} at {url} of this machine; give {role} an image, or an"
            " address that containers reach"
        )
    return url


async def _whole(work: Callable[[], T]) -> T:
    """The result of work in a thread. A cancelled wait ends with the work: nothing comes into being after the clean-up."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.gather(working, return_exceptions=True)
        raise


async def _sent_home(reaper: Process) -> None:
    if reaper.stdin is not None:
        reaper.stdin.close()
    await reaper.wait()


@contextmanager
def _refusals(spec: AgentSpec, image: str | None) -> Iterator[None]:
    """What the engine says against an image, as AgentStartError."""
    from docker.errors import DockerException  # noqa: PLC0415 - slow, and most runs start no container

    try:
        yield
    except DockerException as error:
        raise AgentStartError(f"agent {spec.role}: image {image}: {error}") from None


def _pull_if_missing(client: DockerClient, image: str) -> None:
    from docker.errors import ImageNotFound  # noqa: PLC0415

    try:
        client.images.get(image)
    except ImageNotFound:
        client.images.pull(image)
        structlog.get_logger().info("image_pulled", image=image)


def _is_healthy(container: Container, url: str) -> bool:
    return _asked_inside(container, url)[0] == 0


def _asked_inside(container: Container, url: str) -> tuple[int, bytes]:
    """Exit code and output of a request made inside a container."""
    code, output = container.exec_run([*_ASK, url])
    return (-1 if code is None else code), output if isinstance(output, bytes) else b""


def _connect(run_id: str, *, isolate: bool) -> tuple[DockerClient, Networks]:
    import docker  # noqa: PLC0415 - slow, and most runs start no container
    from docker.errors import DockerException  # noqa: PLC0415

    try:
        client = docker.from_env()
        return client, Networks.create(client, run_id, isolate=isolate)
    except (DockerException, OSError) as error:
        raise AgentStartError(
            f"no Docker engine for the agents with `image` ({error}); start Docker or use cmd"
        ) from None


def _published_port(container: Container) -> str:
    container.reload()
    published = container.ports.get(f"{PORT}/tcp")
    return str(published[0]["HostPort"]) if published else ""
