"""Whether a model runs on these GPUs, with the arithmetic shown. Pure functions: no I/O, no engine is imported.

`plan` judges one request; what to propose instead is in `alternatives.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor
from typing import Final, Literal

from services.inference.planning.presets import Checkpoint, EngineName, Hardware, KvDtype, Preset, Quantisation

Verdict = Literal["fit", "tight", "impossible"]
BYTES_PER_PARAMETER: Final[dict[Quantisation, float]] = {
    "none": 2.0,
    "fp8": 1.0,
    "int4": 0.5195,
    "nvfp4": 0.5625,
    "mxfp4": 0.53125,
}
"""Scales and zero points included."""
LOAD_RESERVE_GIB: Final = 4.0
"""What must stay free beside the peak of loading."""
WITH_PARSERS: Final = ("vllm", "trtllm", "sglang")
"""Engines that need to be told a parser to return tool calls."""
_GIB: Final = 2**30
_CPU_KV_GIB: Final = 0.0625
_SAME_AS_CHECKPOINT: Final[dict[Quantisation, frozenset[str]]] = {
    "none": frozenset(),
    "fp8": frozenset({"fp8"}),
    "int4": frozenset({"awq", "awq_marlin", "gptq", "gptq_marlin", "compressed-tensors"}),
    "nvfp4": frozenset({"nvfp4", "modelopt", "modelopt_fp4", "compressed-tensors"}),
    "mxfp4": frozenset({"mxfp4", "gpt_oss_mxfp4"}),
}
"""Names by which `--quantization` may call what a checkpoint is."""
DTYPES: Final = ("auto", "bfloat16", "float16", "half")
"""What `--dtype` may say. Weights are planned in 16 bits, so that 32 are no choice."""
_RANK: Final[dict[Verdict, int]] = {"fit": 0, "tight": 1, "impossible": 2}


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


def judged(request: Request) -> Plan:
    """The verdict, without proposals. Without `tp` in the request: the smallest that fits, else the least bad."""
    if request.tp is not None:
        return _judged(request, request.tp)
    plans = [_judged(request, tp) for tp in valid_tps(request) or (min(request.count, request.gpu.per_node),)]
    best = min(_RANK[plan.verdict] for plan in plans)
    ranked = [plan for plan in plans if _RANK[plan.verdict] == best]
    return ranked[-1] if best == _RANK["impossible"] else ranked[0]


def weights_gib(checkpoint: Checkpoint, preset: Preset) -> float:
    """All weights of the model stored like this checkpoint, GiB."""
    if checkpoint.weights_gib is not None:
        return checkpoint.weights_gib
    unquantised = checkpoint.unquantised
    if unquantised is None:
        unquantised = 2 * preset.shape.vocab * preset.shape.hidden
    unquantised = min(unquantised, preset.params.total)
    quantised = preset.params.total - unquantised
    return (quantised * BYTES_PER_PARAMETER[checkpoint.quant] + unquantised * 2) / _GIB


def kv_bytes_per_token(preset: Preset, tp: int, kv_dtype: KvDtype) -> int:
    """Cache of one token on each GPU, bytes."""
    shape, size = preset.shape, 1 if kv_dtype == "fp8" else 2
    if shape.mla is None:
        return 2 * shape.kv_layers * max(1, shape.kv_heads // tp) * shape.head_dim * size
    vector = (shape.mla.kv_lora + shape.mla.rope) * size
    if shape.mla.sparse:
        packed = kv_dtype != "bfloat16"  # 8 bits with their scales, and the positions in 16
        return shape.layers * ((656 if packed else vector) + shape.mla.indexer_bytes)
    return shape.layers * vector


def tp_refusals(preset: Preset, tp: int, *, expert_parallel: bool) -> tuple[str, ...]:
    """Why the model cannot be cut into this many parts; empty when it can."""
    shape, block = preset.shape, preset.checkpoint.block
    reasons = []
    if shape.heads % tp:
        reasons.append(f"TP {tp} does not divide {shape.heads} attention heads")
    if shape.mla is None and shape.kv_heads % tp and tp % shape.kv_heads:
        reasons.append(f"TP {tp} and {shape.kv_heads} KV heads divide neither way")
    # The weights of whole experts are not cut, so their blocks stay whole.
    if block is not None and not (expert_parallel and shape.experts):
        width, odd = divmod(shape.ffn, tp)
        if odd or width % block:
            cure = " or --expert-parallel" if shape.experts else ""
            reasons.append(f"{shape.ffn}/{tp} is no multiple of the quantisation block {block}: another TP{cure}")
    return tuple(reasons)


def valid_tps(request: Request) -> tuple[int, ...]:
    """Every number of GPUs that the model can be cut into and one node has."""
    most = min(request.count, request.gpu.per_node)
    return tuple(
        tp for tp in range(1, most + 1) if not tp_refusals(request.preset, tp, expert_parallel=request.expert_parallel)
    )


def overhead_gib(request: Request, tp: int) -> tuple[float, float]:
    """Least and most that activations, graphs, communication and context take of a GPU, GiB."""
    if on_cpu(request):
        return (1.0, 2.0)
    return (3.0, 6.0) if request.preset.shape.experts and tp >= 4 else (2.0, 4.0)


def static_fraction(request: Request, tp: int) -> float:
    """SGLang's part for weights and cache together: what is asked, but the overhead must fit beside it.

    Down to the hundredth, since this very number is sent.
    """
    most = floor((1 - overhead_gib(request, tp)[1] / request.gpu.gib) * 100 + 1e-6) / 100
    return max(0.0, min(request.utilization, most))


def on_cpu(request: Request) -> bool:
    """There is no GPU: a CPU build of the engine, or the reference engine."""
    return not request.gpu.cc


def memory(request: Request, tp: int) -> Memory:
    """The arithmetic for one GPU."""
    preset, total = effective(request), request.gpu.gib
    weights = (weights_gib(preset.checkpoint, preset) + request.extra_gib) / tp
    low, high = overhead_gib(request, tp)
    if request.engine == "trtllm":
        ceiling, part = total, request.utilization
        left = [part * (total - weights - overhead) for overhead in (high, low)]
    elif request.engine == "sglang":
        ceiling = static_fraction(request, tp) * total
        left = [ceiling - weights] * 2
    else:
        ceiling = request.utilization * total
        left = [ceiling - weights - overhead for overhead in (high, low)]
    sequence = kv_bytes_per_token(preset, tp, request.kv_dtype) * length(request) / _GIB
    if on_cpu(request):  # memory of the machine is for others too
        left = [min(one, _whole_mib(max(_CPU_KV_GIB, sequence * request.sequences))) for one in left]
    return Memory(
        weights_gib=weights,
        ceiling_gib=ceiling,
        kv_gib_high_overhead=left[0],
        kv_gib_low_overhead=left[1],
        sequence_gib=sequence,
    )


def _whole_mib(gib: float) -> float:
    return ceil(gib * 1024) / 1024


def length(request: Request) -> int:
    """Tokens that are asked for, or the preset's default."""
    return request.max_model_len or request.preset.lengths.default


def effective(request: Request) -> Preset:
    """The preset as the engine loads it: online FP8 stores half, yet every weight passes through memory in 16 bits."""
    preset = request.preset
    if not online_fp8(request):
        return preset
    stored = preset.checkpoint.model_copy(update={"quant": "fp8", "weights_gib": None})
    peak = weights_gib(preset.checkpoint, preset) / weights_gib(stored, preset)
    return preset.model_copy(update={"checkpoint": stored.model_copy(update={"load_peak": peak})})


def _judged(request: Request, tp: int) -> Plan:
    found = memory(request, tp)
    reasons = tuple(_refusals(request, tp, found))
    verdict: Verdict = "tight"
    if reasons:
        verdict = "impossible"
    elif found.sequences_high_overhead >= request.sequences and not unverified(request):
        verdict = "fit"
    return Plan(
        request=request,
        tp=tp,
        max_model_len=length(request),
        verdict=verdict,
        reasons=reasons,
        notes=tuple(_notes(request, tp)),
        memory=found,
        valid_tps=valid_tps(request),
        replicas=request.count // tp,
    )


def unverified(request: Request) -> bool:
    """A path of the engine that nobody of us has run: vLLM's weight-only NVFP4 on older GPUs."""
    return (
        request.preset.checkpoint.quant == "nvfp4"
        and request.engine not in {"trtllm", "sglang"}
        and request.gpu.capability[0] not in {10, 12}
        and not on_cpu(request)
    )


def _refusals(request: Request, tp: int, found: Memory) -> Iterator[str]:
    yield from tp_refusals(request.preset, tp, expert_parallel=request.expert_parallel)
    yield from _too_few(request, tp)
    yield from _too_long(request)
    yield from _too_old(request)
    yield from contradictions(request)
    yield from _no_parser(request)
    yield from _too_big(request, tp, found)


def _too_few(request: Request, tp: int) -> Iterator[str]:
    gpu = request.gpu
    if tp > gpu.per_node:
        yield f"TP {tp} needs more than the {gpu.per_node} GPU(s) of one {gpu.key} node; a server lives on one node"
    elif tp > request.count:
        yield f"TP {tp} needs {tp} GPUs, there are {request.count}"


def _too_long(request: Request) -> Iterator[str]:
    most = request.preset.lengths.max_positions
    if length(request) > most:
        yield f"{length(request)} tokens are over the {most} positions of the model"


def _too_old(request: Request) -> Iterator[str]:
    """Compute capability."""
    if on_cpu(request):
        return
    needs, gpu, (major, minor) = request.preset.needs, request.gpu, request.gpu.capability
    least = tuple(int(part) for part in needs.cc_min.split(".")) if needs.cc_min else (0, 0)
    mla, majors = request.preset.shape.mla, needs.cc_majors
    if mla and mla.sparse:
        majors = majors or (9, 10, 12)
    if majors is not None and major not in majors:
        kind = "sparse attention" if mla and mla.sparse else "the model"
        yield f"{kind} needs compute capability {' or '.join(f'{one}.x' for one in majors)}, {gpu.key} has {gpu.cc}"
    elif (major, minor) < least:
        yield f"the model needs compute capability {needs.cc_min}, {gpu.key} has {gpu.cc}"
    nvfp4 = request.preset.checkpoint.quant == "nvfp4"
    if nvfp4 and request.engine in {"trtllm", "sglang"} and major not in {10, 12}:
        yield f"NVFP4 in {request.engine} needs compute capability 10.x or 12.x, {gpu.key} has {gpu.cc}"


def online_fp8(request: Request) -> bool:
    """A 16-bit checkpoint is stored in 8 bits while it is loaded: the only quantisation that a flag can ask for."""
    return request.quantization == "fp8" and request.preset.checkpoint.quant == "none"


def contradictions(request: Request) -> Iterator[str]:
    """`--quantization` and `--dtype` that do not exist, or contradict the checkpoint."""
    quant, asked, dtype = request.preset.checkpoint.quant, request.quantization, request.dtype
    if asked is not None and not online_fp8(request) and asked not in _SAME_AS_CHECKPOINT[quant]:
        stored = "16 bits" if quant == "none" else quant
        yield f"--quantization {asked} contradicts a checkpoint in {stored}: gptq, awq and the like are other checkpoints"
    if dtype in {"float32", "float"}:
        yield f"--dtype {dtype} would double the weights: every checkpoint is planned and served in 16 bits; leave it out"
    elif dtype is not None and dtype not in DTYPES:
        yield (
            f"--dtype {dtype} does not exist: there are {', '.join(DTYPES)}; 8 bits are another checkpoint, or "
            "--quantization fp8"
        )


def _no_parser(request: Request) -> Iterator[str]:
    if not request.tools or request.engine not in WITH_PARSERS:
        return
    parsers = request.preset.parsers.get(request.engine)
    if parsers is None or parsers.tools is None:
        yield (
            f"tools are needed and no tool parser of {request.engine} is known for {request.preset.key}: "
            "--tool-call-parser NAME, --family of a known row, another engine, or --no-tools"
        )


def _too_big(request: Request, tp: int, found: Memory) -> Iterator[str]:
    if found.kv_gib_low_overhead <= 0:
        yield f"memory: {found.weights_gib:.1f} GiB of weights a GPU leave no room under {found.ceiling_gib:.1f} GiB"
    elif found.sequences_low_overhead < 1:
        yield (
            f"memory: not one sequence: {found.kv_gib_low_overhead:.1f} GiB at most for the cache, one of "
            f"{length(request)} tokens takes {found.sequence_gib:.1f}"
        )
    peak = effective(request).checkpoint.load_peak
    if peak > 1 and found.weights_gib * peak + LOAD_RESERVE_GIB > request.gpu.gib:
        need = found.weights_gib * peak + LOAD_RESERVE_GIB
        yield f"memory: loading peaks at {need:.1f} GiB of {request.gpu.gib:.1f} a GPU at TP {tp}"


def _notes(request: Request, tp: int) -> Iterator[str]:
    preset, gpu = request.preset, request.gpu
    quant = "fp8" if request.quantization == "fp8" else preset.checkpoint.quant
    if preset.shape.mla is None and tp > preset.shape.kv_heads:
        yield f"{preset.shape.kv_heads} KV heads are copied {tp // preset.shape.kv_heads} times"
    if quant == "fp8" and not on_cpu(request) and gpu.capability < (8, 9):
        yield f"FP8 on compute capability {gpu.cc} is weight-only: it saves memory, not time"
    if unverified(request):
        yield "NVFP4 below compute capability 10 is weight-only in vLLM and was never run by us"
    if request.dtype in DTYPES and preset.checkpoint.quant != "none":
        yield f"--dtype {request.dtype} does not dequantise a checkpoint in {preset.checkpoint.quant}"
    if request.quantization and request.quantization in _SAME_AS_CHECKPOINT[preset.checkpoint.quant]:
        yield f"--quantization {request.quantization} is what the checkpoint says itself; it is not sent"
    if request.engine == "sglang" and static_fraction(request, tp) < request.utilization:
        yield f"--mem-fraction-static is {static_fraction(request, tp):.2f}, so that the overhead fits beside it"
    if request.count > gpu.per_node:
        yield f"{request.count} GPUs are several {gpu.key} nodes of {gpu.per_node}; each server lives on one"
    yield from filter(None, (gpu.notes, preset.notes))
    if gpu.verify:
        yield f"unconfirmed: the memory of {gpu.key}"
    if preset.verify:
        fields = "the whole row" if isinstance(preset.verify, bool) else ", ".join(preset.verify)
        yield f"unconfirmed of {preset.key}: {fields}"
