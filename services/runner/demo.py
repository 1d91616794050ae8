"""The scenario of `assay demo`: everything on this machine, on free ports, with the engine that needs no model."""

from __future__ import annotations

from typing import Final

from services.runner.scenario import GREEN, REFERENCE, AgentSpec, Scenario

OPTIONS_TASKS: Final = 16
HUMANEVAL_TASKS: Final = 16
_TOKEN: Final = "ASSAY_GREEN_TOKEN"  # noqa: S105 - the name of a variable


def demo_scenario() -> Scenario:
    """Option questions and HumanEval against purple on the reference engine; `config/scenarios/quick.toml` is the same."""
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
            "datasets": ["options", "humaneval"],
            "num_tasks": OPTIONS_TASKS + HUMANEVAL_TASKS,
            "options_limit": OPTIONS_TASKS,
            "humaneval_limit": HUMANEVAL_TASKS,
            "seed": 42,
            "timeout_seconds": 60,
        },
    )
