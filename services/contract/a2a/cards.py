"""Reading a foreign agent card. It is untrusted: only dialect, streaming and the path of its address are taken from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from services.contract.a2a.wire import Dialect
from services.contract.outcomes import AgentFailure, Outcome

_LABEL_CHARS: Final = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class CardInfo:
    """What we use of a card."""

    name: str
    version: str
    dialect: Dialect
    streaming: bool
    url: str
    """Where messages go."""
    own_origin: bool
    """True when `url` has the origin of the participant's configured URL; only there credentials go."""


def read_card(body: bytes, *, found: bool, url: str, forced: Dialect | None, follow: bool) -> CardInfo:
    """Choose an interface: JSONRPC 1.x, else JSONRPC 0.x, or `forced`. Raises infra_error/no_interface."""
    if not found:
        raise no_interface(f"{url}: no agent card there (HTTP 404)")
    try:
        card = json.loads(body)
        offers = dict(_offers(card))
        name, version = _label(card, "name"), _label(card, "version")
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise no_interface(f"{url}: the agent card is not readable ({error})") from error
    wanted = (Dialect.V1, Dialect.V03) if forced is None else (forced,)
    dialect = next((dialect for dialect in wanted if dialect in offers), forced)
    if dialect is None:
        raise no_interface(f"{url}: the agent card offers no JSON-RPC interface")
    address = _address(url, offers.get(dialect, ""), follow=follow)
    capabilities = card.get("capabilities")
    return CardInfo(
        name=name,
        version=version,
        dialect=dialect,
        streaming=isinstance(capabilities, dict) and capabilities.get("streaming") is True,
        url=address,
        own_origin=urlsplit(address)[:2] == urlsplit(url)[:2],
    )


def _offers(card: Mapping[str, Any]) -> Iterator[tuple[Dialect, str]]:
    """Dialect and address of every JSON-RPC interface; of several in one dialect the first wins."""
    listed = [
        (entry.get("protocolBinding"), str(entry.get("protocolVersion") or "0.3"), str(entry.get("url") or ""))
        for entry in card.get("supportedInterfaces") or ()
    ]
    old_version = str(card.get("protocolVersion") or "0.3")
    if "url" in card:
        listed.append((card.get("preferredTransport") or "JSONRPC", old_version, str(card["url"])))
        listed += [
            (entry.get("transport"), old_version, str(entry.get("url") or ""))
            for entry in card.get("additionalInterfaces") or ()
        ]
    spoken = {"1": Dialect.V1, "0": Dialect.V03}
    for binding, version, address in reversed(listed):
        dialect = spoken.get(version.partition(".")[0])
        if binding == "JSONRPC" and dialect is not None:
            yield dialect, address


def _label(card: Mapping[str, Any], key: str) -> str:
    """For the record: short, and without halves of surrogate pairs, which no artifact could hold."""
    return _storable(str(card.get(key, ""))[:_LABEL_CHARS])


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _address(url: str, offered: str, *, follow: bool) -> str:
    """The offered path at our origin; our own URL where the card names the root, as behind a proxy with a prefix."""
    offered = _storable(offered)
    if follow and offered:
        return urljoin(url, offered)
    try:
        path = urlsplit(offered).path
    except ValueError:
        path = ""
    ours = urlsplit(url)
    return ours._replace(path=path if path not in {"", "/"} else ours.path or "/", query="", fragment="").geturl()


def no_interface(message: str) -> AgentFailure:
    """There is no card to go by: a matter of configuration, found before the first trial and never the agent's score."""
    return AgentFailure(Outcome.INFRA_ERROR, "no_interface", message)
