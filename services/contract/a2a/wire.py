"""The two dialects on the wire, as plain JSON: what we send in each, and one neutral form of what comes back.

Reading is tolerant: an answer is known by its shape, whichever dialect was spoken, since servers mix them.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from services.contract.conversation import ReplyFile

TERMINAL_STATES: Final = frozenset({"completed", "failed", "canceled", "rejected"})
RESTING_STATES: Final = TERMINAL_STATES | {"input-required", "auth-required"}
"""States after which nothing comes unless we act."""
EXACT_INTEGER: Final = 2**53
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
"""No metadata."""


class Dialect(StrEnum):
    """A2A protocol generation."""

    V1 = "1.0"
    V03 = "0.3"


class Method(StrEnum):
    """What is asked of an agent, by its 1.0 name."""

    SEND = "SendMessage"
    STREAM = "SendStreamingMessage"
    GET = "GetTask"
    CANCEL = "CancelTask"
    SUBSCRIBE = "SubscribeToTask"


_V03_NAMES: Final = {
    Method.SEND: "message/send",
    Method.STREAM: "message/stream",
    Method.GET: "tasks/get",
    Method.CANCEL: "tasks/cancel",
    Method.SUBSCRIBE: "tasks/resubscribe",
}


class WireError(ValueError):
    """An answer that is no A2A."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part, already text: `text` as it came, data as compact JSON, a `text/*` file decoded. Empty when it is neither."""

    text: str = ""
    file: ReplyFile | None = None
    """The file it carries, decoded; also when its text stands in `text`."""
    note: str = ""
    """What was odd about it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WireMessage:
    """A message of the agent."""

    message_id: str = ""
    context_id: str = ""
    task_id: str = ""
    role: str = "agent"
    parts: Sequence[Part] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class WireArtifact:
    """An artifact, whole or as an update."""

    artifact_id: str
    name: str
    parts: Sequence[Part]
    task_id: str = ""
    context_id: str = ""
    append: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class WireStatus:
    """A state of the task, as an update or inside a task."""

    state: str
    """Lower case with dashes, as in 0.3: `input-required`."""
    task_id: str = ""
    context_id: str = ""
    message: WireMessage | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class WireTask:
    """A whole task."""

    status: WireStatus
    artifacts: Sequence[WireArtifact]
    history: Sequence[WireMessage]


WireEvent = WireMessage | WireTask | WireStatus | WireArtifact


def request_body(dialect: Dialect, method: Method, params: Mapping[str, object]) -> bytes:
    """A JSON-RPC request."""
    name = _V03_NAMES[method] if dialect is Dialect.V03 else method.value
    body = {"jsonrpc": "2.0", "id": uuid.uuid4().hex, "method": name, "params": params}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def message_params(
    dialect: Dialect, text: str, *, context_id: str = "", task_id: str = "", metadata: Mapping[str, str] = NOTHING
) -> dict[str, object]:
    """Params of a send: one text part under a fresh message id."""
    message: dict[str, object] = {"messageId": uuid.uuid4().hex}
    if dialect is Dialect.V03:
        message |= {"kind": "message", "role": "user", "parts": [{"kind": "text", "text": text}]}
    else:
        message |= {"role": "ROLE_USER", "parts": [{"text": text}]}
    if context_id:
        message["contextId"] = context_id
    if task_id:
        message["taskId"] = task_id
    if metadata:
        message["metadata"] = dict(metadata)
    if dialect is Dialect.V03:
        return {
            "message": message,
            "configuration": {"blocking": True},
        }  # what no word about it means, agents differ on
    return {"message": message}


def read_event(result: object) -> WireEvent:
    """The `result` of a JSON-RPC answer. Raises WireError."""
    body = _object(result, "result")
    for key, read in (("task", _task), ("message", _message), ("statusUpdate", _status), ("artifactUpdate", _update)):
        if isinstance(body.get(key), dict) and "kind" not in body:
            return read(body[key])
    kind = body.get("kind")
    if kind == "status-update" or (kind is None and "status" in body and "id" not in body):
        return _status(body)
    if kind == "artifact-update" or (kind is None and "artifact" in body):
        return _update(body)
    if kind == "message" or (kind is None and "parts" in body):
        return _message(body)
    if kind == "task" or (kind is None and "status" in body):
        return _task(body)
    raise WireError(f"expected a task, a message or an update, got an object with {sorted(body)[:8]}")


def compact_json(value: object) -> str:
    """JSON without spaces; a float without fraction below 2^53 is an integer again, as it was before protobuf."""
    return json.dumps(_whole_numbers(value), ensure_ascii=False, separators=(",", ":"))


def nested_deeper(value: object, depth: int) -> bool:
    """True when lists and objects lie more than `depth` levels inside of each other."""
    level = [value]
    for _ in range(depth):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _whole_numbers(value: object) -> object:
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT_INTEGER:
        return int(value)
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return value


def _task(body: Mapping[str, Any]) -> WireTask:
    task_id, context_id = _text(body, "id"), _text(body, "contextId")
    status = _object(body.get("status"), "status")
    return WireTask(
        status=_status(
            {"status": status, "taskId": task_id, "contextId": context_id, "metadata": body.get("metadata")}
        ),
        artifacts=[_artifact(item) for item in _list(body, "artifacts")],
        history=[_message(_object(item, "message")) for item in _list(body, "history")],
    )


def _status(body: Mapping[str, Any]) -> WireStatus:
    status = _object(body.get("status"), "status")
    message = status.get("message")
    return WireStatus(
        state=_text(status, "state").removeprefix("TASK_STATE_").lower().replace("_", "-"),
        task_id=_text(body, "taskId"),
        context_id=_text(body, "contextId"),
        message=None if message is None else _message(_object(message, "message")),
        metadata=_metadata(body),
    )


def _update(body: Mapping[str, Any]) -> WireArtifact:
    return _artifact(
        body.get("artifact"),
        task_id=_text(body, "taskId"),
        context_id=_text(body, "contextId"),
        append=body.get("append") is True,
    )


def _artifact(raw: object, *, task_id: str = "", context_id: str = "", append: bool = False) -> WireArtifact:
    body = _object(raw, "artifact")
    return WireArtifact(
        artifact_id=_text(body, "artifactId"),
        name=_text(body, "name"),
        parts=[_part(item) for item in _list(body, "parts")],
        task_id=task_id,
        context_id=context_id,
        append=append,
    )


def _message(body: Mapping[str, Any]) -> WireMessage:
    return WireMessage(
        message_id=_text(body, "messageId"),
        context_id=_text(body, "contextId"),
        task_id=_text(body, "taskId"),
        role=_text(body, "role").removeprefix("ROLE_").lower(),
        parts=[_part(item) for item in _list(body, "parts")],
        metadata=_metadata(body),
    )


MAX_DECODED_FILE: Final = 1 << 20
"""Bytes of a text file up to which it is part of what was said."""
LONGEST_FILE_NAME: Final = 200
_STANDARD_ALPHABET: Final = str.maketrans("-_", "+/")


def _part(raw: object) -> Part:
    """Both dialects: 1.0 `{text}|{data}|{raw,mediaType}|{url}`; 0.3 `{kind, text|data|file{bytes|uri,mimeType}}`."""
    body = _object(raw, "part")
    if isinstance(body.get("text"), str):
        return Part(text=body["text"])
    if "data" in body:
        return Part(text=compact_json(body["data"]))
    file = body["file"] if isinstance(body.get("file"), dict) else body
    content = file.get("bytes", file.get("raw"))
    if isinstance(content, str):
        return _file(content, _said(file, "mimeType", "mediaType"), _said(file, "name", "filename"))
    return Part(note="a part by URL was not fetched" if "uri" in file or "url" in file else "a part without content")


def _said(file: Mapping[str, Any], *keys: str) -> str:
    """What either dialect says of a file, on one line of bearable length."""
    said = next((file[key] for key in keys if isinstance(file.get(key), str)), "")
    return " ".join(said[: 2 * LONGEST_FILE_NAME].split())[:LONGEST_FILE_NAME]


def _file(content: str, media_type: str, name: str) -> Part:
    decoded = _decoded(content)
    if decoded is None:
        return Part(note="a file that is no base64 was left out")
    file = ReplyFile(name=name, media_type=media_type, content=decoded)
    if not media_type.startswith("text/") or len(decoded) > MAX_DECODED_FILE:
        return Part(file=file)
    text = decoded.decode("utf-8", "replace")
    return Part(text=text, file=file, note="invalid UTF-8 was replaced" if "\ufffd" in text else "")


def _decoded(content: str) -> bytes | None:
    """Bytes of base64 in either alphabet, padded or not, as protobuf's JSON allows; None when it is none."""
    compact = "".join(content.split()).translate(_STANDARD_ALPHABET).rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _object(raw: object, what: str) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise WireError(f"{what}: expected an object, got {type(raw).__name__}")
    return raw


def _list(body: Mapping[str, Any], key: str) -> Sequence[object]:
    raw = body.get(key)
    if raw is not None and not isinstance(raw, list):
        raise WireError(f"{key}: expected a list, got {type(raw).__name__}")
    return raw or ()


def _text(body: Mapping[str, Any], key: str) -> str:
    raw = body.get(key)
    if raw is not None and not isinstance(raw, str):
        raise WireError(f"{key}: expected a string, got {type(raw).__name__}")
    return raw or ""


def _metadata(body: Mapping[str, Any]) -> Mapping[str, Any]:
    raw = body.get("metadata")
    return raw if isinstance(raw, dict) else {}
