"""Stages and facts in the words of real logs: vLLM 0.32 as it was run on a CPU, the others as their users reported them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.engines.base import EngineFacts
from services.inference.engines.log import facts, stage
from services.inference.planning.presets import EngineName

VLLM_LOG = (
    "(APIServer pid=28893) INFO 11-21 20:12:19 [api_utils.py:347]  ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.32.0",
    "(APIServer pid=28893) WARNING 11-21 20:12:20 [vllm.py:1703] Enforce eager set, disabling torch.compile, CUDAGraphs",
    "(EngineCore pid=29606) INFO 11-21 20:12:34 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='/m'",
    "(Worker pid=30320) INFO 11-21 20:12:52 [cpu_model_runner.py:68] Starting to load model /m...",
    "INFO 11-21 CPU KV cache size: 131,072 tokens, Maximum concurrency for 2,048 tokens per request: 64.00x",
    "(APIServer pid=28893) INFO 11-21 20:12:56 [entry.py:140] Starting vLLM server on http://127.0.0.1:18455",
)


TRTLLM_LOG = (
    "[TensorRT-LLM] TensorRT-LLM version: 1.2.1",
    "[TensorRT-LLM][INFO] [MemUsageChange] Allocated 0.50 GiB for max tokens in paged KV cache (8192).",
    "[TensorRT-LLM][INFO] [MemUsageChange] Allocated 78.30 GiB for max tokens in paged KV cache (3731744).",
)


@pytest.mark.parametrize(
    ("lines", "reached"), [(0, "start"), (1, "start"), (3, "start"), (4, "load"), (5, "compile"), (6, "listen")]
)
def test_the_stage_is_the_furthest_that_the_log_mentions(lines: int, reached: str) -> None:
    assert stage("\n".join(VLLM_LOG[:lines])) == reached


@pytest.mark.parametrize(
    ("line", "reached"),
    [
        ("Fetching 17 files:   6%|▌         | 1/17 [00:00<00:12]", "download"),
        ("model-00001-of-00017.safetensors:  12%|█▏        | 480M/3.96G [00:04<00:34]", "download"),
        ("Loading safetensors checkpoint shards:  25% Completed | 1/4 [00:00<00:01,  2.04it/s]", "load"),
        ("[2025-03-07 23:50:27 TP0] Load weight begin. avail mem=22.46 GB", "load"),
        ("INFO 08-19 14:58:40 [kv_cache_utils.py:849] GPU KV cache size: 922,496 tokens", "compile"),
        ("INFO [monitor.py:53] torch.compile takes 21.33 s in total", "compile"),
        ("Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  40%|████", "compile"),
        (
            "[2025-03-27 21:33:31 TP0] Capture cuda graph begin. This can take up to several minutes. avail mem=13.95 GB",
            "compile",
        ),
        (
            "[TensorRT-LLM][INFO] [MemUsageChange] Allocated 78.30 GiB for max tokens in paged KV cache (3731744).",
            "compile",
        ),
        ("[2025-03-12 08:52:40] INFO:     Uvicorn running on http://0.0.0.0:32300 (Press CTRL+C to quit)", "listen"),
        ("[2025-03-12 08:52:45] The server is fired up and ready to roll!", "listen"),
        ("reference engine, no language model: model 'reference' at http://127.0.0.1:8000/v1", "listen"),
    ],
)
def test_each_engines_words_for_a_stage_are_known(line: str, reached: str) -> None:
    assert stage(line) == reached


@given(st.permutations(VLLM_LOG))
def test_the_order_of_lines_does_not_matter_since_workers_write_at_once(lines: list[str]) -> None:
    assert stage("\n".join(lines)) == "listen"


@pytest.mark.parametrize(
    ("name", "output", "found"),
    [
        ("vllm", "\n".join(VLLM_LOG), EngineFacts(version="0.32.0", kv_tokens=131_072, concurrency=64.0)),
        (
            "vllm",
            "INFO GPU KV cache size: 922,496 tokens\nINFO Maximum concurrency for 40,000 tokens per request: 23.06x",
            EngineFacts(kv_tokens=922_496, concurrency=23.06),
        ),
        (
            "vllm",
            "\x1b[36m(APIServer pid=1)\x1b[0m vLLM server version 0.33.0, serving model x",
            EngineFacts(version="0.33.0"),
        ),
        ("vllm", "INFO 08-29 api_server.py:840] vLLM API server version 0.7.2", EngineFacts(version="0.7.2")),
        (
            "sglang",
            "[TP0] KV Cache is allocated. #tokens: 834615\n[TP0] max_total_num_tokens=935444, context_len=32768",
            EngineFacts(kv_tokens=935_444),
        ),
        (
            "trtllm",
            "\n".join(TRTLLM_LOG),
            EngineFacts(version="1.2.1", kv_tokens=3_731_744),
        ),
        ("transformers", "INFO:     Uvicorn running on http://127.0.0.1:8000", EngineFacts()),
        ("reference", "reference engine, no language model", EngineFacts()),
        ("vllm", "", EngineFacts()),
    ],
)
def test_what_an_engine_says_of_itself_is_read(name: EngineName, output: str, found: EngineFacts) -> None:
    assert facts(output) == found, name
