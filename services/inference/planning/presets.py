"""Facts about models, GPUs and engines: `config/models.yaml`, read and checked. No GPU count is ever typed in there.

The map `hosted` of the same file is read where prices are needed, by the judge's side.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.inference.failures import UsageError

EngineName = Literal["vllm", "trtllm", "sglang", "transformers", "reference"]
Quantisation = Literal["none", "fp8", "int4", "nvfp4", "mxfp4"]
KvDtype = Literal["auto", "bfloat16", "fp8"]
Thinking = Literal["none", "always", "hybrid"]
Count = Annotated[int, Field(ge=1)]
Capability = Annotated[str, Field(pattern=r"^(\d{1,2}\.\d)?$")]
"""Such as "9.0"; "" for a CPU."""


class _Facts(BaseModel):
    # Not use_attribute_docstrings: it reads this file again, and `inference plan` answers within 0.3 s.
    model_config = ConfigDict(frozen=True, extra="forbid")


class Params(_Facts):
    """Parameters of a model."""

    total: float = Field(gt=0)
    active: float = Field(gt=0)
    """Of a mixture of experts: those that work on one token."""


class Checkpoint(_Facts):
    """How the weights are stored."""

    dtype: str
    quant: Quantisation
    block: Count | None
    """Block size of the quantisation, where slices of a tensor must be multiples of it."""
    unquantised: float | None
    """Parameters kept in 16 bits; None: embeddings and head."""
    weights_gib: float | None
    """Published size; None: by arithmetic."""
    load_peak: float = Field(ge=1)
    """Most memory during loading, as a multiple of the weights."""


class Mla(_Facts):
    """Multi-head latent attention: one compressed vector a token instead of keys and values."""

    kv_lora: Count
    rope: Count
    layout: Literal["dense", "fp8_ds_mla"]
    indexer_bytes: int = Field(ge=0)
    """A token and layer, of a sparse index beside the cache."""

    @property
    def sparse(self) -> bool:
        """Needs kernels of newer GPUs."""
        return self.layout == "fp8_ds_mla"


class Shape(_Facts):
    """What memory arithmetic needs of the architecture."""

    layers: Count
    kv_layers: Count
    """Layers whose cache grows with the length."""
    heads: Count
    kv_heads: Count
    head_dim: Count
    hidden: Count
    vocab: Count
    ffn: Count
    """Width of one feed-forward network, of one expert in a mixture."""
    experts: Count | None
    mla: Mla | None


class Lengths(_Facts):
    """Tokens of prompt and answer together."""

    max_positions: Count
    """Hard limit."""
    native: Count
    default: Count
    rope_theta: float | None = None
    """Base of the rotary positions; None: unknown, and rope scaling is then refused, since it must be written anew."""


class Parsers(_Facts):
    """Names of an engine's parsers; None: the engine has none for this model, or none is needed."""

    tools: str | None
    reasoning: str | None


class Template(_Facts):
    """The chat template."""

    file: str | None
    """Of the engine's image; None: the checkpoint's own."""
    thinking: Thinking
    thinking_key: str | None
    """Template variable that switches thinking."""


class Needs(_Facts):
    """GPUs it runs on, by compute capability."""

    cc_min: Capability
    cc_majors: tuple[int, ...] | None
    """Only these generations; None: any from `cc_min` on."""


class Preset(_Facts):
    """One checkpoint that can be served."""

    key: str
    """Name in the file; a local checkpoint's folder name."""
    id: str
    """Hub id, or a local directory."""
    revision: str | None
    """Commit; None: resolved at launch and recorded."""
    family: str
    """Checkpoints of one model share it."""
    params: Params
    checkpoint: Checkpoint
    shape: Shape
    lengths: Lengths
    parsers: dict[EngineName, Parsers]
    template: Template
    needs: Needs
    license: str
    notes: str = ""
    aliases: tuple[str, ...] = ()
    """Keys of the guides that mean this row."""
    verify: tuple[str, ...] | bool = False
    """Fields nobody has confirmed; True: the whole row."""


class Hardware(_Facts):
    """One kind of GPU."""

    key: str
    gib: float = Field(gt=0)
    """Usable memory of one GPU, GiB."""
    cc: Capability
    """Compute capability."""
    per_node: Count
    aliases: tuple[str, ...] = ()
    notes: str = ""
    verify: bool = False

    @property
    def capability(self) -> tuple[int, int]:
        """The compute capability as numbers; (0, 0) for a CPU."""
        major, _, minor = self.cc.partition(".")
        return (int(major or 0), int(minor or 0))


class EngineRelease(_Facts):
    """The release of an engine that command lines and parser names were checked against."""

    version: str
    image: str
    """Pinned by tag; the digest is recorded at launch."""
    verify: bool = False


class Catalogue(_Facts):
    """The whole file."""

    models: dict[str, Preset]
    hosted: dict[str, object]
    """Models that are paid by the token; checked by their reader."""
    hardware: dict[str, Hardware]
    engines: dict[EngineName, EngineRelease]

    @model_validator(mode="after")
    def _a_name_means_one_row(self) -> Self:
        for names in (
            [name for row in self.models.values() for name in {row.key, row.id, *row.aliases}],
            [name for row in self.hardware.values() for name in {row.key, *row.aliases}],
        ):
            known = [name.casefold() for name in names]
            if twice := sorted({name for name in known if known.count(name) > 1}):
                raise ValueError(f"two rows are called {', '.join(twice)}")
        return self

    def preset(self, name: str) -> Preset:
        """The row of this key, alias or hub id. Raises UsageError with the nearest keys."""
        wanted = name.casefold()
        for preset in self.models.values():
            if wanted in map(str.casefold, (preset.key, preset.id, *preset.aliases)):
                return preset
        raise UsageError(f"unknown model {name!r}{_nearest(wanted, _names(self.models.values()))}")

    def gpu(self, name: str) -> Hardware:
        """The row of this key or alias. Raises UsageError with the nearest keys."""
        wanted = name.casefold()
        for row in self.hardware.values():
            if wanted in map(str.casefold, (row.key, *row.aliases)):
                return row
        raise UsageError(f"unknown kind of GPU {name!r}{_nearest(wanted, _names(self.hardware.values()))}")

    def relatives(self, preset: Preset) -> tuple[Preset, ...]:
        """Other checkpoints of the same model, in the order of the file."""
        return tuple(row for row in self.models.values() if row.family == preset.family and row.key != preset.key)


REFERENCE: Final = Preset(
    key="reference",
    id="reference",
    revision=None,
    family="reference",
    params=Params(total=1, active=1),
    checkpoint=Checkpoint(dtype="none", quant="none", block=None, unquantised=0, weights_gib=None, load_peak=1.0),
    shape=Shape(
        layers=1, kv_layers=1, heads=1, kv_heads=1, head_dim=1, hidden=1, vocab=1, ffn=1, experts=None, mla=None
    ),
    lengths=Lengths(max_positions=1_048_576, native=32_768, default=32_768),
    parsers={"reference": Parsers(tools="built in", reasoning=None)},
    template=Template(file=None, thinking="none", thinking_key=None),
    needs=Needs(cc_min="", cc_majors=None),
    license="Apache-2.0",
    notes="The reference engine, a program without a language model.",
)
"""Stands where a preset is expected when the reference engine is served."""


def catalogue_path() -> Path:
    """`$ASSAY_CONFIG_DIR/models.yaml`, else that of the checkout or the image."""
    configured = os.environ.get("ASSAY_CONFIG_DIR")
    folder = Path(configured) if configured else Path(__file__).resolve().parents[3] / "config"
    return folder / "models.yaml"


@lru_cache(maxsize=4)
def catalogue(path: Path | None = None) -> Catalogue:
    """The file, checked. Raises UsageError naming file, row and field."""
    path = catalogue_path() if path is None else path
    try:
        read = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        return Catalogue.model_validate(_keyed(read))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; ASSAY_CONFIG_DIR names the folder of models.yaml") from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UsageError(f"{path}: {faults}") from None
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: {error}") from None


def with_parsers(preset: Preset, engine: EngineName, *, tools: str | None, reasoning: str | None) -> Preset:
    """The preset with parsers that somebody named; None keeps its own."""
    if tools is None and reasoning is None:
        return preset
    own = preset.parsers.get(engine, Parsers(tools=None, reasoning=None))
    named = Parsers(tools=tools or own.tools, reasoning=reasoning or own.reasoning)
    return preset.model_copy(update={"parsers": {**preset.parsers, engine: named}})


def _keyed(read: Any) -> Any:
    """The file's content with each row's key in it, so that a row knows its name."""
    if not isinstance(read, dict):
        return read
    rows = {name: read[name] for name in ("models", "hardware") if isinstance(read.get(name), dict)}
    return {**read, **{name: {key: _row(key, row) for key, row in found.items()} for name, found in rows.items()}}


def _row(key: object, row: object) -> object:
    """The row with its key; a row that is none, or names a key itself, is left for the model to refuse."""
    return {**row, "key": {"from_row": row["key"]} if "key" in row else key} if isinstance(row, Mapping) else row


def _names(rows: Iterable[Preset | Hardware]) -> list[str]:
    return [name for row in rows for name in (row.key, *row.aliases)]


def _nearest(wanted: str, names: list[str]) -> str:
    near = difflib.get_close_matches(wanted, [name.casefold() for name in names], n=3, cutoff=0.4)
    return f"; nearest: {', '.join(near)}" if near else f"; known: {', '.join(names)}"
