"""Runs the model's Python in the sandbox service. The agent's own process never executes it."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from services.contract.execution import Limits, Program, SandboxError
from services.contract.outcomes import AgentFailure, Outcome
from services.contract.sandbox_client import SandboxClient
from services.purple_agent.tools.base import AnyTool, Arguments, Result, Tool, Unit

OUTPUT_SHARE: Final = 3_500
"""Characters kept of stdout and of stderr, so that both fit the answer of a tool."""


class PythonArguments(Arguments):
    """A program."""

    code: Annotated[str, Field(min_length=1, max_length=200_000)]
    """Print what you want to see. There is no network and nothing is kept between calls."""
    timeout: Annotated[float, Field(gt=0, le=30)] = 30.0
    """Seconds."""


class PythonRun(Result):
    """What the program did."""

    stdout: Annotated[str, Unit("text")]
    stderr: Annotated[str, Unit("text")]
    exit_status: Annotated[int | None, Unit("0 = success; null = killed")]
    stopped_by: Annotated[str | None, Unit("limit that stopped it: cpu, wall, memory, output; null = none")]


def execute_python(client: SandboxClient) -> AnyTool:
    """The tool `execute_python` over a sandbox service.

    A broken sandbox ends the answer as `infra_error`: the agent cannot be held to a tool that was promised and is gone.
    """

    async def run(arguments: PythonArguments) -> PythonRun:
        limits = Limits(cpu_s=arguments.timeout, wall_s=arguments.timeout)
        try:
            job = await client.run(Program(source=arguments.code, limits=limits))
        except SandboxError as error:
            raise AgentFailure(Outcome.INFRA_ERROR, "sandbox", str(error)) from error
        return PythonRun(
            stdout=shorten(job.stdout, limit=OUTPUT_SHARE),
            stderr=shorten(job.stderr or job.error, limit=OUTPUT_SHARE),
            exit_status=job.exit_status,
            stopped_by=job.limit,
        )

    return Tool(
        name="execute_python",
        description="Runs a Python 3 program in an isolated sandbox and returns what it prints.",
        arguments=PythonArguments,
        result=PythonRun,
        run=run,
        time_limit_s=60.0,  # the program has 30 s of its own; the rest is for waiting its turn
    )


def shorten(text: str, *, limit: int) -> str:
    """`text`, or its beginning and end with a line between them that says how much is missing."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[{len(text) - 2 * half:,} characters cut]\n{text[-half:]}"
