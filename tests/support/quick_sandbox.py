"""A real sandbox without the proof at start-up, which takes seconds and has tests of its own."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.contract.execution import Program, SandboxError
from services.green_agent.sandbox.backends import BWRAP_COLD, BWRAP_WARM, UNSAFE
from services.green_agent.sandbox.pool import LocalSandbox

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine")


@asynccontextmanager
async def quick_sandbox(*, workers: int = 2) -> AsyncIterator[LocalSandbox]:
    """The first backend of this machine that runs a program."""
    for backend in (BWRAP_WARM, BWRAP_COLD, UNSAFE):
        if backend.missing() is not None:
            continue
        sandbox = LocalSandbox(backend, workers=workers)
        try:
            await sandbox.run(Program(source=""))
        except SandboxError:
            await sandbox.aclose()
            continue
        try:
            yield sandbox
        finally:
            await sandbox.aclose()
        return
    pytest.skip("no sandbox on this machine")
