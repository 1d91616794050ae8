"""TensorRT-LLM: `trtllm-serve`. Flags and parser names as in 1.2.

It is given a folder and serves it under the folder's name: the step that fetches the weights calls the folder like the
served model. Seeds, sampling and thinking come with each request.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import ClassVar, Final

from services.inference.engines import checks
from services.inference.engines.base import Command, Place, Serving
from services.inference.engines.environment import environment, is_local, model_of
from services.inference.engines.flags import Flag, fraction, misplaced, named, tokens
from services.inference.planning.planner import DTYPES, Plan, contradictions, online_fp8
from services.inference.planning.presets import EngineName

OWN_OPTIONS: Final = {
    "host": "--host",
    "port": "--start-port",
    "tp-size": "--tp",
    "ep-size": "--expert-parallel",
    "max-seq-len": "--max-model-len",
    "kv-cache-free-gpu-memory-fraction": "--gpu-memory-utilization",
    "free-gpu-memory-fraction": "--gpu-memory-utilization",
    "trust-remote-code": "--allow-remote-code",
    "tool-parser": "--tool-call-parser",
    "reasoning-parser": "--reasoning-parser",
}
MAX_NUM_TOKENS: Final = 8192
MAX_BATCH_SIZE: Final = 64
CONFIG: Final = "trtllm.yaml"
TOKENIZERS: Final = frozenset({"deepseek_v32"})
"""Tool parsers whose prompts the engine writes by a tokenizer of the same name."""


class TrtllmEngine:
    """TensorRT-LLM."""

    name: ClassVar[EngineName] = "trtllm"
    health_path: ClassVar[str] = "/health"
    takes_key: ClassVar[bool] = False
    image_templates: ClassVar[str | None] = None

    def command(self, plan: Plan, serving: Serving, place: Place) -> Command:
        """`trtllm-serve`. Raises EngineRefusalError with every reason."""
        checks.refuse("TensorRT-LLM", plan, _refusals(plan, serving, place))
        config = _config(plan)
        flags = [*_size(plan, place), *_tools(plan, serving, place)]
        if serving.allow_remote_code:
            flags.append(("--trust_remote_code",))
        if config:
            flags.append(("--config", f"{{folder}}/{CONFIG}"))
        return Command(
            argv=(place.program or "trtllm-serve", model_of(plan, place), *tokens(flags, serving.engine_args)),
            env=environment(plan, serving, place),
            files={CONFIG: config} if config else {},
        )


def _refusals(plan: Plan, serving: Serving, place: Place) -> list[str]:
    reasons = [
        *contradictions(plan.request),
        *checks.length_refusals(plan, serving),
        *checks.parser_refusals(plan, serving, "trtllm"),
        *checks.thinking_refusals(plan, serving, at_launch=False),
        *checks.template_refusals(plan, serving, place, TrtllmEngine),
        *checks.argument_refusals(serving),
        *checks.key_refusals(place),
        *checks.cpu_refusals(place),
        *misplaced(serving.engine_args, OWN_OPTIONS),
        *_folder_refusals(plan, serving, place),
    ]
    absent = {
        "--deterministic": serving.deterministic,
        "--lora": bool(serving.adapters),
        "--rope-scaling": serving.rope_scaling is not None,
        "--quantization": online_fp8(plan.request),
        "--dtype": plan.request.dtype in set(DTYPES) - {"auto", plan.request.preset.checkpoint.dtype},
    }
    reasons += [f"{option}: {_WHY_NOT[option]}" for option, asked in absent.items() if asked]
    if _config(plan) and {named(key) for key, _ in serving.engine_args} & {"config", "extra-llm-api-options"}:
        reasons.append("--kv-cache-dtype: it is written into a file for --config; write it into yours and leave it out")
    if plan.request.kv_dtype == "bfloat16":
        reasons.append("--kv-cache-dtype bfloat16: TensorRT-LLM takes auto or fp8")
    return reasons


_WHY_NOT: Final = {
    "--deterministic": "TensorRT-LLM has no batch-invariant mode; take vLLM or SGLang",
    "--lora": "an adapter is no model of its own here, every request would have to name its path; take vLLM or SGLang",
    "--rope-scaling": "TensorRT-LLM reads it from the checkpoint's config.json only; take vLLM or SGLang",
    "--quantization": "weights are not quantised while loading; take a checkpoint that is stored so, or vLLM",
    "--dtype": "TensorRT-LLM takes the checkpoint's",
}


def _folder_refusals(plan: Plan, serving: Serving, place: Place) -> list[str]:
    model = model_of(plan, place)
    if place.weights is None and not is_local(model):
        return [f"{model}: TensorRT-LLM pins a revision only as a local folder; fetch it first (compose does)"]
    name = dict(serving.engine_args).get("served_model_name") or PurePath(model).name
    if name == serving.served_name:
        return []
    ways = (
        f"--model-name {name}, another folder name, or from 1.3 on --engine-arg served_model_name={serving.served_name}"
    )
    return [f"{model} would be served as {name}, not as {serving.served_name}: {ways}"]


def _size(plan: Plan, place: Place) -> list[Flag]:
    flags: list[Flag] = [("--host", place.host), ("--port", str(place.port)), ("--tp_size", str(plan.tp))]
    if plan.request.expert_parallel:
        flags.append(("--ep_size", str(plan.tp)))
    return [
        *flags,
        ("--max_seq_len", str(plan.max_model_len)),
        ("--max_num_tokens", str(MAX_NUM_TOKENS)),
        ("--max_batch_size", str(MAX_BATCH_SIZE)),
        ("--kv_cache_free_gpu_memory_fraction", fraction(plan.request.utilization)),
    ]


def _tools(plan: Plan, serving: Serving, place: Place) -> list[Flag]:
    chosen = checks.parsers(plan, serving, "trtllm")
    flags: list[Flag] = []
    if chosen.tools is not None:
        flags.append(("--tool_parser", chosen.tools))
    if chosen.reasoning is not None:
        flags.append(("--reasoning_parser", chosen.reasoning))
    if chosen.tools in TOKENIZERS:
        flags.append(("--custom_tokenizer", str(chosen.tools)))
    if file := checks.template_file(plan, place):
        flags.append(("--chat_template", file))
    return flags


def _config(plan: Plan) -> str:
    """The part of the configuration that has no flag, as YAML; empty when there is none."""
    dtype = plan.request.kv_dtype
    return "" if dtype == "auto" else f"kv_cache_config:\n  dtype: {dtype}\n"
