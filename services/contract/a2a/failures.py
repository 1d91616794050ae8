"""What went wrong on the way to the agent, as outcome and kind (interop specification 3.5). Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.contract.assessment import META_FAULT, META_OUTCOME
from services.contract.outcomes import AgentFailure, Outcome, infra_kind

INTERNAL_ERROR: Final = -32603
HOPELESS_CODES: Final = frozenset({-32001, -32004, -32601})
"""Answers to GetTask after which no further one will find the task."""
_PROTOCOL_CODES: Final = frozenset({-32700, *range(-32602, -32599), *range(-32009, -32000)})
_OWN_FAULTS: Final = {
    "failed": "failed",
    "rejected": "refused",
    "auth-required": "auth_required",
    "canceled": "canceled",
}
_EVIDENCE_CHARS: Final = 2_000


class Unsent(Exception):  # noqa: N818 - a fact about the road, not yet a fault
    """No connection: the request certainly never left."""


class Cut(Exception):  # noqa: N818
    """The connection ended after the request may have been taken."""


class RpcFailure(AgentFailure):
    """A JSON-RPC error; `code` is None when the answer has no usable one."""

    code: int | None = None


def unreachable(message: str) -> AgentFailure:
    """No road to the agent."""
    return AgentFailure(Outcome.INFRA_ERROR, "unreachable", message)


def protocol(message: str, evidence: str = "") -> AgentFailure:
    """The agent speaks something else."""
    return AgentFailure(Outcome.AGENT_ERROR, "protocol", message, evidence=evidence[:_EVIDENCE_CHARS])


def too_large(limit: int) -> AgentFailure:
    """More than a reply may hold."""
    return AgentFailure(Outcome.AGENT_ERROR, "too_large", f"the reply is larger than {limit} bytes")


def too_many(limit: int) -> AgentFailure:
    """A reply in more events than one is read in."""
    return AgentFailure(Outcome.AGENT_ERROR, "too_large", f"the reply comes in more than {limit} events")


def http_failure(status: int, excerpt: str) -> AgentFailure:
    """An HTTP answer other than 2xx."""
    message = f"the agent answered HTTP {status}"
    if status in {401, 403}:
        return AgentFailure(Outcome.INFRA_ERROR, "auth", message, evidence=excerpt)
    if status in {402, 429} or status >= 500:
        return AgentFailure(Outcome.INFRA_ERROR, f"http_{status}", message, evidence=excerpt)
    return protocol(message, excerpt)


def rpc_failure(error: object) -> RpcFailure:
    """The `error` of a JSON-RPC answer. Codes outside the specification are told apart by their text."""
    fields = error if isinstance(error, Mapping) else {}
    told, said = fields.get("code"), fields.get("message")
    code = told if isinstance(told, int) else None
    text = said[:_EVIDENCE_CHARS] if isinstance(said, str) else ""
    message = f"JSON-RPC error {'without a code' if code is None else code}: {text}"
    if code is None or code in _PROTOCOL_CODES:
        failure = RpcFailure(Outcome.AGENT_ERROR, "protocol", message)
    elif code != INTERNAL_ERROR and (kind := infra_kind(text)):
        failure = RpcFailure(Outcome.INFRA_ERROR, kind, message, self_reported=True)
    else:
        failure = RpcFailure(Outcome.AGENT_ERROR, "internal", message)
    failure.code = code
    return failure


def state_failure(state: str, text: str, metadata: Mapping[str, Any]) -> AgentFailure:
    """A task that ended, or rests, without a reply. `assay/outcome` in the metadata decides before the text does."""
    told = text[:_EVIDENCE_CHARS]
    if state != "failed":
        return AgentFailure(Outcome.AGENT_ERROR, _OWN_FAULTS.get(state, "protocol"), f"task {state}: {told}")
    outcome, fault = metadata.get(META_OUTCOME), metadata.get(META_FAULT)
    kind = fault if isinstance(fault, str) and fault else "failed"
    if outcome == Outcome.INFRA_ERROR:
        return AgentFailure(Outcome.INFRA_ERROR, kind, f"task failed: {told}", evidence=told, self_reported=True)
    if outcome != Outcome.AGENT_ERROR and (found := infra_kind(text)):
        return AgentFailure(Outcome.INFRA_ERROR, found, f"task failed: {told}", evidence=told, self_reported=True)
    own_kind = kind if outcome == Outcome.AGENT_ERROR else "failed"
    return AgentFailure(Outcome.AGENT_ERROR, own_kind, f"task failed: {told}", evidence=told)
