"""What both dialects of model servers need of HTTP: a pool of our own and faults in one form."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx2
from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue

from services.contract.model_errors import HttpFault
from services.contract.model_pools import Pools

CONNECT_S: Final = 10.0
KEEP_ALIVE_S: Final = 4.0
"""Shorter than the 5 s after which vLLM closes idle connections, so that the client closes first."""
SPARE_CONNECTIONS: Final = 16
"""Beside the calls themselves: questions to the tokenizer and probes."""
MOST_TOKENS: Final = 10**12
NO_KEY: Final = "none"
"""Sent to engines without a key; the SDKs insist on one, and would take it from the environment."""


class Wire(BaseModel):
    """Part of a reply. Engines add fields freely."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _plausible(value: object) -> int | None:
    """A count that is none is unknown: an answer is not lost over it."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS else None


Count = Annotated[int | None, BeforeValidator(_plausible)]
"""Tokens as a server counts them."""


def http_client(url: str, max_connections: int) -> httpx2.AsyncClient:
    """A client for one server.

    No read time-out, since a deadline cancels the whole call; no redirects, which would carry the key and the prompt
    elsewhere; no proxy on the way to this machine.
    """
    size, trust_env = max_connections + SPARE_CONNECTIONS, not _is_loopback(url)
    proxied = trust_env and bool(getproxies())  # A client with pools of its own asks the environment for no proxy.
    return httpx2.AsyncClient(
        transport=None if proxied else Pools(connections=size, keep_alive_s=KEEP_ALIVE_S, trust_env=trust_env),
        limits=httpx2.Limits(max_connections=size, max_keepalive_connections=size, keepalive_expiry=KEEP_ALIVE_S),
        timeout=httpx2.Timeout(None, connect=CONNECT_S),
        follow_redirects=False,
        trust_env=trust_env,
    )


def fault_of(status: int, body: bytes, headers: Mapping[str, str], *, now: datetime | None = None) -> HttpFault:
    """The fault in an error response, whatever the shape of its body."""
    text = body.decode(errors="replace")
    details = _details(text)
    return HttpFault(
        status,
        str(details.get("message") or text or f"HTTP {status} without a body"),
        code=str(details.get("code") or details.get("type") or ""),
        param=str(details.get("param") or ""),
        retry_after_s=retry_after_s(headers, now=now),
    )


def unreachable(error: Exception) -> HttpFault:
    """The fault in an SDK's error that nothing was heard; the cause says more than its own words."""
    cause = error.__cause__
    return HttpFault(None, f"{type(cause).__name__}: {cause}" if cause else str(error))


def retry_after_s(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds the server asks us to wait, from `retry-after-ms` or `retry-after` (seconds or a date); None without."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if text is None or (seconds := _number(text)) is not None:
        return None if text is None else seconds
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # HTTP has no other zone, whether a date names it or not.
    then = then if then.tzinfo is not None else then.replace(tzinfo=UTC)
    return max(0.0, (then - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text is not None else None
    except ValueError:
        return None


def _details(text: str) -> Mapping[str, JsonValue]:
    """The object that holds the message: OpenAI nests it in `error`, older vLLM and SGLang do not."""
    try:
        body: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(body, Mapping):
        return {}
    inner = body.get("error")
    if isinstance(inner, Mapping):
        return inner
    return body | {"message": inner} if isinstance(inner, str) else body


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
