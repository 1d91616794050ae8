"""OpenAI's chat completions, and its completions for base models, as vLLM, SGLang and the others speak them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final, TypeVar

import httpx2
from openai import APIConnectionError, APIStatusError, AsyncOpenAI
from pydantic import Field, JsonValue, ValidationError

from services.contract.endpoints import Endpoint
from services.contract.model_call import (
    ChatMessage,
    Finish,
    ModelRequest,
    ModelUsage,
    Reply,
    ResponseFormat,
    Sampling,
    ToolCall,
    ToolSpec,
)
from services.contract.model_errors import HttpFault
from services.contract.model_http import NO_KEY, Count, Wire, fault_of, http_client, unreachable

_FINISHES: Final[dict[str, Finish]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_ENGINE_HEADER: Final = "x-assay-engine"

W = TypeVar("W", bound=Wire)


class Function(Wire):
    """Name and arguments of a call; some engines send the arguments as an object."""

    name: str = ""
    arguments: str | dict[str, JsonValue] | None = None


class Call(Wire):
    """A call with its envelope."""

    id: str | None = None
    function: Function = Function()


class Message(Wire):
    """What the model said. vLLM has `reasoning`, older versions and SGLang `reasoning_content`."""

    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Call] | None = None


class Choice(Wire):
    """One of the answers."""

    message: Message
    finish_reason: str | None = None


class PromptDetails(Wire):
    """What the prompt's tokens were."""

    cached_tokens: Count = None


class CompletionDetails(Wire):
    """What the answer's tokens were."""

    reasoning_tokens: Count = None


class Counts(Wire):
    """Tokens; whatever is missing is unknown."""

    prompt_tokens: Count = None
    completion_tokens: Count = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Mishap(Wire):
    """An error that a router reports with HTTP 200."""

    message: str = ""
    code: int | str | None = None


class ChatCompletion(Wire):
    """The whole body."""

    choices: list[Choice] = Field(default_factory=list)
    usage: Counts | None = None
    system_fingerprint: str | None = None
    error: Mishap | None = None


class TextChoice(Wire):
    """One of the continuations."""

    text: str
    finish_reason: str | None = None


class TextCompletion(Wire):
    """The whole body of the completions API."""

    choices: list[TextChoice] = Field(default_factory=list)
    usage: Counts | None = None
    system_fingerprint: str | None = None
    error: Mishap | None = None

    def as_chat(self) -> ChatCompletion:
        """The same, as the chat API would say it."""
        return ChatCompletion(
            choices=[
                Choice(message=Message(content=one.text), finish_reason=one.finish_reason) for one in self.choices
            ],
            usage=self.usage,
            system_fingerprint=self.system_fingerprint,
            error=self.error,
        )


class TokenCount(Wire):
    """Body of /tokenize."""

    count: int = Field(ge=0)


class ModelCard(Wire):
    """One model of /v1/models: vLLM, SGLang and the reference engine say its length one way, OpenRouter the other."""

    id: str
    max_model_len: Count = None
    context_length: Count = None


class ModelList(Wire):
    """Body of /v1/models."""

    data: list[ModelCard] = Field(default_factory=list)


class OpenAIDialect:
    """One replica behind an OpenAI-compatible address."""

    def __init__(self, endpoint: Endpoint, url: str, *, max_connections: int) -> None:
        self.unsupported: set[str] = set()
        self._model = endpoint.model
        self._root = url.removesuffix("/v1")
        key = endpoint.api_key.get_secret_value() if endpoint.api_key else NO_KEY
        self._sdk = AsyncOpenAI(
            api_key=key,
            base_url=url,
            max_retries=0,
            http_client=http_client(url, max_connections),
        )
        # In place of headers of the environment, which may replace this key or hold another one, such as a gateway's.
        self._sdk._custom_headers = {"Authorization": f"Bearer {key}"}  # noqa: SLF001 - the SDK has no switch for it
        # The SDK fills these from the environment; they belong to api.openai.com and to no other endpoint.
        if "api.openai.com" not in url:
            self._sdk.organization = None
            self._sdk.project = None

    async def complete(self, request: ModelRequest) -> Reply:
        """One chat completion, or one continuation of a text. Raises HttpFault."""
        if request.template:
            response = await self._post("/chat/completions", self._payload(request))
            body = _parsed(ChatCompletion, response)
        else:
            response = await self._post("/completions", self._payload(request))
            body = _parsed(TextCompletion, response).as_chat()
        if body.error is not None:
            code = body.error.code
            status = code if isinstance(code, int) and 400 <= code < 600 else 502
            raise HttpFault(status, body.error.message, code=str(code or ""))
        if not body.choices:
            raise HttpFault(200, f"expected a completion, got {response.text[:500]!r}")
        reply = _reply(body)
        return replace(reply, fingerprint=reply.fingerprint or response.headers.get(_ENGINE_HEADER))

    def in_force(self, sampling: Sampling) -> Sampling:
        """What is sent: all but what the model has rejected."""
        refused = self.unsupported
        return Sampling(
            temperature=None if "temperature" in refused else sampling.temperature,
            top_p=None if "top_p" in refused else sampling.top_p,
            top_k=None if "top_k" in refused else sampling.top_k,
            max_tokens=None if "max_completion_tokens" in refused else sampling.max_tokens,
            seed=None if "seed" in refused else sampling.seed,
        )

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """By /tokenize beside the API, an endpoint of vLLM and the reference engine; None where there is none."""
        payload: dict[str, JsonValue] = {"model": self._model, **_asked(request)}
        try:
            return _parsed(TokenCount, await self._post(f"{self._root}/tokenize", payload)).count
        except HttpFault as fault:
            if fault.status is None:
                raise
            return None

    async def context_length(self) -> int | None:
        """As /v1/models reports it for this model."""
        try:
            response = await self._sdk.get("/models", cast_to=httpx2.Response)
        except APIConnectionError as error:
            raise unreachable(error) from error
        except APIStatusError:
            return None
        models = _parsed(ModelList, response).data
        card = next((card for card in models if card.id == self._model), None)
        return None if card is None else card.max_model_len or card.context_length

    async def listening(self) -> None:
        """By /v1/models, which costs no engine anything."""
        try:
            await self._sdk.get("/models", cast_to=httpx2.Response)
        except APIConnectionError as error:
            raise unreachable(error) from error
        except APIStatusError as error:
            if error.status_code >= 500:
                raise fault_of(error.status_code, error.response.content, error.response.headers) from error

    async def aclose(self) -> None:
        """Close all connections."""
        await self._sdk.close()

    async def _post(self, path: str, payload: dict[str, JsonValue]) -> httpx2.Response:
        try:
            return await self._sdk.post(path, cast_to=httpx2.Response, body=payload)
        except APIStatusError as error:
            raise fault_of(error.status_code, error.response.content, error.response.headers) from error
        except APIConnectionError as error:
            raise unreachable(error) from error
        except UnicodeEncodeError as error:
            raise HttpFault(400, f"the request cannot be sent: {error}") from error

    def _payload(self, request: ModelRequest) -> dict[str, JsonValue]:
        sampling = self.in_force(request.sampling)
        limit = "max_completion_tokens" if "max_tokens" in self.unsupported else "max_tokens"
        optional: dict[str, JsonValue] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "seed": sampling.seed,
            limit: sampling.max_tokens,
        }
        payload: dict[str, JsonValue] = {
            "model": self._model,
            **_asked(request),
            **{name: value for name, value in optional.items() if value is not None},
        }
        if request.stop:
            payload["stop"] = [*request.stop]
        if request.response_format is not None:
            payload["response_format"] = _format(request.response_format)
        return payload


def _parsed(model: type[W], response: httpx2.Response) -> W:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise HttpFault(200, f"expected a {model.__name__}, got {response.text[:500]!r}") from error


def _asked(request: ModelRequest) -> dict[str, JsonValue]:
    """What is tokenized: the conversation with its tools, or a text as it stands."""
    if not request.template:
        return {"prompt": "".join(one.content or "" for one in request.messages)}
    asked: dict[str, JsonValue] = {"messages": [_message(one) for one in request.messages]}
    if tools := _offered(request):
        asked["tools"] = tools
    return asked


def _message(message: ChatMessage) -> JsonValue:
    body: dict[str, JsonValue] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return body


def _arguments(call: ToolCall) -> str:
    """Engines parse them again and refuse the whole history when one call's text is no object."""
    return json.dumps({"arguments": call.arguments}) if call.values is None else call.arguments or "{}"


def _offered(request: ModelRequest) -> list[JsonValue]:
    """None when calls are over: told of tools it may not use, a model writes calls into its text, and vLLM hands them on."""
    return [] if request.tool_choice == "none" else [_tool(tool) for tool in request.tools]


def _tool(tool: ToolSpec) -> JsonValue:
    function: JsonValue = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def _format(asked: ResponseFormat) -> JsonValue:
    if asked.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": asked.name, "schema": dict(asked.schema), "strict": True}}


def _reply(body: ChatCompletion) -> Reply:
    choice = body.choices[0]
    if choice.finish_reason == "error":
        raise HttpFault(502, "the provider ended the answer with finish_reason 'error'")
    message, known = choice.message, choice.finish_reason in {*_FINISHES, None}
    return Reply(
        content=message.content,
        reasoning=message.reasoning or message.reasoning_content,
        refusal=message.refusal,
        tool_calls=tuple(_call(call, index) for index, call in enumerate(message.tool_calls or ())),
        finish=_FINISHES.get(choice.finish_reason or "stop", "stop"),
        flags=() if known else (f"finish_{choice.finish_reason}",),
        usage=_usage(body.usage or Counts()),
        fingerprint=body.system_fingerprint,
    )


def _call(call: Call, index: int) -> ToolCall:
    arguments = call.function.arguments
    text = json.dumps(arguments) if isinstance(arguments, dict) else arguments
    return ToolCall(id=call.id or f"call_{index}", name=call.function.name, arguments=text or "{}")


def _usage(counts: Counts) -> ModelUsage:
    prompt, completion = counts.prompt_tokens_details, counts.completion_tokens_details
    return ModelUsage(
        input_tokens=counts.prompt_tokens,
        cached_tokens=prompt.cached_tokens if prompt else None,
        output_tokens=counts.completion_tokens,
        reasoning_tokens=completion.reasoning_tokens if completion else None,
    )
