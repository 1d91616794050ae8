"""Whether a model runs on these GPUs, with the arithmetic shown. Pure functions: no I/O, no engine is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.inference.presets import EngineName, Hardware, KvDtype, Preset

Verdict = Literal["fit", "tight", "impossible"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is to be served on what."""

    preset: Preset
    gpu: Hardware
    count: int
    """GPUs of this kind, on one node."""
    tp: int | None = None
    """GPUs of one server; None: the fewest that fit."""
    max_model_len: int | None = None
    """Tokens; None: the preset's default."""
    engine: EngineName = "vllm"
    utilization: float = 0.90
    """Part of a GPU's memory that the engine may take."""
    kv_dtype: KvDtype = "auto"
    sequences: int = 2
    """Full-length sequences that must fit beside the weights."""
    expert_parallel: bool = False
    tools: bool = True
    """Tool calls are needed."""
    quantization: str | None = None
    """Asked by flag; only online FP8 of a 16-bit checkpoint is possible."""
    dtype: str | None = None
    """Asked by flag."""
    extra_gib: float = 0.0
    """Further weights, such as adapters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """GiB of one GPU, and what remains for sequences. `low` and `high` are the ends of the admitted overhead."""

    weights_gib: float
    ceiling_gib: float
    kv_gib_high_overhead: float
    kv_gib_low_overhead: float
    sequence_gib: float
    """KV cache of one full-length sequence."""

    @property
    def sequences_high_overhead(self) -> float:
        """Full sequences that fit for certain."""
        return self.kv_gib_high_overhead / self.sequence_gib

    @property
    def sequences_low_overhead(self) -> float:
        """Full sequences that may fit."""
        return self.kv_gib_low_overhead / self.sequence_gib


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternative:
    """The nearest configuration that fits."""

    preset: Preset
    gpu: Hardware
    count: int
    tp: int
    max_model_len: int
    note: str = ""
    """Such as that another checkpoint's scores are its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The verdict on a request."""

    request: Request
    tp: int
    max_model_len: int
    verdict: Verdict
    reasons: tuple[str, ...]
    """Every reason why it is impossible; empty otherwise."""
    notes: tuple[str, ...]
    """What should be known anyway, such as fields nobody has confirmed."""
    memory: Memory
    valid_tps: tuple[int, ...]
    replicas: int
    """Servers that these GPUs hold."""
    same_model: Alternative | None = None
    same_gpus: Alternative | None = None
