"""An agent that somebody else started."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalAgent:
    """Known by its address only: its life is not ours to watch or to end."""

    role: str
    url: str
    facts: dict[str, str] = field(default_factory=dict)

    async def locate(self) -> None:
        """The address is given."""

    async def gone(self) -> str:
        """Never returns: a lost endpoint shows in the calls to it."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")

    def tail(self) -> str:
        """Its log is elsewhere."""
        return ""

    async def stop(self) -> None:
        """Left running, as it was found."""
