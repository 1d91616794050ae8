"""The nearest configuration that fits: the same model on other GPUs, or other settings on the same GPUs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from services.inference.planning.planner import Alternative, Plan, Request, judged, length, on_cpu
from services.inference.planning.presets import Catalogue, Preset, Quantisation

COUNTS: Final = (1, 2, 4, 8)
KINDS: Final = ("a100-80", "h100-80", "h200-141", "b200-192")
"""Other kinds of GPU, in the order of proposal."""
SHORTEST: Final = 16_384
"""No shorter length is proposed."""
UTILIZATION: Final = 0.90
"""Nothing is proposed that needs a greater part of the memory: what fits by the last GiB is no cure."""
CHECKPOINTS: Final[tuple[Quantisation, ...]] = ("fp8", "int4", "nvfp4")

OWN_SCORES: Final = "another checkpoint: its scores are its own"


def plan(request: Request, known: Catalogue) -> Plan:
    """The verdict, and what fits instead unless the request itself does."""
    found = judged(request)
    if found.verdict == "fit" or on_cpu(request):
        return found
    calm = replace(
        request,
        utilization=min(request.utilization, UTILIZATION),
        max_model_len=min(length(request), request.preset.lengths.max_positions),
        quantization=None,
        dtype=None,
    )
    return replace(found, same_model=_same_model(calm, known), same_gpus=_same_gpus(calm, found.tp, known))


def _same_model(request: Request, known: Catalogue) -> Alternative | None:
    others = (known.hardware[key] for key in KINDS if key != request.gpu.key and key in known.hardware)
    for gpu in (request.gpu, *others):
        for count in COUNTS:
            if count <= gpu.per_node and (found := _fit(replace(request, gpu=gpu, count=count, tp=None))):
                return found
    return None


def _same_gpus(request: Request, tp: int, known: Catalogue) -> Alternative | None:
    """Another TP, then a shorter length, then another checkpoint, also that with a shorter length."""
    for candidate in _on_the_same(request, tp, known):
        found = _fit(candidate)
        if found is not None:
            return found if candidate.preset is request.preset else replace(found, note=OWN_SCORES)
    return None


def _on_the_same(request: Request, tp: int, known: Catalogue) -> Iterator[Request]:
    free = replace(request, tp=None)
    yield free
    yield from _shorter(replace(request, tp=tp))
    yield from _shorter(free)
    for preset in _other_checkpoints(request.preset, known):
        own = replace(free, preset=preset)
        yield own
        yield from _shorter(own)


def _shorter(request: Request) -> Iterator[Request]:
    tokens = length(request) // 2
    while tokens >= SHORTEST:
        yield replace(request, max_model_len=tokens)
        tokens //= 2


def _other_checkpoints(preset: Preset, known: Catalogue) -> list[Preset]:
    relatives = [row for row in known.relatives(preset) if row.checkpoint.quant in CHECKPOINTS]
    return sorted(relatives, key=lambda row: CHECKPOINTS.index(row.checkpoint.quant))


def _fit(request: Request) -> Alternative | None:
    found = judged(request)
    if found.verdict != "fit":
        return None
    return Alternative(
        preset=request.preset,
        gpu=request.gpu,
        count=request.count,
        tp=found.tp,
        max_model_len=found.max_model_len,
    )
