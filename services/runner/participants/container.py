"""An agent as a container: a network of the run's own, limits, no new privileges, logs kept, nothing left behind."""

from __future__ import annotations

import asyncio
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import structlog

from services.runner.failures import AgentStartError, ScenarioError
from services.runner.participants.base import StartOptions
from services.runner.participants.logs import AgentLog
from services.runner.participants.process import resolved_table
from services.runner.scenario import AgentSpec

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.networks import Network

LABEL: Final = "assay.run"
PORT: Final = 9009
"""Where every agent image listens (interop specification 7)."""
_REAPER: Final = Path(__file__).with_name("reaper.py")
_STOP_S: Final = 5


@dataclass(kw_only=True, slots=True)
class ContainerHost:
    """The Docker engine, and the network in which the agents of one run know each other by role."""

    run_id: str
    _client: DockerClient
    _network: Network
    _reaper: Process

    @classmethod
    async def open(cls, run_id: str) -> ContainerHost:
        """Connect, create the network, and start the reaper that cleans up after a killed runner."""
        client, network = await asyncio.to_thread(_connect, run_id)
        reaper = await asyncio.create_subprocess_exec(
            sys.executable, str(_REAPER), run_id, stdin=PIPE, start_new_session=True
        )
        return cls(run_id=run_id, _client=client, _network=network, _reaper=reaper)

    async def start(self, spec: AgentSpec, options: StartOptions, extra: Mapping[str, str]) -> ContainerAgent:
        """Start `spec.image`. Raises AgentStartError when the engine refuses."""
        environment = {"PYTHONUNBUFFERED": "1", **extra, **resolved_table(spec, options.variables)}
        container = await self._call(spec, lambda: self._run(spec, environment))
        log = AgentLog(spec.role, options.log_folder / f"{spec.role}.log", options.echo)
        agent = ContainerAgent(spec.role, container, log, asyncio.get_running_loop())
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

    async def close(self) -> None:
        """Remove the network and send the reaper home."""
        with suppress(Exception):
            await asyncio.to_thread(self._network.remove)
        if self._reaper.stdin is not None:
            self._reaper.stdin.close()
        await self._reaper.wait()
        await asyncio.to_thread(self._client.close)

    async def _call(self, spec: AgentSpec, work: Callable[[], Any]) -> Any:
        from docker.errors import DockerException  # noqa: PLC0415 - slow, and most runs start no container

        try:
            return await asyncio.to_thread(work)
        except DockerException as error:
            raise AgentStartError(f"agent {spec.role}: image {spec.image}: {error}") from None

    def _run(self, spec: AgentSpec, environment: dict[str, str]) -> Container:
        self._pull_if_missing(spec.image or "")
        limits = spec.limits
        # 0 lets the engine choose.
        published = 0 if spec.endpoint is None else urlsplit(spec.endpoint).port or 0
        command = ["--host", "0.0.0.0", "--port", str(PORT), "--card-url", f"http://{spec.role}:{PORT}/", *spec.args]  # noqa: S104 - inside its own network
        container = self._client.containers.create(
            spec.image or "",
            command,
            name=f"assay-{self.run_id}-{spec.role}",
            labels={LABEL: self.run_id},
            environment=environment,
            ports={f"{PORT}/tcp": ("127.0.0.1", published)},
            security_opt=["no-new-privileges"],
            nano_cpus=None if limits is None or limits.cpus is None else int(limits.cpus * 1e9),
            mem_limit=None if limits is None else limits.memory,
            pids_limit=None if limits is None else limits.pids,
            network=self._network.name,
            init=True,
        )
        try:
            # The alias by which green knows a purple; the container's long name is ours.
            self._network.disconnect(container)
            self._network.connect(container, aliases=[spec.role])
            container.start()
        except BaseException:
            container.remove(force=True)
            raise
        return container

    def _pull_if_missing(self, image: str) -> None:
        from docker.errors import ImageNotFound  # noqa: PLC0415

        try:
            self._client.images.get(image)
        except ImageNotFound:
            structlog.get_logger().info("image_pulled", image=image)
            self._client.images.pull(image)


class ContainerAgent:
    """A started container."""

    def __init__(self, role: str, container: Container, log: AgentLog, loop: asyncio.AbstractEventLoop) -> None:
        self.role = role
        self.url = ""
        self.facts: dict[str, str] = {}
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


def _connect(run_id: str) -> tuple[DockerClient, Network]:
    import docker  # noqa: PLC0415 - slow, and most runs start no container
    from docker.errors import DockerException  # noqa: PLC0415

    try:
        client = docker.from_env()
        return client, client.networks.create(f"assay-{run_id}", driver="bridge", labels={LABEL: run_id})
    except (DockerException, OSError) as error:
        raise AgentStartError(
            f"no Docker engine for the agents with `image` ({error}); start Docker or use cmd"
        ) from None


def _published_port(container: Container) -> str:
    container.reload()
    published = container.ports.get(f"{PORT}/tcp")
    return str(published[0]["HostPort"]) if published else ""
