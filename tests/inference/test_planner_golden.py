"""The golden table of the specification: every preset of the guides, and the verdict it must get. Verdicts exact, GiB within 0.1."""

# ruff: noqa: E501 - a row of a table

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from services.inference.planning.alternatives import plan
from services.inference.planning.planner import Alternative, Plan, Request, Verdict
from services.inference.planning.presets import EngineName, catalogue


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One case; `kv` is GiB left at high and at low overhead, and of one sequence."""

    id: str
    model: str
    count: int
    gpu: str
    tp: int
    tokens: int
    util: float = 0.90
    engine: EngineName = "vllm"
    verdict: Verdict
    weights: float
    ceiling: float | None
    kv: tuple[float, float, float] | None = None
    why: tuple[str, ...] = ()
    """Each is part of a reason, and there are no other reasons."""
    notes: tuple[str, ...] = ()
    same_model: str | None = None
    same_gpus: str | None = None
    flags: dict[str, str] = field(default_factory=dict)


MEMORY = "memory: "
HEADS_64 = "does not divide 64 attention heads"
HEADS_128 = "does not divide 128 attention heads"
DEEPSEEK_BLOCK = "2048/3 is no multiple"
OTHER = "another checkpoint: its scores are its own"

# fmt: off
ROWS = (
    Row(id="1", model="deepseek-v3-gh200", count=1, gpu="gh200-144", tp=1, tokens=131072, verdict="impossible", weights=626.6, ceiling=126.9,
        why=(MEMORY,), notes=("are CPU memory", "Not V3.2"), same_model="8 h200-141 TP 8 131072"),
    Row(id="2", model="qwen3-235b-gh200", count=1, gpu="gh200-144", tp=1, tokens=40960, verdict="impossible", weights=437.9, ceiling=126.9,
        why=(MEMORY,), same_model="8 a100-80 TP 8 40960"),
    Row(id="3", model="qwen3-235b", count=8, gpu="h100-80", tp=8, tokens=40960, verdict="fit", weights=54.7, ceiling=71.3,
        kv=(10.5, 13.5, 1.84), notes=("4 KV heads are copied 2 times",)),
    Row(id="3 at .95", model="qwen3-235b", count=8, gpu="h100-80", tp=8, tokens=40960, util=0.95, verdict="fit", weights=54.7, ceiling=75.2),
    Row(id="4", model="qwen3-235b", count=3, gpu="h100-80", tp=3, tokens=32768, verdict="impossible", weights=146.0, ceiling=71.3,
        why=(HEADS_64, "TP 3 and 4 KV heads", MEMORY), same_model="8 h100-80 TP 8 32768", same_gpus="qwen3-235b-int4 3 h100-80 TP 2 32768"),
    Row(id="5", model="qwen3-235b", count=2, gpu="h100-80", tp=2, tokens=40960, verdict="impossible", weights=218.9, ceiling=71.3,
        why=(MEMORY,), same_model="8 h100-80 TP 8 40960", same_gpus="qwen3-235b-int4 2 h100-80 TP 2 40960"),
    Row(id="6", model="qwen3-32b", count=1, gpu="gh200-96", tp=1, tokens=32768, verdict="fit", weights=61.1, ceiling=85.5, kv=(20.4, 22.4, 8.00)),
    Row(id="6, 14B", model="qwen3-14b", count=1, gpu="gh200-96", tp=1, tokens=32768, verdict="fit", weights=27.6, ceiling=85.5, kv=(53.9, 55.9, 5.00)),
    Row(id="7", model="deepseek-v3", count=1, gpu="gh200-96", tp=1, tokens=16384, util=0.85, verdict="impossible", weights=626.6, ceiling=80.8,
        flags={"quantization": "gptq"}, why=("--quantization gptq contradicts", MEMORY), same_model="8 h200-141 TP 8 16384"),
    Row(id="8", model="qwen3-235b-b200", count=1, gpu="b200-192", tp=1, tokens=40960, util=0.95, verdict="impossible", weights=437.9, ceiling=169.1,
        why=(MEMORY,), same_model="4 b200-192 TP 4 40960", same_gpus="qwen3-235b-int4 1 b200-192 TP 1 40960"),
    Row(id="8, the script's length", model="qwen3-235b-b200", count=1, gpu="b200-192", tp=1, tokens=65536, util=0.95, verdict="impossible",
        weights=437.9, ceiling=169.1, why=("65536 tokens are over the 40960", MEMORY), same_model="4 b200-192 TP 4 40960",
        same_gpus="qwen3-235b-int4 1 b200-192 TP 1 40960"),
    Row(id="9", model="deepseek-v3-b200", count=3, gpu="b200-192", tp=3, tokens=65536, util=0.95, verdict="impossible", weights=208.9, ceiling=169.1,
        why=(HEADS_128, DEEPSEEK_BLOCK, MEMORY), same_model="8 b200-192 TP 8 65536"),
    Row(id="10", model="deepseek-v3.2", count=8, gpu="h100-80", tp=8, tokens=24576, util=0.80, verdict="impossible", weights=78.3, ceiling=63.4,
        why=(MEMORY,), same_model="8 h200-141 TP 8 24576"),
    Row(id="11", model="deepseek-v3-fp8", count=8, gpu="h100-80", tp=8, tokens=24576, util=0.95, verdict="impossible", weights=78.3, ceiling=75.2,
        flags={"dtype": "float8"}, why=("--dtype float8 does not exist", MEMORY), same_model="8 h200-141 TP 8 24576"),
    Row(id="11, 32768", model="deepseek-v3-fp8", count=8, gpu="h100-80", tp=8, tokens=32768, util=0.95, verdict="impossible", weights=78.3,
        ceiling=75.2, why=(MEMORY,), same_model="8 h200-141 TP 8 32768"),
    Row(id="11, 32768 at .85", model="deepseek-v3-fp8", count=8, gpu="h100-80", tp=8, tokens=32768, util=0.85, verdict="impossible", weights=78.3,
        ceiling=67.3, why=(MEMORY,), same_model="8 h200-141 TP 8 32768"),
    Row(id="12", model="deepseek-v3", count=8, gpu="h100-80", tp=8, tokens=8192, util=0.95, verdict="impossible", weights=78.3, ceiling=75.2,
        flags={"dtype": "bfloat16"}, why=(MEMORY,), notes=("--dtype bfloat16 does not dequantise",), same_model="8 h200-141 TP 8 8192"),
    Row(id="13", model="deepseek-v3-nvfp4", count=8, gpu="h100-80", tp=8, tokens=32768, engine="trtllm", verdict="impossible", weights=46.2,
        ceiling=None, why=("NVFP4 in trtllm needs compute capability",), same_model="4 b200-192 TP 4 32768"),
    Row(id="13 on vLLM", model="deepseek-v3-nvfp4", count=8, gpu="h100-80", tp=8, tokens=32768, verdict="tight", weights=46.2, ceiling=71.3,
        notes=("never run by us",), same_model="4 b200-192 TP 4 32768"),
    Row(id="14", model="deepseek-v3-nvfp4-4gpu", count=4, gpu="a100-80", tp=4, tokens=16384, engine="trtllm", verdict="impossible", weights=92.3,
        ceiling=None, why=("sparse attention needs compute capability", "NVFP4 in trtllm", MEMORY), same_model="4 b200-192 TP 4 16384"),
    Row(id="15", model="qwen3-32b", count=8, gpu="a100-80", tp=2, tokens=32768, verdict="fit", weights=30.5, ceiling=71.3, kv=(36.7, 38.7, 4.00)),
    Row(id="16", model="llama-3.1-70b", count=8, gpu="a100-80", tp=2, tokens=32768, verdict="impossible", weights=65.8, ceiling=71.3,
        kv=(1.5, 3.5, 5.00), why=("memory: not one sequence",), same_model="4 a100-80 TP 4 32768", same_gpus="8 a100-80 TP 4 32768"),
    Row(id="17", model="mixtral-8x22b", count=8, gpu="a100-80", tp=4, tokens=32768, verdict="tight", weights=65.5, ceiling=71.3,
        kv=(-0.2, 2.8, 1.75), same_model="8 a100-80 TP 8 32768", same_gpus="8 a100-80 TP 8 32768"),
    Row(id="18, A100", model="qwen3-32b", count=1, gpu="a100-80", tp=1, tokens=32768, verdict="tight", weights=61.1, ceiling=71.3,
        kv=(6.2, 8.2, 8.00), same_model="2 a100-80 TP 2 32768", same_gpus="qwen3-32b-fp8 1 a100-80 TP 1 32768"),
    Row(id="18, H100", model="qwen3-32b", count=1, gpu="h100-80", tp=1, tokens=32768, verdict="tight", weights=61.1, ceiling=71.3,
        kv=(6.2, 8.2, 8.00), same_model="2 h100-80 TP 2 32768", same_gpus="qwen3-32b-fp8 1 h100-80 TP 1 32768"),
    Row(id="19", model="qwen3-32b", count=2, gpu="a6000-48", tp=2, tokens=16384, verdict="fit", weights=30.5, ceiling=42.8, kv=(8.2, 10.2, 2.00)),
    Row(id="20", model="qwen3-32b", count=2, gpu="a100-40", tp=2, tokens=16384, verdict="tight", weights=30.5, ceiling=35.5,
        kv=(0.9, 2.9, 2.00), same_model="4 a100-40 TP 4 16384", same_gpus="qwen3-32b-fp8 2 a100-40 TP 2 16384"),
    Row(id="21", model="qwen3-32b", count=2, gpu="rtx4090-24", tp=2, tokens=16384, verdict="impossible", weights=30.5, ceiling=21.2,
        why=(MEMORY,), same_model="8 rtx4090-24 TP 8 16384", same_gpus="qwen3-32b-awq 2 rtx4090-24 TP 2 16384"),
    Row(id="22", model="deepseek-v3", count=4, gpu="a100-80", tp=4, tokens=16384, util=0.95, verdict="impossible", weights=156.7, ceiling=75.2,
        why=(MEMORY,), same_model="8 h200-141 TP 8 16384"),
    Row(id="22, 8 A100-40", model="deepseek-v3", count=8, gpu="a100-40", tp=8, tokens=16384, util=0.95, verdict="impossible", weights=78.3,
        ceiling=37.4, why=(MEMORY,), same_model="8 h200-141 TP 8 16384"),
    Row(id="23", model="deepseek-v3", count=8, gpu="a100-80", tp=8, tokens=32768, verdict="impossible", weights=78.3, ceiling=71.3,
        why=(MEMORY,), same_model="8 h200-141 TP 8 32768"),
    Row(id="23, R1", model="deepseek-r1", count=8, gpu="a100-80", tp=8, tokens=32768, verdict="impossible", weights=78.3, ceiling=71.3,
        why=(MEMORY,), same_model="8 h200-141 TP 8 32768"),
    Row(id="24", model="qwen3-14b", count=1, gpu="a100-40", tp=1, tokens=32768, verdict="tight", weights=27.6, ceiling=35.5,
        kv=(3.9, 5.9, 5.00), same_model="2 a100-40 TP 2 32768", same_gpus="qwen3-14b-fp8 1 a100-40 TP 1 32768"),
    Row(id="25", model="qwen3-14b", count=1, gpu="rtx4090-24", tp=1, tokens=32768, verdict="impossible", weights=27.6, ceiling=21.2,
        why=(MEMORY,), same_model="4 rtx4090-24 TP 4 32768", same_gpus="qwen3-14b-awq 1 rtx4090-24 TP 1 16384"),
    Row(id="26", model="qwen3-14b", count=1, gpu="rtx3090-24", tp=1, tokens=8192, util=0.95, verdict="impossible", weights=27.6, ceiling=22.4,
        why=(MEMORY,), same_model="2 rtx3090-24 TP 2 8192", same_gpus="qwen3-14b-awq 1 rtx3090-24 TP 1 8192"),
    Row(id="27", model="llama-3.1-70b", count=2, gpu="a100-80", tp=2, tokens=131072, verdict="impossible", weights=65.8, ceiling=71.3,
        kv=(1.5, 3.5, 20.0), why=("memory: not one sequence",), same_model="4 a100-80 TP 4 131072"),
    Row(id="28", model="mixtral-8x22b", count=2, gpu="a100-80", tp=2, tokens=65536, verdict="impossible", weights=130.9, ceiling=71.3,
        why=(MEMORY,), same_model="8 a100-80 TP 8 65536"),
    Row(id="28, TP 4", model="mixtral-8x22b", count=4, gpu="a100-80", tp=4, tokens=65536, verdict="impossible", weights=65.5, ceiling=71.3,
        kv=(-0.2, 2.8, 3.50), why=("memory: not one sequence",), same_model="8 a100-80 TP 8 65536"),
    Row(id="29", model="qwen3-32b", count=1, gpu="h100-80", tp=1, tokens=65536, verdict="impossible", weights=61.1, ceiling=71.3,
        kv=(6.2, 8.2, 16.0), why=("65536 tokens are over the 40960", "memory: not one sequence"),
        same_model="2 h100-80 TP 2 40960", same_gpus="qwen3-32b-fp8 1 h100-80 TP 1 40960"),
    Row(id="30", model="gpt-oss-120b", count=8, gpu="h100-80", tp=8, tokens=131072, verdict="fit", weights=7.6, ceiling=71.3, kv=(57.7, 60.7, 0.56)),
    Row(id="30, eight servers", model="gpt-oss-120b", count=8, gpu="h100-80", tp=1, tokens=32768, verdict="fit", weights=60.8, ceiling=71.3),
    Row(id="31", model="orchestrator-8b", count=4, gpu="a100-80", tp=1, tokens=40960, verdict="fit", weights=15.3, ceiling=71.3, kv=(52.0, 54.0, 5.62)),
    Row(id="32", model="llama3.1-8b", count=1, gpu="rtx4090-24", tp=1, tokens=8192, verdict="fit", weights=15.0, ceiling=21.2, kv=(2.3, 4.3, 1.00)),
    Row(id="33", model="qwen3-235b-fp8", count=8, gpu="h100-80", tp=8, tokens=40960, verdict="impossible", weights=27.5, ceiling=71.3,
        kv=(37.8, 40.8, 1.84), why=("1536/8 is no multiple",), same_model="4 h100-80 TP 4 40960", same_gpus="8 h100-80 TP 4 40960"),
    Row(id="34", model="qwen3-235b-int4", count=1, gpu="h200-141", tp=1, tokens=40960, verdict="impossible", weights=115.5, ceiling=125.1,
        kv=(5.6, 7.6, 7.34), why=("memory: loading peaks",), same_model="2 h200-141 TP 2 40960"),
    Row(id="34, B200", model="qwen3-235b-int4", count=1, gpu="b200-192", tp=1, tokens=40960, verdict="fit", weights=115.5, ceiling=160.2,
        kv=(40.7, 42.7, 7.34)),
    Row(id="35", model="deepseek-v3.2", count=8, gpu="h200-141", tp=8, tokens=65536, verdict="fit", weights=78.3, ceiling=125.1, kv=(40.8, 43.8, 2.93)),
    Row(id="35, V3", model="deepseek-v3", count=8, gpu="h200-141", tp=8, tokens=65536, verdict="fit", weights=78.3, ceiling=125.1,
        kv=(40.8, 43.8, 4.29)),
    Row(id="36", model="deepseek-v3.2-nvfp4", count=4, gpu="b200-192", tp=4, tokens=65536, verdict="fit", weights=92.3, ceiling=160.2,
        kv=(61.9, 64.9, 2.93)),
    Row(id="36, TensorRT-LLM", model="deepseek-v3.2-nvfp4", count=4, gpu="b200-192", tp=4, tokens=65536, engine="trtllm", verdict="fit", weights=92.3,
        ceiling=None, kv=(71.7, 74.4, 2.93)),
    Row(id="37", model="deepseek-v3", count=4, gpu="b200-192", tp=4, tokens=65536, util=0.95, verdict="tight", weights=156.7, ceiling=169.1,
        kv=(6.4, 9.4, 4.29), same_model="8 b200-192 TP 8 65536"),
    Row(id="38", model="qwen3-32b", count=8, gpu="a100-80", tp=2, tokens=32768, engine="sglang", verdict="fit", weights=30.5, ceiling=71.3,
        kv=(40.7, 40.7, 4.00)),
    Row(id="38, gpt-oss", model="gpt-oss-120b", count=1, gpu="h100-80", tp=1, tokens=32768, engine="sglang", verdict="fit", weights=60.8,
        ceiling=71.3, kv=(10.5, 10.5, 1.13)),
)
# fmt: on


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_planner_agrees_with_the_row(row: Row) -> None:
    found = plan(_request(row), catalogue())

    assert found.verdict == row.verdict
    assert found.memory.weights_gib == pytest.approx(row.weights, abs=0.1)
    if row.ceiling is not None:
        assert found.memory.ceiling_gib == pytest.approx(row.ceiling, abs=0.1)
    if row.kv is not None:
        assert _kv(found) == pytest.approx(row.kv, abs=0.1)
    assert len(found.reasons) == len(row.why)
    assert all(part in reason for part, reason in zip(row.why, found.reasons, strict=True))
    assert all(any(note in said for said in found.notes) for note in row.notes)
    assert _short(found.same_model, of=found) == row.same_model
    assert _short(found.same_gpus, of=found) == row.same_gpus


@pytest.mark.parametrize(
    ("model", "gpu", "count", "tp", "replicas"),
    [
        ("qwen3-32b", "a100-80", 8, 2, 4),
        ("orchestrator-8b", "a100-80", 4, 1, 4),
        ("gpt-oss-120b", "h100-80", 8, 1, 8),
    ],
    ids=["row 15", "row 31", "row 30"],
)
def test_these_gpus_hold_so_many_servers(model: str, gpu: str, count: int, tp: int, replicas: int) -> None:
    known = catalogue()

    found = plan(Request(preset=known.preset(model), gpu=known.gpu(gpu), count=count, tp=tp), known)

    assert (found.verdict, found.replicas) == ("fit", replicas)


def test_another_checkpoint_is_said_to_have_scores_of_its_own_and_another_tp_is_not() -> None:
    rows = {row.id: row for row in ROWS}

    smaller, wider = (plan(_request(rows[name]), catalogue()).same_gpus for name in ("21", "16"))

    assert smaller is not None
    assert wider is not None
    assert (smaller.note, wider.note) == (OTHER, "")


def _request(row: Row) -> Request:
    known = catalogue()
    return Request(
        preset=known.preset(row.model),
        gpu=known.gpu(row.gpu),
        count=row.count,
        tp=row.tp,
        max_model_len=row.tokens,
        utilization=row.util,
        engine=row.engine,
        quantization=row.flags.get("quantization"),
        dtype=row.flags.get("dtype"),
    )


def _kv(found: Plan) -> tuple[float, float, float]:
    return (found.memory.kv_gib_high_overhead, found.memory.kv_gib_low_overhead, found.memory.sequence_gib)


def _short(found: Alternative | None, *, of: Plan) -> str | None:
    if found is None:
        return None
    other = "" if found.preset is of.request.preset else f"{found.preset.key} "
    return f"{other}{found.count} {found.gpu.key} TP {found.tp} {found.max_model_len}"
