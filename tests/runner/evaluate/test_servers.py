"""Servers are launched, awaited, checked for the model, and stopped or left as asked."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.runner.evaluate.servers import LastingServer, servers, serving
from services.runner.failures import AgentStartError, ExitCode, ScenarioError
from services.runner.participants import StartOptions
from tests.runner.evaluate.test_asked import asked
from tests.runner.support.processes import free_ports
from tests.support.engine import running_engine
from tests.support.raw_http import Seen, raw_server, response

DEAD = "http://127.0.0.1:9/v1"
PAGES = ("/health", "/v1/models")


def start_options(folder: Path) -> StartOptions:
    return StartOptions(run_id="t", log_folder=folder, state_folder=folder, variables=dict(os.environ))


def pages(health: int, *ids: str) -> Callable[[Seen], bytes]:
    def page(seen: Seen) -> bytes:
        if seen.path == "/health":
            return response("", status=health)
        return response({"data": [{"id": name} for name in ids]})

    return page


def listens(url: str) -> bool:
    host, _, port = url.partition("://")[2].partition("/")[0].partition(":")
    with closing(socket.socket()) as probe:
        return probe.connect_ex((host, int(port))) == 0


async def test_every_server_that_is_well_and_serves_the_model_is_ready() -> None:
    with running_engine() as first, running_engine() as second:
        model = await serving(asked(skip_launch=True), (first.url, second.url), (), key=None)

    assert model == "reference"


async def test_a_model_that_is_not_served_lists_those_that_are() -> None:
    async with raw_server(pages(200, "qwen-a", "qwen-b"), paths=PAGES) as server:
        with pytest.raises(ScenarioError, match=r"does not serve 'M'; it serves qwen-a, qwen-b") as raised:
            await serving(asked(skip_launch=True, model_path="org/M"), (server.url,), (), key=None)

    assert raised.value.exit_code is ExitCode.USAGE


async def test_the_one_model_that_is_served_needs_no_name() -> None:
    nameless = asked(skip_launch=True, model_path=None)
    async with raw_server(pages(200, "only"), paths=PAGES) as one, raw_server(pages(200, "a", "b"), paths=PAGES) as two:
        assert await serving(nameless, (one.url,), (), key=None) == "only"

        with pytest.raises(ScenarioError, match="name one of the models that are served: a, b, only"):
            await serving(nameless, (one.url, two.url), (), key=None)


async def test_a_server_without_a_health_page_is_judged_by_what_it_lists_and_gets_the_key() -> None:
    key = SecretStr("k-" + "1")
    async with raw_server(pages(404, "only"), paths=PAGES) as server:
        await serving(asked(skip_launch=True, model_name="only"), (server.url,), (), key=key)

    assert [(seen.path, seen.headers["authorization"]) for seen in server.seen] == [
        ("/health", "Bearer k-1"),
        ("/v1/models", "Bearer k-1"),
    ]


async def test_waiting_goes_on_until_the_server_is_well() -> None:
    loading = response("", status=503)
    script = [loading, loading, response(""), response({"data": [{"id": "m"}]})]
    async with raw_server(script, paths=PAGES) as server:
        model = await serving(asked(skip_launch=True, model_name="m"), (server.url,), (), key=None)

    assert model == "m"
    assert [seen.path for seen in server.seen] == ["/health", "/health", "/health", "/v1/models"]


async def test_who_does_not_wait_asks_once() -> None:
    async with raw_server([response("", status=503)], paths=PAGES) as server:
        with pytest.raises(AgentStartError, match=r"not ready: .*/health says HTTP 503") as raised:
            await serving(asked(skip_launch=True, skip_wait=True), (server.url,), (), key=None)

    assert len(server.seen) == 1
    assert raised.value.exit_code is ExitCode.LOST


async def test_the_wait_ends_after_its_time() -> None:
    with pytest.raises(AgentStartError, match=r"within 0\.3 s: http://127\.0\.0\.1:9/health"):
        await serving(asked(skip_launch=True, timeout_s=0.3), (DEAD,), (), key=None)


async def test_what_is_to_be_cleaned_up_is_gone_afterwards(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    wanted = asked(num_services=1, start_port=port, cleanup=True)

    async def failing() -> None:
        async with servers(wanted, start_options(tmp_path), says=lambda _text: None) as launched:
            assert await serving(wanted, wanted.local_urls, launched, key=None) == "reference"
            raise ScenarioError("any failure")

    with pytest.raises(ScenarioError, match="any failure"):
        await failing()

    assert not listens(wanted.local_urls[0])


async def test_without_cleanup_a_server_goes_on_and_its_process_is_told(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    said: list[str] = []
    wanted = asked(num_services=1, start_port=port)

    async with servers(wanted, start_options(tmp_path), says=said.append) as launched:
        await serving(wanted, wanted.local_urls, launched, key=None)
        (server,) = launched
    assert isinstance(server, LastingServer)

    try:
        assert listens(wanted.local_urls[0])
        assert said[-1] == f"http://127.0.0.1:{port} goes on as process {server.pid}: `kill {server.pid}` stops it"
    finally:
        os.kill(server.pid, signal.SIGTERM)
        assert await server.gone() in {"ended with exit code 0", "was killed by signal 15"}


@pytest.mark.parametrize("cleanup", [True, False])
async def test_a_server_that_dies_ends_the_wait_at_once(tmp_path: Path, *, cleanup: bool) -> None:
    (port,) = free_ports(1)
    wanted = asked(num_services=1, start_port=port, cleanup=cleanup, timeout_s=60.0)

    async def dying() -> None:
        async with servers(wanted, start_options(tmp_path), says=lambda _text: None) as launched:
            (server,) = launched
            if isinstance(server, LastingServer):
                os.killpg(server.pid, signal.SIGKILL)
            else:
                await server.stop()
            await serving(wanted, wanted.local_urls, launched, key=None)

    with pytest.raises(AgentStartError, match=f"server-{port} (was killed|ended)"):
        await dying()

    assert not listens(wanted.local_urls[0])
