"""/tokenize and /detokenize, with vLLM's paths and fields."""

from __future__ import annotations

from services.inference.reference_engine import tokens
from services.inference.reference_engine.apis import Body, Rejected, Wire, parse
from services.inference.reference_engine.chat import ChatMessage, message


class TokenizeRequest(Wire):
    """A text, or a conversation."""

    prompt: str | None = None
    messages: list[ChatMessage] | None = None


class DetokenizeRequest(Wire):
    """Token ids."""

    tokens: list[int]


def tokenize(body: bytes, max_model_len: int) -> Body:
    """Tokens of a prompt, or of messages as the chat API counts them. Raises Rejected."""
    request = parse(TokenizeRequest, body)
    if request.messages is not None:
        found = tokens.encode_messages(message(said).counted for said in request.messages)
    elif request.prompt is not None:
        found = tokens.encode(request.prompt)
    else:
        raise Rejected(400, "BadRequestError", "expected prompt or messages, got neither")
    return {"count": len(found), "max_model_len": max_model_len, "tokens": [*found]}


def detokenize(body: bytes) -> Body:
    """The text of tokens. Raises Rejected."""
    try:
        return {"prompt": tokens.decode(parse(DetokenizeRequest, body).tokens)}
    except ValueError as error:
        raise Rejected(400, "BadRequestError", str(error)) from error
