"""The tools an agent owns: formulas always, the rest as far as it is configured."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date
from typing import Final

from pydantic import SecretStr

from services.contract.sandbox_client import SandboxClient
from services.contract.secrets import register_secret
from services.purple_agent.tools.base import AnyTool
from services.purple_agent.tools.outside import CONNECT_S, Server, servers
from services.purple_agent.tools.python import execute_python
from services.purple_agent.tools.references import FETCH_TOOL, LIST_TOOL
from services.purple_agent.tools.registry import FORMULAS
from services.purple_agent.tools.search import TAVILY, Search

ASK_AGAIN_S: Final = 60.0
"""Between two attempts to reach a server: one that hangs must not hold up every message."""
RESERVED: Final = frozenset({LIST_TOOL, FETCH_TOOL})
"""Names of tools that a conversation brings itself; no server may take them."""


class Equipment:
    """Shared by all conversations; asks outside servers for their tools once, and again some time after none answered."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        sandbox_url: str | None,
        simulation_date: date | None,
        connect_s: float = CONNECT_S,
    ) -> None:
        self._sandbox = None if sandbox_url is None else SandboxClient(sandbox_url)
        self._servers = servers(environment, simulation_date, connect_s=connect_s)
        self._search: Search | None = None
        if key := environment.get("TAVILY_API_KEY"):
            register_secret(key)
            base_url = environment.get("TAVILY_BASE_URL", TAVILY)
            self._search = Search(api_key=SecretStr(key), simulation_date=simulation_date, base_url=base_url)
        self._lock = asyncio.Lock()
        self._outside: dict[str, tuple[AnyTool, ...]] = {}
        self._asked: dict[str, float] = {}
        """Loop time of the last attempt, by variable."""

    async def tools(self) -> tuple[AnyTool, ...]:
        """Everything that is offered. Our own tools keep their names; the first of two servers' keeps it."""
        own = (*FORMULAS, *(() if self._sandbox is None else (execute_python(self._sandbox),)))
        searches = () if self._search is None else self._search.tools
        async with self._lock:
            await asyncio.gather(*(self._ask(server) for server in self._servers))
        others = (tool for tools in self._outside.values() for tool in tools if tool.name not in RESERVED)
        unique: dict[str, AnyTool] = {}
        for tool in (*own, *searches, *others):
            unique.setdefault(tool.name, tool)
        return tuple(unique.values())

    async def _ask(self, server: Server) -> None:
        now = asyncio.get_running_loop().time()
        recently = now - self._asked.get(server.variable, -ASK_AGAIN_S) < ASK_AGAIN_S
        if not recently and not (server.variable in self._outside and server.reachable):
            self._outside[server.variable] = await server.tools()
            self._asked[server.variable] = asyncio.get_running_loop().time()

    async def aclose(self) -> None:
        """Close the sandbox client and end outside connections."""
        if self._sandbox is not None:
            await self._sandbox.aclose()
        for server in self._servers:
            await server.aclose()
