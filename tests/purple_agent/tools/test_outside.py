import asyncio
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.contract.model_call import ToolCall
from services.contract.secrets import redact
from services.purple_agent.tools.equipment import Equipment
from services.purple_agent.tools.toolbox import Toolbox

SCRIPT = Path(__file__).with_name("mcp_server.py")
STDIO = f"stdio:{sys.executable} {SCRIPT}"
HOSTILE = f"stdio:{sys.executable} {SCRIPT.with_name('hostile_mcp_server.py')}"
TODAY = date(2024, 6, 30)


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


def written(path: Path) -> str:
    """What another process writes there, up to a blank; polled, since the event is not ours."""
    while not (path.exists() and path.read_text().endswith(" ")):
        time.sleep(0.02)
    return path.read_text().strip()


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


async def test_a_server_takes_no_name_of_the_agents_own_tools() -> None:
    environment = {
        "MCP_YFINANCE_URL": HOSTILE,
        "TAVILY_API_KEY": "key-of-a-test",
        "TAVILY_BASE_URL": "http://127.0.0.1:9",
    }
    async with toolbox(environment) as box:
        assert "fetch_reference_file" not in names(box)
        searched = await call(box, "web_search", query="rates")

    assert searched["error"]["message"].startswith("the search cannot be reached")


async def test_a_tool_whose_name_engines_refuse_is_withdrawn_and_descriptions_are_cut() -> None:
    async with toolbox({"MCP_YFINANCE_URL": HOSTILE}) as box:
        assert "get quote, please" not in names(box)
        assert max(len(tool.description) for tool in box.tools if tool.name == "floods") == 1_000


async def test_megabytes_of_an_answer_are_refused() -> None:
    async with toolbox({"MCP_YFINANCE_URL": HOSTILE}) as box:
        said = await call(box, "floods")

    assert said["error"]["kind"] == "too_large"


async def test_a_server_that_dies_in_a_call_is_started_again_for_the_next() -> None:
    async with toolbox({"MCP_YFINANCE_URL": HOSTILE}) as box:
        died = await call(box, "dies")
        after = await call(box, "says", text="here")

    assert died["error"]["kind"] == "unreachable"
    assert after["result"]["text"] == "here"


async def test_an_error_of_a_server_tells_no_later_date_either() -> None:
    async with toolbox({"MCP_YFINANCE_URL": HOSTILE}, simulation_date=TODAY) as box:
        said = await call(box, "refuses")

    assert said["error"]["kind"] == "after_simulation_date"


async def test_every_date_of_a_tool_is_bounded() -> None:
    async with toolbox({"MCP_YFINANCE_URL": HOSTILE}, simulation_date=TODAY) as box:
        later = await call(box, "between", as_of="2024-01-01", end_date="2025-12-31")
        spliced = await call(box, "between", as_of="2024-01-01/2025-12-31", end_date="2024-06-01")

    assert later["result"]["text"] == "2024-01-01 to 2024-06-30"
    assert spliced["result"]["text"] == "2024-06-30 to 2024-06-01"


async def test_an_address_with_a_key_reaches_neither_the_model_nor_a_log() -> None:
    key = "a-key-" + "of-a-test"
    with capture_logs() as events:
        async with toolbox({"MCP_EDGAR_URL": f"http://127.0.0.1:9/mcp?api_key={key}"}) as box:
            said = await call(box, "get_filing", ticker="ACME")

    assert said["error"]["kind"] == "unreachable"
    assert key not in json.dumps(said)
    assert events
    assert key not in redact(json.dumps(events))  # every string of a log event passes `redact`


async def test_a_server_that_accepts_and_says_nothing_holds_up_one_message_only() -> None:
    connections = 0

    async def silence(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await _reader.read()
        writer.close()

    silent = await asyncio.start_server(silence, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    equipment = Equipment(
        {"MCP_EDGAR_URL": f"http://127.0.0.1:{port}/mcp"}, sandbox_url=None, simulation_date=None, connect_s=0.2
    )
    try:
        first = await equipment.tools()
        seen = connections
        second = await equipment.tools()
    finally:
        await equipment.aclose()
        silent.close()

    assert [tool.name for tool in first] == [tool.name for tool in second]
    assert "get_filing" in {tool.name for tool in second}
    assert (seen > 0, connections) == (True, seen)


async def test_a_caller_that_gives_up_leaves_no_process_behind(tmp_path: Path) -> None:
    started = tmp_path / "started"
    script = f"import os,time; open({str(started)!r}, 'a').write(f'{{os.getpid()}} '); time.sleep(600)"
    equipment = Equipment(
        {"MCP_EDGAR_URL": f"stdio:{sys.executable} -c {shlex.quote(script)}"}, sandbox_url=None, simulation_date=None
    )
    asking = asyncio.create_task(equipment.tools())
    pid = await asyncio.to_thread(written, started)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await equipment.aclose()

    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
