"""What the planner foretold about memory, held against what the engine says at its start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from services.inference.planning.planner import Plan

TOLERANCE: Final = 0.01
"""Part of the foretold tokens. Engines round to whole blocks and MiB; on a CPU, where the cache is what was asked for, low and
high are one number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Foretold:
    """Tokens that the KV cache holds, for high and for low overhead of the engine."""

    tokens: tuple[int, int]

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The prediction of a plan."""
        memory = plan.memory
        full = (memory.sequences_high_overhead, memory.sequences_low_overhead)
        low, high = (max(0, int(sequences * plan.max_model_len)) for sequences in full)
        return cls(tokens=(low, high))

    def contradicted_by(self, tokens: int) -> str:
        """A warning when the truth lies outside of what was admitted; empty otherwise."""
        low, high = self.tokens
        if low * (1 - TOLERANCE) <= tokens <= high * (1 + TOLERANCE):
            return ""
        return (
            f"the engine's KV cache holds {tokens} tokens, and the plan foretold {low} to {high}: "
            "plans for this model and GPU are off by as much; please report it with this line"
        )
