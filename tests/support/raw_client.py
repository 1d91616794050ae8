"""A2A by hand: plain HTTP and JSON, no SDK, as a stranger's client would speak it."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx


def send(url: str, text: str, *, dialect: str = "1.0", timeout_s: float = 300.0) -> dict[str, Any]:
    """Send one message, wait for the final task, and return it as JSON. `dialect` is 1.0 or 0.3."""
    request, headers = _request("message/send" if dialect == "0.3" else "SendMessage", text, dialect)
    answer = httpx.post(url, json=request, headers=headers, timeout=timeout_s).json()
    result: dict[str, Any] = answer["result"]
    return result if dialect == "0.3" else result["task"]


def stream(url: str, text: str, *, dialect: str = "1.0", timeout_s: float = 300.0) -> Iterator[dict[str, Any]]:
    """Send one message and yield the result of each event."""
    request, headers = _request("message/stream" if dialect == "0.3" else "SendStreamingMessage", text, dialect)
    with httpx.stream("POST", url, json=request, headers=headers, timeout=timeout_s) as response:
        for line in response.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line.removeprefix("data:"))["result"]


def artifact_texts(task: dict[str, Any], name: str) -> list[str]:
    """Texts of the parts of one artifact."""
    found = next(artifact for artifact in task["artifacts"] if artifact["name"] == name)
    return [part["text"] for part in found["parts"]]


def _request(method: str, text: str, dialect: str) -> tuple[dict[str, Any], dict[str, str]]:
    if dialect == "0.3":
        part, role = {"kind": "text", "text": text}, "user"
        message = {"kind": "message", "messageId": uuid.uuid4().hex, "role": role, "parts": [part]}
        headers = {}
    else:
        message = {"messageId": uuid.uuid4().hex, "role": "ROLE_USER", "parts": [{"text": text}]}
        headers = {"A2A-Version": "1.0"}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"message": message}}, headers
