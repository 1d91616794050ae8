"""Baselines that fail or dawdle. Which messages fail follows from their text alone, so repeats fail alike."""

from __future__ import annotations

import asyncio
import hashlib

from services.contract.outcomes import AgentFailure, Outcome
from services.purple_agent.baselines.texts import DEFAULT_TEXT


def falls_in_share(text: str, share: float) -> bool:
    """True for about `share` (0..1) of all texts, always the same ones, and nested: a larger share keeps the smaller."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") < share * 2**64


async def crash(question: str, *, share: float) -> str:
    """Fail on `share` of the messages with a fault of the agent's own, else a constant."""
    if falls_in_share(question, share):
        raise AgentFailure(Outcome.AGENT_ERROR, "crash", "the baseline crashes on this message by design")
    return DEFAULT_TEXT


async def claim_infrastructure(question: str, *, share: float) -> str:
    """Blame the infrastructure on `share` of the messages, else a constant."""
    if falls_in_share(question, share):
        raise AgentFailure(Outcome.INFRA_ERROR, "overloaded", "the baseline claims that its model is overloaded")
    return DEFAULT_TEXT


async def dawdle(_question: str, *, seconds: float) -> str:
    """A constant, `seconds` late."""
    await asyncio.sleep(seconds)
    return DEFAULT_TEXT
