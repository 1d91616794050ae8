"""The lessons' questions over bare HTTP, so that no SDK mends what an engine gets wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import JsonValue

from services.contract.endpoints import Endpoint
from services.contract.model_client import ToolSpec
from tests.contract.calling import endpoint
from tests.engines.servers import MAX_MODEL_LEN, REQUEST_TIMEOUT_S, Served

TICKER: dict[str, JsonValue] = {"type": "object", "properties": {"ticker": {"type": "string"}}, "required": ["ticker"]}
QUOTE = {"type": "function", "function": {"name": "get_quote", "description": "The last price", "parameters": TICKER}}
TOOL = ToolSpec(name="get_quote", description="The last price", parameters=TICKER)
VERDICT: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"score": {"type": "integer", "minimum": 1, "maximum": 5}, "verdict": {"enum": ["pass", "fail"]}},
    "required": ["score", "verdict"],
    "additionalProperties": False,
}
VERDICT_FORMAT = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": VERDICT, "strict": True}}
THINKING_OFF = {"chat_template_kwargs": {"enable_thinking": False}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """One answer."""

    message: dict[str, Any]
    finish: str
    body: dict[str, Any]

    @property
    def calls(self) -> list[tuple[str, Any]]:
        """Name and arguments of each tool call."""
        return [
            (call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in self.message.get("tool_calls") or []
        ]


def place(served: Served, **changes: Any) -> Endpoint:
    """The engine as the model client knows it."""
    return endpoint(served.url, **{"model": served.model, "max_model_len": MAX_MODEL_LEN, **changes})


def post(served: Served, text: str, **options: Any) -> httpx.Response:
    """One question at temperature 0."""
    messages = [{"role": "user", "content": text}]
    body = {"model": served.model, "messages": messages, "temperature": 0, "max_tokens": 64, **options}
    return httpx.post(f"{served.url}/chat/completions", json=body, timeout=REQUEST_TIMEOUT_S)


def said(served: Served, text: str, **options: Any) -> Said:
    """The answer, which must come with HTTP 200."""
    response = post(served, text, **options)
    assert response.status_code == 200, response.text
    body = response.json()
    choice = body["choices"][0]
    return Said(message=choice["message"], finish=choice["finish_reason"], body=body)


def streamed(served: Served, text: str, **options: Any) -> tuple[str, list[dict[str, Any]], bool]:
    """The text of a streamed answer, its chunks, and whether the stream ended as it should."""
    response = post(served, text, stream=True, stream_options={"include_usage": True}, **options)
    assert response.status_code == 200, response.text
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    chunks = [json.loads(line) for line in lines if line != "[DONE]"]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk.get("choices")]
    return "".join(delta.get("content") or "" for delta in deltas), chunks, lines[-1] == "[DONE]"


def metric(served: Served, name: str, **labels: str) -> float:
    """The sum of a metric over the series that carry these labels."""
    text = httpx.get(f"{served.root}/metrics", timeout=REQUEST_TIMEOUT_S).text
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in wanted))
