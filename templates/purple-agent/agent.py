"""What the agent does with a question. This is the file to change: give it tools, a plan, a memory, another model."""

from __future__ import annotations

import asyncio
import os

import httpx

INSTRUCTIONS = "Answer the question. Think as long as you need, and end with the answer in the form that was asked for."
MODEL_TIMEOUT_S = 600.0
NO_FAULT_OF_THE_AGENT = {401, 402, 403, 404, 408, 429}
"""Besides every 5xx: no quota, no right, no such model."""
LONGEST_CONVERSATION = 8 * 2**20
"""In characters."""


class ModelError(Exception):
    """The model gave no answer. `outcome` says whose fault it is, `kind` which; evaluators read both."""

    def __init__(self, outcome: str, kind: str, text: str) -> None:
        super().__init__(text)
        self.outcome = outcome
        self.kind = kind


class Conversation:
    """One conversation. Questions of one conversation come one after the other."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._messages = [{"role": "system", "content": INSTRUCTIONS}]

    async def answer(self, question: str) -> str:
        """The answer to the next question. Raises ModelError, and forgets the question then."""
        messages = [*self._messages, {"role": "user", "content": question}]
        if sum(len(message["content"]) for message in messages) > LONGEST_CONVERSATION:
            raise ModelError("agent_error", "context_too_large", "the conversation is too long")
        text = await ask_model(self._client, messages)
        self._messages = [*messages, {"role": "assistant", "content": text}]
        return text


async def ask_model(client: httpx.AsyncClient, messages: list[dict[str, str]]) -> str:
    """Ask the model behind OPENAI_BASE_URL. Raises ModelError; its text holds no secret."""
    base = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or "https://api.openai.com/v1"
    headers = {"Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY') or 'EMPTY'}"}
    request = {"model": os.environ.get("LLM_MODEL") or "gpt-4o-mini", "messages": messages}
    if temperature := os.environ.get("PURPLE_LLM_TEMPERATURE"):
        request["temperature"] = float(temperature)
    try:
        # The client's own timeout starts anew with every byte.
        async with asyncio.timeout(MODEL_TIMEOUT_S):
            response = await client.post(f"{base.rstrip('/')}/chat/completions", headers=headers, json=request)
    except (TimeoutError, httpx.TimeoutException):
        raise ModelError("infra_error", "model_timeout", "the model did not answer in time") from None
    except httpx.HTTPError as error:
        raise ModelError(
            "infra_error", "model_unreachable", f"the model is out of reach: {type(error).__name__}"
        ) from None
    if response.status_code != httpx.codes.OK:
        excused = response.is_server_error or response.status_code in NO_FAULT_OF_THE_AGENT
        if response.status_code == httpx.codes.BAD_REQUEST and "context" in response.text.lower():
            raise ModelError("infra_error", "context_overflow", "the conversation exceeds the model's context length")
        raise ModelError(
            "infra_error" if excused else "agent_error",
            f"http_{response.status_code}",
            f"the model answered HTTP {response.status_code}",
        )
    try:
        text = response.json()["choices"][0]["message"]["content"]
        str(text).encode()  # half a surrogate pair could not be sent
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ModelError("infra_error", "model_protocol", "the model's answer is no chat completion") from None
    if not isinstance(text, str) or not text.strip():
        raise ModelError("agent_error", "empty", "the model answered nothing")
    return text
