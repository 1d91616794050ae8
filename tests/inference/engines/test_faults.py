"""Start errors in the words in which they were seen, and the cause that each must get.

vLLM's are from its release 0.32, some of them from failed starts on a CPU; the others from reports of their users.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from services.inference.engines.faults import TABLE, fault
from services.inference.engines.registry import engine


class Seen(NamedTuple):
    """What an engine printed, and what its cause and remedy must hold."""

    text: str
    cause: str
    remedy: str


SEEN: dict[str, Seen] = {
    "oom-vllm": Seen(
        "ERROR [core.py:857] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 40.00 MiB. GPU 0 has a total "
        "capacity of 22.07 GiB of which 20.62 MiB is free.",
        "CUDA out of memory",
        "inference plan",
    ),
    "oom-trtllm": Seen(
        "[TRT-LLM] [RANK 1] [E] Failed to initialize executor: Executor creation failed due to insufficient GPU memory.",
        "CUDA out of memory",
        "--tp",
    ),
    "oom-older-trtllm": Seen(
        "[TensorRT-LLM][ERROR] CUDA runtime error in ::cudaMallocAsync(ptr, n, mCudaStream->get()): out of memory",
        "CUDA out of memory",
        "another checkpoint",
    ),
    "gated-transformers": Seen(
        "OSError: You are trying to access a gated repo.\nMake sure to have access to it at https://hub/meta-llama/X.",
        "the model is gated",
        "HF_TOKEN_PATH",
    ),
    "gated-hub": Seen(
        "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1-66)\n\nCannot access gated repo for url",
        "the model is gated",
        "accept its licence",
    ),
    "tool-parser-vllm": Seen(
        "TypeError: Error: --enable-auto-tool-choice requires tool_parser:'qwen4_magic' which has not been registered",
        "no tool-call parser qwen4_magic",
        "--tool-call-parser",
    ),
    "tool-parser-vllm-at-start": Seen(
        "KeyError: 'invalid tool call parser: qwen4_magic (chose from { apertus,cohere_command3,deepseek_v3,hermes })'",
        "no tool-call parser qwen4_magic",
        "--tool-call-parser",
    ),
    "tool-parser-vllm-argparse": Seen(
        "api_server.py: error: argument --tool-call-parser: invalid choice: 'llama3_json' (choose from 'mistral', 'hermes')",
        "no tool-call parser llama3_json",
        "leave --tool-call-parser to the preset",
    ),
    "tool-parser-sglang": Seen(
        "launch_server.py: error: argument --tool-call-parser: invalid choice: 'llama4' (choose from 'qwen25', 'mistral')",
        "no tool-call parser llama4",
        "a name that the engine lists",
    ),
    "tool-parser-trtllm": Seen(
        "Error: Invalid value for '--tool_parser': 'hermes' is not one of 'qwen3', 'deepseek_v3'.",
        "no tool-call parser hermes",
        "leave --tool-call-parser to the preset",
    ),
    "reasoning-parser-vllm": Seen(
        "TypeError: reasoning_parser_name='nobody' has not been registered",
        "no reasoning parser nobody",
        "--reasoning-parser",
    ),
    "reasoning-parser-vllm-0.32": Seen(
        "KeyError: \"Reasoning parser 'nobody' not found. Available parsers: cohere_command3, deepseek_r1\"",
        "no reasoning parser nobody",
        "leave --reasoning-parser to the preset",
    ),
    "reasoning-parser-sglang": Seen(
        "launch_server.py: error: argument --reasoning-parser: invalid choice: 'r1' (choose from 'deepseek-r1', 'qwen3')",
        "no reasoning parser r1",
        "--reasoning-parser",
    ),
    "auto-tool-choice-at-start": Seen(
        "TypeError: Error: --enable-auto-tool-choice requires --tool-call-parser",
        "started without tool support",
        "inference up",
    ),
    "auto-tool-choice-in-a-request": Seen(
        '{"message":"\\"auto\\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set","code":400}',
        "started without tool support",
        "inference up",
    ),
    "port": Seen(
        "    sock.bind(addr)\nOSError: [Errno 98] Address already in use",
        "the port is taken",
        "--start-port",
    ),
    "port-uvicorn": Seen(
        "ERROR: [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use",
        "the port is taken",
        "nothing is ever killed",
    ),
    "port-reference": Seen(
        "Error: cannot listen on 127.0.0.1:8000: Address already in use; choose another with --port, 0 takes any free one",
        "the port is taken",
        "--start-port",
    ),
    "host": Seen(
        "OSError: [Errno 99] error while attempting to bind on address ('10.9.8.7', 8000): cannot assign requested address",
        "cannot bind the address",
        "--host 127.0.0.1",
    ),
    "tp-heads": Seen(
        "Value error, Total number of attention heads (64) must be divisible by tensor parallel size (3).",
        "64 attention heads cannot be shared by 3 GPUs",
        "--tp",
    ),
    "tp-block": Seen(
        "ValueError: Weight input_size_per_partition = 192 is not divisible by weight quantization block_k = 128.",
        "a slice of 192 is no multiple of the checkpoint's quantisation block of 128",
        "--expert-parallel",
    ),
    "tp-sglang": Seen(
        "AssertionError: 151936 is not divisible by 6",
        "equal parts",
        "inference plan",
    ),
    "tp-gpus": Seen(
        "ValueError: World size (4) is larger than the number of available GPUs (2) in this node.",
        "4 GPUs are asked for and the engine sees 2",
        "--gpu-ids",
    ),
    "attention-backend": Seen(
        "ValueError: No valid attention backend found for cuda with AttentionSelectorConfig(head_size=576, use_mla=True, "
        "use_sparse=True). Reasons: {FLASHMLA_SPARSE: [compute capability not supported]}.",
        "no attention kernel",
        "sparse MLA (V3.2) needs 9, 10 or 12",
    ),
    "flashmla": Seen(
        "AssertionError: FlashMLA is only supported on Hopper devices.",
        "no attention kernel",
        "leave --kv-cache-dtype at auto",
    ),
    "libtorch": Seen(
        "ImportError: libtorch_cuda.so: cannot open shared object file: No such file or directory",
        "libtorch_cuda.so is missing: a CPU build of torch",
        "pin neither torch nor numpy",
    ),
    "libcudart": Seen(
        "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory",
        "libcudart.so.12 is missing",
        "fresh environment installed in one step",
    ),
    "undefined-symbol": Seen(
        "ImportError: /venv/vllm/_C.abi3.so: undefined symbol: _ZN5torch3jit17parseSchemaOrNameERKSsb",
        "built against another torch (undefined symbol _ZN5torch3jit17parseSchemaOrNameERKSsb)",
        "pinned image",
    ),
    "cpu-torch": Seen(
        "AssertionError: Torch not compiled with CUDA enabled",
        "torch is a CPU build",
        "--gpu cpu",
    ),
    "numpy": Seen(
        "A module that was compiled using NumPy 1.x cannot be run in NumPy 2.2.6 as it may crash.",
        "numpy is of another generation",
        "pin neither torch nor numpy",
    ),
    "kv-too-small": Seen(
        "ValueError: To serve at least one request with the model's max seq len (40960), (10.0 GiB KV cache is needed, which is "
        "larger than the available KV cache memory (6.2 GiB). Based on the available memory, the estimated maximum model "
        "length is 25392. Try increasing `gpu_memory_utilization`",
        "one sequence of 40960 tokens does not fit",
        "--max-model-len 25392 or less",
    ),
    "kv-too-small-unknown-length": Seen(
        "ValueError: To serve at least one request with the model's max seq len (131072), (20.0 GiB KV cache is needed, which "
        "is larger than the available KV cache memory (0.01 GiB). Try increasing `gpu_memory_utilization`",
        "too little memory is left for the KV cache",
        "--max-model-len",
    ),
    "kv-none": Seen(
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing",
        "too little memory is left for the KV cache",
        "inference plan",
    ),
    "kv-sglang": Seen(
        "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
        "too little memory is left for the KV cache",
        "--gpu-memory-utilization",
    ),
    "kv-trtllm": Seen(
        "[TensorRT-LLM][ERROR] Assertion failed: maxTokensInPagedKvCache must be large enough to process at least 1 sequence",
        "too little memory is left for the KV cache",
        "--tp",
    ),
    "gpu-in-use": Seen(
        "ValueError: Free memory on device (59.32/79.15 GiB) on startup is less than desired GPU memory utilization (0.9, "
        "71.24 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
        "other programs use this GPU: 59.32 GiB are free",
        "inference list --gpus",
    ),
    "gpu-in-use-0.32": Seen(
        "ValueError: Free memory on device cuda:0 (1.5/79.15 GiB) on startup is less than desired GPU memory utilization",
        "other programs use this GPU: 1.5 GiB are free",
        "--gpu-ids",
    ),
    "positions-vllm": Seen(
        "Value error, User-specified max_model_len (65536) is greater than the derived max_model_len "
        "(max_position_embeddings=40960 or model_max_length=None in model's config.json).",
        "65536 tokens are asked for and the model has 40960 positions",
        "--max-model-len 40960 or less",
    ),
    "positions-sglang": Seen(
        "ValueError: User-specified context_length (65536) is greater than the derived context_length (40960).",
        "65536 tokens are asked for and the model has 40960 positions",
        "--rope-scaling yarn:F",
    ),
    "path-hub": Seen(
        "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': "
        "'/no/such/model'. Use `repo_type` argument if needed.",
        "there is no model at /no/such/model",
        "config.json",
    ),
    "path-vllm": Seen(
        "ValueError: Invalid repository ID or local directory specified: 'Qwen/Qwen33'.\nPlease verify the following",
        "there is no model at Qwen/Qwen33",
        "hub id",
    ),
    "path-transformers": Seen(
        "OSError: vicuna-13b is not a local folder and is not a valid model identifier listed on 'https://hub/models'",
        "there is no model at vicuna-13b",
        "check the path",
    ),
    "path-private": Seen(
        "401 Client Error.\nRepository Not Found for url: https://hub/api/models/a/b.\nPlease make sure "
        "you specified the correct `repo_id`. If you are trying to access a private or gated repo, make sure",
        "there is no model at https://hub/api/models/a/b",
        "token",
    ),
    "revision": Seen(
        "huggingface_hub.errors.RevisionNotFoundError: 404 Client Error.",
        "no such revision",
        "revision: null",
    ),
    "offline": Seen(
        "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find the requested files in the disk cache and outgoing traffic "
        "has been disabled.",
        "the weights are not in the cache",
        "HF_HOME",
    ),
    "disk": Seen("OSError: [Errno 28] No space left on device", "the disk is full", "HF_HOME"),
    "no-gpu": Seen("RuntimeError: No CUDA GPUs are available", "the engine sees no GPU", "inference doctor --host"),
    "no-driver": Seen(
        "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
        "the engine sees no GPU",
        "container toolkit",
    ),
    "no-device": Seen(
        "RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG`",
        "the engine sees no GPU",
        "--gpu cpu",
    ),
    "old-driver": Seen(
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12020).",
        "too old",
        "a newer driver",
    ),
    "dtype": Seen("ValueError: Unknown dtype: 'float8'", "float8 is no dtype", "--quantization fp8"),
    "dtype-argparse": Seen(
        "vllm serve: error: argument --dtype: invalid choice: 'float8_e4m3fn' (choose from auto, bfloat16, float, float16)",
        "float8_e4m3fn is no dtype",
        "leave --dtype out",
    ),
    "dtype-old-gpu": Seen(
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has 7.5.",
        "no bfloat16",
        "--dtype float16",
    ),
    "quantisation": Seen(
        "Value error, Quantization method specified in the model config (fp8) does not match the quantization method specified "
        "in the `quantization` argument (gptq).",
        "gptq was asked for, and the checkpoint is not stored so",
        "leave --quantization out",
    ),
    "quantisation-of-16-bit-weights": Seen(
        "  Value error, Cannot find the config file for gptq [type=value_error, input_value=ArgsKwargs((), {'model_co...",
        "gptq was asked for, and the checkpoint is not stored so",
        "exist only as another checkpoint",
    ),
    "flag-argparse": Seen(
        "launch_server.py: error: unrecognized arguments: --enable-reasoning",
        "does not know --enable-reasoning",
        "--engine-arg",
    ),
    "flag-click": Seen(
        "Error: No such option: --served_model_name",
        "does not know --served_model_name",
        "the release that config/models.yaml pins",
    ),
    "template": Seen(
        "The supplied chat template (/x/t.jinja) looks like a file path, but it failed to be opened. Tried: /x/t.jinja",
        "the chat template /x/t.jinja cannot be read",
        "--engine-arg chat-template=FILE",
    ),
    "template-0.32": Seen(
        "The supplied chat template string (/x/t.jinja) appears path-like, but doesn't exist! Tried: /x/t.jinja and /x/t.jinja",
        "the chat template /x/t.jinja cannot be read",
        "--launcher compose",
    ),
    "remote-code": Seen(
        "ValueError: The repository x contains custom code which must be executed to correctly load the model.",
        "a program of its own",
        "--allow-remote-code",
    ),
    "lora-rank": Seen(
        "ValueError: LoRA rank 64 is greater than max_lora_rank 16.",
        "the adapter has rank 64",
        "--lora NAME=DIR",
    ),
    "shared-memory": Seen(
        "RuntimeError: DataLoader worker is killed by signal: Bus error. It is possible that it has insufficient shared memory",
        "shared memory is too small",
        "shm_size",
    ),
    "nccl": Seen("torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp", "NCCL", "NCCL_DEBUG=INFO"),
    "not-installed": Seen(
        "/usr/bin/python3: Error while finding module\nModuleNotFoundError: No module named 'sglang'",
        "the Python package sglang is not installed",
        "pinned image",
    ),
}


@pytest.mark.parametrize(("text", "cause", "remedy"), SEEN.values(), ids=SEEN)
def test_a_start_error_is_named_with_its_remedy(text: str, cause: str, remedy: str) -> None:
    found = fault(
        f"INFO 11-21 Automatically detected platform cuda.\n{text}\nRuntimeError: Engine core initialization failed."
    )

    assert found is not None
    assert cause in found.cause
    assert remedy in found.remedy


def test_every_row_of_the_table_is_reached_by_a_seen_text() -> None:
    unseen = [row.cause for row in TABLE if not any(row.pattern.search(text) for text, *_ in SEEN.values())]

    assert unseen == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "INFO Starting to load model Qwen/Qwen3-32B...",
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
        "Ignore import error when loading sglang.srt.models.mindspore: No module named 'mindspore'",
        "INFO non-default args: {'enable_auto_tool_choice': True, 'tool_call_parser': 'hermes', 'dtype': 'bfloat16'}",
    ],
)
def test_what_is_no_error_or_not_known_gets_no_cause(text: str) -> None:
    assert fault(text) is None


def test_the_cause_is_found_below_a_warning_about_numpy() -> None:
    text = f"{SEEN['numpy'].text}\n{SEEN['gated-hub'].text}"

    assert "gated" in (fault(text) or pytest.fail("no cause")).cause


@pytest.mark.parametrize("name", ["vllm", "trtllm", "sglang", "transformers", "reference"])
def test_every_engine_knows_the_table(name: str) -> None:
    found = engine(name).fault(SEEN["port"].text)  # type: ignore[arg-type] # a literal of the registry

    assert found == fault(SEEN["port"].text)


def test_a_megabyte_that_nearly_matches_everything_is_read_and_has_no_cause() -> None:
    nearly = "User-specified max_model_len (1 cudaMalloc( (max seq len (1) a/b/c 'x --tool-call-parser: " * 11_000

    assert fault(nearly) is None
