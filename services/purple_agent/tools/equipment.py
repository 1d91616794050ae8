"""The tools an agent owns: formulas always, the rest as far as it is configured."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date

from pydantic import SecretStr

from services.contract.sandbox_client import SandboxClient
from services.contract.secrets import register_secret
from services.purple_agent.tools.base import AnyTool
from services.purple_agent.tools.outside import servers
from services.purple_agent.tools.python import execute_python
from services.purple_agent.tools.registry import FORMULAS
from services.purple_agent.tools.search import TAVILY, Search


class Equipment:
    """Shared by all conversations; asks outside servers for their tools once, and again when none answered."""

    def __init__(
        self, environment: Mapping[str, str], *, sandbox_url: str | None, simulation_date: date | None
    ) -> None:
        self._sandbox = None if sandbox_url is None else SandboxClient(sandbox_url)
        self._servers = servers(environment, simulation_date)
        self._search: Search | None = None
        if key := environment.get("TAVILY_API_KEY"):
            register_secret(key)
            base_url = environment.get("TAVILY_BASE_URL", TAVILY)
            self._search = Search(api_key=SecretStr(key), simulation_date=simulation_date, base_url=base_url)
        self._lock = asyncio.Lock()
        self._outside: dict[str, tuple[AnyTool, ...]] = {}

    async def tools(self) -> tuple[AnyTool, ...]:
        """Everything that is offered. The first of two tools of one name stays."""
        own = (*FORMULAS, *(() if self._sandbox is None else (execute_python(self._sandbox),)))
        async with self._lock:
            for server in self._servers:
                if server.variable not in self._outside or not server.reachable:
                    self._outside[server.variable] = await server.tools()
        others = (tool for tools in self._outside.values() for tool in tools)
        searches = () if self._search is None else self._search.tools
        unique: dict[str, AnyTool] = {}
        for tool in (*own, *others, *searches):
            unique.setdefault(tool.name, tool)
        return tuple(unique.values())

    async def aclose(self) -> None:
        """Close the sandbox client and end outside connections."""
        if self._sandbox is not None:
            await self._sandbox.aclose()
        for server in self._servers:
            await server.aclose()
