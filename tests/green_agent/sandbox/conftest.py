"""A sandbox of each backend this machine has; what it lacks is skipped by name."""

from collections.abc import AsyncIterator

import pytest

from services.contract.execution import Program, SandboxError
from services.green_agent.sandbox import compiler
from services.green_agent.sandbox.backends import BWRAP_COLD, BWRAP_WARM, UNSAFE, USERS, Backend
from services.green_agent.sandbox.pool import LocalSandbox

needs_compiler = pytest.mark.skipif(compiler.executable() is None, reason="g++ is not installed")

BACKENDS = (BWRAP_WARM, BWRAP_COLD, USERS, UNSAFE)
_lacking: dict[str, str] = {}


async def lacking(backend: Backend) -> str:
    """Why this machine cannot run the backend; empty when it can."""
    if backend.name not in _lacking:
        _lacking[backend.name] = backend.missing() or await _first_program(backend)
    return _lacking[backend.name]


async def _first_program(backend: Backend) -> str:
    sandbox = LocalSandbox(backend, workers=1)
    try:
        await sandbox.run(Program(source=""))
    except SandboxError as error:
        return str(error)
    finally:
        await sandbox.aclose()
    return ""


async def opened(backend: Backend) -> AsyncIterator[LocalSandbox]:
    reason = await lacking(backend)
    if reason:
        pytest.skip(f"{backend.name}: {reason}")
    sandbox = LocalSandbox(backend, workers=2)
    yield sandbox
    await sandbox.aclose()


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[LocalSandbox]:
    """Each backend in turn."""
    async for made in opened(request.param):
        yield made


@pytest.fixture
async def warm() -> AsyncIterator[LocalSandbox]:
    """The backend of choice."""
    async for made in opened(BWRAP_WARM):
        yield made
