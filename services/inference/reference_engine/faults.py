"""Faults on demand, so that the road from an engine's misbehaviour to a recorded outcome can be tested.

A fault is chosen by hash(seed, fault, request, times seen): runs repeat whatever the order of arrival, and a retry, which is
the same request seen once more, can succeed.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

REMEMBERED: Final = 65_536
"""Distinct requests whose sightings are counted; older ones start from nothing again."""


class Kind(StrEnum):
    """What goes wrong."""

    RATE_LIMITED = "429"
    SERVER = "500"
    UNAVAILABLE = "503"
    PAYMENT = "402"
    AUTH = "401"
    REFUSE = "refuse"
    """The model refuses to answer."""
    HANG = "hang"
    """No byte is ever sent; the connection stays open."""
    SLOW_STREAM = "slow-stream"
    """One token a second."""
    TRUNCATED = "truncated"
    """The connection closes in the middle of the body."""
    CUT = "cut"
    """Half the answer with finish reason `length`."""
    MALFORMED_TOOL_CALL = "malformed-tool-call"
    """Arguments of a tool call are half a JSON text."""
    TOOL_AS_TEXT = "tool-as-text"
    """A tool call comes as text, as from a wrong tool parser."""
    THINK_IN_CONTENT = "think-in-content"
    """A think block in the text, as without a reasoning parser."""
    EMPTY_CONTENT = "empty-content"
    """The whole answer in `reasoning`, content null, as from a reasoning parser on a model that does not think."""
    OVERFLOW = "overflow"
    """HTTP 400: the context is exceeded."""
    WRONG_USAGE = "wrong-usage"
    """Token counts ten times too high."""
    NO_DONE = "no-done"
    """A stream without its last chunks."""


HTTP_ERRORS: Final = frozenset({Kind.RATE_LIMITED, Kind.SERVER, Kind.UNAVAILABLE, Kind.PAYMENT, Kind.AUTH})


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One `--fault` option."""

    kind: Kind
    rate: float = 1.0
    """Share of requests it hits, 0..1."""
    times: int | None = None
    """Hits at most the first so many sightings of a request; None: all."""
    after: int = 0
    """Spares the first so many sightings of a request."""
    match: str = ""
    """Hits only requests that contain this text."""
    retry_after: int | None = None
    """Seconds for the `Retry-After` header of an HTTP error."""


class FaultSpecError(ValueError):
    """A `--fault` text that is none."""


def parse(spec: str) -> Fault:
    """Read `KIND[:rate=p][:times=n][:after=n][:match=TEXT][:retry_after=s]`. Raises FaultSpecError."""
    name, *options = re.split(r":(?=(?:rate|times|after|match|retry_after)=)", spec)
    try:
        values = dict(option.split("=", 1) for option in options)
        fault = Fault(
            kind=Kind(name),
            rate=float(values.get("rate", "1")),
            times=int(values["times"]) if "times" in values else None,
            after=int(values.get("after", "0")),
            match=values.get("match", ""),
            retry_after=int(values["retry_after"]) if "retry_after" in values else None,
        )
    except ValueError as error:
        kinds = ", ".join(Kind)
        raise FaultSpecError(
            f"expected KIND[:rate=p][:times=n][:after=n][:match=TEXT][:retry_after=s] with KIND in {kinds}, got {spec!r}"
        ) from error
    if not 0 <= fault.rate <= 1 or fault.after < 0 or (fault.times or 0) < 0 or (fault.retry_after or 0) < 0:
        raise FaultSpecError(f"expected a rate of 0..1 and counts of 0 or more, got {spec!r}")
    return fault


class FaultPlan:
    """Chooses the fault of each request and counts how often a request was seen."""

    def __init__(self, faults: Sequence[Fault], *, seed: int) -> None:
        self._faults = tuple(faults)
        self._seed = seed
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def choose(self, body: bytes) -> Fault | None:
        """The first fault that hits this request, which is thereby seen once more."""
        if not self._faults:
            return None
        digest = hashlib.blake2b(body, digest_size=16).digest()
        seen = self._seen.pop(digest, 0)
        self._seen[digest] = seen + 1
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return next((fault for fault in self._faults if self._hits(fault, body, digest, seen)), None)

    def _hits(self, fault: Fault, body: bytes, digest: bytes, seen: int) -> bool:
        last = None if fault.times is None else fault.after + fault.times
        if seen < fault.after or (last is not None and seen >= last) or fault.match.encode() not in body:
            return False
        material = f"{self._seed}|{self._faults.index(fault)}|{seen}|".encode() + digest
        drawn = int.from_bytes(hashlib.blake2b(material, digest_size=8).digest()) / 2**64
        return drawn < fault.rate
