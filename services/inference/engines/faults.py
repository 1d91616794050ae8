"""Why a start failed: what the engines' error texts mean, and what to do about each.

A table, read from the top: what names a cause stands before what only follows from it. `{name}` in cause and remedy is a
group of the pattern. Wordings of vLLM, transformers and the hub's client were compared with the sources of the releases that the
tests install; those of SGLang, TensorRT-LLM, CUDA and older releases come from reports of others and may have changed since. An
output without a known cause is shown as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from services.inference.engines.base import StartFault

BUILT_AGAINST_ANOTHER_TORCH: Final = (
    "use the pinned image, or a fresh environment installed in one step; pin neither torch nor numpy beside the engine"
)
PLAN: Final = "inference plan shows what fits"


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """One row of the table."""

    pattern: re.Pattern[str]
    cause: str
    remedy: str


def _known(pattern: str, cause: str, remedy: str) -> Known:
    return Known(pattern=re.compile(pattern), cause=cause, remedy=remedy)


INSTALLATION: Final = (
    _known(
        r"undefined symbol: (?P<symbol>\w{1,200})",
        "the engine was built against another torch (undefined symbol {symbol})",
        BUILT_AGAINST_ANOTHER_TORCH,
    ),
    _known(
        r"(?P<library>libtorch_cuda\.so|libcudart\.so[.\d]{0,8}|libcublas\.so[.\d]{0,8}): cannot open shared object",
        "{library} is missing: a CPU build of torch, or one for another CUDA, stands where the engine's own belongs",
        BUILT_AGAINST_ANOTHER_TORCH,
    ),
    _known(
        r"Torch not compiled with CUDA enabled",
        "torch is a CPU build",
        f"{BUILT_AGAINST_ANOTHER_TORCH}; to serve on the CPU, plan with --gpu cpu",
    ),
)

COMMAND_LINE: Final = (
    _known(
        r"tool_parser:'(?P<parser>[^'\n]{1,80})' which has not been registered"
        r"|invalid tool call parser: (?P<older>[\w.-]{1,80})"
        r"|--tool[-_](?:call[-_])?parser'?: (?:invalid choice: )?'(?P<choice>[^'\n]{1,80})'",
        "this engine has no tool-call parser {parser}{older}{choice}; names differ from engine to engine",
        "leave --tool-call-parser to the preset, or take a name that the engine lists in its --help",
    ),
    _known(
        r"reasoning_parser_name='(?P<parser>[^'\n]{1,80})' has not been registered"
        r"|--reasoning[-_]parser'?: (?:invalid choice: )?'(?P<choice>[^'\n]{1,80})'"
        r"|[Rr]easoning parser '(?P<older>[^'\n]{1,80})' not found",
        "this engine has no reasoning parser {parser}{choice}{older}; names differ from engine to engine",
        "leave --reasoning-parser to the preset, or take a name that the engine lists in its --help",
    ),
    _known(
        r"requires --enable-auto-tool-choice|--enable-auto-tool-choice requires --tool-call-parser",
        "the server was started without tool support",
        "start it with inference up, which sets --enable-auto-tool-choice and the parser of the model",
    ),
    _known(
        r"Unknown dtype: '?(?P<dtype>[\w.]{1,40})|--dtype: invalid choice: '(?P<choice>[^'\n]{1,40})'",
        "{dtype}{choice} is no dtype: there are auto, bfloat16, float16 and float32",
        "leave --dtype out; for 8 bits take --quantization fp8 or a checkpoint that is stored so",
    ),
    _known(
        r"Bfloat16 is only supported on GPUs with compute capability of at least 8\.0",
        "this GPU has no bfloat16",
        "--dtype float16",
    ),
    _known(
        r"specified in the model config \([\w-]{1,40}\) does not match the quantization method specified in the "
        r"`quantization` argument \((?P<asked>[\w-]{1,40})\)|Cannot find the config file for (?P<method>[\w-]{1,40})",
        "{asked}{method} was asked for, and the checkpoint is not stored so",
        "leave --quantization out: gptq, awq and fp8 exist only as another checkpoint (inference plan names them)",
    ),
    _known(
        r"unrecognized arguments: (?P<arguments>[^\n]{1,200})|No such option: (?P<option>[\w-]{1,80})",
        "this release of the engine does not know {arguments}{option}",
        "take the release that config/models.yaml pins, or drop the --engine-arg",
    ),
    _known(
        r"supplied chat template (?:string )?\((?P<file>[^)\n]{1,300})\) (?:looks like a file path|appears path-like)",
        "the chat template {file} cannot be read",
        "it lies in the engine's image, not in its wheel: use --launcher compose, or copy it out and name it with "
        "--engine-arg chat-template=FILE",
    ),
    _known(
        r"contains custom code which must be executed|set the option `trust_remote_code=True`",
        "the model comes with a program of its own",
        "read it, then --allow-remote-code, which is recorded; no preset needs it",
    ),
    _known(
        r"LoRA rank (?P<rank>\d{1,6}) is greater than max_lora_rank (?P<most>\d{1,6})",
        "the adapter has rank {rank}, the server was started for {most}",
        "name the adapter with --lora NAME=DIR, which reads its rank",
    ),
)

WEIGHTS: Final = (
    _known(
        r"GatedRepoError|Cannot access gated repo|trying to access a gated repo\b|is gated\. You must",
        "the model is gated: the hub wants to know who loads it",
        "accept its licence on its hub page, then `hf auth login`, or name a file with a token in HF_TOKEN_PATH",
    ),
    _known(
        r"Invalid repository ID or local directory specified: '(?P<vllm>[^'\n]{1,300})'"
        r"|(?P<hub>[^\s'\"]{1,300}) is not a local folder and is not a valid model identifier"
        r"|Repo id must be in the form 'repo_name' or 'namespace/repo_name': '(?P<path>[^'\n]{1,300})'"
        r"|Repository Not Found for url: (?P<url>[^\s]{1,300})",
        "there is no model at {vllm}{hub}{path}{url}",
        "check the path (a folder with config.json, seen from where the engine runs), or the hub id and the token",
    ),
    _known(
        r"RevisionNotFoundError|is not a valid git identifier",
        "the model has no such revision",
        "take a commit of its hub page, or revision: null in its row to have the newest resolved and recorded",
    ),
    _known(
        r"LocalEntryNotFoundError|outgoing traffic has been disabled|couldn't connect to 'https://huggingface\.co'",
        "the weights are not in the cache, and the engine may not download",
        "fetch them first (inference up does), with the same HF_HOME as the engine",
    ),
    _known(r"No space left on device", "the disk is full", "free space, or put HF_HOME on another disk"),
)

FIT: Final = (
    _known(
        r"attention heads \((?P<heads>\d{1,6})\) must be divisible by tensor parallel size \((?P<tp>\d{1,6})\)",
        "{heads} attention heads cannot be shared by {tp} GPUs",
        "take a --tp that divides them; inference plan lists the valid ones",
    ),
    _known(
        r"(?P<slice>\d{1,9}) is not divisible by weight quantization block_[nk] = (?P<block>\d{1,6})",
        "a slice of {slice} is no multiple of the checkpoint's quantisation block of {block}",
        "a smaller --tp, or --expert-parallel",
    ),
    _known(
        r"AssertionError: (?P<numerator>\d{1,9}) is not divisible by (?P<denominator>\d{1,6})"
        r"|assert numerator % denominator == 0",
        "the model cannot be cut into that many equal parts",
        "another --tp; inference plan lists the valid ones",
    ),
    _known(
        r"World size \((?P<wanted>\d{1,6})\) is larger than the number of available GPUs \((?P<found>\d{1,6})\)",
        "{wanted} GPUs are asked for and the engine sees {found}",
        "a smaller --tp, or more GPUs in --gpu-ids",
    ),
    _known(
        r"No valid attention backend found|FlashMLA[\w ]{0,20} is only supported on|Invalid attention backend for",
        "no attention kernel of the engine runs this model on this GPU with these settings",
        "leave --kv-cache-dtype at auto; dense MLA (DeepSeek-V3, R1) then runs on any compute capability from 8.0, sparse MLA "
        "(V3.2) needs 9, 10 or 12; force no backend by variable or --engine-arg",
    ),
    _known(
        r"User-specified (?:max_model_len|context_length) \((?P<asked>\d{1,12})\) is greater than the derived "
        r"(?:max_model_len|context_length) \((?:[^=()\n]{0,60}=)?(?P<most>\d{1,12})",
        "{asked} tokens are asked for and the model has {most} positions",
        "--max-model-len {most} or less, or --rope-scaling yarn:F where its authors allow it",
    ),
    _known(
        r"max seq len \((?P<asked>\d{1,12})\)[^\n]{0,300}estimated maximum model length is (?P<most>\d{1,12})",
        "one sequence of {asked} tokens does not fit into the memory that is left beside the weights",
        f"--max-model-len {{most}} or less, more GPUs (--tp), or a smaller checkpoint; {PLAN}",
    ),
    _known(
        r"No available memory for the cache blocks|To serve at least one request with the model's max seq len"
        r"|larger than the maximum number of tokens that can be stored in KV cache"
        r"|Not enough memory[.;][^\n]{0,40}increase --mem-fraction-static"
        r"|maxTokensInPagedKvCache must be large enough|component could not be created: KV cache",
        "too little memory is left for the KV cache beside the weights",
        f"a shorter --max-model-len, a higher --gpu-memory-utilization, more GPUs (--tp), or a smaller checkpoint; {PLAN}",
    ),
    _known(
        r"Free memory on device [^\n]{0,40}\((?P<free>[\d.]{1,12})/(?P<total>[\d.]{1,12}) GiB\) on startup is less than"
        r"|Free memory on device \((?P<older>[\d.]{1,12})/",
        "other programs use this GPU: {free}{older} GiB are free",
        "free it (inference list --gpus says who uses it), or choose others with --gpu-ids",
    ),
    _known(
        r"CUDA out of memory|CUDA error: out of memory|OutOfMemoryError|Executor creation failed due to insufficient GPU memory"
        r"|cudaMalloc\w{0,20}\([^\n]{0,120}out of memory",
        "CUDA out of memory: the model does not fit into the GPU with these settings",
        f"{PLAN}: more GPUs (--tp), a shorter --max-model-len, or the model's fp8, gptq or awq version, each of which is "
        "another checkpoint",
    ),
)

MACHINE: Final = (
    _known(
        r"NVIDIA driver on your system is too old|CUDA driver version is insufficient|no kernel image is available",
        "driver or GPU are too old for this build of the engine",
        "a newer driver, or an image of the engine for this CUDA (inference doctor --host prints both)",
    ),
    _known(
        r"No CUDA GPUs are available|Found no NVIDIA driver|Failed to infer device type|libcuda\.so\.1: cannot open"
        r"|no CUDA-capable device",
        "the engine sees no GPU",
        "inference doctor --host: driver, container toolkit, CUDA_VISIBLE_DEVICES (in a container it must not be set); "
        "without GPUs plan with --gpu cpu or take the reference engine",
    ),
    _known(
        r"[Aa]ddress already in use|EADDRINUSE",
        "the port is taken",
        "another --start-port; inference list shows servers of ours, and nothing is ever killed to free a port",
    ),
    _known(
        r"error while attempting to bind|Cannot assign requested address|[Cc]annot listen on",
        "the engine cannot bind the address it was given",
        "--host 127.0.0.1 for this machine only, 0.0.0.0 for all its addresses; ports below 1024 belong to root",
    ),
    _known(
        r"Bus error|unable to open shared memory object|insufficient shared memory",
        "shared memory is too small: the engine's processes exchange tensors through it",
        "in containers shm_size 16gb, as inference compose writes it",
    ),
    _known(
        r"NCCL error|ncclSystemError|ncclUnhandledCudaError|ncclInternalError",
        "the GPUs of this server cannot talk to each other (NCCL)",
        "NCCL_DEBUG=INFO says why: shared memory too small, or peer access switched off between these GPUs (choose others "
        "with --gpu-ids)",
    ),
)

# Engines also say such things in passing, before they go on.
HINTS: Final = (
    _known(
        r"compiled using NumPy 1\.x cannot be run in|numpy\.dtype size changed",
        "numpy is of another generation than the engine was built for",
        BUILT_AGAINST_ANOTHER_TORCH,
    ),
    _known(
        r"ModuleNotFoundError: No module named '(?P<module>[\w.]{1,80})'",
        "the Python package {module} is not installed where the engine runs",
        "use the pinned image, or install the engine into an environment of its own and put that on PATH",
    ),
)

TABLE: Final = (*INSTALLATION, *COMMAND_LINE, *WEIGHTS, *FIT, *MACHINE, *HINTS)


def fault(stderr: str) -> StartFault | None:
    """The cause that this output names; None when none is known."""
    for known in TABLE:
        if found := known.pattern.search(stderr):
            words = {name: text or "" for name, text in found.groupdict().items()}
            return StartFault(cause=known.cause.format(**words), remedy=known.remedy.format(**words))
    return None
