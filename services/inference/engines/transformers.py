"""`transformers serve`: the light engine of the tests, and of a model that no other engine loads.

Measured with 5.19: it ignores required tools, JSON schemas and logprobs with HTTP 200, which `inference doctor` says; parses
tool calls by itself; answers to the name it was started with and no other (400); and /v1/models lists the hub's cache, not what
it serves. Nobody could tell by its name that a server is ready and ours, so that none is started: what is refused names the
command line, and a server started by hand is used by its URL.
"""

from __future__ import annotations

import json
import shlex
from typing import ClassVar, Final

from services.inference.engines import checks
from services.inference.engines.base import Command, EngineRefusalError, Place, Serving
from services.inference.engines.environment import environment, model_of, revision_of
from services.inference.engines.flags import Flag, misplaced, tokens
from services.inference.planning.planner import Plan, contradictions, online_fp8
from services.inference.planning.presets import EngineName

OWN_OPTIONS: Final = {
    "host": "--host",
    "port": "--start-port",
    "device": "--gpu cpu",
    "dtype": "--dtype",
    "trust-remote-code": "--allow-remote-code",
    "chat-template-kwargs": "--thinking",
    "reasoning": "--thinking",
}


class TransformersEngine:
    """transformers serve."""

    name: ClassVar[EngineName] = "transformers"
    health_path: ClassVar[str] = "/health"
    takes_key: ClassVar[bool] = False
    image_templates: ClassVar[str | None] = None

    def command(self, plan: Plan, serving: Serving, place: Place) -> Command:
        """Raises EngineRefusalError: with every reason, or with the line to type."""
        checks.refuse("transformers serve", plan, _refusals(plan, serving, place))
        made = by_hand(plan, serving, place)
        words = [f"{name}={shlex.quote(value)}" for name, value in made.env.items()] + [shlex.join(made.argv)]
        raise EngineRefusalError(
            "transformers serve does not list at /v1/models what it serves, so that nobody could tell a server of ours by its "
            f"name. Start it yourself: {' '.join(words)}\nand use it by its URL: inference doctor "
            f"{_url(place)} --engine transformers --model {shlex.quote(made.argv[2])}"
        )


def by_hand(plan: Plan, serving: Serving, place: Place) -> Command:
    """`transformers serve`, as one would type it."""
    model = _pinned(plan, serving, place)
    flags: list[Flag] = [("--host", place.host), ("--port", str(place.port))]
    flags += [("--device", "cpu" if place.cpu else "auto")]
    flags += [("--dtype", plan.request.dtype or plan.request.preset.checkpoint.dtype)]
    flags += [("--default-seed", str(place.index + 1))]
    if serving.allow_remote_code:
        flags.append(("--trust-remote-code",))
    if serving.thinking is not None and plan.request.preset.template.thinking == "hybrid":
        switch = {plan.request.preset.template.thinking_key: serving.thinking}
        flags.append(("--chat-template-kwargs", json.dumps(switch, separators=(",", ":"))))
    return Command(
        argv=(place.program or "transformers", "serve", model, *tokens(flags, serving.engine_args)),
        env=environment(plan, serving, place),
    )


def _url(place: Place) -> str:
    host = f"[{place.host}]" if ":" in place.host else place.host
    return f"http://{host}:{place.port}"


def _pinned(plan: Plan, serving: Serving, place: Place) -> str:
    """The model with its revision, as the engine writes it."""
    model, revision = model_of(plan, place), revision_of(plan, serving, place)
    return model if revision is None else f"{model}@{revision}"


def _refusals(plan: Plan, serving: Serving, place: Place) -> list[str]:
    reasons = [
        *contradictions(plan.request),
        *checks.length_refusals(plan, serving),
        *checks.thinking_refusals(plan, serving, at_launch=True),
        *checks.argument_refusals(serving),
        *checks.key_refusals(place),
        *misplaced(serving.engine_args, OWN_OPTIONS),
    ]
    absent = {
        "--deterministic": serving.deterministic,
        "--lora": bool(serving.adapters),
        "--rope-scaling": serving.rope_scaling is not None,
        "--tool-call-parser": serving.tool_parser is not None,
        "--reasoning-parser": serving.reasoning_parser is not None,
        "--expert-parallel": plan.request.expert_parallel,
        "--quantization": online_fp8(plan.request),
        "--kv-cache-dtype": plan.request.kv_dtype != "auto",
    }
    reasons += [
        f"{option}: transformers serve has no such thing; take vLLM" for option, asked in absent.items() if asked
    ]
    if plan.tp > 1:
        reasons.append(f"--tp {plan.tp}: transformers serve does not share a model by tensors; take --tp 1, or vLLM")
    return reasons
