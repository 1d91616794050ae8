"""Arithmetic and refusals of the planner, one by one, and what must hold for every request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.planning.alternatives import SHORTEST, plan
from services.inference.planning.planner import (
    Request,
    judged,
    kv_bytes_per_token,
    static_fraction,
    tp_refusals,
    valid_tps,
    weights_gib,
)
from services.inference.planning.presets import EngineName, catalogue

KNOWN = catalogue()
RANK = {"fit": 0, "tight": 1, "impossible": 2}


def request(model: str, gpu: str = "h100-80", **changed: Any) -> Request:
    return Request(**{"preset": KNOWN.preset(model), "gpu": KNOWN.gpu(gpu), "count": 8, **changed})


@pytest.mark.parametrize(
    ("model", "gib"),
    [
        ("qwen3-14b", 27.6),
        ("qwen3-14b-fp8", 15.2),
        ("qwen3-14b-awq", 9.3),
        ("qwen3-32b", 61.1),
        ("qwen3-32b-fp8", 32.0),
        ("qwen3-32b-awq", 18.0),
        ("qwen3-235b", 437.9),
        ("qwen3-235b-fp8", 220.1),
        ("qwen3-235b-int4", 115.5),
        ("qwen3-235b-awq", 115.5),
        ("qwen3-235b-nvfp4", 124.8),
        ("deepseek-v3", 626.6),
        ("deepseek-r1", 626.6),
        ("deepseek-v3.2", 626.6),
        ("deepseek-v3.2-nvfp4", 369.3),
        ("llama-3.1-8b", 15.0),
        ("llama-3.1-70b", 131.5),
        ("mixtral-8x22b", 261.9),
        ("gpt-oss-120b", 60.8),
        ("orchestrator-8b", 15.3),
    ],
)
def test_weights_are_as_published(model: str, gib: float) -> None:
    preset = KNOWN.preset(model)

    assert weights_gib(preset.checkpoint, preset) == pytest.approx(gib, abs=0.1)


@pytest.mark.parametrize(
    ("model", "tp", "size"),
    [
        ("qwen3-14b", 1, 163_840),
        ("qwen3-32b", 1, 262_144),
        ("qwen3-235b", 1, 192_512),
        ("qwen3-235b", 4, 48_128),
        ("qwen3-235b", 8, 48_128),
        ("deepseek-v3", 1, 70_272),
        ("deepseek-v3", 8, 70_272),
        ("deepseek-v3.2", 1, 48_068),
        ("deepseek-v3.2", 8, 48_068),
        ("llama-3.1-8b", 1, 131_072),
        ("llama-3.1-70b", 1, 327_680),
        ("mixtral-8x22b", 1, 229_376),
        ("gpt-oss-120b", 1, 36_864),
        ("orchestrator-8b", 1, 147_456),
    ],
)
def test_a_token_takes_exactly_these_bytes_of_each_gpu(model: str, tp: int, size: int) -> None:
    assert kv_bytes_per_token(KNOWN.preset(model), tp, "auto") == size


def test_an_8_bit_cache_takes_half_but_a_sparse_layout_is_8_bit_already() -> None:
    sizes = {
        name: kv_bytes_per_token(KNOWN.preset(name), 1, "fp8") for name in ("qwen3-32b", "deepseek-v3", "deepseek-v3.2")
    }

    assert sizes == {"qwen3-32b": 131_072, "deepseek-v3": 35_136, "deepseek-v3.2": 48_068}
    assert kv_bytes_per_token(KNOWN.preset("deepseek-v3.2"), 1, "bfloat16") == 61 * (2 * (512 + 64) + 132)


@pytest.mark.parametrize(
    ("model", "tp", "reason"),
    [
        ("qwen3-235b", 3, "TP 3 does not divide 64 attention heads"),
        ("qwen3-235b-fp8", 8, "1536/8 is no multiple of the quantisation block 128: another TP or --expert-parallel"),
        ("qwen3-14b", 5, "TP 5 and 8 KV heads divide neither way"),
        ("mixtral-8x22b", 3, "TP 3 and 8 KV heads divide neither way"),
        ("mixtral-8x22b", 6, "TP 6 and 8 KV heads divide neither way"),
    ],
)
def test_a_model_is_not_cut_where_it_cannot_be(model: str, tp: int, reason: str) -> None:
    assert reason in tp_refusals(KNOWN.preset(model), tp, expert_parallel=False)


def test_whole_experts_need_no_whole_blocks() -> None:
    preset = KNOWN.preset("qwen3-235b-fp8")

    assert tp_refusals(preset, 4, expert_parallel=False) == ()
    assert tp_refusals(preset, 8, expert_parallel=True) == ()


def test_the_valid_numbers_of_gpus_are_listed() -> None:
    assert valid_tps(request("qwen3-14b")) == (1, 2, 4, 8)
    assert valid_tps(request("qwen3-235b-fp8")) == (1, 2, 4)
    assert valid_tps(request("mixtral-8x22b", count=7)) == (1, 2, 4)
    assert valid_tps(request("qwen3-14b", "gh200-96")) == (1,)


def test_without_a_tp_the_fewest_gpus_that_fit_are_taken() -> None:
    found = judged(request("qwen3-32b", count=4))

    assert (found.verdict, found.tp, found.replicas) == ("fit", 2, 2)


def test_every_reason_is_listed() -> None:
    wrong = request("deepseek-v3.2", "a100-80", tp=3, max_model_len=200_000, dtype="float8_e4m3fn", quantization="awq")

    found = judged(replace(wrong, preset=wrong.preset.model_copy(update={"parsers": {}})))

    assert [reason.split(" ")[0] for reason in found.reasons] == [
        *("TP", "2048/3", "200000", "sparse", "--quantization", "--dtype", "tools", "memory:")
    ]


def test_a_server_does_not_span_nodes_nor_more_gpus_than_there_are() -> None:
    assert "of one gh200-96 node" in judged(request("qwen3-32b", "gh200-96", tp=2)).reasons[0]
    assert judged(request("qwen3-32b", count=2, tp=4)).reasons == ("TP 4 needs 4 GPUs, there are 2",)


@pytest.mark.parametrize("engine", ["trtllm", "sglang"])
def test_nvfp4_needs_a_newer_gpu_in_these_engines(engine: EngineName) -> None:
    assert judged(request("qwen3-235b-nvfp4", "h200-141", tp=4, engine=engine)).verdict == "impossible"
    assert judged(request("qwen3-235b-nvfp4", "b200-192", tp=4, engine=engine)).verdict == "fit"


def test_nvfp4_on_an_older_gpu_is_tight_at_best_in_vllm_and_never_proposed() -> None:
    assert judged(request("qwen3-235b-nvfp4", "h200-141", tp=8)).verdict == "tight"
    # Two H200 hold its weights, and nothing of its family fits there but int4, which is left out here.
    only = KNOWN.model_copy(
        update={"models": {k: v for k, v in KNOWN.models.items() if v.checkpoint.quant in {"none", "nvfp4"}}}
    )
    assert plan(request("qwen3-235b", "h200-141", count=2), only).same_gpus is None


@pytest.mark.parametrize(
    ("gpu", "noted"), [("a100-80", True), ("a6000-48", True), ("rtx4090-24", False), ("h100-80", False)]
)
def test_fp8_on_an_older_gpu_is_allowed_and_noted(gpu: str, *, noted: bool) -> None:
    found = judged(request("qwen3-14b-fp8", gpu))

    assert found.verdict == "fit"
    assert any("weight-only" in note for note in found.notes) is noted


def test_dense_latent_attention_runs_on_any_gpu_from_8_0_and_sparse_does_not() -> None:
    assert not any("compute capability" in reason for reason in judged(request("deepseek-v3", "a100-80")).reasons)
    assert any("compute capability" in reason for reason in judged(request("deepseek-v3.2", "a100-80")).reasons)


@pytest.mark.parametrize("model", ["llama-3.1-70b", "mixtral-8x22b", "gpt-oss-120b"])
def test_tools_without_a_parser_are_refused_and_without_tools_they_are_not_missed(model: str) -> None:
    refused = judged(request(model, engine="trtllm"))
    allowed = judged(request(model, engine="trtllm", tools=False))

    assert "no tool parser of trtllm is known" in refused.reasons[0]
    assert allowed.reasons == ()


def test_online_fp8_of_a_16_bit_checkpoint_stores_half_but_loads_all() -> None:
    roomy = judged(request("qwen3-32b", count=1, quantization="fp8"))
    narrow = judged(request("qwen3-32b", "a6000-48", count=1, quantization="fp8"))

    assert roomy.verdict == "fit"
    assert roomy.memory.weights_gib == pytest.approx(32.0, abs=0.1)
    assert narrow.reasons == ("memory: loading peaks at 65.1 GiB of 47.5 a GPU at TP 1",)


@pytest.mark.parametrize("name", ["gptq", "awq", "bitsandbytes"])
def test_other_quantisations_are_other_checkpoints(name: str) -> None:
    assert "other checkpoints" in judged(request("qwen3-32b", quantization=name)).reasons[0]


def test_a_quantisation_that_the_checkpoint_has_anyway_is_no_contradiction() -> None:
    found = judged(request("qwen3-32b-awq", quantization="awq_marlin"))

    assert found.reasons == ()
    assert any("it is not sent" in note for note in found.notes)


def test_sglang_leaves_room_for_the_overhead() -> None:
    assert static_fraction(request("qwen3-14b", "rtx4090-24", engine="sglang"), 1) == 0.83  # 1 - 4 / 23.6
    assert static_fraction(request("gpt-oss-120b", engine="sglang"), 8) == pytest.approx(0.90)


def test_an_adapter_counts_as_weights() -> None:
    plain, more = (judged(request("qwen3-32b", tp=2, extra_gib=gib)).memory.weights_gib for gib in (0.0, 3.0))

    assert more - plain == pytest.approx(1.5)


requests = st.builds(
    Request,
    preset=st.sampled_from(list(KNOWN.models.values())),
    gpu=st.sampled_from(list(KNOWN.hardware.values())),
    count=st.integers(1, 8),
    tp=st.none() | st.integers(1, 8),
    max_model_len=st.none() | st.integers(1, 200_000),
    engine=st.sampled_from(["vllm", "trtllm", "sglang"]),
    utilization=st.floats(0.3, 0.99),
    kv_dtype=st.sampled_from(["auto", "fp8"]),
    sequences=st.integers(1, 40),
    expert_parallel=st.booleans(),
    tools=st.booleans(),
)


@given(asked=requests, more=st.floats(0, 100))
def test_more_memory_never_makes_a_verdict_worse(asked: Request, more: float) -> None:
    bigger = replace(asked, gpu=asked.gpu.model_copy(update={"gib": asked.gpu.gib + more}))

    assert RANK[judged(bigger).verdict] <= RANK[judged(asked).verdict]


@given(asked=requests, fewer=st.integers(1, 200_000))
def test_a_shorter_length_never_makes_a_verdict_worse(asked: Request, fewer: int) -> None:
    now = judged(asked)
    shorter = judged(replace(asked, max_model_len=min(fewer, now.max_model_len)))

    assert RANK[shorter.verdict] <= RANK[now.verdict]


@given(asked=requests)
def test_impossible_has_reasons_and_nothing_else_has(asked: Request) -> None:
    found = judged(asked)

    assert (found.verdict == "impossible") == bool(found.reasons)
    assert found.memory.kv_gib_high_overhead <= found.memory.kv_gib_low_overhead


@given(asked=requests)
def test_what_is_proposed_fits_and_a_fit_has_no_proposals(asked: Request) -> None:
    found = plan(asked, KNOWN)

    proposals = [one for one in (found.same_model, found.same_gpus) if one is not None]
    assert found.verdict != "fit" or proposals == []
    for one in proposals:
        again = replace(
            asked, preset=one.preset, gpu=one.gpu, count=one.count, tp=one.tp, max_model_len=one.max_model_len
        )
        assert judged(replace(again, utilization=min(asked.utilization, 0.90))).verdict == "fit"
        assert one.max_model_len >= min(SHORTEST, found.max_model_len)
    if found.same_model is not None:
        assert found.same_model.preset == asked.preset
    if found.same_gpus is not None:
        assert (found.same_gpus.gpu, found.same_gpus.count) == (asked.gpu, asked.count)


@given(asked=requests)
def test_without_a_tp_no_tp_is_better_than_the_one_taken(asked: Request) -> None:
    free = replace(asked, tp=None)

    taken = judged(free)
    each = [judged(replace(free, tp=tp)) for tp in valid_tps(free)]

    assert RANK[taken.verdict] == min([RANK[one.verdict] for one in each], default=2)
    if taken.verdict != "impossible":
        assert taken.tp == min(one.tp for one in each if one.verdict == taken.verdict)
