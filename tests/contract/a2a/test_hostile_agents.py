"""Agents that would hurt us: bombs, floods of small things, cards that are none. What they send is bounded."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from services.contract.a2a.client import AgentClient, Timings, UrlPolicy
from services.contract.outcomes import AgentFailure
from tests.support.raw_agents import card_of

QUICK = Timings(send_delays_s=(), poll_delays_s=(0.01,), poll_v03_s=0.05)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def good_card(_request: web.Request) -> web.Response:
    return web.json_response(card_of("1.0", "http://agent.test/", streaming=True))


@asynccontextmanager
async def hostile(*, post: Handler, card: Handler = good_card) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/.well-known/agent-card.json", card)
    app.router.add_post("/", post)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def failure_of(url: str, *, policy: UrlPolicy | None = None, timings: Timings = QUICK) -> AgentFailure:
    async with aclosing(AgentClient(url, timings=timings, policy=policy)) as client:
        with pytest.raises(AgentFailure) as caught:
            await client.conversation().ask("What is 6 x 7?", asyncio.get_running_loop().time() + 30)
    return caught.value


def verdict(failure: AgentFailure) -> str:
    return f"{failure.outcome}/{failure.kind}"


def bomb(size: int) -> bytes:
    """At least `size` blanks, packed a thousandfold: one packed piece again and again, without an end."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    head, piece = packer.flush(zlib.Z_FULL_FLUSH), packer.compress(b" " * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + piece * (size >> 20)


def resident_mib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) >> 10


@pytest.mark.parametrize(
    ("content_type", "status", "expected"),
    [
        ("application/json", 200, "agent_error/too_large"),
        ("text/event-stream", 200, "agent_error/too_large"),
        ("text/plain", 500, "infra_error/http_500"),
    ],
)
async def test_a_reply_is_measured_after_it_is_unpacked(content_type: str, status: int, expected: str) -> None:
    packed = bomb(1 << 30)

    async def post(_request: web.Request) -> web.Response:
        headers = {"Content-Encoding": "gzip", "Content-Type": content_type}
        return web.Response(status=status, body=packed, headers=headers)

    before = resident_mib()
    async with hostile(post=post) as url:
        failure = await failure_of(url)

    assert verdict(failure) == expected
    assert resident_mib() - before < 100


async def test_a_reply_of_a_hundred_thousand_events_is_cut_off_whatever_they_weigh() -> None:
    event = b'data:{"result":{"statusUpdate":{"status":{"state":"TASK_STATE_WORKING"}}}}\n\n'

    async def post(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(101):
            await response.write(event * 1_000)
        return response

    async with hostile(post=post) as url:
        failure = await failure_of(url)

    assert verdict(failure) == "agent_error/too_large"
    assert failure.message == "the reply comes in more than 100000 events"


async def never(_request: web.Request) -> web.Response:
    raise AssertionError("there was no card, so nothing may be sent")


async def large(_request: web.Request) -> web.Response:
    return web.Response(body=b'{"name": "' + b"x" * (256 << 10) + b'"}')


async def packed(_request: web.Request) -> web.Response:
    return web.Response(body=bomb(64 << 20), headers={"Content-Encoding": "gzip"})


async def elsewhere(request: web.Request) -> web.Response:
    raise web.HTTPFound(str(request.url.with_path("/other")))


async def teapot(_request: web.Request) -> web.Response:
    return web.Response(status=418)


async def page(_request: web.Request) -> web.Response:
    return web.Response(text="<html>hello</html>", content_type="text/html")


@pytest.mark.parametrize("card", [large, packed, elsewhere, teapot, page])
async def test_a_card_that_is_none_is_a_matter_of_configuration_and_not_the_agents_score(card: Handler) -> None:
    async with hostile(post=never, card=card) as url:
        failure = await failure_of(url)

    assert verdict(failure) == "infra_error/no_interface"
    assert url in failure.message


async def drips(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.01)


async def test_a_card_that_comes_drop_by_drop_is_no_answer() -> None:
    async with hostile(post=never, card=drips) as url:
        failure = await failure_of(url, timings=replace(QUICK, card_s=0.2))

    assert verdict(failure) == "infra_error/unreachable"
    assert "no answer within 0.2 s" in failure.message


async def test_an_address_in_other_digits_is_checked_as_the_one_it_leads_to() -> None:
    async with hostile(post=never) as url:
        failure = await failure_of(url.replace("127.0.0.1", "①②⑦.0.0.1"), policy=UrlPolicy.parse("public"))

    assert verdict(failure) == "infra_error/unreachable"
    assert "127.0.0.1 is not a public address" in failure.message


async def test_a_redirected_message_is_not_followed() -> None:
    followed = asyncio.Event()

    async def other(_request: web.Request) -> web.Response:
        followed.set()
        return web.Response()

    async with hostile(post=other) as target:

        async def redirect(_request: web.Request) -> web.Response:
            raise web.HTTPTemporaryRedirect(target)

        async with hostile(post=redirect) as url:
            failure = await failure_of(url)

    assert verdict(failure) == "agent_error/protocol"
    assert not followed.is_set()
