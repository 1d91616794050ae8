"""Tools that others serve over MCP: filings, market data, statements. A variable such as `MCP_EDGAR_URL` names each server.

What is not configured is not offered. A server that cannot be reached answers every call with `ok: false`; the agent goes on.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Annotated, Final

import structlog
from pydantic import ConfigDict, JsonValue

from services.purple_agent.tools.base import AnyTool, Arguments, Result, Tool, ToolError, Unit
from services.purple_agent.tools.dated import bounded, check_not_later, date_parameter

if TYPE_CHECKING:
    from mcp import Client

log = structlog.get_logger()

STDIO: Final = "stdio:"
"""How a target begins that is a command line instead of an address."""
CONNECT_S: Final = 15.0
CALL_S: Final = 25.0
"""Below a tool's 30 s, so that the server's silence is named as such."""
SERVERS: Final[Mapping[str, tuple[str, ...]]] = {
    "MCP_EDGAR_URL": ("get_filing", "get_xbrl_financials"),
    "MCP_YFINANCE_URL": (
        "get_quote",
        "get_historical_prices",
        "get_financials",
        "get_key_statistics",
        "get_analyst_estimates",
        "get_earnings",
        "get_company_info",
    ),
    "MCP_OPTIONS_URL": ("get_options_chain",),
    "MCP_SANDBOX_URL": (),
}
"""Variables, and the tools one expects there: offered by these names as long as the server cannot be asked."""
UNDATED: Final = frozenset({"MCP_SANDBOX_URL"})
"""Servers that compute and know nothing of the world; the simulation date does not concern them."""


class OpenArguments(Arguments):
    """Whatever the server's schema says; the server validates."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Said(Result):
    """What the server answered."""

    text: Annotated[str, Unit("text")]
    data: Annotated[JsonValue, Unit("structured answer, null when there is none")] = None


@dataclass(kw_only=True, slots=True)
class Server:
    """One outside server: connected by its own task at the first use, again after it was lost."""

    variable: str
    target: str
    simulation_date: date | None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _client: Client | None = None
    _holding: asyncio.Task[None] | None = None

    @property
    def reachable(self) -> bool:
        """True while the connection stands."""
        return self._holding is not None and not self._holding.done()

    async def tools(self) -> tuple[AnyTool, ...]:
        """What the server offers now; by their usual names when it cannot be asked."""
        try:
            client = await self._connected()
            async with asyncio.timeout(CONNECT_S):
                listed = (await client.list_tools()).tools
        except ToolError as error:
            log.warning("mcp_server_unreachable", server=self.variable, reason=str(error))
            return tuple(self._tool(name, "Not reachable at the moment.", None) for name in SERVERS[self.variable])
        except Exception as error:  # noqa: BLE001 - the boundary to somebody else's server and its SDK
            log.warning("mcp_server_unreachable", server=self.variable, reason=repr(error))
            return tuple(self._tool(name, "Not reachable at the moment.", None) for name in SERVERS[self.variable])
        offered = []
        for tool in listed:
            schema: dict[str, JsonValue] = dict(tool.input_schema)
            if self._dated and date_parameter(schema) is None:
                log.info("mcp_tool_withdrawn", tool=tool.name, reason="it cannot honour the simulation date")
                continue
            offered.append(self._tool(tool.name, tool.description or "", schema))
        return tuple(offered)

    async def aclose(self) -> None:
        """End the connection, and the process of a stdio server."""
        if self._holding is not None:
            self._holding.cancel()
            with suppress(asyncio.CancelledError):
                await self._holding
            self._holding = self._client = None

    @property
    def _dated(self) -> bool:
        return self.simulation_date is not None and self.variable not in UNDATED

    def _tool(self, name: str, description: str, schema: Mapping[str, JsonValue] | None) -> AnyTool:
        parameter = date_parameter(schema or {})

        async def run(arguments: OpenArguments) -> Said:
            given: dict[str, JsonValue] = dict(arguments.model_extra or {})
            if self._dated and self.simulation_date is not None:
                if parameter is None:
                    raise ToolError("withdrawn", f"{name} cannot honour the simulation date")
                given = bounded(given, parameter, self.simulation_date)
            said = await self._call(name, given)
            if self._dated and self.simulation_date is not None:
                check_not_later(f"{said.text} {json.dumps(said.data)}", self.simulation_date)
            return said

        open_schema: dict[str, JsonValue] = {"type": "object", "additionalProperties": True}
        return Tool(
            name=name,
            description=description,
            arguments=OpenArguments,
            result=Said,
            run=run,
            schema=schema or open_schema,
        )

    async def _call(self, name: str, arguments: dict[str, JsonValue]) -> Said:
        client = await self._connected()
        try:
            result = await client.call_tool(name, arguments, read_timeout_seconds=CALL_S)
        except Exception as error:  # noqa: BLE001 - the boundary, as above
            await self.aclose()
            raise ToolError("unreachable", f"{self.variable}: {error}"[:500]) from None
        text = "\n".join(part.text for part in result.content if part.type == "text")
        if result.is_error:
            raise ToolError("tool_failed", text[:2_000] or "the server named no reason")
        return Said(text=text, data=result.structured_content)

    async def _connected(self) -> Client:
        """The client, connected. Raises ToolError."""
        async with self._lock:
            if self._holding is not None and self._holding.done():
                self._holding = self._client = None
            if self._client is None:
                ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
                self._holding = asyncio.create_task(self._hold(ready))
                try:
                    async with asyncio.timeout(CONNECT_S):
                        self._client = await asyncio.shield(ready)
                except TimeoutError:
                    await self.aclose()
                    raise ToolError("unreachable", f"{self.variable}: no answer in {CONNECT_S:g} s") from None
            return self._client

    async def _hold(self, ready: asyncio.Future[Client]) -> None:
        """The connection's own task: the SDK wants to be entered and left in one."""
        from mcp import Client, StdioServerParameters  # noqa: PLC0415 - half a second that most agents do not need

        try:
            target: str | StdioServerParameters = self.target
            if self.target.startswith(STDIO):
                command, *arguments = shlex.split(self.target.removeprefix(STDIO))
                target = StdioServerParameters(command=command, args=arguments)
            async with Client(target) as client:
                ready.set_result(client)
                await asyncio.Event().wait()
        except Exception as error:  # noqa: BLE001 - the boundary, as above
            if not ready.done():
                ready.set_exception(ToolError("unreachable", f"{self.variable}: {error}"[:500]))


def servers(environment: Mapping[str, str], simulation_date: date | None) -> tuple[Server, ...]:
    """The configured servers, by variable."""
    return tuple(
        Server(variable=variable, target=environment[variable], simulation_date=simulation_date)
        for variable in SERVERS
        if environment.get(variable)
    )
