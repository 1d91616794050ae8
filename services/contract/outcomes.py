"""How a trial ends, who may retry it, and what counts as an error rather than an answer.

One frozen table decides retry and counting for every layer. Each layer maps what it observed to an outcome and a kind at
its own edge; nothing further in has to guess. Sources: architecture "Outcome", interop specification 3.5, finance 10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from services.contract.conversation import ModelCalls


class Outcome(StrEnum):
    """How a trial ended."""

    SCORED = "scored"
    AGENT_ERROR = "agent_error"
    INFRA_ERROR = "infra_error"
    JUDGE_ERROR = "judge_error"
    USER_ERROR = "user_error"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What an outcome means for the assessment."""

    counts: bool
    """True when the trial enters the mean: `scored` with its score, `agent_error` with 0."""
    retried: bool
    """True when the assessment runs the whole trial again, bounded and with backoff."""
    final: bool
    """True when a resumed run keeps the trial as it is; False when resume runs it again."""


POLICY: Final[Mapping[Outcome, Policy]] = MappingProxyType(
    {
        Outcome.SCORED: Policy(counts=True, retried=False, final=True),
        Outcome.AGENT_ERROR: Policy(counts=True, retried=False, final=True),
        Outcome.INFRA_ERROR: Policy(counts=False, retried=True, final=False),
        Outcome.JUDGE_ERROR: Policy(counts=False, retried=False, final=False),
        Outcome.USER_ERROR: Policy(counts=False, retried=True, final=False),
        Outcome.CANCELLED: Policy(counts=False, retried=False, final=False),
    }
)
"""`judge_error` is retried by the judge itself, which keeps the conversation; running the agent again would not mend it."""


class Failure(Exception):  # noqa: N818 - the field's word; it is a value at the boundary of the assessment
    """A trial cannot be scored, and whose doing that is. Caught once, in the assessment, and turned into a TaskResult.

    `kind` is a short stable identifier ("deadline", "http_503"); `message` is for people; `evidence` is text worth keeping,
    such as the reply that was refused. `self_reported` marks a fault that only the agent itself claims.
    """

    def __init__(
        self, outcome: Outcome, kind: str, message: str, *, evidence: str = "", self_reported: bool = False
    ) -> None:
        super().__init__(f"{outcome}/{kind}: {message}")
        self.outcome = outcome
        self.kind = kind
        self.message = message
        self.evidence = evidence
        self.self_reported = self_reported


class AgentFailure(Failure):
    """Raised by a conversation with the agent: the agent's own fault or the road to it, see `outcome`."""

    model_calls: ModelCalls | None = None
    """What the agent says of the model calls behind it."""


SANDBOX, SCORER = "sandbox", "scorer"
"""Kinds of `infra_error` after a whole conversation: the sandbox was not there, or our scorer broke. It can be scored again."""
STOPS_ASSESSMENT: Final = frozenset({"auth", "no_interface", "payment", "model_missing"})
"""Kinds of `infra_error` that no repetition and no further trial can escape: the configuration or the account is wrong."""

# A completed reply whose first line starts like this is the text of an error, not an answer (finance specification 10).
ERROR_TEXTS: Final = (
    re.compile(r"error during analysis:", re.IGNORECASE),
    re.compile(r"error code: \d{3}", re.IGNORECASE),
    re.compile(r"traceback \(most recent call last\)", re.IGNORECASE),
    re.compile(r"litellm\.", re.IGNORECASE),
    re.compile(r"apiconnectionerror", re.IGNORECASE),
    re.compile(r"ratelimiterror", re.IGNORECASE),
    re.compile(r"internalservererror", re.IGNORECASE),
    re.compile(r"analysis incomplete: maximum", re.IGNORECASE),
)

# What an agent says of a failed task when the fault lies below it (interop specification 3.5), first match wins.
INFRA_TEXTS: Final = (
    ("http_429", re.compile(r"\b429\b|too many requests|rate.?limit", re.IGNORECASE)),
    ("http_402", re.compile(r"\b402\b|payment required|insufficient (?:credit|balance|funds)", re.IGNORECASE)),
    ("quota", re.compile(r"\bquota\b", re.IGNORECASE)),
    (
        "context_overflow",
        re.compile(r"context.?length|maximum context|context window|prompt is too long", re.IGNORECASE),
    ),
    ("overloaded", re.compile(r"\boverloaded\b|no capacity", re.IGNORECASE)),
    (
        "http_5xx",
        re.compile(r"\b50[0-4]\b|\b529\b|bad gateway|service unavailable|internal server error", re.IGNORECASE),
    ),
    ("unreachable", re.compile(r"connection (?:refused|reset|error)|connect(?:ion)? failed", re.IGNORECASE)),
    ("timed_out", re.compile(r"\btimed? ?out\b|\btimeout\b", re.IGNORECASE)),
)


def is_error_text(reply: str) -> bool:
    """True when the first non-blank line of a completed reply begins with a known error text."""
    first_line = reply.strip().split("\n", 1)[0].lstrip("`* ")
    return any(pattern.match(first_line) for pattern in ERROR_TEXTS)


def infra_kind(text: str) -> str | None:
    """The kind of infrastructure fault an agent's failure text tells of, or None when it tells of none."""
    return next((kind for kind, pattern in INFRA_TEXTS if pattern.search(text)), None)
