"""A right scenario of two files, of which tests change one place at a time."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from services.runner.failures import ScenarioError
from services.runner.scenario.amber import AmberScenario, read_amber

GATEWAY = "https://raw.githubusercontent.com/RDI-Foundation/agentbeats-gateway/refs/tags/v0.3/amber-manifest.json5"

ROOT: dict[str, Any] = {
    "manifest_version": "0.1.0",
    "config_schema": {
        "type": "object",
        "properties": {"openai_api_key": {"type": "string", "secret": True}},
        "required": ["openai_api_key"],
        "additionalProperties": False,
    },
    "components": {
        "gateway": {
            "manifest": GATEWAY,
            "config": {
                "assessment_config": {"num_tasks": 3, "options_limit": 2},
                "participant_roles": {"green": "examiner", "purple1": "trader"},
            },
        },
        "examiner": {"manifest": "https://example.org/examiner/v1/amber-manifest.json5", "config": {}},
        "trader": {"manifest": "./agent.json5", "config": {"openai_api_key": "${config.openai_api_key}"}},
    },
    "bindings": [
        {"to": "#gateway.green", "from": "#examiner.a2a"},
        {"to": "#gateway.purple1", "from": "#trader.a2a"},
        {"to": "#examiner.proxy", "from": "#gateway.proxy", "weak": True},
    ],
    "exports": {"results": "#gateway.results"},
    "metadata": {"agentbeats_ids": {"examiner": 77, "trader": "0b53e1e6-6e37-44cd-8a5a-2e0d2c5c9a11"}},
}
AGENT: dict[str, Any] = {
    "manifest_version": "0.1.0",
    "program": {
        "image": "registry.example:5000/team/trader:1.2",
        "entrypoint": "trade --host 0.0.0.0 --port 9010",
        "env": {"OPENAI_API_KEY": "${config.openai_api_key}", "MODE": "careful"},
        "network": {"endpoints": [{"name": "main", "port": 9010}]},
    },
    "config_schema": {
        "type": "object",
        "properties": {"openai_api_key": {"type": "string", "secret": True}},
        "required": ["openai_api_key"],
        "additionalProperties": False,
    },
    "provides": {"a2a": {"kind": "a2a", "endpoint": "main"}},
    "exports": {"a2a": "a2a"},
}
GONE = object()


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy with the value at a path (names joined by /), or without it when the value is GONE."""
    copied = copy.deepcopy(document)
    *steps, last = path.split("/")
    place: Any = copied
    for step in steps:
        place = place[int(step) if isinstance(place, list) else step]
    key: Any = int(last) if isinstance(place, list) else last
    if value is GONE:
        del place[key]
    elif isinstance(place, list) and key == len(place):
        place.append(value)
    else:
        place[key] = value
    return copied


def write(folder: Path, root: dict[str, Any] = ROOT, agent: dict[str, Any] = AGENT) -> Path:
    """The path of the scenario, its two files written."""
    (folder / "agent.json5").write_text(json.dumps(agent))
    path = folder / "scenario.json5"
    path.write_text(json.dumps(root))
    return path


def read(folder: Path, root: dict[str, Any] = ROOT, agent: dict[str, Any] = AGENT, **options: bool) -> AmberScenario:
    return read_amber(write(folder, root, agent), **options)


def faults(folder: Path, root: dict[str, Any] = ROOT, agent: dict[str, Any] = AGENT, **options: bool) -> list[str]:
    """Every fault, without the folder's name."""
    with pytest.raises(ScenarioError) as caught:
        read(folder, root, agent, **options)
    return [fault.replace(f"{folder}/", "") for fault in caught.value.faults]
