"""Runs untrusted programs: `open_sandbox` gives a sandbox that has proved that it isolates, or says what to do.

Imports nothing else of green, so its image holds no data. Source: code-and-math specification 9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.green_agent.sandbox.opening import Sandbox

__all__ = ["open_sandbox"]


async def open_sandbox(
    *, backend: str = "auto", workers: int = 2, allow_unsafe: bool = False, url: str | None = None
) -> Sandbox:
    """A sandbox whose self-test has passed.

    `backend`: "auto", "bwrap-warm", "bwrap-cold", "container" (a service at `url`) or "unsafe-subprocess". `workers`:
    programs at a time. `url`: "http://host:port" or "unix:///path"; a service given this way is used, never a backend of
    this machine. Raises SandboxError, whose text names the remedy, when nothing isolates and `allow_unsafe` is False.
    """
    # Here, so that the command line can print its help without the libraries behind this.
    from services.green_agent.sandbox.opening import AUTO, CONTAINER, LOCAL, named, open_local, open_service  # noqa: PLC0415

    if url is not None or backend == CONTAINER:
        return await open_service(url, allow_unsafe=allow_unsafe)
    candidates = LOCAL if backend == AUTO else named(backend)
    return await open_local(candidates, workers=workers, allow_unsafe=allow_unsafe)
