import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from services.contract.model_call import ToolCall
from services.purple_agent.tools.equipment import Equipment
from services.purple_agent.tools.toolbox import Toolbox

SCRIPT = Path(__file__).with_name("mcp_server.py")
STDIO = f"stdio:{sys.executable} {SCRIPT}"


@asynccontextmanager
async def toolbox(environment: dict[str, str], *, simulation_date: date | None = None) -> AsyncIterator[Toolbox]:
    equipment = Equipment(environment, sandbox_url=None, simulation_date=simulation_date)
    try:
        yield Toolbox(await equipment.tools())
    finally:
        await equipment.aclose()


async def call(box: Toolbox, name: str, **arguments: object) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await box.call(ToolCall(id="1", name=name, arguments=json.dumps(arguments))))
    return answer


def names(box: Toolbox) -> set[str]:
    return {tool.name for tool in box.tools}


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture
def http_server() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen([sys.executable, str(SCRIPT), str(port)], stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


async def listening(url: str) -> None:
    port = int(url.split(":")[2].split("/", maxsplit=1)[0])
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)  # the event is another process's listen, so it is polled
        else:
            writer.close()
            await writer.wait_closed()
            return


async def test_nothing_is_offered_that_is_not_configured() -> None:
    async with toolbox({}) as box:
        assert not names(box) & {"get_quote", "get_filing", "web_search"}


async def test_a_stdio_servers_tools_are_offered_with_their_schemas_and_answer() -> None:
    async with toolbox({"MCP_YFINANCE_URL": STDIO}) as box:
        (quote,) = [tool for tool in box.tools if tool.name == "get_quote"]
        assert quote.parameters["required"] == ["symbol"]

        answer = await call(box, "get_quote", symbol="ACME", as_of="2024-05-01")
        facts = await call(box, "get_company_info", symbol="ACME")

    assert answer["result"]["text"] == "ACME closed at 101.5 on 2024-05-01"
    assert facts["result"]["data"] == {"symbol": "ACME", "sector": "energy"}


async def test_a_server_over_http_answers_the_same(http_server: str) -> None:
    await listening(http_server)
    async with toolbox({"MCP_YFINANCE_URL": http_server}) as box:
        answer = await call(box, "get_quote", symbol="ACME", as_of="2024-05-01")

    assert answer["result"]["text"] == "ACME closed at 101.5 on 2024-05-01"


async def test_a_tool_that_fails_says_so_and_the_server_stays() -> None:
    async with toolbox({"MCP_YFINANCE_URL": STDIO}) as box:
        failed = await call(box, "breaks")
        after = await call(box, "get_quote", symbol="ACME")

    assert failed["ok"] is False
    assert failed["error"]["kind"] == "tool_failed"
    assert after["ok"] is True


@pytest.mark.parametrize("target", ["http://127.0.0.1:9/mcp", "stdio:/does/not/exist", f"stdio:{sys.executable} -c 1"])
async def test_a_server_that_cannot_be_reached_answers_not_ok(target: str) -> None:
    async with toolbox({"MCP_EDGAR_URL": target}) as box:
        assert {"get_filing", "get_xbrl_financials"} <= names(box)
        answer = await call(box, "get_filing", ticker="ACME")

    assert (answer["ok"], answer["error"]["kind"]) == (False, "unreachable")


async def test_the_simulation_date_bounds_dated_tools_and_withdraws_the_others() -> None:
    async with toolbox({"MCP_YFINANCE_URL": STDIO}, simulation_date=date(2024, 6, 30)) as box:
        assert "get_company_info" not in names(box)
        later = await call(box, "get_quote", symbol="ACME", as_of="2026-01-01")
        earlier = await call(box, "get_quote", symbol="ACME", as_of="2023-01-01")
        future = await call(box, "get_earnings", symbol="ACME")

    assert later["result"]["text"].endswith("on 2024-06-30")
    assert earlier["result"]["text"].endswith("on 2023-01-01")
    assert future["error"]["kind"] == "after_simulation_date"


async def test_a_server_that_only_computes_keeps_its_tools_at_any_date() -> None:
    async with toolbox({"MCP_SANDBOX_URL": STDIO}, simulation_date=date(2024, 6, 30)) as box:
        assert "get_company_info" in names(box)
