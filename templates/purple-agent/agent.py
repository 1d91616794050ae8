"""What the agent does with a question. This is the file to change: give it tools, a plan, a memory, another model."""

from __future__ import annotations

import os

import httpx

INSTRUCTIONS = "Answer the question. Think as long as you need, and end with the answer in the form that was asked for."
MODEL_TIMEOUT_S = 600.0
INFRASTRUCTURE = {401, 402, 403, 408, 429, 500, 502, 503, 504, 529}


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
        response = await client.post(f"{base.rstrip('/')}/chat/completions", headers=headers, json=request)
    except httpx.TimeoutException:
        raise ModelError("infra_error", "model_timeout", "the model did not answer in time") from None
    except httpx.HTTPError as error:
        raise ModelError(
            "infra_error", "model_unreachable", f"the model is out of reach: {type(error).__name__}"
        ) from None
    if response.status_code != httpx.codes.OK:
        outcome = "infra_error" if response.status_code in INFRASTRUCTURE else "agent_error"
        raise ModelError(outcome, f"http_{response.status_code}", f"the model answered HTTP {response.status_code}")
    try:
        text = response.json()["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        raise ModelError("infra_error", "model_protocol", "the model's answer is no chat completion") from None
    if not isinstance(text, str) or not text.strip():
        raise ModelError("agent_error", "empty", "the model answered nothing")
    return text
