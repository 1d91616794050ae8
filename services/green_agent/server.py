"""The green agent as a server: its card and its settings."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version

from services.contract.a2a.server import AgentProfile, ServerSettings, Skill, serve
from services.green_agent.executor import AGENT_NAME, GreenExecutor, GreenSettings
from services.green_agent.files import FileShelf
from services.green_agent.toolbox import SandboxSettings, Toolbox


def profile() -> AgentProfile:
    """What the card says."""
    skill = Skill(
        id="assess",
        name="Assess an agent",
        description=(
            'Examines one A2A agent on a plan of tasks. Send {"participants": {role: url}, "config": {...}}; '
            "every finished trial is streamed, the artifact evaluation_result accounts for all of them."
        ),
        tags=["evaluation", "benchmark", "finance", "code"],
    )
    return AgentProfile(
        name=AGENT_NAME,
        description="Evaluates agents over A2A; every task is accounted for.",
        version=version("assay"),
        skills=[skill],
    )


def run(settings: GreenSettings, sandbox: SandboxSettings, server: ServerSettings) -> int:
    """Serve until stopped. Returns the exit code."""
    shelf = FileShelf()
    executor = GreenExecutor(settings, Toolbox(sandbox, shelf=shelf))
    # Told to stop, green cancels: what is finished is sent at once and what is missing can be resumed.
    return serve(executor, profile(), replace(server, drain_s=0.0), closing=executor.aclose, mount=shelf.mount)
