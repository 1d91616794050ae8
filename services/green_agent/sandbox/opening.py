"""Chooses a backend: the first whose self-test passes. Never changes it afterwards."""

from __future__ import annotations

import platform
from typing import Protocol

from services.contract.execution import Job, JobResult, SandboxError, SandboxInfo
from services.contract.sandbox_client import SandboxClient
from services.green_agent.sandbox.backends import BWRAP_COLD, BWRAP_WARM, UNSAFE, Backend
from services.green_agent.sandbox.facts import machine_facts
from services.green_agent.sandbox.pool import LocalSandbox
from services.green_agent.sandbox.selftest import self_test, shortcomings

LOCAL = (BWRAP_WARM, BWRAP_COLD, UNSAFE)
"""Backends of this machine, best first."""
AUTO = "auto"
CONTAINER = "container"
REMEDY = (
    "install bubblewrap (scripts/install, or `apt-get install bubblewrap`) and allow user namespaces, or point green at a "
    "sandbox service (`assay sandbox serve`), or accept programs that are not isolated with --allow-unsafe-sandbox"
)


class Sandbox(Protocol):
    """What `open_sandbox` returns; the same shape as in `benchmarks.base`."""

    @property
    def info(self) -> SandboxInfo:
        """Backend and the proof that it isolates."""
        ...

    async def run(self, job: Job) -> JobResult:
        """Run one job. Raises SandboxError when the sandbox itself is broken."""
        ...

    async def aclose(self) -> None:
        """Stop the workers; nothing is left running."""
        ...


class RemoteSandbox:
    """The sandbox service, seen from green."""

    def __init__(self, client: SandboxClient, info: SandboxInfo) -> None:
        self._client = client
        self.info = info.model_copy(update={"backend": CONTAINER, "facts": info.facts | {"inside": info.backend}})

    async def run(self, job: Job) -> JobResult:
        """Run one job there. Raises SandboxError."""
        result = await self._client.run(job)
        return result.model_copy(update={"backend": CONTAINER})

    async def aclose(self) -> None:
        """Close the connections; the service goes on."""
        await self._client.aclose()


async def open_local(candidates: tuple[Backend, ...], *, workers: int, allow_unsafe: bool) -> LocalSandbox:
    """The first of `candidates` that works on this machine. Raises SandboxError with the reason of each."""
    if platform.system() != "Linux":
        raise SandboxError(f"programs are isolated by Linux, and this is {platform.system()}. To mend it, {REMEDY}")
    reasons: dict[str, str] = {}
    for backend in candidates:
        if not backend.isolated and not allow_unsafe:
            reasons[backend.name] = "refused without --allow-unsafe-sandbox"
            continue
        missing = backend.missing()
        if missing is not None:
            reasons[backend.name] = missing
            continue
        sandbox = LocalSandbox(backend, workers=workers)
        reason = await _prove(sandbox, reasons)
        if reason is None:
            return sandbox
        reasons[backend.name] = reason
        await sandbox.aclose()
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise SandboxError(f"no sandbox on this machine ({told}). To mend it, {REMEDY}")


async def _prove(sandbox: LocalSandbox, reasons: dict[str, str]) -> str | None:
    """Run the self-test and keep its proof. Returns why the backend cannot be used, or None."""
    try:
        probes = await self_test(sandbox)
    except SandboxError as error:
        return str(error)
    except BaseException:
        await sandbox.aclose()
        raise
    failed = shortcomings(probes, isolated=sandbox.info.isolated)
    if failed:
        return f"failed {', '.join(failed)}"
    skipped = {f"not {name}": reason for name, reason in reasons.items()}
    sandbox.proof = sandbox.proof.model_copy(
        update={"probes": probes, "facts": machine_facts(isolated=sandbox.info.isolated) | skipped}
    )
    return None


async def open_service(url: str | None, *, allow_unsafe: bool) -> RemoteSandbox:
    """The service at `url`. Raises SandboxError when it is not there, or isolates nothing and that is not allowed."""
    if url is None:
        raise SandboxError("the container backend needs the URL of a sandbox service (`assay sandbox serve`)")
    client = SandboxClient(url)
    try:
        info = await client.info()
        if not info.isolated and not allow_unsafe:
            raise SandboxError(f"the sandbox service at {url} does not isolate programs. To mend it, {REMEDY}")  # noqa: TRY301
    except BaseException:
        await client.aclose()
        raise
    return RemoteSandbox(client, info)


def named(name: str) -> tuple[Backend, ...]:
    """The backend of that name alone. Raises SandboxError for a name that does not exist."""
    known = {backend.name: backend for backend in LOCAL}
    if name not in known:
        raise SandboxError(f"no sandbox backend {name!r}; there are {', '.join([AUTO, *known, CONTAINER])}")
    return (known[name],)
