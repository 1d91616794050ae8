"""vLLM: `vllm serve`. Flags and parser names as in 0.33.

Generation defaults of the checkpoint are switched off (`--generation-config vllm`, which keeps its stop tokens), since
sampling belongs to the caller; each replica has a seed of its own, since with the default all would sample alike.
"""

from __future__ import annotations

import json
from math import floor
from typing import ClassVar, Final

from services.inference.engines import checks
from services.inference.engines.base import Command, Place, Serving
from services.inference.engines.environment import environment, model_of, revision_of
from services.inference.engines.flags import Flag, fraction, misplaced, tokens
from services.inference.engines.rope import rope
from services.inference.planning.planner import Plan, contradictions, online_fp8
from services.inference.planning.presets import EngineName

OWN_OPTIONS: Final = {
    "host": "--host",
    "port": "--start-port",
    "revision": "the preset's revision",
    "served-model-name": "--model-name",
    "tensor-parallel-size": "--tp",
    "enable-expert-parallel": "--expert-parallel",
    "max-model-len": "--max-model-len",
    "gpu-memory-utilization": "--gpu-memory-utilization",
    "kv-cache-dtype": "--kv-cache-dtype",
    "dtype": "--dtype",
    "quantization": "--quantization",
    "trust-remote-code": "--allow-remote-code",
    "hf-overrides": "--rope-scaling",
    "enable-lora": "--lora",
    "lora-modules": "--lora",
    "max-lora-rank": "--lora",
    "tool-call-parser": "--tool-call-parser",
    "reasoning-parser": "--reasoning-parser",
    "default-chat-template-kwargs": "--thinking",
    "model": "the model",
    "config": "an --engine-arg for each",
}
CPU_SEQUENCES: Final = 8
CPU_ENVIRONMENT: Final = {
    "TORCHDYNAMO_DISABLE": "1",  # without it the first request with logprobs takes 14.5 s (measured)
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
WITHOUT_BLANKS: Final = '{"backend":"xgrammar","disable_any_whitespace":true}'
"""A model of the size that runs on a CPU otherwise fills its answer with blanks, which JSON allows."""


class VllmEngine:
    """vLLM."""

    name: ClassVar[EngineName] = "vllm"
    health_path: ClassVar[str] = "/health"
    takes_key: ClassVar[bool] = True
    image_templates: ClassVar[str | None] = "/vllm-workspace/examples"

    def command(self, plan: Plan, serving: Serving, place: Place) -> Command:
        """`vllm serve`. Raises EngineRefusalError with every reason."""
        checks.refuse("vLLM", plan, _refusals(plan, serving, place))
        flags = [*_identity(plan, serving, place), *_size(plan, place), *_numbers(plan, serving)]
        flags += [*_sampling(place), *_tools(plan, serving, place), *_extras(serving)]
        env = environment(plan, serving, place)
        if place.cpu:
            env |= CPU_ENVIRONMENT
        if serving.deterministic:
            env["VLLM_BATCH_INVARIANT"] = "1"
        return Command(
            argv=(place.program or "vllm", "serve", model_of(plan, place), *tokens(flags, serving.engine_args)),
            env=env,
            secrets={"VLLM_API_KEY": place.key_file} if place.key_file else {},
        )


def _refusals(plan: Plan, serving: Serving, place: Place) -> list[str]:
    reasons = [
        *contradictions(plan.request),
        *checks.length_refusals(plan, serving),
        *checks.parser_refusals(plan, serving, "vllm"),
        *checks.thinking_refusals(plan, serving, at_launch=True),
        *checks.template_refusals(plan, serving, place, VllmEngine),
        *checks.argument_refusals(serving),
        *checks.adapter_refusals(serving),
        *misplaced(serving.engine_args, OWN_OPTIONS),
    ]
    if serving.deterministic and plan.request.gpu.capability < (8, 0):
        reasons.append("--deterministic: batch-invariant kernels need GPUs of compute capability 8.0 or newer")
    return reasons


def _identity(plan: Plan, serving: Serving, place: Place) -> list[Flag]:
    flags: list[Flag] = []
    if (revision := revision_of(plan, serving, place)) is not None:
        flags.append(("--revision", revision))
    return [*flags, ("--served-model-name", serving.served_name), ("--host", place.host), ("--port", str(place.port))]


def _size(plan: Plan, place: Place) -> list[Flag]:
    flags: list[Flag] = [("--tensor-parallel-size", str(plan.tp))]
    if plan.request.expert_parallel:
        flags.append(("--enable-expert-parallel",))
    flags.append(("--max-model-len", str(plan.max_model_len)))
    if not place.cpu:
        return [*flags, ("--gpu-memory-utilization", fraction(plan.request.utilization))]
    return [
        *flags,
        ("--max-num-seqs", str(CPU_SEQUENCES)),
        ("--enforce-eager",),
        ("--kv-cache-memory-bytes", f"{_cpu_cache_mib(plan)}M"),
        ("--structured-outputs-config", WITHOUT_BLANKS),
        *([] if plan.request.dtype else [("--dtype", "bfloat16")]),
    ]


def _cpu_cache_mib(plan: Plan) -> int:
    """The planned cache, which `M` counts in MiB (measured); the least there is for a plan that was forced."""
    return max(64, floor(plan.memory.kv_gib_high_overhead * 1024))


def _numbers(plan: Plan, serving: Serving) -> list[Flag]:
    flags: list[Flag] = []
    if plan.request.kv_dtype != "auto":
        flags.append(("--kv-cache-dtype", plan.request.kv_dtype))
    if plan.request.dtype is not None:
        flags.append(("--dtype", plan.request.dtype))
    if online_fp8(plan.request):
        flags.append(("--quantization", "fp8"))
    if serving.rope_scaling is not None:
        overrides = rope(plan.request.preset, serving.rope_scaling).overrides
        flags.append(("--hf-overrides", overrides))
    return flags


def _sampling(place: Place) -> list[Flag]:
    return [("--generation-config", "vllm"), ("--seed", str(place.index + 1))]


def _tools(plan: Plan, serving: Serving, place: Place) -> list[Flag]:
    chosen, template = checks.parsers(plan, serving, "vllm"), plan.request.preset.template
    flags: list[Flag] = []
    if chosen.tools is not None:
        flags += [("--enable-auto-tool-choice",), ("--tool-call-parser", chosen.tools)]
        flags += [("--exclude-tools-when-tool-choice-none",)]
    if chosen.reasoning is not None:
        flags.append(("--reasoning-parser", chosen.reasoning))
    if chosen.tools == "mistral":
        # With another tokenizer the ids of calls are not the nine characters that the template asks for.
        flags.append(("--tokenizer-mode", "mistral"))
    if file := checks.template_file(plan, place):
        flags.append(("--chat-template", file))
    if serving.thinking is not None and template.thinking == "hybrid":
        flags.append(("--default-chat-template-kwargs", _json({template.thinking_key: serving.thinking})))
    return flags


def _extras(serving: Serving) -> list[Flag]:
    flags: list[Flag] = [("--enable-prompt-tokens-details",), ("--enable-request-id-headers",)]
    if serving.allow_remote_code:
        flags.append(("--trust-remote-code",))
    if serving.adapters:
        flags.append(("--enable-lora",))
        flags.append(("--lora-modules", *(f"{one.name}={one.path}" for one in serving.adapters)))
        flags.append(("--max-lora-rank", str(max(one.rank for one in serving.adapters))))
    return flags


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
