"""Connections in small pools: every place is given back, few calls use few connections, and proxies are respected."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from services.contract.model_http import KEEP_ALIVE_S, http_client
from services.contract.model_pools import LONGEST_BODY, POOL_SIZE, Pools
from tests.support.raw_http import RawServer, raw_server, response


def pools_of(connections: int) -> Pools:
    return Pools(connections=connections, keep_alive_s=KEEP_ALIVE_S, trust_env=False)


async def post(client: httpx2.AsyncClient, server: RawServer) -> int:
    return (await client.post(f"{server.url}/chat/completions", json={})).status_code


@pytest.mark.parametrize(("connections", "sizes"), [(1, [1]), (32, [32]), (33, [17, 17]), (1_016, [32] * 32)])
def test_pools_are_small_and_hold_all_connections_together(connections: int, sizes: list[int]) -> None:
    assert [pool.size for pool in pools_of(connections)._pools] == sizes
    assert max(sizes) <= POOL_SIZE


async def test_a_place_is_free_again_however_its_request_ended() -> None:
    whole, cut = response({}), response({"a": "b" * 200})[:-100]
    pools = pools_of(40)
    async with raw_server([whole, b"", cut, None]) as server, httpx2.AsyncClient(transport=pools) as client:
        assert await post(client, server) == 200
        with pytest.raises(httpx2.TransportError):
            await post(client, server)
        with pytest.raises(httpx2.ReadTimeout):
            await client.post(f"{server.url}/chat/completions", json={}, timeout=0.1)
        hanging = asyncio.create_task(client.post(f"{server.url}/chat/completions", json={}, timeout=None))
        while len(server.seen) < 4:  # noqa: ASYNC110 - the server tells no event
            await asyncio.sleep(0.005)
        assert sum(pool.busy for pool in pools._pools) == 1
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)

    assert [pool.busy for pool in pools._pools] == [0, 0]


async def test_a_response_without_end_is_broken_off_before_it_fills_the_memory() -> None:
    async with (
        raw_server([response("x" * (LONGEST_BODY + 1))]) as server,
        httpx2.AsyncClient(transport=pools_of(1), timeout=30) as client,
    ):
        with pytest.raises(httpx2.ReadError, match="longer than 64000000 bytes"):
            await post(client, server)


async def test_more_requests_than_places_are_all_answered() -> None:
    pools = pools_of(34)
    async with raw_server([response({})]) as server, httpx2.AsyncClient(transport=pools, timeout=30) as client:
        answers = await asyncio.gather(*(post(client, server) for _ in range(80)))

    assert answers == [200] * 80
    assert [pool.busy for pool in pools._pools] == [0, 0]


async def test_where_the_environment_names_a_proxy_it_is_used_but_never_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with raw_server([response({})], paths=["http://model.example/v1/models"]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        async with http_client("http://model.example/v1", 4) as remote:
            there = await remote.get("http://model.example/v1/models")
        async with raw_server([response({})]) as server, http_client(server.url, 4) as local:
            here = await post(local, server)

    assert (there.status_code, here) == (200, 200)
    assert len(proxy.seen) == 1
    assert proxy.others == []
