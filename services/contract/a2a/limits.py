"""What keeps a server alive among rude peers: bounded bodies, timers on slow ones, bounded JSON, the bearer check."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.contract.a2a.card import CARD_PATH, OLD_CARD_PATH
from services.contract.a2a.settings import Limits
from services.contract.a2a.wire import nested_deeper

OPEN_PATHS: Final = frozenset({CARD_PATH, OLD_CARD_PATH, "/healthz"})
REST_SENDS: Final = ("/message:send", "/message:stream")
PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS = -32700, -32600, -32602


def rpc_error(code: int, message: str, *, request_id: object = None, status: int = 200, **headers: str) -> Response:
    """A JSON-RPC error; header names with underscores for dashes."""
    known_id = request_id if isinstance(request_id, str | int) and not isinstance(request_id, bool) else None
    body = {"jsonrpc": "2.0", "id": known_id, "error": {"code": code, "message": message}}
    return JSONResponse(
        body, status_code=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


class BoundedBody:
    """Reads the whole body before the app runs: at most so many bytes, in at most so many seconds."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 or 408, or run the app on the body."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._limits.body_s):
                body = await self._read(receive)
        except TimeoutError:
            await Response("request body too slow", 408, {"connection": "close"})(scope, receive, send)
            return
        if body is None:
            answer = rpc_error(INVALID_REQUEST, "payload too large", status=413, connection="close")
            await answer(scope, receive, send)
            return
        if scope["path"].endswith(REST_SENDS) and (fault := _rest_fault(body, self._limits)):
            refused = JSONResponse({"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": fault}}, 400)
            await refused(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body, or None when it is too large. A peer that left ends in an empty or partial body."""
        body = bytearray()
        more = True
        while more:
            event = await receive()
            body += event.get("body", b"")
            if len(body) > self._limits.body_bytes:
                return None
            more = event.get("more_body", False)
        return bytes(body)


def _rest_fault(body: bytes, limits: Limits) -> str | None:
    """What JSON-RPC would refuse about these params; the SDK looks after all else that comes by REST."""
    try:
        params = parse_json(body)
    except RecursionError:
        return "nested too deeply"
    except ValueError:
        return "not JSON"
    return json_fault({"params": params}, limits)


def _replay(body: bytes, receive: Receive) -> Receive:
    unread = True

    async def replaying() -> Message:
        nonlocal unread
        if unread:
            unread = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replaying


class BearerCheck:
    """Lets requests with the token through, and those that need none: the card and the health check."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or run the app."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._knows(scope):
            await self._app(scope, receive, send)
            return
        await JSONResponse({"error": "unauthorized"}, 401, {"www-authenticate": "Bearer"})(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        return hmac.compare_digest(token.strip(), self._expected) and scheme.lower() == b"bearer"


def parse_json(body: bytes) -> object:
    """Strict JSON. Raises ValueError, also for NaN and for half characters; RecursionError when absurdly nested."""

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    parsed = json.loads(body.decode("utf-8"), parse_constant=refuse)
    if b"\\ud" in body.lower():
        json.dumps(parsed, ensure_ascii=False).encode()  # half a surrogate pair could not be written into the answer
    return parsed


def json_fault(request: Mapping[str, Any], limits: Limits) -> str | None:
    """Why these params are not taken, or None."""
    params = request.get("params")
    if params is not None and not isinstance(params, dict):
        return f"params: expected an object, got {type(params).__name__}"
    if nested_deeper(params, limits.json_depth):
        return f"params: nested deeper than {limits.json_depth}"
    message = params.get("message") if params else None
    # `content` is what 0.3 calls them in REST.
    parts = message.get("parts", message.get("content")) if isinstance(message, dict) else None
    if not isinstance(parts, list):
        return None
    if len(parts) > limits.parts:
        return f"message.parts: at most {limits.parts}, got {len(parts)}"
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    if any(isinstance(text, str) and len(text.encode("utf-8", "replace")) > limits.part_bytes for text in texts):
        return f"message.parts: a text is larger than {limits.part_bytes} bytes"
    return None


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol with an end to its patience: for headers, and for a response nobody reads."""

    limits = Limits()
    _timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_headers = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock on the first request."""
        super().connection_made(transport)
        self._arm(self.limits.header_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every clock."""
        self._disarm()
        self._disarm_write()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what arrives before the headers end; uvicorn has no bound of its own."""
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > self.limits.header_bytes and not self.transport.is_closing():
            self.send_400_response("Request header too large.")

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_headers = True
        if self._timer is None:
            self._arm(self.limits.header_s)

    def on_headers_complete(self) -> None:
        """The headers are here; what they weigh is known exactly now."""
        self._disarm()
        self._in_headers, self._header_bytes = False, 0
        if sum(len(name) + len(value) for name, value in self.headers) > self.limits.header_bytes:
            raise ValueError("request header too large")  # becomes a 400 in uvicorn
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        super().pause_writing()
        self._disarm_write()
        self._watch_buffer(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The peer has caught up."""
        super().resume_writing()
        self._disarm_write()

    def _watch_buffer(self, size: int) -> None:
        def look() -> None:
            left = self.transport.get_write_buffer_size()
            if left >= size:
                self.transport.abort()
            else:
                self._watch_buffer(left)

        self._write_timer = self.loop.call_later(self.limits.write_s, look)

    def _arm(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _disarm_write(self) -> None:
        """A clock of its own: the headers of a further request must not save a peer that reads nothing."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
