"""Where a model is: the endpoint record and how it is read from the environment.

There is no silent fallback: without an endpoint there is an error that says which variables to set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import structlog
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from services.contract.endpoint_files import EndpointFileError, urls_of_file

log = structlog.get_logger()

Provider = Literal["openai", "anthropic"]
RoleName = Literal["agent", "judge"]

DEFAULT_URLS: Final[Mapping[Provider, str]] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
}
NO_KEYS: Final = frozenset({"", "none", "empty", "dummy", "null"})
"""Values of a key, in lower case, that mean that there is none."""
ENDPOINT_FILE: Final = "LLM_ENDPOINT_FILE"
"""Variable with the path of a `services.txt` or a `model_config_local.json`."""
_MODEL_NAMES: Final[Mapping[RoleName, tuple[str, ...]]] = {
    "agent": ("LLM_MODEL",),
    "judge": ("EVAL_LLM_MODEL", "LLM_MODEL"),
}
_LISTS: Final = ("SGLANG_API_BASES", "OPENAI_API_BASE", "OPENAI_BASE_URL")
NOTHING_CONFIGURED: Final = (
    "no model endpoint is configured: set OPENAI_BASE_URL (or OPENAI_API_BASE, or LLM_ENDPOINT_FILE) and LLM_MODEL, or "
    "OPENAI_API_KEY or ANTHROPIC_API_KEY with LLM_MODEL; for a try-out without any model run `inference up reference`, then set "
    "OPENAI_BASE_URL=http://127.0.0.1:8000/v1 and LLM_MODEL=reference"
)


def _sendable(key: SecretStr) -> SecretStr:
    text = key.get_secret_value()
    if not text.isascii() or not text.isprintable():
        raise ValueError("a key consists of printable ASCII characters, since it is sent in a header")
    return key


ApiKey = Annotated[SecretStr, AfterValidator(_sendable)]


class EndpointError(Exception):
    """The endpoint is not configured, or contradicts itself. The text names the variables."""


class Price(BaseModel):
    """USD per million tokens on a day."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    as_of: date
    input_usd: float = Field(ge=0)
    output_usd: float = Field(ge=0)
    cached_input_usd: float | None = Field(default=None, ge=0)
    """Of tokens read from a cache; None: the same as `input_usd`."""


class Endpoint(BaseModel):
    """A model and the replicas that serve it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """What reports call it."""
    provider: Provider = "openai"
    model: str = Field(min_length=1)
    """As the server knows it."""
    urls: tuple[str, ...] = Field(min_length=1)
    """Base URLs of the replicas, all of them serving the same model; OpenAI's end in /v1."""
    api_key: ApiKey | None = None
    """Goes to these URLs and nowhere else."""
    max_model_len: int | None = Field(default=None, ge=1)
    """Tokens of prompt and answer together; None: what the server reports."""
    price: Price | None = None
    """None: the cost is unknown, which is not 0."""
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int | None = None
    """Engines only; None: not sent."""
    max_tokens: int = Field(default=4096, ge=1)
    """Most tokens of an answer."""
    facts: dict[str, str] = Field(default_factory=dict)
    """What is known about it, for the run record, such as the variables it was read from."""

    @field_validator("urls")
    @classmethod
    def _are_base_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(normalised_url, urls))


def normalised_url(url: str) -> str:
    """The URL without a slash at its end. Raises ValueError for what is no plain http(s) address."""
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        # What stands before an @ may be a password.
        raise ValueError(f"expected http://host[:port]/v1, got {url.rpartition('@')[2]!r}")
    if "," in url:
        raise ValueError(f"expected one address, got a list that begins with {parts.hostname}")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError(f"expected an address without a query and without a password, got one for {parts.hostname}")
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def endpoint_from_environment(env: Mapping[str, str], *, role: RoleName = "agent", aloud: bool = True) -> Endpoint:
    """The endpoint that the variables of the guides describe.

    The agent: LLM_ENDPOINT_FILE, SGLANG_API_BASES, OPENAI_API_BASE, OPENAI_BASE_URL, OPENAI_API_KEY; or
    ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL; LLM_MODEL, LLM_PROVIDER, PURPLE_LLM_TEMPERATURE, PURPLE_TOP_P, PURPLE_TOP_K,
    PURPLE_MAX_TOKENS. The judge: OPENAI_EVAL_API_BASE, OPENAI_EVAL_API_KEY, EVAL_LLM_MODEL first, then the agent's. Raises
    EndpointError naming the variables at fault.
    """
    found = _judge_place(env) if role == "judge" else None
    place = found or _agent_place(env, role)
    values = {
        "name": role,
        "provider": place.provider,
        "model": _model(env, role),
        "urls": place.urls,
        "api_key": place.key,
        "facts": {"provider": place.provider, **place.sources},
        **(_agent_sampling(env) if role == "agent" else {}),
    }
    try:
        endpoint = Endpoint.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise EndpointError(f"the {role}'s endpoint from {', '.join(place.sources.values())}: {faults}") from error
    if aloud:
        log.info("endpoint_chosen", role=role, model=endpoint.model, urls=list(endpoint.urls), **endpoint.facts)
    return endpoint


class _Place(BaseModel):
    provider: Provider
    urls: tuple[str, ...]
    key: SecretStr | None
    sources: dict[str, str]


def _judge_place(env: Mapping[str, str]) -> _Place | None:
    """The judge's own pair. Neither half of it is ever completed from the agent's variables."""
    key, urls = key_of(env, "OPENAI_EVAL_API_KEY"), _urls(env, "OPENAI_EVAL_API_BASE")
    if not urls and key is None:
        return None
    sources = {"url": "OPENAI_EVAL_API_BASE" if urls else "default of openai"}
    if key is not None:
        sources["key"] = "OPENAI_EVAL_API_KEY"
    return _Place(
        provider="openai",
        urls=urls or (DEFAULT_URLS["openai"],),
        key=key,
        sources=sources,
    )


def _agent_place(env: Mapping[str, str], role: RoleName) -> _Place:
    openai_key, anthropic_key = key_of(env, "OPENAI_API_KEY"), key_of(env, "ANTHROPIC_API_KEY")
    source, urls = agreed_urls(env, model=_named_model(env, role))
    provider = _provider(env, has_openai=bool(urls) or openai_key is not None, has_anthropic=anthropic_key is not None)
    if provider == "anthropic":
        url = env.get("ANTHROPIC_BASE_URL", "").strip()
        if anthropic_key is None and not url:
            raise EndpointError("LLM_PROVIDER=anthropic needs ANTHROPIC_API_KEY, which is not set")
        return _Place(
            provider="anthropic",
            urls=(url or DEFAULT_URLS["anthropic"],),
            key=anthropic_key,
            sources={"url": "ANTHROPIC_BASE_URL" if url else "default of anthropic"}
            | ({"key": "ANTHROPIC_API_KEY"} if anthropic_key is not None else {}),
        )
    if not urls and openai_key is None:
        raise EndpointError("LLM_PROVIDER=openai needs OPENAI_BASE_URL or OPENAI_API_KEY; neither is set")
    sources = {"url": source or "default of openai"} | ({"key": "OPENAI_API_KEY"} if openai_key is not None else {})
    return _Place(provider="openai", urls=urls or (DEFAULT_URLS["openai"],), key=openai_key, sources=sources)


def _provider(env: Mapping[str, str], *, has_openai: bool, has_anthropic: bool) -> Provider:
    asked = env.get("LLM_PROVIDER", "").strip().lower()
    if asked == "openai":
        return "openai"
    if asked == "anthropic":
        return "anthropic"
    if asked:
        raise EndpointError(f"LLM_PROVIDER: expected openai or anthropic, got {asked!r}")
    if has_openai:
        return "openai"
    if has_anthropic:
        return "anthropic"
    raise EndpointError(NOTHING_CONFIGURED)


def agreed_urls(env: Mapping[str, str], *, model: str | None = None) -> tuple[str, tuple[str, ...]]:
    """The variable that decides and its base URLs, ending in /v1; empty when none is set.

    LLM_ENDPOINT_FILE, whose servers of `model` (without it: of LLM_MODEL) decide where it is set; SGLANG_API_BASES,
    OPENAI_API_BASE and OPENAI_BASE_URL, each a list with commas, of which the longest decides otherwise. A list that is part of
    what decides agrees with it. Raises EndpointError naming both variables when two of them name different servers, and for a
    file that names none; whether one answers is found out by who asks it (`inference doctor`, the first call).
    """
    given = {name: urls for name in _LISTS if (urls := _urls(env, name))}
    in_file = _urls_of_file(env, model or _named_model(env, "agent"))
    if not given and not in_file:
        return "", ()
    # SDKs read OPENAI_BASE_URL themselves and take no list, so one URL out of the list is no contradiction.
    longest = max(given, key=lambda name: len(given[name])) if given else ""
    decides, whole = (ENDPOINT_FILE, in_file) if in_file else (longest, given[longest])
    for name, urls in given.items():
        if not set(urls) <= set(whole):
            raise EndpointError(f"{decides} and {name} name different servers: {','.join(whole)} and {','.join(urls)}")
    return decides, whole


def _urls_of_file(env: Mapping[str, str], model: str | None) -> tuple[str, ...]:
    path = env.get(ENDPOINT_FILE, "").strip()
    if not path:
        return ()
    try:
        return urls_of_file(Path(path).expanduser(), model)
    except EndpointFileError as error:
        raise EndpointError(f"{ENDPOINT_FILE}: {error}") from error


def base_urls(text: str, *, name: str) -> tuple[str, ...]:
    """The base URLs of a list with commas, each once and in one spelling; without a path, with /v1, where all engines serve.

    Raises EndpointError, in which the list is called `name`.
    """
    try:
        found = [normalised_url(url) for url in re.split(r"[,\s]+", text) if url]
    except ValueError as error:
        raise EndpointError(f"{name}: {error}") from error
    return tuple(dict.fromkeys(url if urlsplit(url).path else f"{url}/v1" for url in found))


def _urls(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return base_urls(env.get(name, ""), name=name)


def key_of(env: Mapping[str, str], name: str) -> SecretStr | None:
    """The key in a variable; None when it is not set or says, as `None` and `EMPTY` do, that there is none."""
    value = env.get(name, "").strip()
    return None if value.lower() in NO_KEYS else SecretStr(value)


def _named_model(env: Mapping[str, str], role: RoleName) -> str | None:
    return next((value for name in _MODEL_NAMES[role] if (value := env.get(name, "").strip())), None)


def _model(env: Mapping[str, str], role: RoleName) -> str:
    model = _named_model(env, role)
    if model is None:
        names = " or ".join(_MODEL_NAMES[role])
        raise EndpointError(f"no model is named for the {role}: set {names}; there is no default")
    return model


def _agent_sampling(env: Mapping[str, str]) -> dict[str, float | int]:
    readers = {
        "temperature": ("PURPLE_LLM_TEMPERATURE", float),
        "top_p": ("PURPLE_TOP_P", float),
        "top_k": ("PURPLE_TOP_K", int),
        "max_tokens": ("PURPLE_MAX_TOKENS", int),
    }
    values: dict[str, float | int] = {}
    for field, (name, reader) in readers.items():
        if not (text := env.get(name, "").strip()):
            continue
        try:
            values[field] = reader(text)
        except ValueError as error:
            raise EndpointError(f"{name}: expected a number, got {text!r}") from error
    return values
