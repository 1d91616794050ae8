"""How a plan is printed: text for people, one JSON object for programs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from services.inference.engines.flags import fraction
from services.inference.planning.planner import Alternative, Plan
from services.inference.planning.presets import EngineName

NAMES: Final[dict[EngineName, str]] = {
    "vllm": "vLLM",
    "trtllm": "TensorRT-LLM",
    "sglang": "SGLang",
    "transformers": "transformers serve",
    "reference": "reference engine",
}
_WIDTH: Final = 110
_TIMES: Final = "\N{MULTIPLICATION SIGN}"


def as_text(plan: Plan, *, command: Sequence[str] | None = None, refusal: str | None = None) -> str:
    """Verdict, arithmetic, reasons, proposals, notes and the command line."""
    lines = [f"{headline(plan):<{_WIDTH}}{plan.verdict.upper()}", f"  {_arithmetic(plan)}", f"  {_cuts(plan)}"]
    lines += [f"  {reason}" for reason in plan.reasons]
    lines += _proposals(plan)
    lines += [f"  note: {note}" for note in plan.notes]
    if command is not None:
        lines.append(f"  {shlex.join(command)}")
    if refusal is not None:
        lines.append(f"  {NAMES[plan.request.engine]} cannot be started like this: {refusal}")
    return "\n".join(lines)


def headline(plan: Plan) -> str:
    """What was planned, in one line."""
    asked = plan.request
    return (
        f"{asked.preset.key} on {asked.count} {_TIMES} {asked.gpu.key}, TP {plan.tp}, {plan.max_model_len} tokens, "
        f"{NAMES[asked.engine]}, utilisation {fraction(asked.utilization)}"
    )


def proposal(found: Alternative, *, within: Plan) -> str:
    """An alternative in a few words; what it shares with the plan is left out."""
    name = "" if found.preset is within.request.preset else f"{found.preset.key} "
    same = (found.gpu.key, found.count) == (within.request.gpu.key, within.request.count)
    where = "" if same else f"{found.count} {_TIMES} {found.gpu.key} "
    tokens = "" if found.max_model_len == within.max_model_len else f", {found.max_model_len} tokens"
    servers = found.count // found.tp
    replicas = f", {servers} replicas" if same and servers > 1 else ""
    note = f" ({found.note})" if found.note else ""
    return f"{name}{where}TP {found.tp}{tokens}{replicas}{note}"


def plan_record(plan: Plan, *, command: Sequence[str] | None = None, refusal: str | None = None) -> str:
    """The plan as one JSON object; memory in GiB of one GPU."""
    return json.dumps(record(plan) | {"command": list(command) if command else None, "refusal": refusal}, indent=2)


def record(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values."""
    asked, memory = plan.request, plan.memory
    return {
        "model": asked.preset.key,
        "id": asked.preset.id,
        "gpu": asked.gpu.key,
        "count": asked.count,
        "tp": plan.tp,
        "max_model_len": plan.max_model_len,
        "engine": asked.engine,
        "utilization": asked.utilization,
        "verdict": plan.verdict,
        "reasons": list(plan.reasons),
        "notes": list(plan.notes),
        "memory": {
            "weights_gib": round(memory.weights_gib, 2),
            "ceiling_gib": round(memory.ceiling_gib, 2),
            "kv_gib": [round(memory.kv_gib_high_overhead, 2), round(memory.kv_gib_low_overhead, 2)],
            "sequence_gib": round(memory.sequence_gib, 4),
            "sequences": [round(memory.sequences_high_overhead, 2), round(memory.sequences_low_overhead, 2)],
        },
        "valid_tps": list(plan.valid_tps),
        "replicas": plan.replicas,
        "same_model": _alternative(plan.same_model),
        "same_gpus": _alternative(plan.same_gpus),
    }


def overview(plans: Sequence[Plan]) -> str:
    """Presets by kinds of GPU: the fewest GPUs of a server that fit, in brackets if tight, `-` if none of a node do."""
    kinds = list(dict.fromkeys(plan.request.gpu.key for plan in plans))
    models = dict.fromkeys(plan.request.preset.key for plan in plans)
    cells = {(plan.request.preset.key, plan.request.gpu.key): _cell(plan) for plan in plans}
    width = max(len(model) for model in models)
    header = " " * width + "".join(f"  {kind:>10}" for kind in kinds)
    rows = [f"{model:<{width}}" + "".join(f"  {cells[model, kind]:>10}" for kind in kinds) for model in models]
    return "\n".join([header, *rows, "", "GPUs of one server at the preset's length; (n): tight; -: not on one node"])


def overview_record(plans: Iterable[Plan]) -> str:
    """The same as a JSON array."""
    return json.dumps([record(plan) for plan in plans], indent=2)


def _cell(plan: Plan) -> str:
    return {"fit": f"{plan.tp}", "tight": f"({plan.tp})", "impossible": "-"}[plan.verdict]


def _arithmetic(plan: Plan) -> str:
    memory = plan.memory
    return (
        f"weights {memory.weights_gib:.1f} GiB · ceiling {memory.ceiling_gib:.1f} · left for KV "
        f"{memory.kv_gib_high_overhead:.1f} to {memory.kv_gib_low_overhead:.1f} · one full sequence {memory.sequence_gib:.1f} · "
        f"full sequences {max(0.0, memory.sequences_high_overhead):.1f} to {max(0.0, memory.sequences_low_overhead):.1f}"
    )


def _cuts(plan: Plan) -> str:
    cuts = ", ".join(map(str, plan.valid_tps)) or "none"
    return f"valid TP: {cuts} · {plan.replicas} replica{'' if plan.replicas == 1 else 's'}"


def _proposals(plan: Plan) -> Iterator[str]:
    if plan.verdict == "fit":
        return
    same_model = proposal(plan.same_model, within=plan) if plan.same_model else "none"
    same_gpus = proposal(plan.same_gpus, within=plan) if plan.same_gpus else "none"
    yield f"  same model: {same_model}     same GPUs: {same_gpus}"


def _alternative(found: Alternative | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "model": found.preset.key,
        "gpu": found.gpu.key,
        "count": found.count,
        "tp": found.tp,
        "max_model_len": found.max_model_len,
        "note": found.note,
    }
