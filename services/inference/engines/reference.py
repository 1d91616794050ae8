"""The reference engine as an engine: `inference up reference`, in the foreground, from the same installation as this program."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar, Final

from services.inference.engines import checks
from services.inference.engines.base import Command, Place, Serving
from services.inference.engines.flags import Flag, misplaced, tokens
from services.inference.planning.planner import Memory, Plan, Request
from services.inference.planning.presets import REFERENCE, EngineName, Hardware

OWN_OPTIONS: Final = {"host": "--host", "port": "--start-port", "max-model-len": "--max-model-len"}
CPU: Final = Hardware(key="cpu", gib=1.0, cc="", per_node=1024, notes="What the reference engine runs on.")
MEMORY: Final = Memory(
    weights_gib=0.0, ceiling_gib=1.0, kv_gib_high_overhead=1.0, kv_gib_low_overhead=1.0, sequence_gib=2**-20
)


def reference_plan(*, max_model_len: int | None = None, servers: int = 1) -> Plan:
    """A plan without arithmetic: the engine has no weights, so any number of servers fits on any machine."""
    length = max_model_len or REFERENCE.lengths.default
    request = Request(preset=REFERENCE, gpu=CPU, count=servers, tp=1, max_model_len=length, engine="reference")
    return Plan(
        request=request,
        tp=1,
        max_model_len=length,
        verdict="fit",
        reasons=(),
        notes=("a program without a language model: its answers say nothing about models",),
        memory=MEMORY,
        valid_tps=(1,),
        replicas=servers,
    )


class ReferenceEngine:
    """The reference engine."""

    name: ClassVar[EngineName] = "reference"
    health_path: ClassVar[str] = "/health"
    takes_key: ClassVar[bool] = False
    image_templates: ClassVar[str | None] = None

    def command(self, plan: Plan, serving: Serving, place: Place) -> Command:
        """`inference up reference`; engine arguments are its other options. Raises EngineRefusalError with every reason."""
        checks.refuse("the reference engine", plan, _refusals(plan, serving, place))
        program = place.program or str(Path(sys.executable).with_name("inference"))
        flags: list[Flag] = [("--host", place.host), ("--port", str(place.port))]
        flags.append(("--max-model-len", str(plan.max_model_len)))
        return Command(argv=(program, "up", "reference", *tokens(flags, serving.engine_args)), env={})


def _refusals(plan: Plan, serving: Serving, place: Place) -> list[str]:
    name = plan.request.preset.key
    absent = {
        "--model-name": serving.served_name != name,
        "--thinking": serving.thinking is not None,
        "--lora": bool(serving.adapters),
        "--rope-scaling": serving.rope_scaling is not None,
        "--tool-call-parser": serving.tool_parser is not None,
        "--reasoning-parser": serving.reasoning_parser is not None,
        "--allow-remote-code": serving.allow_remote_code,
    }
    if name != REFERENCE.key:
        return [f"it has no model, so that it cannot serve {name}: inference up {REFERENCE.key}"]
    reasons = [f"{option}: it has no model, and is called {name!r}" for option, asked in absent.items() if asked]
    return [*reasons, *checks.key_refusals(place), *misplaced(serving.engine_args, OWN_OPTIONS)]
