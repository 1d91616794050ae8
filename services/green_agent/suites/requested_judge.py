"""What a request may say of the judge.

Green's own key goes only to the address its operator chose: a request that sends the judge elsewhere brings a key of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import BaseModel, JsonValue, ValidationError

from services.contract.assessment import nearest
from services.contract.secrets import redact
from services.green_agent.judge.settings import JudgeMember, JudgeSettings


def settings_faults(asked: Mapping[str, JsonValue]) -> list[str]:
    """What is wrong with the keys and values of `config.judge`. Never shows a value."""
    try:
        JudgeSettings.model_validate(asked)
    except ValidationError as error:
        return [_worded(fault["loc"], fault["type"], fault["msg"]) for fault in error.errors(include_url=False)]
    return []


def address_faults(asked: Mapping[str, JsonValue], own: JudgeSettings | None) -> list[str]:
    """Addresses that green's key would be sent to although its operator did not name them."""
    tables = {f"config.{where}.api_base": table for where, table in _tables(asked)}
    return [
        f"{where}: {redact(base)!r} is not this evaluator's own judge;"
        f" name {where.removeprefix('config.').removesuffix('base')}key beside it"
        for where, base in addresses(asked, own)
        if not tables[where].get("api_key") and not asked.get("api_key") and not _is_loopback(base)
    ]


def addresses(asked: Mapping[str, JsonValue], own: JudgeSettings | None) -> Iterator[tuple[str, str]]:
    """Where the request sends judges to, by key path: addresses that the operator did not name."""
    for where, table in _tables(asked):
        base = table.get("api_base")
        if isinstance(base, str) and not (own is not None and own.api_base == base):
            yield f"config.{where}.api_base", base


def told_by_suite(own: JudgeSettings | None, asked: Mapping[str, JsonValue]) -> dict[str, object]:
    """What the suite states of the judge. Of a request that names another address or provider its keys are kept away."""
    if own is None:
        return {}
    stated = {name: value for name in own.model_fields_set if (value := getattr(own, name)) is not None}
    stays = asked.get("api_base") in {None, own.api_base} and asked.get("provider") in {None, own.provider or "openai"}
    if stays:
        return stated
    panel = tuple(
        member if member.api_base is not None else member.model_copy(update={"api_key": None}) for member in own.panel
    )
    return {name: value for name, value in stated.items() if name != "api_key"} | {"panel": panel}


def _tables(asked: Mapping[str, JsonValue]) -> Iterator[tuple[str, Mapping[str, JsonValue]]]:
    yield "judge", asked
    panel = asked.get("panel")
    for place, member in enumerate(panel if isinstance(panel, list) else []):
        if isinstance(member, dict):
            yield f"judge.panel[{place}]", member


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _worded(loc: tuple[str | int, ...], kind: str, message: str) -> str:
    where = ".".join(["config.judge", *map(str, loc)])
    if kind != "extra_forbidden":
        return f"{where}: {message}"
    model: type[BaseModel] = JudgeSettings if len(loc) == 1 else JudgeMember
    return f"{where}: unknown key{nearest(str(loc[-1]), model.model_fields)}"
