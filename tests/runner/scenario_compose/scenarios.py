"""Scenarios of these tests, as their files would say them; ids are made up."""

from __future__ import annotations

from typing import Any

from services.runner.scenario import Scenario, parse_scenario
from services.runner.scenario.compose import ComposeOptions, ComposeProject, compose_project

GREEN_ID = "019b0000-0000-7000-8000-0000000000aa"
PURPLE_ID = "019b0000-0000-7000-8000-0000000000bb"


def scenario(
    *participants: dict[str, Any],
    green: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    any_config: bool = False,
) -> Scenario:
    """A scenario of images; without participants there is one, called purple_agent."""
    tables = participants or ({"name": "purple_agent", "image": "example.org/purple:1"},)
    table = {
        "green_agent": {"image": "example.org/green:1", **(green or {})},
        "participants": list(tables),
        "config": config or {},
    }
    return parse_scenario(table, name="test", any_config=any_config)


def project(*participants: dict[str, Any], green: dict[str, Any] | None = None, **options: Any) -> ComposeProject:
    """The project of such a scenario."""
    return compose_project(scenario(*participants, green=green), ComposeOptions(**options))


def purple(role: str = "purple_agent", **more: Any) -> dict[str, Any]:
    """A participant from an image."""
    return {"role": role, "image": "example.org/purple:1", **more}
