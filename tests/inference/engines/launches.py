"""Plans, servings and places of the tests: presets from config/models.yaml, one place in a container, one here."""

from __future__ import annotations

from typing import Any

from services.inference.engines.base import Command, Place, Serving
from services.inference.engines.registry import engine
from services.inference.planning.planner import Plan, Request, judged
from services.inference.planning.presets import EngineName, Preset, catalogue

FOLDERS = {"vllm": "/vllm-workspace/examples", "sglang": "/sgl-workspace/sglang/examples/chat_template"}


def preset(name: str) -> Preset:
    return catalogue().preset(name)


def planned(
    name: str,
    engine_name: EngineName = "vllm",
    *,
    gpu: str = "h100-80",
    tp: int = 1,
    length: int = 32_768,
    **asked: Any,
) -> Plan:
    found = asked.pop("preset", None) or preset(name)
    kind = catalogue().gpu(gpu)
    return judged(
        Request(
            preset=found,
            gpu=kind,
            count=asked.pop("count", tp),
            tp=tp,
            max_model_len=length,
            engine=engine_name,
            **asked,
        )
    )


def serving(name: str, **asked: Any) -> Serving:
    return Serving(**{"served_name": name, "revision": "REV", **asked})


def here(**asked: Any) -> Place:
    return Place(**{"index": 0, "host": "127.0.0.1", "port": 8000, **asked})


def container(engine_name: EngineName, name: str, **asked: Any) -> Place:
    """As compose has it: all addresses, the templates of the image, for TensorRT-LLM a folder called like the model."""
    weights = f"/models/{name}" if engine_name == "trtllm" else None
    return here(**{"host": "0.0.0.0", "weights": weights, "templates": FOLDERS.get(engine_name), **asked})


def command(plan: Plan, serving: Serving, place: Place) -> Command:
    return engine(plan.request.engine).command(plan, serving, place)


def value_of(words: tuple[str, ...], flag: str) -> str | None:
    """The word after this flag; None when the flag is not there."""
    return words[words.index(flag) + 1] if flag in words else None
