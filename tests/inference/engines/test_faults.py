"""Start errors in the words of the engines, and the cause that each must get.

vLLM's were compared with the source of its release 0.32, some were seen in failed starts on a CPU. The others are from reports
of others, shortened, and from older releases; nobody of us has seen them on a GPU.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from services.inference.engines.faults import TABLE, fault


class Said(NamedTuple):
    """What an engine says, and what its cause and remedy must hold."""

    text: str
    cause: str
    remedy: str


SAID: dict[str, Said] = {
    "oom-vllm": Said(
        "ERROR [core.py:857] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 40.00 MiB. GPU 0 has a total "
        "capacity of 22.07 GiB of which 20.62 MiB is free.",
        "CUDA out of memory",
        "inference plan",
    ),
    "oom-trtllm": Said(
        "[TRT-LLM] [RANK 1] [E] Failed to initialize executor: Executor creation failed due to insufficient GPU memory.",
        "CUDA out of memory",
        "--tp",
    ),
    "oom-older-trtllm": Said(
        "[TensorRT-LLM][ERROR] CUDA runtime error in ::cudaMallocAsync(ptr, n, mCudaStream->get()): out of memory",
        "CUDA out of memory",
        "another checkpoint",
    ),
    "gated-transformers": Said(
        "OSError: You are trying to access a gated repo.\nMake sure to have access to it at https://hub/meta-llama/X.",
        "the model is gated",
        "HF_TOKEN_PATH",
    ),
    "gated-hub": Said(
        "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1-66)\n\nCannot access gated repo for url",
        "the model is gated",
        "accept its licence",
    ),
    "tool-parser-vllm": Said(
        "TypeError: Error: --enable-auto-tool-choice requires tool_parser:'qwen4_magic' which has not been registered",
        "no tool-call parser qwen4_magic",
        "--tool-call-parser",
    ),
    "tool-parser-vllm-at-start": Said(
        "KeyError: 'invalid tool call parser: qwen4_magic (chose from { apertus,cohere_command3,deepseek_v3,hermes })'",
        "no tool-call parser qwen4_magic",
        "--tool-call-parser",
    ),
    "tool-parser-vllm-argparse": Said(
        "api_server.py: error: argument --tool-call-parser: invalid choice: 'llama3_json' (choose from 'mistral', 'hermes')",
        "no tool-call parser llama3_json",
        "leave --tool-call-parser to the preset",
    ),
    "tool-parser-sglang": Said(
        "launch_server.py: error: argument --tool-call-parser: invalid choice: 'llama4' (choose from 'qwen25', 'mistral')",
        "no tool-call parser llama4",
        "a name that the engine lists",
    ),
    "tool-parser-trtllm": Said(
        "Error: Invalid value for '--tool_parser': 'hermes' is not one of 'qwen3', 'deepseek_v3'.",
        "no tool-call parser hermes",
        "leave --tool-call-parser to the preset",
    ),
    "reasoning-parser-vllm": Said(
        "TypeError: reasoning_parser_name='nobody' has not been registered",
        "no reasoning parser nobody",
        "--reasoning-parser",
    ),
    "reasoning-parser-vllm-0.32": Said(
        "KeyError: \"Reasoning parser 'nobody' not found. Available parsers: cohere_command3, deepseek_r1\"",
        "no reasoning parser nobody",
        "leave --reasoning-parser to the preset",
    ),
    "reasoning-parser-sglang": Said(
        "launch_server.py: error: argument --reasoning-parser: invalid choice: 'r1' (choose from 'deepseek-r1', 'qwen3')",
        "no reasoning parser r1",
        "--reasoning-parser",
    ),
    "auto-tool-choice-at-start": Said(
        "TypeError: Error: --enable-auto-tool-choice requires --tool-call-parser",
        "started without tool support",
        "inference up",
    ),
    "auto-tool-choice-in-a-request": Said(
        '{"message":"\\"auto\\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set","code":400}',
        "started without tool support",
        "inference up",
    ),
    "port": Said(
        "    sock.bind(addr)\nOSError: [Errno 98] Address already in use",
        "the port is taken",
        "--start-port",
    ),
    "port-uvicorn": Said(
        "ERROR: [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use",
        "the port is taken",
        "nothing is ever killed",
    ),
    "port-reference": Said(
        "Error: cannot listen on 127.0.0.1:8000: Address already in use; choose another with --port, 0 takes any free one",
        "the port is taken",
        "--start-port",
    ),
    "host": Said(
        "OSError: [Errno 99] error while attempting to bind on address ('10.9.8.7', 8000): cannot assign requested address",
        "cannot bind the address",
        "--host 127.0.0.1",
    ),
    "tp-heads": Said(
        "Value error, Total number of attention heads (64) must be divisible by tensor parallel size (3).",
        "64 attention heads cannot be shared by 3 GPUs",
        "--tp",
    ),
    "tp-block": Said(
        "ValueError: Weight input_size_per_partition = 192 is not divisible by weight quantization block_k = 128.",
        "a slice of 192 is no multiple of the checkpoint's quantisation block of 128",
        "--expert-parallel",
    ),
    "tp-sglang": Said(
        "AssertionError: 151936 is not divisible by 6",
        "equal parts",
        "inference plan",
    ),
    "tp-gpus": Said(
        "ValueError: World size (4) is larger than the number of available GPUs (2) in this node.",
        "4 GPUs are asked for and the engine sees 2",
        "--gpu-ids",
    ),
    "attention-backend": Said(
        "ValueError: No valid attention backend found for cuda with AttentionSelectorConfig(head_size=576, use_mla=True, "
        "use_sparse=True). Reasons: {FLASHMLA_SPARSE: [compute capability not supported]}.",
        "no attention kernel",
        "sparse MLA (V3.2) needs 9, 10 or 12",
    ),
    "flashmla": Said(
        "AssertionError: FlashMLA is only supported on Hopper devices.",
        "no attention kernel",
        "leave --kv-cache-dtype at auto",
    ),
    "libtorch": Said(
        "ImportError: libtorch_cuda.so: cannot open shared object file: No such file or directory",
        "libtorch_cuda.so is missing: a CPU build of torch",
        "pin neither torch nor numpy",
    ),
    "libcudart": Said(
        "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory",
        "libcudart.so.12 is missing",
        "fresh environment installed in one step",
    ),
    "undefined-symbol": Said(
        "ImportError: /venv/vllm/_C.abi3.so: undefined symbol: _ZN5torch3jit17parseSchemaOrNameERKSsb",
        "built against another torch (undefined symbol _ZN5torch3jit17parseSchemaOrNameERKSsb)",
        "pinned image",
    ),
    "cpu-torch": Said(
        "AssertionError: Torch not compiled with CUDA enabled",
        "torch is a CPU build",
        "--gpu cpu",
    ),
    "numpy": Said(
        "A module that was compiled using NumPy 1.x cannot be run in NumPy 2.2.6 as it may crash.",
        "numpy is of another generation",
        "pin neither torch nor numpy",
    ),
    "kv-too-small": Said(
        "ValueError: To serve at least one request with the model's max seq len (40960), (10.0 GiB KV cache is needed, which is "
        "larger than the available KV cache memory (6.2 GiB). Based on the available memory, the estimated maximum model "
        "length is 25392. Try increasing `gpu_memory_utilization`",
        "one sequence of 40960 tokens does not fit",
        "--max-model-len 25392 or less",
    ),
    "kv-too-small-unknown-length": Said(
        "ValueError: To serve at least one request with the model's max seq len (131072), (20.0 GiB KV cache is needed, which "
        "is larger than the available KV cache memory (0.01 GiB). Try increasing `gpu_memory_utilization`",
        "too little memory is left for the KV cache",
        "--max-model-len",
    ),
    "kv-none": Said(
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing",
        "too little memory is left for the KV cache",
        "inference plan",
    ),
    "kv-sglang": Said(
        "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
        "too little memory is left for the KV cache",
        "--gpu-memory-utilization",
    ),
    "kv-trtllm": Said(
        "[TensorRT-LLM][ERROR] Assertion failed: maxTokensInPagedKvCache must be large enough to process at least 1 sequence",
        "too little memory is left for the KV cache",
        "--tp",
    ),
    "gpu-in-use": Said(
        "ValueError: Free memory on device (59.32/79.15 GiB) on startup is less than desired GPU memory utilization (0.9, "
        "71.24 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
        "other programs use this GPU: 59.32 GiB are free",
        "inference list --gpus",
    ),
    "gpu-in-use-0.32": Said(
        "ValueError: Free memory on device cuda:0 (1.5/79.15 GiB) on startup is less than desired GPU memory utilization",
        "other programs use this GPU: 1.5 GiB are free",
        "--gpu-ids",
    ),
    "positions-vllm": Said(
        "Value error, User-specified max_model_len (65536) is greater than the derived max_model_len "
        "(max_position_embeddings=40960 or model_max_length=None in model's config.json).",
        "65536 tokens are asked for and the model has 40960 positions",
        "--max-model-len 40960 or less",
    ),
    "positions-sglang": Said(
        "ValueError: User-specified context_length (65536) is greater than the derived context_length (40960).",
        "65536 tokens are asked for and the model has 40960 positions",
        "--rope-scaling yarn:F",
    ),
    "path-hub": Said(
        "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': "
        "'/no/such/model'. Use `repo_type` argument if needed.",
        "there is no model at /no/such/model",
        "config.json",
    ),
    "path-vllm": Said(
        "ValueError: Invalid repository ID or local directory specified: 'Qwen/Qwen33'.\nPlease verify the following",
        "there is no model at Qwen/Qwen33",
        "hub id",
    ),
    "path-transformers": Said(
        "OSError: vicuna-13b is not a local folder and is not a valid model identifier listed on 'https://hub/models'",
        "there is no model at vicuna-13b",
        "check the path",
    ),
    "path-private": Said(
        "401 Client Error.\nRepository Not Found for url: https://hub/api/models/a/b.\nPlease make sure "
        "you specified the correct `repo_id`. If you are trying to access a private or gated repo, make sure",
        "there is no model at https://hub/api/models/a/b",
        "token",
    ),
    "revision": Said(
        "huggingface_hub.errors.RevisionNotFoundError: 404 Client Error.",
        "no such revision",
        "revision: null",
    ),
    "offline": Said(
        "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find the requested files in the disk cache and outgoing traffic "
        "has been disabled.",
        "the weights are not in the cache",
        "HF_HOME",
    ),
    "disk": Said("OSError: [Errno 28] No space left on device", "the disk is full", "HF_HOME"),
    "no-gpu": Said("RuntimeError: No CUDA GPUs are available", "the engine sees no GPU", "inference doctor --host"),
    "no-driver": Said(
        "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
        "the engine sees no GPU",
        "container toolkit",
    ),
    "no-device": Said(
        "RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG`",
        "the engine sees no GPU",
        "--gpu cpu",
    ),
    "old-driver": Said(
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12020).",
        "too old",
        "a newer driver",
    ),
    "dtype": Said("ValueError: Unknown dtype: 'float8'", "float8 is no dtype", "--quantization fp8"),
    "dtype-argparse": Said(
        "vllm serve: error: argument --dtype: invalid choice: 'float8_e4m3fn' (choose from auto, bfloat16, float, float16)",
        "float8_e4m3fn is no dtype",
        "leave --dtype out",
    ),
    "dtype-old-gpu": Said(
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has 7.5.",
        "no bfloat16",
        "--dtype float16",
    ),
    "quantisation": Said(
        "Value error, Quantization method specified in the model config (fp8) does not match the quantization method specified "
        "in the `quantization` argument (gptq).",
        "gptq was asked for, and the checkpoint is not stored so",
        "leave --quantization out",
    ),
    "quantisation-of-16-bit-weights": Said(
        "  Value error, Cannot find the config file for gptq [type=value_error, input_value=ArgsKwargs((), {'model_co...",
        "gptq was asked for, and the checkpoint is not stored so",
        "exist only as another checkpoint",
    ),
    "flag-argparse": Said(
        "launch_server.py: error: unrecognized arguments: --enable-reasoning",
        "does not know --enable-reasoning",
        "--engine-arg",
    ),
    "flag-click": Said(
        "Error: No such option: --served_model_name",
        "does not know --served_model_name",
        "the release that config/models.yaml pins",
    ),
    "template": Said(
        "The supplied chat template (/x/t.jinja) looks like a file path, but it failed to be opened. Tried: /x/t.jinja",
        "the chat template /x/t.jinja cannot be read",
        "--engine-arg chat-template=FILE",
    ),
    "template-0.32": Said(
        "The supplied chat template string (/x/t.jinja) appears path-like, but doesn't exist! Tried: /x/t.jinja and /x/t.jinja",
        "the chat template /x/t.jinja cannot be read",
        "--launcher compose",
    ),
    "remote-code": Said(
        "ValueError: The repository x contains custom code which must be executed to correctly load the model.",
        "a program of its own",
        "--allow-remote-code",
    ),
    "lora-rank": Said(
        "ValueError: LoRA rank 64 is greater than max_lora_rank 16.",
        "the adapter has rank 64",
        "--lora NAME=DIR",
    ),
    "shared-memory": Said(
        "RuntimeError: DataLoader worker is killed by signal: Bus error. It is possible that it has insufficient shared memory",
        "shared memory is too small",
        "shm_size",
    ),
    "nccl": Said("torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp", "NCCL", "NCCL_DEBUG=INFO"),
    "not-installed": Said(
        "/usr/bin/python3: Error while finding module\nModuleNotFoundError: No module named 'sglang'",
        "the Python package sglang is not installed",
        "pinned image",
    ),
}


@pytest.mark.parametrize(("text", "cause", "remedy"), SAID.values(), ids=SAID)
def test_a_start_error_is_named_with_its_remedy(text: str, cause: str, remedy: str) -> None:
    found = fault(
        f"INFO 11-21 Automatically detected platform cuda.\n{text}\nRuntimeError: Engine core initialization failed."
    )

    assert found is not None
    assert cause in found.cause
    assert remedy in found.remedy


def test_every_row_of_the_table_is_reached_by_an_example() -> None:
    unseen = [row.cause for row in TABLE if not any(row.pattern.search(text) for text, *_ in SAID.values())]

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
    text = f"{SAID['numpy'].text}\n{SAID['gated-hub'].text}"

    assert "gated" in (fault(text) or pytest.fail("no cause")).cause


def test_a_megabyte_that_nearly_matches_everything_is_read_and_has_no_cause() -> None:
    nearly = "User-specified max_model_len (1 cudaMalloc( (max seq len (1) a/b/c 'x --tool-call-parser: " * 11_000

    assert fault(nearly) is None
