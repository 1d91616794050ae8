"""A model without a row: a local directory, planned from its own `config.json` and the sizes of its files.

Nothing is guessed: an architecture whose memory we cannot count is refused, and parsers come from the row of the same model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from services.inference.failures import UsageError
from services.inference.planning.planner import BYTES_PER_PARAMETER
from services.inference.planning.presets import (
    REFERENCE,
    Catalogue,
    Checkpoint,
    Lengths,
    Mla,
    Needs,
    Params,
    Preset,
    Quantisation,
    Shape,
    Template,
)

ARCHITECTURES: Final = frozenset(
    {
        *("qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "llama", "mistral", "mixtral", "starcoder2", "gpt_bigcode"),
        *("deepseek_v2", "deepseek_v3", "deepseek_v32", "gpt_oss"),
    }
)
"""`model_type` of those whose memory we can count. CodeLlama, deepseek-coder and SmolLM2 are `llama`."""
DEFAULT_LENGTH: Final = 32_768
_THINKING_KEY: Final = "enable_thinking"
_INDEXER_BYTES: Final = 132  # 128 of a key in 8 bits and its scale


def found(model: str, known: Catalogue, *, family: str | None = None) -> Preset:
    """The preset of a key, an alias, a hub id of a row, or a directory.

    `family` names the row whose parsers and template a directory takes. Raises UsageError with the nearest keys, or with what
    is wrong with the directory.
    """
    if model == REFERENCE.key:
        return REFERENCE
    folder = Path(model).expanduser()
    is_key = model in known.models
    if not is_key and folder.is_dir():
        return read(folder, known, family=family)
    if family is not None:
        raise UsageError(f"--family is for a local directory, {model!r} is none")
    if not is_key and (folder.is_file() or model.startswith((".", "/", "~"))):
        what = "is a file" if folder.is_file() else "does not exist"
        raise UsageError(f"{model} {what}; expected a directory with config.json and safetensors files, or a preset")
    return known.preset(model)


def read(folder: Path, known: Catalogue, *, family: str | None = None) -> Preset:
    """The preset of a checkpoint in a directory. Raises UsageError."""
    config = _json(folder / "config.json", of=folder)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise UsageError(
            f"{folder}: the memory of architecture {kind!r} cannot be counted, only that of {', '.join(sorted(ARCHITECTURES))}; "
            "start its server yourself and use it by its URL"
        )
    try:
        shape = _shape(config)
        checkpoint = _checkpoint(folder, config)
        return _preset(folder, config, shape=shape, checkpoint=checkpoint, row=_row(folder, shape, known, family))
    except KeyError as error:
        raise UsageError(f"{folder}/config.json: {error.args[0]} is missing") from None
    except (ValidationError, TypeError, ValueError, AttributeError, ArithmeticError) as error:  # it holds anything
        raise UsageError(f"{folder}/config.json is not as that of a {kind} model: {error}") from None


def _preset(
    folder: Path, config: Mapping[str, Any], *, shape: Shape, checkpoint: Checkpoint, row: Preset | None
) -> Preset:
    weights = checkpoint.weights_gib or 0.0
    total = max(1.0, weights * 2**30 / BYTES_PER_PARAMETER[checkpoint.quant])
    sparse = shape.mla is not None and shape.mla.sparse
    return Preset(
        key=folder.resolve().name,
        id=str(folder.resolve()),
        revision=None,
        family=row.family if row else folder.resolve().name,
        params=Params(total=total, active=total),
        checkpoint=checkpoint,
        shape=shape,
        lengths=_lengths(config),
        parsers=row.parsers if row else {},
        template=row.template if row else _template(folder),
        needs=Needs(cc_min="8.0", cc_majors=(9, 10, 12) if sparse else None),
        license=row.license if row else "unknown",
    )


def _row(folder: Path, shape: Shape, known: Catalogue, family: str | None) -> Preset | None:
    """The row of the same model: named by a flag, or with the same name and the very same shape."""
    if family is not None:
        named = [row for row in known.models.values() if row.family == family]
        return named[0] if named else known.preset(family)
    name = folder.resolve().name.casefold()
    for row in known.models.values():
        if name == row.id.rpartition("/")[2].casefold() and row.shape == shape:
            return row
    return None


def _shape(config: Mapping[str, Any]) -> Shape:
    if config["model_type"] == "gpt_bigcode":
        return _bigcode_shape(config)
    layers, heads, hidden = config["num_hidden_layers"], config["num_attention_heads"], config["hidden_size"]
    experts = next(
        (config[name] for name in ("num_experts", "num_local_experts", "n_routed_experts") if name in config), None
    )
    ffn = config.get("moe_intermediate_size") if experts else None
    kinds = config.get("layer_types") or ["full_attention"] * layers
    return Shape(
        layers=layers,
        kv_layers=max(1, sum(kind != "sliding_attention" for kind in kinds)),
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config.get("v_head_dim") or hidden // heads,
        hidden=hidden,
        vocab=config["vocab_size"],
        ffn=ffn or config["intermediate_size"],
        experts=experts,
        mla=_mla(config),
    )


def _bigcode_shape(config: Mapping[str, Any]) -> Shape:
    heads, hidden = config["n_head"], config["n_embd"]
    return Shape(
        layers=config["n_layer"],
        kv_layers=config["n_layer"],
        heads=heads,
        kv_heads=1 if config.get("multi_query", True) else heads,
        head_dim=hidden // heads,
        hidden=hidden,
        vocab=config["vocab_size"],
        ffn=config.get("n_inner") or 4 * hidden,
        experts=None,
        mla=None,
    )


def _mla(config: Mapping[str, Any]) -> Mla | None:
    if not config["model_type"].startswith("deepseek"):
        return None
    sparse = "index_topk" in config
    return Mla(
        kv_lora=config["kv_lora_rank"],
        rope=config["qk_rope_head_dim"],
        layout="fp8_ds_mla" if sparse else "dense",
        indexer_bytes=_INDEXER_BYTES if sparse else 0,
    )


def _lengths(config: Mapping[str, Any]) -> Lengths:
    most = config.get("max_position_embeddings") or config["n_positions"]
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    native = rope.get("original_max_position_embeddings") or most
    theta = config.get("rope_theta") or rope.get("rope_theta")
    return Lengths(max_positions=most, native=native, default=min(most, DEFAULT_LENGTH), rope_theta=theta)


def _template(folder: Path) -> Template:
    """Whether it thinks, by the checkpoint's own chat template, which has a variable for it or opens the block itself."""
    text = _template_text(folder)
    if _THINKING_KEY in text:
        return Template(file=None, thinking="hybrid", thinking_key=_THINKING_KEY)
    return Template(file=None, thinking="always" if "<think>" in text else "none", thinking_key=None)


def _template_text(folder: Path) -> str:
    own, beside = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if own.is_file():
        return own.read_text(encoding="utf-8", errors="replace")
    return json.dumps(_json(beside, of=folder).get("chat_template", "")) if beside.is_file() else ""


def _checkpoint(folder: Path, config: Mapping[str, Any]) -> Checkpoint:
    quant, block = _quantisation(folder, config)
    dtype = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    size = _weights_bytes(folder)
    if dtype == "float32" and quant == "none":  # engines load such files in 16 bits
        dtype, size = "bfloat16", size // 2
    return Checkpoint(dtype=dtype, quant=quant, block=block, unquantised=None, weights_gib=size / 2**30, load_peak=1.0)


def _quantisation(folder: Path, config: Mapping[str, Any]) -> tuple[Quantisation, int | None]:
    stated = config.get("quantization_config") or config.get("compression_config")
    beside = folder / "hf_quant_config.json"
    if not stated and beside.is_file():
        stated = {"quant_method": "modelopt", **_json(beside, of=folder).get("quantization", {})}
    if not stated:
        return "none", None
    found = _stated(stated)
    if found is None:
        raise UsageError(f"{folder}: the memory of this quantisation cannot be counted: {json.dumps(stated)[:300]}")
    block = stated.get("weight_block_size")
    return found, block[0] if found == "fp8" and block else None


def _stated(stated: Mapping[str, Any]) -> Quantisation | None:
    """What `quantization_config` says; None where we cannot read it."""
    method = str(stated.get("quant_method", "")).lower()
    detail = f"{stated.get('quant_algo', '')} {stated.get('format', '')}".lower()
    if method in {"awq", "gptq"}:
        return "int4" if stated.get("bits", stated.get("w_bit")) == 4 else None
    if method in {"fp8", "mxfp4"}:
        return "fp8" if method == "fp8" else "mxfp4"
    if method.startswith(("modelopt", "compressed-tensors")):
        if "nvfp4" in detail:
            return "nvfp4"
        if "fp8" in detail or "float-quantized" in detail:
            return "fp8"
        return "int4" if _weight_bits(stated) == {4} else None
    return None


def _weight_bits(stated: Mapping[str, Any]) -> set[int]:
    groups = stated.get("config_groups") or {}
    return {group.get("weights", {}).get("num_bits") for group in groups.values()}


def _weights_bytes(folder: Path) -> int:
    """Size of the files that hold the weights. Raises UsageError when there are none, or some are missing."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = _named(_json(index, of=folder).get("weight_map"), index)
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise UsageError(
                f"{folder}: {len(missing)} of {len(names)} files of its index are missing: {', '.join(missing[:3])}"
            )
        return sum((folder / name).stat().st_size for name in names)
    files = list(folder.glob("*.safetensors")) or list(folder.glob("pytorch_model*.bin"))
    if not files:
        raise UsageError(f"{folder} is no checkpoint: it holds no safetensors files")
    return sum(file.stat().st_size for file in files)


def _named(weight_map: object, index: Path) -> list[str]:
    """Files of an index; each lies beside it."""
    named = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if not named or not all(isinstance(name, str) and Path(name).name == name and "\0" not in name for name in named):
        raise UsageError(f"{index}: weight_map does not name files of this folder")
    return sorted({str(name) for name in named})


def _json(path: Path, *, of: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{of} is no checkpoint: it holds no {path.name}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no object")
    return content
