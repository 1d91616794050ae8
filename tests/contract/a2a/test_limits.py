"""What both doors of a server share: bounds, silence about exceptions, the token."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from services.contract.a2a.server import Limits, ServerSettings
from tests.support.a2a_server import serving
from tests.support.scripted_agent import SECRET, Scripted

Json = dict[str, Any]


@asynccontextmanager
async def rest(**settings: Any) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    headers = {"A2A-Version": "1.0"}
    async with (
        serving(Scripted(), ServerSettings(rest=True, **settings)) as url,
        aiohttp.ClientSession(headers=headers) as session,
    ):
        yield url, session


def message(*texts: str, **fields: object) -> Json:
    parts = [{"text": text} for text in texts]
    return {"message": {"messageId": "m-1", "role": "ROLE_USER", "parts": parts, **fields}}


def nested(depth: int) -> object:
    inner: object = 1
    for _ in range(depth):
        inner = [inner]
    return inner


@pytest.mark.parametrize("path", ["message:send", "message:stream"])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (message("say a", *["b"] * 3), "message.parts: at most 3, got 4"),
        (message("say " + "x" * 60), "message.parts: a text is larger than 50 bytes"),
        (message("say a", metadata={"deep": nested(20)}), "params: nested deeper than 16"),
        ([], "params: expected an object, got list"),
        ("{", "not JSON"),
        ('{"message": ' + "[" * 100_000, "nested too deeply"),
    ],
)
async def test_rest_takes_no_more_than_json_rpc(path: str, body: object, said: str) -> None:
    sent = body if isinstance(body, str) else json.dumps(body)
    async with (
        rest(limits=Limits(parts=3, part_bytes=50, json_depth=16)) as (url, session),
        session.post(url + path, data=sent) as answer,
    ):
        status, fault = answer.status, await answer.json()

    assert (status, fault["error"]["message"]) == (400, said)


@pytest.mark.parametrize("path", ["message:send", "message:stream"])
async def test_an_exception_reaches_no_peer_by_rest(path: str) -> None:
    async with rest() as (url, session):
        async with session.post(url + path, json=message("boom")) as answer:
            told = await answer.text()
        async with session.get(url + "tasks") as answer:
            kept = await answer.text()

    assert "internal error, reference " in told
    assert SECRET not in told + kept
    assert "RuntimeError" not in told + kept


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("Bearer a-token-of-mine", 200),
        ("bearer a-token-of-mine", 200),
        ("Bearer  a-token-of-mine", 200),
        ("Bearer a-token-of-min", 401),
        ("Bearer a-token-of-mine2", 401),
        ("Basic a-token-of-mine", 401),
        ("a-token-of-mine", 401),
        ("Bearer ", 401),
        ("Bearer ü", 401),
    ],
)
async def test_the_token_is_asked_for_and_its_scheme_has_any_case(said: str, status: int) -> None:
    async with (
        rest(auth_token="a-token-of-mine") as (url, session),
        session.post(url + "message:send", json=message("say a"), headers={"Authorization": said}) as answer,
    ):
        assert answer.status == status
        assert answer.headers.get("WWW-Authenticate") == (None if status == 200 else "Bearer")
