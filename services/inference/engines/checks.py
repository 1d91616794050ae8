"""What every engine refuses before a launch, and the parsers that a launch gets.

Each check gives its reasons as texts with a remedy; an engine collects them all and refuses once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from services.inference.engines.base import Engine, EngineRefusalError, Place, Serving
from services.inference.engines.environment import is_local
from services.inference.engines.flags import named
from services.inference.engines.rope import rope
from services.inference.failures import UsageError
from services.inference.planning.planner import Plan
from services.inference.planning.presets import EngineName, Parsers, Preset

PARALLELISM: Final = frozenset(
    {
        *("pipeline-parallel-size", "pp-size", "pp", "data-parallel-size", "dp-size", "dp", "nnodes", "node-rank"),
        *("prefill-context-parallel-size", "decode-context-parallel-size", "data-parallel-size-local"),
    }
)
"""Ways to share a model that are not planned."""


def refuse(engine: str, plan: Plan, reasons: Sequence[str]) -> None:
    """Raise EngineRefusalError with every reason, if there is one."""
    if reasons:
        lines = "".join(f"\n- {reason}" for reason in reasons)
        raise EngineRefusalError(f"{engine} cannot serve {plan.request.preset.key} as asked:{lines}")


def parsers(plan: Plan, serving: Serving, engine: EngineName) -> Parsers:
    """The parsers of this launch: those asked for, else the preset's for this engine."""
    row = plan.request.preset.parsers.get(engine)
    tools = serving.tool_parser or (row.tools if row else None)
    return Parsers(
        tools=tools if plan.request.tools else None,
        reasoning=serving.reasoning_parser or (row.reasoning if row else None),
    )


def length_refusals(plan: Plan, serving: Serving) -> list[str]:
    """More tokens than the model has positions."""
    preset = plan.request.preset
    try:
        limit = rope(preset, serving.rope_scaling).positions if serving.rope_scaling else preset.lengths.max_positions
    except UsageError as error:
        return [str(error)]
    if plan.max_model_len <= limit:
        return []
    advice = "" if serving.rope_scaling else ", or --rope-scaling yarn:F where its authors allow it"
    return [f"--max-model-len {plan.max_model_len}: {preset.key} has {limit} positions; take at most {limit}{advice}"]


def parser_refusals(plan: Plan, serving: Serving, engine: EngineName) -> list[str]:
    """Tools without a parser; a reasoning parser where there is nothing to parse."""
    preset, chosen = plan.request.preset, parsers(plan, serving, engine)
    reasons = []
    if plan.request.tools and chosen.tools is None:
        reasons.append(
            f"tool calls: no parser of this engine is known for {preset.family}; take another engine, name one with "
            "--tool-call-parser, or say --no-tools"
        )
    if preset.template.thinking == "none" and chosen.reasoning is not None and not _is_unknown(preset):
        # Measured: the whole answer, even one bound to a schema, then arrives as reasoning, with content null.
        reasons.append(
            f"--reasoning-parser {chosen.reasoning}: {preset.key} does not think, and its whole answer would arrive as "
            "reasoning with empty content; leave the parser out"
        )
    return reasons


def thinking_refusals(plan: Plan, serving: Serving, *, at_launch: bool) -> list[str]:
    """`--thinking` where the model has no choice, or the engine no switch; `at_launch`: it has one."""
    preset, wanted = plan.request.preset, serving.thinking
    if wanted is not None and _is_unknown(preset):
        return [f"--thinking: whether {preset.key} thinks is not known; say --family with the key of its model's row"]
    if wanted is None or (preset.template.thinking, wanted) in {("none", False), ("always", True)}:
        return []
    if preset.template.thinking != "hybrid":
        return [
            f"--thinking {'on' if wanted else 'off'}: {preset.key} {_HABIT[preset.template.thinking]}; leave it out"
        ]
    if preset.template.thinking_key is None:
        return [f"--thinking: the template variable of {preset.key} is not known; write thinking_key into its row"]
    if not at_launch:
        asked = json.dumps({preset.template.thinking_key: wanted})
        return [
            f"--thinking: this engine takes it with each request only, as chat_template_kwargs {asked}; or take vLLM"
        ]
    return []


def _is_unknown(preset: Preset) -> bool:
    """A folder of weights that no row describes."""
    return is_local(preset.id) and preset.family == preset.key


_HABIT: Final = {"none": "never thinks", "always": "always thinks"}


def template_refusals(plan: Plan, serving: Serving, place: Place, engine: type[Engine]) -> list[str]:
    """A chat template that the model needs for tools and that is nowhere."""
    file = plan.request.preset.template.file
    if file is None or place.templates or _has_argument(serving, "chat-template"):
        return []
    if parsers(plan, serving, engine.name).tools is None:
        return []
    where = (
        "which the engine's wheel lacks: use --launcher compose, or copy it out of the image"
        if engine.image_templates
        else "which this engine lacks: copy it out of vLLM's image"
    )
    return [
        f"{plan.request.preset.key} needs the chat template {file}, {where} and say --engine-arg chat-template=FILE"
    ]


def template_file(plan: Plan, place: Place) -> str | None:
    """Path of the chat template that this launch needs."""
    file = plan.request.preset.template.file
    return f"{place.templates}/{file}" if file and place.templates and plan.request.tools else None


def argument_refusals(serving: Serving) -> list[str]:
    """Engine arguments that are ignored in silence or show a secret."""
    reasons = []
    for key, value in serving.engine_args:
        if named(key) == "api-key":
            reasons.append("--engine-arg api-key: everybody sees it in the list of processes; use a key file")
        if named(key) in PARALLELISM:
            reasons.append(
                f"--engine-arg {key}: planned are servers of one node, by tensor (--tp) and expert parallelism; several replicas "
                "are --num-servers, and a server that somebody else started is used by its URL"
            )
        if named(key).startswith("guided-"):
            reasons.append(
                f"--engine-arg {key}: engines ignore guided decoding of this name; clients send response_format "
                "or structured_outputs"
            )
        if named(key) == "structured-outputs-config" and _bans_whitespace_of_any_backend(value or ""):
            reasons.append(
                f'--engine-arg {key}: disable_any_whitespace needs a named backend, such as "backend":"xgrammar"'
            )
    return reasons


def key_refusals(place: Place) -> list[str]:
    """A key for an engine that cannot keep it."""
    if place.key_file is None:
        return []
    return [
        "this engine cannot demand a key without showing it: bind it to loopback or an internal network, or take vLLM"
    ]


def adapter_refusals(serving: Serving) -> list[str]:
    """An adapter that nobody could ask for, since the base model has its name."""
    if serving.served_name not in {adapter.name for adapter in serving.adapters}:
        return []
    return [f"--lora {serving.served_name}: that is the served name of the base model; choose another for one of them"]


def cpu_refusals(place: Place) -> list[str]:
    """A CPU build of an engine that has none."""
    return ["there is no CPU build of this engine: take vllm or transformers"] if place.cpu else []


def _has_argument(serving: Serving, name: str) -> bool:
    return any(named(key) == name for key, _ in serving.engine_args)


def _bans_whitespace_of_any_backend(text: str) -> bool:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        return False  # the engine says what is wrong with it
    if not isinstance(config, dict):
        return False
    return bool(config.get("disable_any_whitespace")) and config.get("backend", "auto") == "auto"
