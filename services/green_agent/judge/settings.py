"""`llm_eval` of a suite: which model judges, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.contract.endpoints import ApiKey

Provider = Literal["openai", "anthropic"]


class JudgeMember(BaseModel):
    """One model of a panel. What is absent is taken from the judge."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str
    provider: Provider | None = None
    api_base: str | None = None
    api_key: ApiKey | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)


class JudgeSettings(BaseModel):
    """`llm_eval` (finance specification 1.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    enabled: bool = True
    """Without a usable judge this is an error at planning; it is never switched off silently."""
    model: str | None = None
    """Required when enabled; `EVAL_LLM_MODEL` when absent."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    provider: Provider | None = None
    """openai: any compatible endpoint. Absent: openai when its key exists, else anthropic."""
    api_base: str | None = None
    api_key: ApiKey | None = None
    context_window: int | None = Field(default=None, ge=1024)
    """Tokens; absent: what the endpoint reports, else 32,768 with a warning."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most output tokens of one call; the judge asks for no more than its verdict needs."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    """Deadline of one question with all its tries."""
    concurrency: int = Field(default=8, ge=1, le=1000)
    """Calls in flight."""
    cache: bool = True
    """Keep verdicts and ask the same question once."""
    panel: tuple[JudgeMember, ...] = ()
    """Several judges: majority a criterion, median a scale. Empty: the one above."""
    fallback: Literal["none", "rule"] = "none"
    """rule: where a rule exists it decides after the judge failed, marked and counted."""
