"""What scorers need, opened at the first plan that needs it: start-up stays quick and the self-test runs once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from services.contract.assessment import PlannedTrial
from services.contract.execution import SandboxError
from services.contract.judgements import Judgement
from services.green_agent.benchmarks.base import Sandbox, ScoringTools
from services.green_agent.benchmarks.registry import benchmark_class
from services.green_agent.judge.panel import JudgePanel, JudgeUnavailableError, open_judge
from services.green_agent.judge.settings import JudgeSettings
from services.green_agent.sandbox import open_sandbox
from services.green_agent.session import Shelf

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxSettings:
    """Where untrusted programs run."""

    backend: str = "auto"
    workers: int = 2
    allow_unsafe: bool = False
    url: str | None = None
    """Address of a sandbox service; used instead of a sandbox of our own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """What one assessment works with, and why something is not there. A fault is None when a tool is there or not needed."""

    sandbox: Sandbox | None = None
    sandbox_fault: str | None = None
    judge: JudgePanel | None = None
    judge_fault: str | None = None
    shelf: Shelf | None = None

    @contextmanager
    def scoring(self, trial: PlannedTrial) -> Iterator[tuple[ScoringTools, list[Judgement]]]:
        """The tools to score one trial with, and the list that fills with what its judge was asked."""
        judgements: list[Judgement] = []
        judge = None if self.judge is None else self.judge.for_trial(trial, judgements)
        yield ScoringTools(sandbox=self.sandbox, judge=judge), judgements


class Toolbox:
    """Opens the sandbox and the judges for the assessments that need them, and remembers why there is none."""

    def __init__(self, settings: SandboxSettings, *, shelf: Shelf | None = None) -> None:
        self._settings = settings
        self._shelf = shelf
        self._opening_sandbox = asyncio.Lock()
        self._opening_judge = asyncio.Lock()
        self._sandbox: Sandbox | None = None
        self._sandbox_fault: str | None = None
        self._judges: dict[JudgeSettings, JudgePanel] = {}

    async def open_for(self, benchmarks: Iterable[str], judge: JudgeSettings | None) -> Tools:
        """The tools for these benchmarks; `judge` is None when the suite has none."""
        sandbox_fault: str | None = None
        needs_sandbox = any(benchmark_class(name).needs_sandbox for name in benchmarks)
        if needs_sandbox:
            async with self._opening_sandbox:
                if self._sandbox is None:
                    await self._open_sandbox()
            sandbox_fault = self._sandbox_fault
        panel, judge_fault = await self._judge(judge)
        return Tools(
            sandbox=self._sandbox if needs_sandbox else None,
            sandbox_fault=sandbox_fault,
            judge=panel,
            judge_fault=judge_fault,
            shelf=self._shelf,
        )

    async def aclose(self) -> None:
        """Stop the sandbox and close the judges; nothing is left running."""
        if self._sandbox is not None:
            await self._sandbox.aclose()
            self._sandbox = None
        for panel in self._judges.values():
            await panel.aclose()
        self._judges.clear()

    async def _judge(self, settings: JudgeSettings | None) -> tuple[JudgePanel | None, str | None]:
        """One judge for equal settings, shared by the assessments that ask for them."""
        if settings is None or not settings.enabled:
            return None, None
        if settings in self._judges:
            # Before the lock: a judge of a request that answers slowly does not hold up those who have theirs.
            return self._judges[settings], None
        async with self._opening_judge:
            try:
                if settings not in self._judges:
                    self._judges[settings] = await open_judge(settings)
            except JudgeUnavailableError as error:
                log.warning("judge_unavailable", reason=str(error))
                return None, str(error)
        return self._judges[settings], None

    async def _open_sandbox(self) -> None:
        chosen = self._settings
        try:
            self._sandbox = await open_sandbox(
                backend=chosen.backend, workers=chosen.workers, allow_unsafe=chosen.allow_unsafe, url=chosen.url
            )
        except SandboxError as error:
            self._sandbox_fault = str(error)
            log.warning("sandbox_unavailable", reason=self._sandbox_fault)
            return
        self._sandbox_fault = None
        log.info("sandbox_opened", backend=self._sandbox.info.backend, isolated=self._sandbox.info.isolated)
