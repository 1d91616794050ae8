"""Command lines token by token: three engines, six models. A refusal is a golden file too.

`ASSAY_REWRITE_GOLDEN=1 pytest FILE` writes the files anew; read the diff.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from services.inference.engines.base import EngineRefusalError
from services.inference.planning.planner import Plan
from services.inference.planning.presets import EngineName
from tests.inference.engines.launches import command, container, here, planned, serving

GOLDEN = Path(__file__).parents[1] / "golden"
ENGINES: tuple[EngineName, ...] = ("vllm", "trtllm", "sglang")
LAUNCHES = {
    "qwen3-32b": ("h100-80", 2, 32_768, False),
    "qwen3-235b": ("h100-80", 8, 40_960, False),
    "deepseek-v3.2": ("h200-141", 8, 65_536, False),
    "deepseek-v3.2-nvfp4": ("b200-192", 4, 65_536, True),
    "llama-3.1-70b": ("h100-80", 4, 32_768, False),
    "gpt-oss-120b": ("h100-80", 8, 131_072, False),
}
"""Kind of GPU, TP, length, expert parallel."""


def launch(name: str, engine: EngineName) -> Plan:
    gpu, tp, length, experts = LAUNCHES[name]
    return planned(name, engine, gpu=gpu, tp=tp, length=length, expert_parallel=experts)


def said(name: str, engine: EngineName) -> list[str]:
    """The words of the command, or the lines of the refusal."""
    place = here() if (name, engine) == ("qwen3-32b", "vllm") else container(engine, name)
    try:
        return list(command(launch(name, engine), serving(name), place).argv)
    except EngineRefusalError as refusal:
        return str(refusal).splitlines()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", LAUNCHES)
def test_the_command_line_is_that_of_the_golden_file(name: str, engine: EngineName) -> None:
    file = GOLDEN / f"{engine}-{name}.txt"
    words = said(name, engine)
    if os.environ.get("ASSAY_REWRITE_GOLDEN"):
        file.write_text(written(words), encoding="utf-8")

    text = file.read_text(encoding="utf-8")

    assert words == (shlex.split(text) if not text.startswith("TensorRT-LLM cannot") else text.splitlines())


def written(words: list[str]) -> str:
    """A flag and its values a line; a refusal as it stands."""
    if " " in words[0]:
        return "\n".join(words) + "\n"
    return (
        " ".join(f"\n  {word}" if word.startswith("--") else shlex.quote(word) for word in words).replace(" \n", "\n")
        + "\n"
    )


PRINTED: dict[tuple[str, EngineName], str] = {
    ("qwen3-32b", "vllm"): """
vllm serve Qwen/Qwen3-32B --revision REV --served-model-name qwen3-32b --host 127.0.0.1 --port 8000 --tensor-parallel-size 2
  --max-model-len 32768 --gpu-memory-utilization 0.90 --generation-config vllm --seed 1 --enable-auto-tool-choice
  --tool-call-parser hermes --exclude-tools-when-tool-choice-none --reasoning-parser qwen3 --enable-prompt-tokens-details
  --enable-request-id-headers""",
    ("deepseek-v3.2-nvfp4", "trtllm"): """
trtllm-serve /models/deepseek-v3.2-nvfp4 --host 0.0.0.0 --port 8000 --tp_size 4 --ep_size 4 --max_seq_len 65536
  --max_num_tokens 8192 --max_batch_size 64 --kv_cache_free_gpu_memory_fraction 0.90 --tool_parser deepseek_v32
  --custom_tokenizer deepseek_v32""",
    ("gpt-oss-120b", "sglang"): """
python3 -m sglang.launch_server --model-path openai/gpt-oss-120b --revision REV --served-model-name gpt-oss-120b
  --host 0.0.0.0 --port 8000 --tp 8 --context-length 131072 --mem-fraction-static 0.90 --random-seed 1
  --tool-call-parser gpt-oss --reasoning-parser gpt-oss --enable-metrics""",
}
"""The specification prints these, with DIR for the folder."""


@pytest.mark.parametrize(("name", "engine"), PRINTED)
def test_the_lines_of_the_specification_come_out_word_by_word(name: str, engine: EngineName) -> None:
    assert said(name, engine) == shlex.split(PRINTED[name, engine])


@pytest.mark.parametrize("name", ["llama-3.1-70b", "gpt-oss-120b"])
def test_tensorrt_refuses_tools_where_no_parser_is_known(name: str) -> None:
    assert any(line.startswith("- tool calls: no parser of this engine is known") for line in said(name, "trtllm"))
