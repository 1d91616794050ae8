"""The road from an agent of a compose file to its model: on one network, or on one of its own when agents are isolated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from services.runner.environment import references, resolve
from services.runner.failures import ScenarioError
from services.runner.scenario.agents import (
    ADDRESS_NAMES,
    EGRESS,
    EGRESS_PORT,
    ENGINE,
    ENGINE_PORT,
    REFERENCE,
    AgentSpec,
    check_url,
)
from services.runner.scenario.compose.file import Attachment, Dependency, Healthcheck, Service, literal, value

_HEALTH_PORT: Final = 3129
EGRESS_NETWORK: Final = "egress-network"
PROXY_NAMES: Final = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


def our_image(name: str) -> str:
    """An image of Assay's, by the name that `docker compose build` gives it here or that a registry has."""
    return f"${{ASSAY_REGISTRY:-}}{name}:${{ASSAY_TAG:-latest}}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Road:
    """What an agent needs to reach its model."""

    environment: dict[str, str] = field(default_factory=dict)
    """For compose; variables by which agents are told their model (interop specification 9)."""
    depends_on: dict[str, Dependency] = field(default_factory=dict)
    gate: Service | None = None
    """A container between an isolated agent and its model, called `gate_name`."""
    gate_name: str = ""
    is_open: bool = True
    """Whether there is a model to reach."""


def shared_road(spec: AgentSpec) -> Road:
    """On a network with a road out. Raises ScenarioError for a model at this machine's own address."""
    if spec.model_endpoint is None:
        return Road(is_open=False)
    if spec.model_endpoint == REFERENCE:
        return _to_engine()
    _check_elsewhere(spec.role, spec.model_endpoint)
    return Road(environment=_told(spec.model_endpoint))


def isolated_road(spec: AgentSpec, network: str) -> Road:
    """On `network`, which has no road out. Raises ScenarioError when it is not known where the model is."""
    address = _address(spec)
    if address is None:
        return Road(is_open=False)
    if address == REFERENCE:
        return _to_engine()
    _check_elsewhere(spec.role, address)
    if not address.isascii():
        raise ScenarioError(f"{spec.role}: the address of its model is not ASCII: write the host as xn--...")
    if taken := [name for name in PROXY_NAMES if name in (spec.env or {})]:
        raise ScenarioError(f"{spec.role}: env {', '.join(taken)}: with --isolate the way out is ours to choose")
    through = f"http://{EGRESS}:{EGRESS_PORT}"
    if urlsplit(address).scheme == "https":
        told = {**_told(address), "HTTPS_PROXY": through}
    else:
        told = _told(urlsplit(address)._replace(scheme="http", netloc=f"{EGRESS}:{EGRESS_PORT}").geturl())
    gate = _gate(address, network)
    name = f"{EGRESS}-{spec.role}"
    return Road(environment=told, depends_on={name: Dependency()}, gate=gate, gate_name=name)


def engine(networks: dict[str, Attachment]) -> Service:
    """The reference engine, which needs no GPU and no key."""
    return Service(
        image=our_image("assay-inference"),
        command=("up", "reference", "--host", "0.0.0.0", "--port", str(ENGINE_PORT)),  # noqa: S104 - on internal networks
        healthcheck=_probe(f"http://localhost:{ENGINE_PORT}/health"),
        networks=networks,
        cap_drop=("ALL",),
    )


def _probe(url: str) -> Healthcheck:
    """Of what starts before the agents, and quickly."""
    return Healthcheck(test=("CMD", "curl", "-f", url), interval="1s", retries=60)


def _to_engine() -> Road:
    told = _told(f"http://{ENGINE}:{ENGINE_PORT}/v1")
    return Road(
        environment={**told, "OPENAI_API_KEY": "EMPTY", "LLM_MODEL": REFERENCE},
        depends_on={ENGINE: Dependency()},
    )


def _told(address: str) -> dict[str, str]:
    return {name: literal(address) for name in ADDRESS_NAMES}


def _address(spec: AgentSpec) -> str | None:
    """Where the model is, as the scenario says it: the proxy lets nothing else through."""
    table = {name: spec.env[name] for name in ADDRESS_NAMES if spec.env and name in spec.env}
    if unknown := [name for name, template in table.items() if references(template)]:
        raise ScenarioError(
            f"{spec.role}: env {', '.join(unknown)} is a variable, and --isolate lets one address through: write"
            ' model_endpoint = "https://HOST/v1" instead'
        )
    found = {resolve(template, {}) for template in table.values()}
    for address in sorted(found):
        _check_url(spec.role, address)
    if spec.model_endpoint is not None:
        found.add(spec.model_endpoint)
    if len(found) > 1:
        raise ScenarioError(f"{spec.role}: --isolate lets one address through, got {', '.join(sorted(found))}")
    return next(iter(found), None)


def _check_url(role: str, address: str) -> None:
    try:
        check_url(address)
    except ValueError as error:
        raise ScenarioError(f"{role}: the address of its model in env: {error}") from None


def _check_elsewhere(role: str, address: str) -> None:
    if is_here(address):
        raise ScenarioError(
            f"{role}: its model is at {address}, and in a container that is the container itself: give an address that"
            " containers reach"
        )


def is_here(address: str) -> bool:
    """Whether a URL means the machine that asks."""
    host = (urlsplit(address).hostname or "").rstrip(".").lower()
    return host in {"localhost", "0.0.0.0", "::", "::1"} or host.startswith("127.") or host.endswith(".localhost")  # noqa: S104 - compared, not bound


def _gate(address: str, network: str) -> Service:
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    how = "--tunnel" if parts.scheme == "https" else "--forward"
    return Service(
        image=our_image("assay-runner"),
        entrypoint=("python", "-m", "services.runner.egress"),
        command=("--port", str(EGRESS_PORT), "--health-port", str(_HEALTH_PORT), how, literal(f"{host}:{port}")),
        healthcheck=_probe(f"http://localhost:{_HEALTH_PORT}/"),
        networks={network: Attachment(aliases=(EGRESS,)), EGRESS_NETWORK: Attachment()},
        mem_limit="256m",
        pids_limit=64,
        cap_drop=("ALL",),
    )


def environment_of(spec: AgentSpec, road: Road, *, isolated: bool) -> dict[str, str]:
    """The variables of an agent: its own table over ours, but for the address of its model when that is behind a gate."""
    fixed = ADDRESS_NAMES if isolated else ()
    own = {name: value(template) for name, template in (spec.env or {}).items() if name not in fixed}
    return {"PYTHONUNBUFFERED": "1", **road.environment, **own}
