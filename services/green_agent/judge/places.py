"""Which models judge and where they are: settings first, then the environment (finance specification 1.4).

A key of the environment never goes to an address that came with the settings, since a request can carry settings; it goes there
only when the environment names the same address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from services.contract.endpoints import (
    DEFAULT_URLS,
    Endpoint,
    EndpointError,
    Provider,
    endpoint_from_environment,
    normalised_url,
)
from services.green_agent.judge.prices import alias_moves, price_of
from services.green_agent.judge.settings import JudgeSettings

_JUDGE_ONLY: Final = ("OPENAI_EVAL_API_KEY", "OPENAI_EVAL_API_BASE")
_NOT_THE_JUDGES: Final = ("LLM_PROVIDER",)
"""The agent's choice of a provider says nothing about the judge."""


def endpoints_of(settings: JudgeSettings, env: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """One endpoint a judge: the panel's, or the one of the settings. Raises EndpointError naming what is missing."""
    if not settings.panel:
        return (_endpoint(settings, env),)
    return tuple(_endpoint(member, env) for member in _members(settings))


def _members(settings: JudgeSettings) -> list[JudgeSettings]:
    """Settings of each member. An address or a key of the judge is not handed to a member of another provider."""
    found = []
    for member in settings.panel:
        given = {name: getattr(member, name) for name in member.model_fields_set if getattr(member, name) is not None}
        own = settings.provider or (None if settings.api_base is None else "openai")
        moved = member.provider not in {None, own}
        kept = {"api_base": None, "api_key": None} if moved else {}
        if "api_base" in given:
            kept["api_key"] = None
        found.append(settings.model_copy(update={"panel": (), **kept, **given}))
    return found


def _endpoint(settings: JudgeSettings, env: Mapping[str, str]) -> Endpoint:
    adapted = _adapted(settings, env)
    if settings.api_base is not None:
        endpoint = _explicit(settings, adapted)
    else:
        endpoint = endpoint_from_environment(adapted, role="judge")
        if settings.api_key is not None:
            endpoint = endpoint.model_copy(
                update={"api_key": settings.api_key, "facts": {**endpoint.facts, "key": "llm_eval.api_key"}}
            )
    changes = {"temperature": settings.temperature, "max_model_len": settings.context_window}
    moving = {"alias": "moves: the provider changes the model behind this name"} if alias_moves(endpoint) else {}
    return endpoint.model_copy(update={**changes, "price": price_of(endpoint), "facts": {**endpoint.facts, **moving}})


def _adapted(settings: JudgeSettings, env: Mapping[str, str]) -> dict[str, str]:
    """The environment as the judge sees it: explicit settings in the place of its variables."""
    adapted = {name: value for name, value in env.items() if name not in _NOT_THE_JUDGES}
    if settings.model is not None:
        adapted["EVAL_LLM_MODEL"] = settings.model
    if settings.provider is not None:
        adapted["LLM_PROVIDER"] = settings.provider
    if settings.provider == "anthropic":
        adapted = {name: value for name, value in adapted.items() if name not in _JUDGE_ONLY}
        if settings.api_key is not None:
            adapted["ANTHROPIC_API_KEY"] = settings.api_key.get_secret_value()
    elif settings.api_key is not None and not any(adapted.get(name, "").strip() for name in _JUDGE_ONLY):
        # A key without an address is for the provider's own, not for wherever the agent's model is.
        adapted["OPENAI_EVAL_API_KEY"] = settings.api_key.get_secret_value()
    return adapted


def _explicit(settings: JudgeSettings, env: Mapping[str, str]) -> Endpoint:
    provider = settings.provider or "openai"
    model = next((env[name].strip() for name in ("EVAL_LLM_MODEL", "LLM_MODEL") if env.get(name, "").strip()), "")
    if not model:
        raise EndpointError(
            "no model is named for the judge: set llm_eval.model or EVAL_LLM_MODEL; there is no default"
        )
    try:
        url = _completed(normalised_url(settings.api_base or DEFAULT_URLS[provider]), provider)
        endpoint = Endpoint(
            name="judge",
            provider=provider,
            model=model,
            urls=(url,),
            api_key=settings.api_key,
            facts={"provider": provider, "url": "llm_eval.api_base"},
        )
    except (ValueError, ValidationError) as error:
        raise EndpointError(f"llm_eval.api_base: {error}") from None
    return endpoint if settings.api_key is not None else _with_key_of_the_same_place(endpoint, env)


def _with_key_of_the_same_place(endpoint: Endpoint, env: Mapping[str, str]) -> Endpoint:
    try:
        known = endpoint_from_environment(env, role="judge")
    except EndpointError:
        return endpoint
    if endpoint.provider != known.provider or not set(endpoint.urls) <= set(known.urls):
        return endpoint
    facts = {**endpoint.facts, **({"key": known.facts["key"]} if "key" in known.facts else {})}
    return endpoint.model_copy(update={"api_key": known.api_key, "facts": facts})


def _completed(url: str, provider: Provider) -> str:
    """An OpenAI address without a path is completed with /v1, where all engines serve."""
    return f"{url}/v1" if provider == "openai" and re.fullmatch(r"https?://[^/]+", url) else url
