"""The services of a compose file: green, the participants, and the client that asks green (interop specification 5.2)."""

from __future__ import annotations

from typing import Final, Literal

from services.runner.scenario.agents import GREEN, AgentSpec, is_ours, with_token
from services.runner.scenario.compose.file import Attachment, Dependency, Healthcheck, Service, literal, needed
from services.runner.scenario.compose.roads import Road, environment_of, our_image

Client = Literal["agentbeats", "assay"]

PORT: Final = 9009
"""Where every agent image listens (interop specification 7)."""
GREEN_SERVICE: Final = "green-agent"
CLIENT_SERVICE: Final = "agentbeats-client"
AGENT_NETWORK: Final = "agent-network"
CLIENT_IMAGE: Final = "ghcr.io/agentbeats/agentbeats-client:v1.0.0"
OUTPUT: Final = "output"
A2A_SCENARIO: Final = "a2a-scenario.toml"
_CARD: Final = ".well-known/agent-card.json"
_HEALTHY: Final = Dependency()
_STOP_GRACE: Final = "20s"
"""Ours finish in 15 s what they can; the engine's own patience is 10 s."""
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - in a network of the project
_APART: Final = f"{GREEN_SERVICE}.{AGENT_NETWORK}"
"""Name of green that exists on the client's network only, so that green listens on no network it shares with a participant."""


def service_name(spec: AgentSpec) -> str:
    """Its name in the file and on the networks."""
    return GREEN_SERVICE if spec.role == GREEN else spec.role


def agent_service(spec: AgentSpec, road: Road, networks: dict[str, Attachment], *, isolated: bool) -> Service:
    """A participant from its image. `isolated`: what it reaches is limited."""
    service = _agent(spec, environment_of(spec, road, isolated=isolated), networks, depends_on=road.depends_on)
    # Raw packets would reach any address of green, which is on other networks too.
    return service if service.cap_drop or not isolated else service.model_copy(update={"cap_drop": ("NET_RAW",)})


def green_service(spec: AgentSpec, road: Road, networks: dict[str, Attachment], waits_for: tuple[str, ...]) -> Service:
    """Green, which waits for healthy participants. With `arenas` it listens on the client's network only."""
    environment = environment_of(spec, road, isolated=False)
    if spec.token_env is not None:
        environment.setdefault(spec.token_env, needed(spec.token_env))
    apart = len(networks) > 1
    attached = networks | ({AGENT_NETWORK: Attachment(aliases=(_APART,))} if apart else {})
    depends_on = {**dict.fromkeys(waits_for, _HEALTHY), **road.depends_on}
    return _agent(_guarded(spec), environment, attached, depends_on=depends_on, host=_APART if apart else None)


def _guarded(green: AgentSpec) -> AgentSpec:
    """Green of ours asks for its token only when it is told to."""
    if green.token_env is None or not is_ours(green.image or ""):
        return green
    return with_token(green, green.token_env)


def _agent(
    spec: AgentSpec,
    environment: dict[str, str],
    networks: dict[str, Attachment],
    *,
    depends_on: dict[str, Dependency],
    host: str | None = None,
) -> Service:
    name, image, limits = service_name(spec), spec.image or "", spec.limits
    card_url = f"http://{name}:{PORT}"
    return Service(
        image=literal(image),
        platform="linux/amd64",
        container_name=_container_name(name),
        command=(
            *("--host", host or _EVERYWHERE, "--port", str(PORT), "--card-url", card_url),
            *map(literal, spec.args),
        ),
        environment=environment,
        healthcheck=_healthcheck(host or "localhost", spec.start_timeout),
        depends_on=depends_on or None,
        networks=networks,
        stop_grace_period=_STOP_GRACE if is_ours(image) else None,
        cpus=None if limits is None else limits.cpus,
        mem_limit=None if limits is None else limits.memory,
        pids_limit=None if limits is None else limits.pids,
        cap_drop=("ALL",) if is_ours(image) else None,
    )


def _container_name(service: str) -> str | None:
    """The engine takes no name of one letter; compose then makes one up."""
    return service if len(service) > 1 else None


def _healthcheck(host: str, start_timeout: float | None) -> Healthcheck:
    test = ("CMD", "curl", "-f", f"http://{host}:{PORT}/{_CARD}")
    if start_timeout is None:
        return Healthcheck(test=test)
    return Healthcheck(test=test, start_period=f"{round(start_timeout * 1000)}ms")


def client_service(
    client: Client, agents: tuple[str, ...], networks: dict[str, Attachment], token_env: str | None
) -> Service:
    """What asks green and writes output/results.json once all agents are healthy."""
    depends_on = dict.fromkeys(agents, _HEALTHY) or None
    return _assay_client(depends_on, networks, token_env) if client == "assay" else _platform_client(depends_on)


def _platform_client(depends_on: dict[str, Dependency] | None) -> Service:
    return Service(
        image=CLIENT_IMAGE,
        platform="linux/amd64",
        container_name=CLIENT_SERVICE,
        command=("scenario.toml", f"{OUTPUT}/results.json"),
        volumes=(f"./{A2A_SCENARIO}:/app/scenario.toml", f"./{OUTPUT}:/app/{OUTPUT}"),
        depends_on=depends_on,
        networks={AGENT_NETWORK: Attachment()},
    )


def _assay_client(
    depends_on: dict[str, Dependency] | None, networks: dict[str, Attachment], token_env: str | None
) -> Service:
    """Our runner. What it writes belongs to the owner of the folder `output`, whoever that is, and not to root."""
    return Service(
        image=our_image("assay-runner"),
        container_name=CLIENT_SERVICE,
        user="0:0",
        entrypoint=("as-owner", f"/app/{OUTPUT}", "assay"),
        command=("run", "/app/scenario.toml", f"/app/{OUTPUT}/results.json"),
        environment={
            "ASSAY_RESULTS_DIR": f"/app/{OUTPUT}",
            **({} if token_env is None else {token_env: needed(token_env)}),
        },
        volumes=(f"./{A2A_SCENARIO}:/app/scenario.toml:ro", f"./{OUTPUT}:/app/{OUTPUT}"),
        working_dir=f"/app/{OUTPUT}",
        depends_on=depends_on,
        networks=networks,
        cap_drop=("ALL",),
        cap_add=("SETUID", "SETGID"),
    )
