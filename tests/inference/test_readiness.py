from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Any, Self

import pytest

from services.inference.servers.readiness import Readiness, Target, probe, probe_all
from tests.support.engine import running_engine
from tests.support.raw_http import Seen, raw_server, response

PATHS = ("/health", "/v1/models", "/v1/chat/completions", "/v1/completions")
ANSWER = {"choices": [{"message": {"content": None}, "finish_reason": "length"}], "usage": {"completion_tokens": 1}}


def port_of(readiness: Readiness) -> str:
    return readiness.url.removesuffix("/v1").rpartition(":")[2]


def server(**answers: bytes | None) -> Callable[[Seen], bytes | None]:
    """A well server of model X, except for the paths whose last word is named here."""
    well = {
        "health": response(""),
        "models": response({"data": [{"id": "X", "root": "/ckpt/x-1", "max_model_len": 77}]}),
        "completions": response(ANSWER),
    }
    return lambda seen: (well | answers)[seen.path.rpartition("/")[2]]


async def test_a_real_engine_is_ready_with_its_model_and_its_length() -> None:
    with running_engine() as engine:
        readiness = await probe(engine.url, served_name="reference")

    assert readiness.ready
    assert (readiness.model, readiness.models, readiness.max_model_len) == ("reference", ("reference",), 32768)
    assert readiness.problem == ""


async def test_another_model_is_named() -> None:
    with running_engine() as engine:
        readiness = await probe(engine.url, served_name="Y")

    assert readiness.condition == "wrong_model"
    assert readiness.problem == f"port {port_of(readiness)} answers, but it serves reference, not Y"


async def test_an_engine_that_hangs_with_a_healthy_health_is_not_ready() -> None:
    with running_engine("hang") as engine:
        readiness = await probe(engine.url, served_name="reference", timeout_s=1.5)

    assert readiness.condition == "not_generating"
    assert readiness.problem == f"port {port_of(readiness)} is alive but not generating: no token within 1.5 s"
    assert readiness.models == ("reference",)


async def test_an_engine_that_only_answers_errors_is_not_ready() -> None:
    with running_engine("500") as engine:
        readiness = await probe(engine.url, served_name="reference")

    assert readiness.condition == "not_generating"
    assert "is alive but not generating: HTTP 500" in readiness.problem


async def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

        readiness = await probe(f"http://127.0.0.1:{port}/v1", served_name="X")

    assert readiness.condition == "unreachable"
    assert readiness.problem.startswith(f"port {port}: nothing accepts connections")


@pytest.mark.parametrize(
    ("answers", "condition", "words"),
    [
        ({"health": response("loading", status=503)}, "unhealthy", "its /health says HTTP 503: loading"),
        (
            {"health": b"SSH-2.0-OpenSSH_9.2\r\n\r\n"},
            "unhealthy",
            "does not speak HTTP as a model server does: /health",
        ),
        ({"health": b""}, "unhealthy", "does not speak HTTP"),
        ({"health": None}, "silent", "accepts connections, but /health gave no answer within 1 s"),
        ({"models": None}, "silent", "accepts connections, but /v1/models gave no answer within 1 s"),
        ({"models": response("<html>")}, "no_models", "its /v1/models is no list of models: HTTP 200: <html>"),
        ({"models": response("", status=404)}, "no_models", "its /v1/models says HTTP 404"),
        ({"models": response({"data": []})}, "wrong_model", "it serves nothing, not X"),
        ({"models": response("no", status=401)}, "unauthorised", "answers 401 to /v1/models: it wants a key"),
        ({"models": response({"data": [{"id": "a\x1b[2J\nb"}]})}, "wrong_model", "it serves a [2J b, not X"),
        (
            {"models": response({"data": [{"id": f"m{number}"} for number in range(90)]})},
            "wrong_model",
            "it serves m0, m1, m2, m3, m4, m5, m6, m7 and 82 more, not X",
        ),
        (
            {"health": response("\x1b]0;title\x07 no", status=503)},
            "unhealthy",
            "its /health says HTTP 503: ]0;title no",
        ),
        (
            {"health": response("é", status=503, headers={"content-type": "text/plain; charset=zlib_codec"})},
            "unhealthy",
            "its /health says HTTP 503: é",
        ),
        ({"health": response("x" * 3_000_000)}, "unhealthy", "/health: an answer of more than 1 MiB"),
        ({"models": response("x" * 3_000_000)}, "no_models", "/v1/models: an answer of more than 1 MiB"),
        ({"completions": response("x" * 3_000_000)}, "not_generating", "completions: an answer of more than 1 MiB"),
        ({"completions": response({"choices": []})}, "not_generating", "an answer without a token"),
        ({"completions": response("[]")}, "not_generating", "an answer without a token"),
        (
            {"completions": response(ANSWER | {"usage": {"completion_tokens": 0}})},
            "not_generating",
            "an answer without a token",
        ),
    ],
)
async def test_what_is_wrong_with_a_server_is_said(answers: dict[str, Any], condition: str, words: str) -> None:
    async with raw_server(server(**answers), paths=PATHS) as raw:
        readiness = await probe(raw.url, served_name="X", timeout_s=1 if None in answers.values() else 20)

    assert readiness.condition == condition
    assert words in readiness.problem
    assert not readiness.ready


async def test_a_model_that_answers_its_one_token_without_text_is_ready() -> None:
    async with raw_server(server(), paths=PATHS) as raw:
        readiness = await probe(raw.url, served_name="X")

    assert (readiness.ready, readiness.max_model_len) == (True, 77)


async def test_a_base_model_without_a_chat_template_is_asked_for_a_completion() -> None:
    def answer(seen: Seen) -> bytes | None:
        if seen.path == "/v1/chat/completions":
            return response({"error": {"message": "no chat template"}}, status=400)
        return server()(seen)

    async with raw_server(answer, paths=PATHS) as raw:
        readiness = await probe(raw.url, served_name="X")

        assert readiness.ready
        assert raw.seen[-1].body == {"model": "X", "max_tokens": 1, "temperature": 0, "prompt": "ping"}


@pytest.mark.parametrize(
    ("served_name", "model_path", "ready"),
    [
        ("X", "/other", True),
        ("x-1", None, False),
        ("/ckpt/x-1", None, False),
        (None, "/ckpt/x-1", True),
        (None, "/models/X", True),
        (None, "/models/Y", False),
        (None, None, True),
    ],
)
async def test_a_served_name_is_exact_and_a_path_may_be_the_models_root_or_end_in_its_name(
    served_name: str | None,
    model_path: str | None,
    ready: bool,  # noqa: FBT001
) -> None:
    async with raw_server(server(), paths=PATHS) as raw:
        readiness = await probe(raw.url, served_name=served_name, model_path=model_path)

    assert readiness.ready is ready
    assert readiness.model == ("X" if ready else None)


async def test_the_key_goes_to_the_server_and_its_refusal_is_named() -> None:
    def answer(seen: Seen) -> bytes | None:
        if seen.headers.get("authorization") == "Bearer right" or seen.path == "/health":
            return server()(seen)
        return response("no", status=401)

    async with raw_server(answer, paths=PATHS) as raw:
        right, wrong = [await probe(raw.url, served_name="X", key=key) for key in ("right", "wrong")]

    assert right.ready
    assert wrong.problem.endswith("answers 401 to /v1/models: the key given is not accepted")


async def test_a_key_that_no_header_can_hold_is_named_and_any_other_is_sent_as_it_is() -> None:
    async with raw_server(server(), paths=PATHS) as raw:
        odd, broken = [await probe(raw.url, served_name="X", key=key) for key in ("clé", "a\nb")]

        assert raw.seen[0].headers["authorization"] == "Bearer clé"
    assert odd.ready
    assert (broken.condition, "the key holds a character that no header can" in broken.problem) == (
        "unauthorised",
        True,
    )


@pytest.mark.parametrize(
    "url", ["http://[abc:80/v1", "http://[[a:b]:80/v1", "http://:80/v1", "http://a\0b:80/v1", "http://a..b:1"]
)
async def test_a_url_that_leads_nowhere_is_a_server_that_is_not_ready(url: str) -> None:
    readiness = await probe(url, served_name="X")

    assert (readiness.condition, bool(readiness.problem)) == ("unreachable", True)


async def test_the_key_never_follows_a_redirect() -> None:
    async with (
        raw_server(server(), paths=PATHS) as other,
        raw_server(
            server(models=response("", status=307, headers={"location": f"{other.url}/models"})), paths=PATHS
        ) as raw,
    ):
        readiness = await probe(raw.url, served_name="X", key="secret")

        assert readiness.condition == "no_models"
        assert other.seen == []


async def test_many_servers_are_asked_at_once_and_answered_in_order() -> None:
    together = asyncio.Barrier(8)

    async with AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(_Meeting(together)) for _ in range(8)]
        targets = [Target(url=raw.url, served_name="X") for raw in slow]
        found = await probe_all(targets, timeout_s=20)

    assert [one.url for one in found] == [target.url for target in targets]
    assert all(one.ready for one in found)


async def test_one_silent_server_does_not_hide_the_others() -> None:
    with ExitStack() as stack:
        urls = [stack.enter_context(running_engine(*fault)).url for fault in ((), ("hang",), ())]
        found = await probe_all([Target(url=url) for url in urls], timeout_s=1.5)

    assert [one.condition for one in found] == ["ready", "not_generating", "ready"]


async def test_a_server_on_another_host_is_called_by_its_address() -> None:
    readiness = await probe("http://nobody.invalid:8000/v1")

    assert readiness.problem.startswith("nobody.invalid:8000: nothing accepts connections")


class _Meeting:
    """A server whose /health answers only when all of them have been asked."""

    def __init__(self, together: asyncio.Barrier) -> None:
        self._together = together
        self._listener: asyncio.Server

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._listener.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers = server()
        while head := await _head(reader):
            method, path, _ = head.split(" ", 2)
            if path == "/health":
                await self._together.wait()
            writer.write(answers(Seen(method=method, path=path, headers={}, body=None)) or b"")
        writer.close()


async def _head(reader: asyncio.StreamReader) -> str:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return ""
    length = next((line.split(":")[1] for line in head.lower().split("\r\n") if line.startswith("content-length")), "0")
    await reader.readexactly(int(length))
    return head
