"""What a judge was asked and what it said, kept beside the row it decided.

Every call stands here, failed ones included, so that verdicts can be compared between judges and a bill can be explained.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Form = Literal["full", "repair", "simplified"]


class Cut(BaseModel):
    """A text that was shortened to fit the judge's context."""

    model_config = ConfigDict(frozen=True)

    field: str
    original_chars: int
    kept_chars: int


class Judgement(BaseModel):
    """One call of one judge in one trial."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    purpose: str
    """Which question of the trial, for example `criteria 1-10`, `correct`, `scales`, `compare`, `compare swapped`."""
    model: str
    question: str = ""
    """Digest of what is judged, the same for every member, batch and try."""
    member: int = 0
    """Place in the panel; 0 for a single judge."""
    form: Form = "full"
    """How it was asked: the full prompt, the same with its faults named, or the short form."""
    attempt: int = 0
    """0-based number of this call among those for the same question and member."""
    kind: str = ""
    """Why the call gave no verdict; empty when it did."""
    verdicts: dict[str, bool | int | str] = Field(default_factory=dict)
    """By criterion or scale; empty when the call gave none."""
    cached: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    """What the call cost when it was made; None when the price is unknown."""
    latency_s: float = 0.0
    server: str = ""
    """Base URL of the one that answered, or that failed the call last; empty when none was asked."""
    fingerprint: str | None = None
    """What the engine that answered says about itself."""
    failed_requests: int = 0
    """Of this call, before an answer or its end."""
    cuts: tuple[Cut, ...] = ()
    evidence_missing: int = 0
    """Quotes the judge gave that do not stand in the answer."""
    fences_replaced: int = 0
    """Fence marks found inside untrusted text."""
    template_tokens_replaced: int = 0
    """Control tokens of chat templates found inside untrusted text."""
    injection_suspected: bool = False
    prompt: str = ""
    """Digest of the prompt with its nonces removed."""
    raw: str = ""
    """What the model said. Only in rows that carry transcripts."""
