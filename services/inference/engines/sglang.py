"""SGLang: `python3 -m sglang.launch_server`. Flags and parser names as in 0.5.23.

Its part of the memory holds weights and cache together; what activations and graphs take must fit beside it.
Sampling and thinking come with each request.
"""

from __future__ import annotations

from typing import ClassVar, Final

from services.inference.engines import checks
from services.inference.engines.base import Command, Place, Serving
from services.inference.engines.environment import environment, model_of, revision_of
from services.inference.engines.flags import Flag, fraction, misplaced, tokens
from services.inference.engines.rope import rope
from services.inference.planning.planner import Plan, contradictions, online_fp8, static_fraction
from services.inference.planning.presets import EngineName, KvDtype

OWN_OPTIONS: Final = {
    "host": "--host",
    "port": "--start-port",
    "revision": "the preset's revision",
    "served-model-name": "--model-name",
    "model-path": "the model",
    "tp": "--tp",
    "tp-size": "--tp",
    "tensor-parallel-size": "--tp",
    "ep": "--expert-parallel",
    "ep-size": "--expert-parallel",
    "expert-parallel-size": "--expert-parallel",
    "context-length": "--max-model-len",
    "mem-fraction-static": "--gpu-memory-utilization",
    "kv-cache-dtype": "--kv-cache-dtype",
    "dtype": "--dtype",
    "quantization": "--quantization",
    "trust-remote-code": "--allow-remote-code",
    "json-model-override-args": "--rope-scaling",
    "enable-lora": "--lora",
    "lora-paths": "--lora",
    "tool-call-parser": "--tool-call-parser",
    "reasoning-parser": "--reasoning-parser",
    "enable-deterministic-inference": "--deterministic",
    "config": "an --engine-arg for each",
}
KV_DTYPES: Final[dict[KvDtype, str]] = {"bfloat16": "bfloat16", "fp8": "fp8_e4m3"}


class SglangEngine:
    """SGLang."""

    name: ClassVar[EngineName] = "sglang"
    health_path: ClassVar[str] = "/health"
    takes_key: ClassVar[bool] = False
    image_templates: ClassVar[str | None] = "/sgl-workspace/sglang/examples/chat_template"

    def command(self, plan: Plan, serving: Serving, place: Place) -> Command:
        """`python3 -m sglang.launch_server`; `place.program` is the Python. Raises EngineRefusalError with every reason."""
        checks.refuse("SGLang", plan, _refusals(plan, serving, place))
        flags = [*_identity(plan, serving, place), *_size(plan), *_numbers(plan, serving)]
        flags += [("--random-seed", str(place.index + 1)), *_tools(plan, serving, place), *_extras(serving)]
        program = (place.program or "python3", "-m", "sglang.launch_server")
        return Command(argv=(*program, *tokens(flags, serving.engine_args)), env=environment(plan, serving, place))


def _refusals(plan: Plan, serving: Serving, place: Place) -> list[str]:
    return [
        *contradictions(plan.request),
        *checks.length_refusals(plan, serving),
        *checks.parser_refusals(plan, serving, "sglang"),
        *checks.thinking_refusals(plan, serving, at_launch=False),
        *checks.template_refusals(plan, serving, place, SglangEngine),
        *checks.argument_refusals(serving),
        *checks.adapter_refusals(serving),
        *checks.key_refusals(place),
        *checks.cpu_refusals(place),
        *misplaced(serving.engine_args, OWN_OPTIONS),
    ]


def _identity(plan: Plan, serving: Serving, place: Place) -> list[Flag]:
    flags: list[Flag] = [("--model-path", model_of(plan, place))]
    if (revision := revision_of(plan, serving, place)) is not None:
        flags.append(("--revision", revision))
    return [*flags, ("--served-model-name", serving.served_name), ("--host", place.host), ("--port", str(place.port))]


def _size(plan: Plan) -> list[Flag]:
    flags: list[Flag] = [("--tp", str(plan.tp))]
    if plan.request.expert_parallel:
        flags.append(("--ep", str(plan.tp)))
    part = fraction(static_fraction(plan.request, plan.tp))
    return [*flags, ("--context-length", str(plan.max_model_len)), ("--mem-fraction-static", part)]


def _numbers(plan: Plan, serving: Serving) -> list[Flag]:
    flags: list[Flag] = []
    if plan.request.kv_dtype != "auto":
        flags.append(("--kv-cache-dtype", KV_DTYPES[plan.request.kv_dtype]))
    if plan.request.dtype is not None:
        flags.append(("--dtype", plan.request.dtype))
    if online_fp8(plan.request):
        flags.append(("--quantization", "fp8"))
    if serving.rope_scaling is not None:
        overrides = rope(plan.request.preset, serving.rope_scaling).overrides
        flags.append(("--json-model-override-args", overrides))
    return flags


def _tools(plan: Plan, serving: Serving, place: Place) -> list[Flag]:
    chosen = checks.parsers(plan, serving, "sglang")
    flags: list[Flag] = []
    if chosen.tools is not None:
        flags.append(("--tool-call-parser", chosen.tools))
    if chosen.reasoning is not None:
        flags.append(("--reasoning-parser", chosen.reasoning))
    if file := checks.template_file(plan, place):
        flags.append(("--chat-template", file))
    return flags


def _extras(serving: Serving) -> list[Flag]:
    flags: list[Flag] = [("--enable-metrics",)]
    if serving.deterministic:
        flags.append(("--enable-deterministic-inference",))
    if serving.allow_remote_code:
        flags.append(("--trust-remote-code",))
    if serving.adapters:
        flags.append(("--enable-lora",))
        flags.append(("--lora-paths", *(f"{one.name}={one.path}" for one in serving.adapters)))
    return flags
