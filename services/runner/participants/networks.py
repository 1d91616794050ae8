"""The networks of a run's containers: one for all, or, isolated, two for each purple: to green, and to its model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from services.runner.scenario import GREEN

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.networks import Network

LABEL: Final = "assay.run"
_MODEL: Final = ".model"
"""Ending of the network of a purple's model; no role ends like this, as roles have no dot."""
_WITHOUT_HOST: Final = {"com.docker.network.bridge.inhibit_ipv4": "true"}
"""The bridge gets no address: what listens on this machine cannot be reached by it."""


@dataclass(kw_only=True, slots=True)
class Networks:
    """Where the containers of one run meet. Calls block; the engine's errors pass through."""

    run_id: str
    isolate: bool
    _client: DockerClient
    _outside: Network
    _closed: dict[str, Network] = field(default_factory=dict)
    """Those without a way out, by their name within the run: an isolated purple's role, or its role and `.model`."""

    @classmethod
    def create(cls, client: DockerClient, run_id: str, *, isolate: bool) -> Networks:
        """The network that has a way out, and in which ports are published."""
        outside = client.networks.create(f"assay-{run_id}", driver="bridge", labels={LABEL: run_id})
        return cls(run_id=run_id, isolate=isolate, _client=client, _outside=outside)

    def is_closed(self, role: str) -> bool:
        """True for an isolated purple: its port cannot be published."""
        return self.isolate and role != GREEN

    def first_of(self, role: str) -> str:
        """Name of the network in which the agent's container is created."""
        return str(self._home(role).name)

    def join(self, container: Container, role: str) -> None:
        """Let an agent be known by its role; green also in the networks of the purples that were there before it."""
        home = self._home(role)
        # Only by joining anew it gets an alias; its long name is ours.
        home.disconnect(container)
        home.connect(container, aliases=[role])
        if self.isolate and role == GREEN:
            for network in self._closed.values():
                if not str(network.name).endswith(_MODEL):
                    network.connect(container, aliases=[role])

    def join_model(self, container: Container, role: str) -> None:
        """Let an isolated purple reach the network of its model. The others are there already."""
        if self.is_closed(role):
            self._of_model(role).connect(container)

    def place_model(self, container: Container, role: str, *, alias: str, way_out: bool) -> None:
        """Put what stands for a purple's model where that purple reaches it; `way_out`: it reaches the world itself."""
        created_in = self._outside
        if not self.is_closed(role):
            created_in.disconnect(container)
            created_in.connect(container, aliases=[alias])
            return
        self._of_model(role).connect(container, aliases=[alias])
        if not way_out:
            created_in.disconnect(container)

    @property
    def outside(self) -> str:
        """Name of the network with a way out."""
        return str(self._outside.name)

    def remove(self) -> None:
        """Remove them all; their containers are gone."""
        for network in (*self._closed.values(), self._outside):
            with suppress(Exception):
                network.remove()

    def _home(self, role: str) -> Network:
        return self._closed_one(role) if self.is_closed(role) else self._outside

    def _of_model(self, role: str) -> Network:
        return self._closed_one(f"{role}{_MODEL}")

    def _closed_one(self, name: str) -> Network:
        if name not in self._closed:
            self._closed[name] = self._client.networks.create(
                f"assay-{self.run_id}-{name}",
                driver="bridge",
                internal=True,
                options=_WITHOUT_HOST,
                labels={LABEL: self.run_id},
            )
        return self._closed[name]
