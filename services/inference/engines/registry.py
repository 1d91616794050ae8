"""The engines by name. A new engine is one module and one line here."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from services.inference.engines.base import Engine
from services.inference.planning.presets import EngineName

_MODULES: Final[dict[EngineName, str]] = {
    "vllm": "VllmEngine",
    "trtllm": "TrtllmEngine",
    "sglang": "SglangEngine",
    "transformers": "TransformersEngine",
    "reference": "ReferenceEngine",
}


def engine(name: EngineName) -> Engine:
    """The engine of this name."""
    found: Engine = getattr(import_module(f"services.inference.engines.{name}"), _MODULES[name])()
    return found
