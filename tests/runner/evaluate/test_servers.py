"""Servers that somebody else runs are awaited and checked for the model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import SecretStr

from services.runner.evaluate.servers import serving
from services.runner.failures import AgentStartError, ExitCode, ScenarioError
from tests.runner.evaluate.test_asked import asked
from tests.support.engine import running_engine
from tests.support.raw_http import Seen, raw_server, response

DEAD = "http://127.0.0.1:9/v1"
PAGES = ("/health", "/v1/models")


def pages(health: int, *ids: str) -> Callable[[Seen], bytes]:
    def page(seen: Seen) -> bytes:
        if seen.path == "/health":
            return response("", status=health)
        return response({"data": [{"id": name} for name in ids]})

    return page


async def test_every_server_that_is_well_and_serves_the_model_is_ready() -> None:
    with running_engine() as first, running_engine() as second:
        model = await serving(asked(skip_launch=True), (first.url, second.url), key=None)

    assert model == "reference"


async def test_a_model_that_is_not_served_lists_those_that_are() -> None:
    async with raw_server(pages(200, "qwen-a", "qwen-b"), paths=PAGES) as server:
        with pytest.raises(ScenarioError, match=r"does not serve 'M'; it serves qwen-a, qwen-b") as raised:
            await serving(asked(skip_launch=True, model_path="org/M"), (server.url,), key=None)

    assert raised.value.exit_code is ExitCode.USAGE


async def test_the_one_model_that_is_served_needs_no_name() -> None:
    nameless = asked(skip_launch=True, model_path=None)
    async with raw_server(pages(200, "only"), paths=PAGES) as one, raw_server(pages(200, "a", "b"), paths=PAGES) as two:
        assert await serving(nameless, (one.url,), key=None) == "only"

        with pytest.raises(ScenarioError, match="name one of the models that are served: a, b, only"):
            await serving(nameless, (one.url, two.url), key=None)


async def test_a_server_without_a_health_page_is_judged_by_what_it_lists_and_gets_the_key() -> None:
    key = SecretStr("k-" + "1")
    async with raw_server(pages(404, "only"), paths=PAGES) as server:
        await serving(asked(skip_launch=True, model_name="only"), (server.url,), key=key)

    assert [(seen.path, seen.headers["authorization"]) for seen in server.seen] == [
        ("/health", "Bearer k-1"),
        ("/v1/models", "Bearer k-1"),
    ]


async def test_waiting_goes_on_until_the_server_is_well() -> None:
    loading = response("", status=503)
    script = [loading, loading, response(""), response({"data": [{"id": "m"}]})]
    async with raw_server(script, paths=PAGES) as server:
        model = await serving(asked(skip_launch=True, model_name="m"), (server.url,), key=None)

    assert model == "m"
    assert [seen.path for seen in server.seen] == ["/health", "/health", "/health", "/v1/models"]


async def test_who_does_not_wait_asks_once() -> None:
    async with raw_server([response("", status=503)], paths=PAGES) as server:
        with pytest.raises(AgentStartError, match=r"not ready: .*/health says HTTP 503") as raised:
            await serving(asked(skip_launch=True, skip_wait=True), (server.url,), key=None)

    assert len(server.seen) == 1
    assert raised.value.exit_code is ExitCode.LOST


async def test_the_wait_ends_after_its_time() -> None:
    with pytest.raises(AgentStartError, match=r"within 0\.3 s: http://127\.0\.0\.1:9/health"):
        await serving(asked(skip_launch=True, timeout_s=0.3), (DEAD,), key=None)
