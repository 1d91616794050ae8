"""Tools that others serve over MCP: filings, market data, statements. A variable such as `MCP_EDGAR_URL` names each server.

What is not configured is not offered. A server that cannot be reached answers every call with `ok: false`; the agent goes on.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import parse_qsl, urlsplit

import structlog
from pydantic import ConfigDict, JsonValue

from services.contract.secrets import register_secret
from services.purple_agent.tools.base import AnyTool, Arguments, Result, Tool, ToolError, Unit
from services.purple_agent.tools.dated import bounded, check_not_later, date_parameters

if TYPE_CHECKING:
    from mcp import Client

log = structlog.get_logger()

STDIO: Final = "stdio:"
"""How a target begins that is a command line instead of an address."""
CONNECT_S: Final = 15.0
CALL_S: Final = 25.0
"""Below a tool's 30 s, so that the server's silence is named as such."""
CLOSE_S: Final = 5.0
MOST_TOOLS: Final = 64
MOST_CHARS: Final = 1_000_000
LONGEST_DESCRIPTION: Final = 1_000
LONGEST_REASON: Final = 2_000
CONNECTION_CLOSED, REQUEST_TIMEOUT = -32_000, -32_001
"""Codes by which the SDK names a broken connection and its own time limit."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
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
    connect_s: float = CONNECT_S
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
            async with asyncio.timeout(self.connect_s):
                listed = (await client.list_tools()).tools
        except Exception as error:  # noqa: BLE001 - the boundary to somebody else's server and its SDK
            log.warning("mcp_server_unreachable", server=self.variable, reason=repr(error))
            return tuple(self._tool(name, "Not reachable at the moment.", None) for name in SERVERS[self.variable])
        return tuple(
            self._tool(tool.name, (tool.description or "")[:LONGEST_DESCRIPTION], dict(tool.input_schema))
            for tool in listed[:MOST_TOOLS]
            if self._fit(tool.name, tool.input_schema)
        )

    async def aclose(self) -> None:
        """End the connection, and the process of a stdio server."""
        holding, self._holding, self._client = self._holding, None, None
        if holding is not None:
            holding.cancel()
            await asyncio.wait({holding}, timeout=CLOSE_S)

    @property
    def _dated(self) -> bool:
        return self.simulation_date is not None and self.variable not in UNDATED

    def _fit(self, name: str, schema: Mapping[str, JsonValue]) -> bool:
        """Whether a tool can be offered: engines refuse the whole request for one tool with a name like `get quote`."""
        reason = None
        if _NAME.fullmatch(name) is None:
            reason = "its name is not one that models can call"
        elif self._dated and not date_parameters(schema):
            reason = "it cannot honour the simulation date"
        if reason is not None:
            log.info("mcp_tool_withdrawn", server=self.variable, tool=name[:100], reason=reason)
        return reason is None

    def _tool(self, name: str, description: str, schema: Mapping[str, JsonValue] | None) -> AnyTool:
        parameters = date_parameters(schema or {})

        async def run(arguments: OpenArguments) -> Said:
            given: dict[str, JsonValue] = dict(arguments.model_extra or {})
            if self._dated and self.simulation_date is not None:
                if not parameters:
                    raise ToolError("withdrawn", f"{name} cannot honour the simulation date")
                given = bounded(given, parameters, self.simulation_date)
            return await self._call(name, given)

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
        from mcp import MCPError  # noqa: PLC0415 - half a second that most agents do not need

        client = await self._connected()
        try:
            result = await client.call_tool(name, arguments, read_timeout_seconds=CALL_S)
        except MCPError as error:
            if error.code == REQUEST_TIMEOUT:
                raise ToolError("timeout", f"{self.variable}: no answer in {CALL_S:g} s") from None
            if error.code != CONNECTION_CLOSED:
                raise ToolError("tool_failed", self._shown(error.message)[:LONGEST_REASON]) from None
            raise await self._lost(client, error) from None
        except Exception as error:  # noqa: BLE001 - the boundary, as above
            raise await self._lost(client, error) from None
        text = "\n".join(part.text for part in result.content if part.type == "text")
        if result.is_error:
            raise ToolError("tool_failed", self._shown(text)[:LONGEST_REASON] or "the server named no reason")
        self._shown(json.dumps(result.structured_content))
        return Said(text=self._shown(text), data=result.structured_content)

    def _shown(self, text: str) -> str:
        """What the server said, if the agent may see it. Raises ToolError."""
        if len(text) > MOST_CHARS:
            raise ToolError(
                "too_large", f"the server answered {len(text):,} characters, at most {MOST_CHARS:,} are read"
            )
        if self._dated and self.simulation_date is not None:
            check_not_later(text, self.simulation_date)
        return text

    async def _lost(self, client: Client, error: Exception) -> ToolError:
        """Give the connection up, unless another call has done so; the error's text may hold the address and its token."""
        log.warning("mcp_server_lost", server=self.variable, reason=repr(error))
        if self._client is client:
            await self.aclose()
        return ToolError("unreachable", f"{self.variable}: {type(error).__name__}")

    async def _connected(self) -> Client:
        """The client, connected. Raises ToolError."""
        async with self._lock:
            if self._client is not None and self.reachable:
                return self._client
            await self.aclose()
            ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
            self._holding = asyncio.create_task(self._hold(ready))
            try:
                async with asyncio.timeout(self.connect_s):
                    self._client = await asyncio.shield(ready)
            except TimeoutError:
                raise ToolError("unreachable", f"{self.variable}: no answer in {self.connect_s:g} s") from None
            finally:
                # Also when the caller was cancelled: nothing that nobody holds stays connected.
                if self._client is None:
                    await self.aclose()
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
                log.warning("mcp_server_unreachable", server=self.variable, reason=repr(error))
                ready.set_exception(ToolError("unreachable", f"{self.variable}: {type(error).__name__}"))


def servers(environment: Mapping[str, str], simulation_date: date | None, *, connect_s: float) -> tuple[Server, ...]:
    """The configured servers, by variable. Keys in their addresses are masked in logs from now on."""
    for variable in SERVERS:
        _register_keys(environment.get(variable, ""))
    return tuple(
        Server(variable=variable, target=environment[variable], simulation_date=simulation_date, connect_s=connect_s)
        for variable in SERVERS
        if environment.get(variable)
    )


def _register_keys(target: str) -> None:
    register_secret(target)
    with suppress(ValueError):
        parts = urlsplit(target)
        for secret in (parts.password, *(value for _, value in parse_qsl(parts.query))):
            register_secret(secret or "")
