"""What a run was made with: versions, host, revisions, images, agents, models. Kept with the run; secrets are masked there."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from services.runner.participants import Agents
from services.runner.scenario import REFERENCE, AgentSpec, Scenario

PACKAGES: Final = ("assay", "a2a-sdk", "openai", "anthropic", "pydantic", "httpx", "aiohttp", "uvicorn", "numpy")
_MODEL_NAMES: Final = (
    "LLM_ENDPOINT_FILE",
    "LLM_MODEL",
    "LLM_PROVIDER",
    "OPENAI_BASE_URL",
    "OPENAI_API_BASE",
    "PURPLE_ITERATIONS",
    "PURPLE_LLM_TEMPERATURE",
    "PURPLE_MAX_TOKENS",
    "PURPLE_STRATEGY",
    "PURPLE_TOP_K",
    "PURPLE_TOP_P",
    "SGLANG_API_BASES",
)


def gather(scenario: Scenario, agents: Agents, variables: Mapping[str, str]) -> dict[str, JsonValue]:
    """The record of this execution, as JSON."""
    return {
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "image_digests": {
            agent.role: agent.facts.get("image_digest") or agent.facts["image_id"]
            for agent in agents.started
            if "image_id" in agent.facts
        },
        "images": {agent.role: agent.facts["image"] for agent in agents.started if "image" in agent.facts},
        "agents": {
            role: {"name": card.name, "version": card.version, "description": card.description}
            for role, card in agents.cards.items()
        },
        "models": {spec.role: _model(spec, variables) for spec in scenario.participants},
        "reference_engine": any(spec.model_endpoint == REFERENCE for spec in (scenario.green, *scenario.participants)),
        "config": scenario.config,
        "versions": _versions(),
        "git": _git(),
        "host": _host(),
    }


def moved_images(before: Mapping[str, JsonValue], now: Mapping[str, JsonValue], roles: Iterable[str]) -> list[str]:
    """Agents whose image is another one than in an earlier execution, in words: a tag may have been moved meanwhile."""
    earlier, later = (_digests(found) for found in (before, now))
    both = [role for role in roles if role in earlier and role in later]
    return [f"{role} was {earlier[role]}, is {later[role]}" for role in both if earlier[role] != later[role]]


def _digests(provenance: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    found = provenance.get("image_digests")
    return found if isinstance(found, dict) else {}


def _model(spec: AgentSpec, variables: Mapping[str, str]) -> dict[str, JsonValue]:
    """What the participant is told of its model, as far as we tell it; values as written, references unresolved."""
    told: dict[str, JsonValue] = {}
    if spec.model_endpoint is not None:
        told["model_endpoint"] = spec.model_endpoint
    if spec.cmd is None and spec.image is None:
        return told
    inherits = spec.env is None and spec.cmd is not None and spec.model_endpoint is None
    source = dict(variables) if inherits else (spec.env or {})
    return told | {name: source[name] for name in _MODEL_NAMES if source.get(name)}


def _versions() -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _host() -> dict[str, JsonValue]:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "memory_bytes": pages * size,
    }


def _git() -> dict[str, JsonValue]:
    """Revision of the checkout this code runs from; empty outside of one."""
    revision = _git_says("rev-parse", "HEAD")
    if revision is None:
        return {}
    return {"revision": revision, "dirty": bool(_git_says("status", "--porcelain", "--untracked-files=no"))}


def _git_says(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
