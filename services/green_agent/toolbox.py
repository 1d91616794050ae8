"""What scorers need, opened once, at the first plan that needs it: start-up stays quick and the self-test runs once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from services.contract.execution import SandboxError
from services.green_agent.benchmarks.base import Sandbox, ScoringTools
from services.green_agent.benchmarks.registry import benchmark_class
from services.green_agent.sandbox import open_sandbox

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxSettings:
    """Where untrusted programs run."""

    backend: str = "auto"
    workers: int = 2
    allow_unsafe: bool = False
    url: str | None = None
    """Address of a sandbox service; used instead of a sandbox of our own."""


class Toolbox:
    """Opens the sandbox for the benchmarks that need one and remembers why there is none."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._sandbox: Sandbox | None = None
        self._fault: str | None = None

    async def open_for(self, benchmarks: Iterable[str]) -> tuple[ScoringTools, str | None]:
        """The tools for these benchmarks, and why there is no sandbox (None when there is one or none is needed)."""
        if not any(benchmark_class(name).needs_sandbox for name in benchmarks):
            return ScoringTools(), None
        async with self._lock:
            if self._sandbox is None:
                await self._open()
        return ScoringTools(sandbox=self._sandbox), self._fault

    async def aclose(self) -> None:
        """Stop the sandbox; nothing is left running."""
        if self._sandbox is not None:
            await self._sandbox.aclose()
            self._sandbox = None

    async def _open(self) -> None:
        chosen = self._settings
        try:
            self._sandbox = await open_sandbox(
                backend=chosen.backend, workers=chosen.workers, allow_unsafe=chosen.allow_unsafe, url=chosen.url
            )
        except SandboxError as error:
            self._fault = str(error)
            log.warning("sandbox_unavailable", reason=self._fault)
            return
        self._fault = None
        log.info("sandbox_opened", backend=self._sandbox.info.backend, isolated=self._sandbox.info.isolated)
