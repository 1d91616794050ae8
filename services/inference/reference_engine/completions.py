"""/v1/completions: plain text without a chat template."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from pydantic import Field, JsonValue

from services.inference.reference_engine import FINGERPRINT, tokens
from services.inference.reference_engine.apis import Body, Rejected, Wire, openai_error, parse
from services.inference.reference_engine.chat import CHUNK_TOKENS, MAX_CHOICES, StreamOptions, usage
from services.inference.reference_engine.exchange import Answer, Ask, Counts, Message


class CompletionRequest(Wire):
    """The request body."""

    model: str = ""
    prompt: str
    max_tokens: int | None = Field(default=None, ge=1)
    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: int | None = Field(default=None, ge=0)


class Completions:
    """The API under /v1/completions."""

    def read(self, body: bytes) -> Ask:
        """The request. Raises Rejected."""
        request = parse(CompletionRequest, body)
        return Ask(
            model=request.model,
            messages=(Message(role="user", text=request.prompt),),
            max_tokens=request.max_tokens,
            choices=request.n or 1,
            stream=bool(request.stream),
            stream_usage=request.stream_options is not None and request.stream_options.include_usage,
            logprobs=request.logprobs is not None,
            template=False,
        )

    def write(self, ask: Ask, answers: list[Answer], counts: Counts, digest: str) -> Body:
        """The whole answer."""
        choices: list[JsonValue] = [
            {
                "index": index,
                "text": answer.text or "",
                "logprobs": _logprobs(answer.text or "") if ask.logprobs else None,
                "finish_reason": answer.finish,
            }
            for index, answer in enumerate(answers)
        ]
        return _envelope(ask, digest) | {"choices": choices, "usage": usage(counts)}

    def chunks(self, ask: Ask, answers: list[Answer], counts: Counts, digest: str) -> Iterator[Body]:
        """The answer in chunks of a few tokens."""
        envelope = _envelope(ask, digest)
        for index, answer in enumerate(answers):
            for piece in tokens.pieces(answer.text or "", tokens=CHUNK_TOKENS):
                yield envelope | {"choices": [{"index": index, "text": piece, "finish_reason": None}]}
            yield envelope | {"choices": [{"index": index, "text": "", "finish_reason": answer.finish}]}
        if ask.stream_usage:
            yield envelope | {"choices": [], "usage": usage(counts)}

    def error(self, rejected: Rejected) -> Body:
        """The body of an error."""
        return openai_error(rejected)


def _envelope(ask: Ask, digest: str) -> Body:
    return {
        "id": f"cmpl-{digest}",
        "object": "text_completion",
        "created": 0,
        "model": ask.model,
        "system_fingerprint": FINGERPRINT,
    }


def _logprobs(text: str) -> Body:
    pieces = tokens.pieces(text, tokens=1)
    offsets = [0, *accumulate(map(len, pieces))][:-1]
    return {
        "tokens": [*pieces],
        "token_logprobs": [0.0 for _ in pieces],
        "top_logprobs": None,
        "text_offset": [*offsets],
    }
