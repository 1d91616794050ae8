"""What the request and answer bodies of all four APIs share, and the errors they answer with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from services.inference.reference_engine.exchange import Answer, Ask, Counts, Tool

Body = dict[str, JsonValue]


class Rejected(Exception):  # noqa: N818 - what happens to the request
    """The request gets an HTTP error. `kind` is the error type in vLLM's spelling."""

    def __init__(
        self, status: int, kind: str, message: str, *, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param
        self.retry_after = retry_after


class Api(Protocol):
    """One way to ask for an answer."""

    def read(self, body: bytes) -> Ask:
        """The request. Raises Rejected."""
        ...

    def write(self, ask: Ask, answers: list[Answer], counts: Counts, digest: str) -> Body:
        """The whole answer, one element of `answers` per choice."""
        ...

    def chunks(self, ask: Ask, answers: list[Answer], counts: Counts, digest: str) -> Iterator[Body]:
        """The answer as a stream. Raises Rejected where this API has none here."""
        ...

    def error(self, rejected: Rejected) -> Body:
        """The body of an error."""
        ...


class Wire(BaseModel):
    """Part of a request. Fields we have no use for are ignored, as real engines do."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Function(Wire):
    """A function on offer."""

    name: str
    parameters: Body | None = None


W = TypeVar("W", bound=Wire)


def parse(model: type[W], body: bytes) -> W:
    """The request in its type. Raises Rejected with what is wrong and where."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first: Any = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Rejected(400, "BadRequestError", f"{where or 'body'}: {first['msg']}", param=where or None) from error


def digest_of(body: bytes) -> str:
    """Twelve hex digits that stand for a request in ids."""
    return hashlib.blake2b(body, digest_size=6).hexdigest()


def text_of(content: str | list[Part] | None) -> str:
    """Text of a message's content, its text parts joined."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content)


class Part(Wire):
    """Part of a message's content; only text has a meaning here."""

    type: str = "text"
    text: str = ""


def tool(function: Function) -> Tool:
    """The function as a tool."""
    return Tool(name=function.name, parameters=function.parameters or {})


def openai_error(rejected: Rejected) -> Body:
    """Error body in vLLM's shape."""
    return {
        "error": {
            "message": rejected.message,
            "type": rejected.kind,
            "param": rejected.param,
            "code": rejected.status,
        }
    }


def no_stream(path: str) -> Rejected:
    """What `chunks` raises where streaming is not offered."""
    return Rejected(400, "BadRequestError", f"the reference engine does not stream on {path}", param="stream")


ToolMode = Literal["auto", "none", "required"]
