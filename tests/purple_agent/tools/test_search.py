import json
from datetime import date
from typing import Any

import pytest
from aiohttp import web

from services.contract.model_call import ToolCall
from services.purple_agent.tools.equipment import Equipment
from services.purple_agent.tools.toolbox import Toolbox
from tests.purple_agent.tools.web import serving

HIT = {"title": "Rates rise", "url": "https://example.com/a", "content": "x" * 3_000, "published_date": "2024-05-01"}


async def search(url: str, *, today: date | None = None, tool: str = "web_search") -> dict[str, Any]:
    environment = {"TAVILY_API_KEY": "key-of-a-test", "TAVILY_BASE_URL": url}
    equipment = Equipment(environment, sandbox_url=None, simulation_date=today)
    box = Toolbox(await equipment.tools())
    call = ToolCall(id="1", name=tool, arguments=json.dumps({"query": "rates", "max_results": 3}))
    said: dict[str, Any] = json.loads(await box.call(call))
    return said


@pytest.mark.parametrize(
    ("tool", "topic"),
    [("web_search", "general"), ("search_financial_news", "news"), ("search_earnings_info", "finance")],
)
async def test_each_search_asks_its_topic_and_shows_extracts(tool: str, topic: str) -> None:
    bodies: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Bearer key-of-a-test"
        bodies.append(await request.json())
        return web.json_response({"results": [HIT]})

    async with serving(answer) as url:
        said = await search(url, tool=tool, today=date(2024, 6, 30))

    assert bodies == [{"query": "rates", "max_results": 3, "topic": topic, "end_date": "2024-06-30"}]
    (hit,) = said["result"]["hits"]
    assert (hit["title"], len(hit["content"])) == ("Rates rise", 1_200)


async def test_what_was_published_after_the_simulation_date_is_not_shown() -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"results": [HIT | {"published_date": "2025-01-01"}]})

    async with serving(answer) as url:
        said = await search(url, today=date(2024, 6, 30))

    assert said["error"]["kind"] == "after_simulation_date"


async def test_a_page_of_a_later_day_does_not_hide_the_others() -> None:
    late = HIT | {"content": "x", "published_date": "Tue, 03 Jun 2025 14:00:00 GMT"}

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"results": [HIT | {"title": "early"}, late]})

    async with serving(answer) as url:
        said = await search(url, today=date(2024, 6, 30))

    assert [hit["title"] for hit in said["result"]["hits"]] == ["early"]


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [(401, "{}", "HTTP 401"), (200, "prose", "no list of results"), (200, '{"results": "none"}', "no list of results")],
)
async def test_a_search_that_fails_says_so(status: int, body: str, message: str) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=body)

    async with serving(answer) as url:
        said = await search(url)

    assert said["error"]["kind"] == "unavailable"
    assert message in said["error"]["message"]


async def test_a_search_nobody_serves_is_unavailable() -> None:
    said = await search("http://127.0.0.1:9")

    assert said["error"]["kind"] == "unavailable"
