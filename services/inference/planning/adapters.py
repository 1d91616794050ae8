"""LoRA adapters: `--lora NAME=DIR`, served as models of their own beside the base model.

Read before the launch, so that a wrong base model or a rank that no engine holds costs no loading time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.inference.engines.base import Adapter
from services.inference.failures import UsageError
from services.inference.planning.presets import Preset

RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)
"""What engines can be built for; an adapter takes the next one."""
WEIGHTS: Final = ("adapter_model.safetensors", "adapter_model.bin")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class AdapterConfig(BaseModel):
    """What is read of PEFT's `adapter_config.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    peft_type: str
    base_model_name_or_path: str | None = None
    r: int = Field(ge=1)
    rank_pattern: dict[str, int] = Field(default_factory=dict)
    """Modules with a rank of their own."""
    use_dora: bool = False
    modules_to_save: list[str] | None = None
    bias: str = "none"


def adapters(texts: Iterable[str], preset: Preset) -> tuple[Adapter, ...]:
    """The adapters that `--lora` names, for this base model.

    Raises UsageError with the adapter and the remedy: no `NAME=DIR`, a name twice, a folder without an adapter, another base
    model, a rank above 512, or a kind that engines do not serve.
    """
    found = [adapter(text, preset) for text in texts]
    names = [one.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"--lora: {', '.join(twice)} is named twice; each adapter is a model with a name of its own")
    return tuple(found)


def adapter(text: str, preset: Preset) -> Adapter:
    """One adapter, as `adapters` reads it."""
    name, _, folder = text.partition("=")
    if not _NAME.fullmatch(name) or not folder:
        raise UsageError(f"--lora: expected NAME=DIR with a name of letters, digits, dots and hyphens, got {text!r}")
    if name in {preset.key, preset.id}:
        raise UsageError(f"--lora {name}: that is the name of the base model; choose another")
    path = Path(folder).expanduser().absolute()
    config = _config(name, path)
    _check_kind(name, config)
    _check_base(name, config, preset)
    return Adapter(name=name, path=path, rank=_rank(name, config), gib=_size_bytes(name, path) / 2**30)


def _config(name: str, path: Path) -> AdapterConfig:
    file = path / "adapter_config.json"
    try:
        return AdapterConfig.model_validate_json(file.read_bytes())
    except OSError as error:
        raise UsageError(
            f"--lora {name}: cannot read {file}: {error.strerror}; DIR is the folder PEFT saved"
        ) from error
    except ValidationError as error:
        faults = "; ".join(": ".join([*map(str, one["loc"]), one["msg"]]) for one in error.errors())
        raise UsageError(f"--lora {name}: {file}: {faults}") from error


def _check_kind(name: str, config: AdapterConfig) -> None:
    if config.peft_type.upper() != "LORA":
        raise UsageError(f"--lora {name}: engines serve LoRA adapters, this one is {config.peft_type}")
    unserved = {
        "DoRA (use_dora)": config.use_dora,
        f"whole modules beside the adapter (modules_to_save: {config.modules_to_save})": bool(config.modules_to_save),
        f"biases (bias: {config.bias})": config.bias != "none",
    }
    if kinds := [kind for kind, present in unserved.items() if present]:
        raise UsageError(
            f"--lora {name}: engines do not serve {' or '.join(kinds)}; merge it into the base model and serve that folder"
        )


def _check_base(name: str, config: AdapterConfig, preset: Preset) -> None:
    """A quantised checkpoint of the model takes the adapter of the 16-bit one: they share a family."""
    base = (config.base_model_name_or_path or "").rstrip("/")
    if not base:
        raise UsageError(f"--lora {name}: its adapter_config.json names no base model; write base_model_name_or_path")
    known = {_last(preset.id), preset.key.casefold(), preset.family.casefold()}
    if _last(base) not in known:
        raise UsageError(f"--lora {name}: it was trained on {base}, not on {preset.id}; serve that model with it")


def _last(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2].casefold()


def _rank(name: str, config: AdapterConfig) -> int:
    highest = max(config.r, *config.rank_pattern.values()) if config.rank_pattern else config.r
    rank = next((rank for rank in RANKS if rank >= highest), None)
    if rank is None:
        raise UsageError(f"--lora {name}: rank {highest} is above {RANKS[-1]}, the most an engine holds; merge it")
    return rank


def _size_bytes(name: str, path: Path) -> int:
    sizes = [(path / file).stat().st_size for file in WEIGHTS if (path / file).is_file()]
    if not sizes:
        raise UsageError(f"--lora {name}: no weights in {path}: expected {' or '.join(WEIGHTS)}")
    return sizes[0]


def total_gib(found: Sequence[Adapter]) -> float:
    """What they add to the weights that are planned."""
    return sum(one.gib for one in found)
