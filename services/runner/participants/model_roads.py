"""The road from a container to its model: straight, to the reference engine in a container, or through the egress proxy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from services.runner.scenario import REFERENCE, AgentSpec
from services.runner.scenario.agents import ADDRESS_NAMES, EGRESS, EGRESS_PORT, ENGINE, ENGINE_PORT

_ELSEWHERE: Final = {"LLM_ENDPOINT_FILE": "", "SGLANG_API_BASES": ""}
"""The scenario is explicit: lists of other servers in the environment have no say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Helper:
    """A container of ours that stands for a model."""

    alias: str
    image: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...] | None = None
    health_url: str | None = None
    """Asked from inside until it answers."""
    way_out: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Road:
    """What an agent is told of its model, and what has to run for it."""

    told: Mapping[str, str] = field(default_factory=dict)
    helper: Helper | None = None


def told(address: str) -> dict[str, str]:
    """The names by which agents are told their model (interop specification 9)."""
    return {**dict.fromkeys(ADDRESS_NAMES, address), **_ELSEWHERE}


def told_reference(address: str) -> dict[str, str]:
    """The same for the reference engine, which needs no key."""
    return {**told(address), "OPENAI_API_KEY": "EMPTY", "LLM_MODEL": REFERENCE}


def road(spec: AgentSpec, *, isolated: bool) -> Road:
    """The road of an agent with an image that has no `road_faults`."""
    endpoint = spec.model_endpoint
    if endpoint is None:
        return Road()
    if endpoint == REFERENCE:
        return Road(told=told_reference(f"http://{ENGINE}:{ENGINE_PORT}/v1"), helper=_engine())
    if not isolated:
        return Road(told=told(endpoint))
    through = f"http://{EGRESS}:{EGRESS_PORT}"
    parts = urlsplit(endpoint)
    if parts.scheme == "https":
        proxied = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), through)
        return Road(told={**told(endpoint), **proxied}, helper=_egress(endpoint, "--tunnel"))
    inside = parts._replace(netloc=f"{EGRESS}:{EGRESS_PORT}").geturl()
    return Road(told=told(inside), helper=_egress(endpoint, "--forward"))


def road_faults(spec: AgentSpec) -> list[str]:
    """Why an isolated agent cannot be given the model that its table names."""
    faults = []
    if spec.model_endpoint not in {None, REFERENCE} and _is_here(str(spec.model_endpoint)):
        faults.append(
            f"{spec.role}: model_endpoint {spec.model_endpoint} means the container itself inside a container: give an"
            " address that containers reach"
        )
    fixed = [name for name in (*ADDRESS_NAMES, "HTTPS_PROXY", "https_proxy") if name in (spec.env or {})]
    if fixed:
        faults.append(
            f"{spec.role}: env {', '.join(fixed)}: with --isolate the model's address is given as model_endpoint, and"
            " nothing else is let through"
        )
    return faults


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1", "0.0.0.0"} or host.startswith("127.")  # noqa: S104 - compared, not bound


def _engine() -> Helper:
    return Helper(
        alias=ENGINE,
        image=_ours("assay-inference"),
        command=("up", "reference", "--host", "0.0.0.0", "--port", str(ENGINE_PORT)),  # noqa: S104 - in its own network
        health_url=f"http://localhost:{ENGINE_PORT}/health",
    )


def _egress(endpoint: str, how: str) -> Helper:
    parts = urlsplit(endpoint)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Helper(
        alias=EGRESS,
        image=_ours("assay-runner"),
        entrypoint=("python", "-m", "services.runner.egress"),
        command=("--port", str(EGRESS_PORT), how, f"{host}:{port}"),
        way_out=True,
    )


def _ours(name: str) -> str:
    """By the name that `docker compose build` gives it, as in `compose.yaml`."""
    return f"{os.environ.get('ASSAY_REGISTRY', '')}{name}:{os.environ.get('ASSAY_TAG') or 'latest'}"
