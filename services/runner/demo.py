"""The scenario of `assay demo`: everything on this machine, on free ports, with the engine that needs no model."""

from __future__ import annotations

from typing import Final

from services.runner.scenario import GREEN, REFERENCE, AgentSpec, Scenario

LIMITS: Final = {"synthetic": 12, "options": 12, "crypto": 4, "humaneval": 12}
"""Tasks of each benchmark; a market takes as long as a dozen questions."""
_TOKEN: Final = "ASSAY_GREEN_TOKEN"  # noqa: S105 - the name of a variable


def demo_scenario() -> Scenario:
    """A little of everything that needs no download, on the reference engine; `config/scenarios/quick.toml` is the same."""
    return Scenario(
        name="demo",
        green=AgentSpec(
            role=GREEN,
            cmd=f"green-agent serve --eval-config offline --auth-token-env {_TOKEN}",
            env={},
            token_env=_TOKEN,
            free_port=True,
        ),
        participants=(
            AgentSpec(role="purple", cmd="purple-agent serve", env={}, model_endpoint=REFERENCE, free_port=True),
        ),
        config={
            "num_tasks": sum(LIMITS.values()),
            **{f"{name}_limit": tasks for name, tasks in LIMITS.items()},
            "seed": 42,
            "timeout_seconds": 60,
        },
    )
