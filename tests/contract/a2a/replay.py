"""Plays hand-written exchanges against a server: what is sent, and what must come back.

An exchange is a JSON file `{"about", "dialect", "server"?, "steps"}`. `server` holds fields of `ServerSettings`, and `agent`
(`scripted`, or `fixture` of the conformance kits). A step is one of

    {"request": {"method", "path", "headers", "body" | "raw" | "size"},
     "expect": {"status", "headers", "body" | "events" | "errors"},
     "keep": NAME}                                     a request; `keep` leaves a stream open after the expected events
    {"read": NAME, "expect": {"events"}}               what a stream that was kept open says until it ends
    {"leave": NAME}                                    the peer goes away

`events` and `errors` are the results and errors of the JSON-RPC answers in a stream; the envelope around them is checked by
itself. Expectations are exact, but for the matchers: "<any>" a value, "<uuid>", "<hex>", "<time>" text of that form, and the
key "..." more keys. "<uuid task>" keeps what it met as `task`, and "{task}" stands for it in later steps.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

FORMS: Final = {
    "any": re.compile(r"(?s).*"),
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "hex": re.compile(r"[0-9a-f]{32}"),
    "time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"),
}
MATCHER: Final = re.compile(r"<(\w+)(?: (\w+))?>")
HEADERS: Final = {"1.0": {"A2A-Version": "1.0"}, "0.3": {}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """An answer that is still read."""

    response: aiohttp.ClientResponse
    request_id: object
    events: AsyncIterator[Any]


class Replay:
    """One exchange with one server. Every difference is an AssertionError that says where it is."""

    def __init__(self, url: str, dialect: str, session: aiohttp.ClientSession) -> None:
        self._url = url.rstrip("/")
        self._headers = HEADERS[dialect]
        self._session = session
        self._known: dict[str, str] = {"url": url}
        self._open: dict[str, Stream] = {}

    async def play(self, steps: list[Mapping[str, Any]]) -> None:
        """All steps, in order."""
        try:
            for number, step in enumerate(steps, 1):
                where = f"step {number}"
                if "leave" in step:
                    self._open.pop(step["leave"]).response.close()
                elif "read" in step:
                    await self._read_to_the_end(step["read"], step["expect"], where)
                else:
                    await self._ask(step, where)
        finally:
            for stream in self._open.values():
                stream.response.close()

    async def _ask(self, step: Mapping[str, Any], where: str) -> None:
        request, expect = self._filled(step["request"]), step["expect"]
        data, headers = body_of(request), {**self._headers, **request.get("headers", {})}
        response = await self._session.request(
            request.get("method", "POST"), self._url + request.get("path", "/"), data=data, headers=headers
        )
        assert response.status == expect["status"], f"{where}: HTTP {response.status}, {await response.text()}"
        for name, value in expect.get("headers", {}).items():
            self._match(response.headers.get(name, "<absent>"), value, f"{where}, header {name}")
        if not expect.keys() & {"events", "errors"}:
            text = await response.text()
            got = json.loads(text) if response.content_type == "application/json" and text else text
            self._match(got, expect.get("body", ""), where)
            return
        assert response.content_type == "text/event-stream", f"{where}: {await response.text()}"
        name = step.get("keep", "")
        self._open[name] = stream = Stream(
            response=response, request_id=request["body"]["id"], events=answers(response)
        )
        if not name:
            await self._read_to_the_end(name, expect, where)
            return
        for number, wanted in enumerate(enveloped(expect, stream.request_id)):
            self._match(await anext(stream.events), wanted, f"{where}, event {number}")

    async def _read_to_the_end(self, name: str, expect: Mapping[str, Any], where: str) -> None:
        stream = self._open[name]
        self._match([event async for event in stream.events], enveloped(expect, stream.request_id), where)
        del self._open[name]

    def _filled(self, value: Any) -> Any:
        """The value with `{task}` and the like put in."""
        if isinstance(value, str):
            return re.sub(r"\{(\w+)\}", lambda name: self._known.get(name[1], name[0]), value)
        if isinstance(value, dict):
            return {key: self._filled(each) for key, each in value.items()}
        return [self._filled(each) for each in value] if isinstance(value, list) else value

    def _match(self, got: Any, wanted: Any, where: str) -> None:
        if isinstance(wanted, dict):
            self._match_object(got, wanted, where)
        elif isinstance(wanted, list):
            assert isinstance(got, list), f"{where}: {got!r} is no list"
            assert len(got) == len(wanted), f"{where}: {len(got)} entries, not {len(wanted)}: {got}"
            for number, (each, expected) in enumerate(zip(got, wanted, strict=True)):
                self._match(each, expected, f"{where}[{number}]")
        elif isinstance(wanted, str) and (matcher := MATCHER.fullmatch(wanted)) and matcher[1] in FORMS:
            assert matcher[1] == "any" or (isinstance(got, str) and FORMS[matcher[1]].fullmatch(got)), (
                f"{where}: {got!r}"
            )
            if matcher[2]:
                assert self._known.setdefault(matcher[2], got) == got, f"{where}: {got!r} is another {matcher[2]}"
        else:
            expected = self._filled(wanted)
            assert (type(got), got) == (type(expected), expected), f"{where}: {got!r}, not {expected!r}"

    def _match_object(self, got: Any, wanted: Mapping[str, Any], where: str) -> None:
        assert isinstance(got, dict), f"{where}: {got!r} is no object"
        missing, more = wanted.keys() - got.keys() - {"..."}, got.keys() - wanted.keys()
        assert not missing, f"{where}: no {sorted(missing)} in {got}"
        assert "..." in wanted or not more, f"{where}: also {sorted(more)} in {got}"
        for key, expected in wanted.items():
            if key != "...":
                self._match(got[key], expected, f"{where}.{key}")


def body_of(request: Mapping[str, Any]) -> bytes | io.BytesIO | None:
    """`body` as JSON, `raw` as it is, `size` bytes of nothing in particular, or none."""
    if "body" in request:
        return json.dumps(request["body"]).encode()
    if "size" in request:
        return io.BytesIO(b"x" * int(request["size"]))
    return str(request["raw"]).encode() if "raw" in request else None


def enveloped(expect: Mapping[str, Any], request_id: object) -> list[Any]:
    """The JSON-RPC answers that a stream consists of."""
    envelope = {"jsonrpc": "2.0", "id": request_id}
    kind, bare = ("error", expect["errors"]) if "errors" in expect else ("result", expect["events"])
    return [{**envelope, kind: each} for each in bare]


async def answers(response: aiohttp.ClientResponse) -> AsyncIterator[Any]:
    """The JSON of each event of a stream."""
    async for line in response.content:
        if line.startswith(b"data:"):
            yield json.loads(line[5:])
