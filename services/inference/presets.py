"""Facts about models, GPUs and engines: `config/models.yaml`, read and checked. No GPU count is ever typed in there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

EngineName = Literal["vllm", "trtllm", "sglang", "transformers", "reference"]
Quantisation = Literal["none", "fp8", "int4", "nvfp4", "mxfp4"]
KvDtype = Literal["auto", "bfloat16", "fp8"]
Thinking = Literal["none", "always", "hybrid"]
Count = Annotated[int, Field(ge=1)]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


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

    cc_min: str
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
    cc: str
    """Compute capability, such as "9.0"; "" for a CPU."""
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
    hardware: dict[str, Hardware]
    engines: dict[EngineName, EngineRelease]
