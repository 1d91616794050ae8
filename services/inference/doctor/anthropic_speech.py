"""Anthropic's messages: requests and answers. Its streams are not examined."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import Field, JsonValue

from services.contract.model_call import ChatMessage, ToolCall
from services.inference.doctor.asking import TICKER, TOOL, Ask, Said, ToolChoice, Wire, validated


class _Block(Wire):
    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, JsonValue] = Field(default_factory=dict)


class _AnthropicUsage(Wire):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _AnthropicMessage(Wire):
    content: list[_Block]
    stop_reason: str | None = None
    usage: _AnthropicUsage = _AnthropicUsage()


class AnthropicSpeech:
    """Messages."""

    streams = False
    path = "/v1/messages"
    models_path = "/v1/models?limit=1000"

    def payload(self, model: str, ask: Ask) -> dict[str, JsonValue]:
        """As Anthropic documents it."""
        body: dict[str, JsonValue] = {
            "model": model,
            "max_tokens": ask.max_tokens,
            "messages": [_anthropic_message(one) for one in ask.messages],
        }
        if ask.tools:
            choices: Mapping[ToolChoice, JsonValue] = {
                "auto": {"type": "auto"},
                "required": {"type": "any"},
                "named": {"type": "tool", "name": TOOL},
            }
            told: JsonValue = {
                "name": TOOL,
                "description": "The latest price of a share.",
                "input_schema": dict(TICKER),
            }
            body |= {"tools": [told], "tool_choice": choices[ask.tool_choice]}
        if ask.schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": dict(ask.schema)}}
        return body

    def read(self, body: JsonValue) -> Said:
        """Raises UnreadableError."""
        message = validated(_AnthropicMessage, body)
        finishes = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
        return Said(
            content="".join(block.text for block in message.content) or None,
            reasoning="".join(block.thinking for block in message.content) or None,
            reasoning_field="thinking",
            calls=tuple(
                ToolCall(id=block.id, name=block.name, arguments=json.dumps(block.input))
                for block in message.content
                if block.type == "tool_use"
            ),
            finish=finishes.get(message.stop_reason or "", message.stop_reason),
            prompt_tokens=message.usage.input_tokens,
            completion_tokens=message.usage.output_tokens,
        )


def _anthropic_message(message: ChatMessage) -> JsonValue:
    if message.tool_call_id is not None:
        result: JsonValue = {
            "type": "tool_result",
            "tool_use_id": message.tool_call_id,
            "content": message.content or "",
        }
        return {"role": "user", "content": [result]}
    if message.tool_calls:
        uses: list[JsonValue] = [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.values or {}}
            for call in message.tool_calls
        ]
        return {"role": message.role, "content": uses}
    return {"role": message.role, "content": message.content or ""}
