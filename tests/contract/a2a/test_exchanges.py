"""What our server says on the wire, in exchanges written by hand: the conformance kits' behaviour without the kits."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from services.contract.a2a.server import App, Limits, ServerSettings
from tests.conformance.fixture_agent import Fixture, FixtureExecutor
from tests.contract.a2a.replay import Replay
from tests.support.a2a_server import serving
from tests.support.scripted_agent import Scripted

EXCHANGES = {path.stem: path for path in sorted((Path(__file__).parent / "exchanges").glob("*.json"))}


@pytest.fixture(params=EXCHANGES)
def exchange(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(EXCHANGES[request.param].read_text())
    return found


async def test_exchange(exchange: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    server: dict[str, Any] = exchange.get("server", {})
    agent = server.pop("agent", "scripted")
    if agent == "fixture":
        monkeypatch.setattr(App, "executor", FixtureExecutor)
    settings = ServerSettings(**server | {"limits": Limits(**server.get("limits", {}))})
    behaviour = Fixture() if agent == "fixture" else Scripted()

    async with serving(behaviour, settings, through=pretend_peers) as url, aiohttp.ClientSession() as session:
        await Replay(url, exchange["dialect"], session).play(exchange["steps"])


HEALTH = {"method": "GET", "path": "/healthz"}
SAY = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "say a"}]}
STREAM = {"body": {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": {"message": SAY}}}
MORE: dict[str, Any] = {"...": 0}


@pytest.mark.parametrize(
    ("request_", "expect", "difference"),
    [
        (HEALTH, {"status": 404}, "step 1: HTTP 200"),
        (
            HEALTH,
            {"status": 200, "headers": {"Content-Length": "16"}, "body": MORE},
            "header Content-Length: '15', not '16'",
        ),
        (HEALTH, {"status": 200, "body": {"status": "fine"}}, "step 1.status: 'ok', not 'fine'"),
        (HEALTH, {"status": 200, "body": {"status": "<uuid>"}}, "step 1.status: 'ok'"),
        (HEALTH, {"status": 200, "body": {"status": "ok", "since": "<any>"}}, r"no \['since'\]"),
        (HEALTH, {"status": 200, "body": {}}, r"also \['status'\]"),
        (HEALTH, {"status": 200, "body": ["ok"]}, "is no list"),
        (HEALTH, {"status": 200, "events": []}, "step 1: "),
        (STREAM, {"status": 200, "events": [MORE, MORE, MORE, MORE]}, "3 entries, not 4"),
        (STREAM, {"status": 200, "events": [MORE, MORE]}, "3 entries, not 2"),
        (STREAM, {"status": 200, "errors": [MORE, MORE, MORE]}, r"no \['error'\]"),
        (
            STREAM,
            {"status": 200, "events": [{"task": {"id": "<uuid one>", "contextId": "<uuid one>", **MORE}}, MORE, MORE]},
            "is another one",
        ),
    ],
)
async def test_a_difference_is_found_and_placed(
    request_: dict[str, Any], expect: dict[str, Any], difference: str
) -> None:
    async with serving(Scripted()) as url, aiohttp.ClientSession() as session:
        replay = Replay(url, "1.0", session)

        with pytest.raises(AssertionError, match=difference):
            await replay.play([{"request": request_, "expect": expect}])


def pretend_peers(app: ASGIApp) -> ASGIApp:
    """Requests come from the address they claim, which on loopback no socket can show."""

    async def pretending(scope: Scope, receive: Receive, send: Send) -> None:
        claimed = [value.decode() for name, value in scope.get("headers", []) if name == b"x-pretend-peer"]
        await app({**scope, "client": (claimed[0], 1)} if claimed else scope, receive, send)

    return pretending
