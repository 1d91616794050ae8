"""`assay sandbox`: prove the sandbox, serve it, measure it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from services.green_agent.sandbox.opening import Sandbox

NOT_ISOLATED = 1


@click.group()
def main() -> None:
    """Run untrusted programs apart from everything else."""


@main.command()
@click.option("--backend", default="auto", help="auto, bwrap-warm, bwrap-cold or unsafe-subprocess.")
@click.option("--allow-unsafe-sandbox", is_flag=True, help="Also look at the backend that isolates nothing.")
def check(*, backend: str, allow_unsafe_sandbox: bool) -> None:
    """Run the self-test and print backend, probes and facts. Exit code 1 when nothing isolates."""
    from services.contract.execution import Build, SandboxError  # noqa: PLC0415
    from services.green_agent.sandbox import open_sandbox  # noqa: PLC0415

    async def compiles(sandbox: Sandbox) -> str:
        try:
            built = (await sandbox.run(Build(source="int main() {}", language="cpp"))).build
        except SandboxError as error:
            return f"no   c++: {error}"
        return "ok   c++" if built and built.ok else "FAIL c++"

    async def prove() -> int:
        sandbox = await open_sandbox(backend=backend, allow_unsafe=allow_unsafe_sandbox)
        try:
            cpp = await compiles(sandbox)
        finally:
            await sandbox.aclose()
        info = sandbox.info
        click.echo(f"backend   {info.backend}{'' if info.isolated else ' (NOT isolated)'}")
        for name, passed in info.probes.items():
            click.echo(f"  {'ok  ' if passed else 'FAIL'} {name}")
        click.echo(f"  {cpp}")
        for name, fact in info.facts.items():
            click.echo(f"{name:16} {fact}")
        return 0 if info.isolated else NOT_ISOLATED

    try:
        sys.exit(asyncio.run(prove()))
    except SandboxError as error:
        click.echo(str(error), err=True)
        sys.exit(NOT_ISOLATED)


@main.command()
@click.option("--socket", "socket_path", type=click.Path(path_type=Path), help="Unix socket to listen on.")
@click.option("--host", default="127.0.0.1", help="Address to listen on without --socket.")
@click.option("--port", type=click.IntRange(0, 65535), default=9012, help="Port; 0 for a free one.")
@click.option("--workers", type=click.IntRange(1), default=2, help="Programs at a time.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="The URL is written there once it listens.")
@click.option("--allow-unsafe-sandbox", is_flag=True, help="Accept programs that are not isolated.")
def serve(
    *,
    socket_path: Path | None,
    host: str,
    port: int,
    workers: int,
    ready_file: Path | None,
    allow_unsafe_sandbox: bool,
) -> None:
    """Serve the sandbox over HTTP. Exit code 1 when nothing isolates."""
    from services.contract.execution import SandboxError  # noqa: PLC0415
    from services.contract.telemetry import configure  # noqa: PLC0415
    from services.green_agent.sandbox.service import ServiceSettings  # noqa: PLC0415
    from services.green_agent.sandbox.service import serve as serve_until_stopped  # noqa: PLC0415

    configure("sandbox")
    settings = ServiceSettings(
        socket_path=socket_path,
        host=host,
        port=port,
        workers=workers,
        ready_file=ready_file,
        allow_unsafe=allow_unsafe_sandbox,
    )
    try:
        asyncio.run(serve_until_stopped(settings))
    except SandboxError as error:
        click.echo(str(error), err=True)
        sys.exit(NOT_ISOLATED)


@main.command()
@click.option("--workers", type=click.IntRange(1), default=2, help="Programs at a time.")
@click.option("--allow-unsafe-sandbox", is_flag=True, help="Also measure the backend that isolates nothing.")
def bench(*, workers: int, allow_unsafe_sandbox: bool) -> None:
    """Print how fast each backend of this machine is: programs, calls, C++."""
    from services.contract.execution import SandboxError  # noqa: PLC0415
    from services.green_agent.sandbox.measuring import Speed, speed, table  # noqa: PLC0415
    from services.green_agent.sandbox.opening import LOCAL  # noqa: PLC0415

    measured: list[Speed | str] = []
    for backend in LOCAL:
        try:
            measured.append(asyncio.run(speed(backend.name, workers=workers, allow_unsafe=allow_unsafe_sandbox)))
        except SandboxError as error:
            measured.append(f"{backend.name:18} not available: {error}")
    click.echo(table(measured))
