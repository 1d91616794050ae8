"""A server under its guard: what is told about its end."""

from __future__ import annotations

import asyncio
import sys
import tempfile

from services.inference.launchers.child import started

DYING = (sys.executable, "-S", "-c", "import time; time.sleep(0.05); raise SystemExit(7)")


async def exit_code() -> int:
    with tempfile.TemporaryFile() as log:
        child = await started(DYING, {}, out=log, err=log, handles=[])
        while (code := await child.death()) is None:  # noqa: ASYNC110 - looking often is the point
            await asyncio.sleep(0.0005)
        return code


async def test_the_exit_code_is_the_servers_own_however_soon_its_end_is_noticed() -> None:
    """A guard that was signalled on its way out told 143 in three of four such looks."""
    codes = [code for _ in range(5) for code in await asyncio.gather(*(exit_code() for _ in range(4)))]

    assert codes == [7] * 20
