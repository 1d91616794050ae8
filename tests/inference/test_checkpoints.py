"""Models without a row: directories with a config and weights, planned by what they hold."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.inference.engines.rope import stretched
from services.inference.failures import UsageError
from services.inference.planning.checkpoints import ARCHITECTURES, found
from services.inference.planning.presets import Lengths, Mla, Preset, Shape, catalogue

KNOWN = catalogue()
QWEN3 = {
    "model_type": "qwen3",
    "hidden_size": 4096,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12288,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "torch_dtype": "bfloat16",
}
MLA = {"kv_lora_rank": 512, "qk_rope_head_dim": 64}
OPTIONAL = (
    "rope_scaling",
    "rope_theta",
    "quantization_config",
    "layer_types",
    "num_experts",
    "num_key_value_heads",
    "dtype",
)
HOSTILE_KEYS = ("quant_method", "bits", "format", "config_groups", "weights", "weight_block_size", "rope_theta")
LLAMA = QWEN3 | {"model_type": "llama", "head_dim": None, "max_position_embeddings": 16384}


def checkpoint(
    folder: Path, config: dict[str, Any], *, name: str = "mine", files: dict[str, int] | None = None
) -> Path:
    """A directory with this config and weights files of these sizes, which take no space."""
    place = folder / name
    place.mkdir()
    (place / "config.json").write_text(json.dumps(config))
    for file, size in (files or {"model.safetensors": 1000}).items():
        with (place / file).open("wb") as made:
            made.truncate(size)
    return place


def preset(folder: Path, config: dict[str, Any], **changed: Any) -> Preset:
    return found(str(checkpoint(folder, config, **changed)), KNOWN)


def test_a_checkpoint_is_planned_from_its_config_and_the_size_of_its_files(tmp_path: Path) -> None:
    files = {"a.safetensors": 3 * 2**30, "b.safetensors": 2**30}
    place = checkpoint(tmp_path, QWEN3, name="tuned", files=files)
    weights = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors", "z": "a.safetensors"}}
    (place / "model.safetensors.index.json").write_text(json.dumps(weights))

    read = found(str(place), KNOWN)

    assert (read.key, read.id, read.checkpoint.weights_gib) == ("tuned", str(place), 4.0)
    assert read.shape == KNOWN.models["orchestrator-8b"].shape
    assert read.lengths == Lengths(max_positions=40960, native=40960, default=32768)
    assert (read.parsers, read.needs.cc_min) == ({}, "8.0")


def test_files_in_32_bits_are_loaded_in_16(tmp_path: Path) -> None:
    read = preset(tmp_path, QWEN3 | {"torch_dtype": "float32"}, files={"model.safetensors": 2**31})

    assert (read.checkpoint.dtype, read.checkpoint.weights_gib) == ("bfloat16", 1.0)


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (
            LLAMA | {"num_key_value_heads": None},
            {"kv_heads": 32, "head_dim": 128, "ffn": 12288, "experts": None, "kv_layers": 36},
        ),
        (LLAMA | {"model_type": "starcoder2", "num_key_value_heads": 4}, {"kv_heads": 4, "head_dim": 128}),
        (LLAMA | {"model_type": "mixtral", "num_local_experts": 8}, {"experts": 8, "ffn": 12288}),
        (
            QWEN3 | {"model_type": "qwen3_moe", "num_experts": 128, "moe_intermediate_size": 768},
            {"experts": 128, "ffn": 768},
        ),
        (
            LLAMA
            | {
                "model_type": "gpt_oss",
                "num_local_experts": 32,
                "num_hidden_layers": 4,
                "layer_types": ["sliding_attention", "full_attention"] * 2,
            },
            {"layers": 4, "kv_layers": 2, "experts": 32, "ffn": 12288},
        ),
        (
            {
                "model_type": "gpt_bigcode",
                "n_layer": 40,
                "n_head": 48,
                "n_embd": 6144,
                "n_inner": 24576,
                "n_positions": 8192,
                "vocab_size": 49153,
                "torch_dtype": "float16",
            },
            {"layers": 40, "heads": 48, "kv_heads": 1, "head_dim": 128, "ffn": 24576},
        ),
    ],
    ids=["CodeLlama", "StarCoder2", "Mixtral", "Qwen3 MoE", "gpt-oss", "WizardCoder"],
)
def test_the_shape_is_read_for_each_architecture(tmp_path: Path, config: dict[str, Any], shape: dict[str, Any]) -> None:
    read = preset(tmp_path, config).shape

    assert {name: getattr(read, name) for name in shape} == shape


@pytest.mark.parametrize(
    ("extra", "mla", "majors"),
    [
        ({}, Mla(kv_lora=512, rope=64, layout="dense", indexer_bytes=0), None),
        ({"index_topk": 2048}, Mla(kv_lora=512, rope=64, layout="fp8_ds_mla", indexer_bytes=132), (9, 10, 12)),
    ],
    ids=["dense", "sparse"],
)
def test_latent_attention_is_read_with_its_layout(
    tmp_path: Path, extra: dict[str, Any], mla: Mla, majors: tuple[int, ...] | None
) -> None:
    latent = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 256}
    config = QWEN3 | latent | {"model_type": "deepseek_v3", "moe_intermediate_size": 2048, "head_dim": None} | extra

    read = preset(tmp_path, config)

    assert (read.shape.mla, read.shape.ffn, read.needs.cc_majors) == (mla, 2048, majors)


@pytest.mark.parametrize(
    ("stated", "quant", "block"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", 128),
        ({"quant_method": "awq", "bits": 4}, "int4", None),
        ({"quant_method": "gptq", "bits": 4}, "int4", None),
        ({"quant_method": "mxfp4"}, "mxfp4", None),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4", None),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8", None),
        ({"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"}, "nvfp4", None),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}},
            "int4",
            None,
        ),
    ],
)
def test_the_quantisation_is_read(tmp_path: Path, stated: dict[str, Any], quant: str, block: int | None) -> None:
    read = preset(tmp_path, QWEN3 | {"quantization_config": stated}).checkpoint

    assert (read.quant, read.block) == (quant, block)


def test_parsers_come_from_a_flag_or_from_the_row_of_the_same_name_and_shape(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, LLAMA | {"head_dim": 128})
    same = checkpoint(tmp_path, QWEN3, name="Orchestrator-8B")
    impostor = checkpoint(tmp_path, QWEN3, name="Qwen3-32B")

    assert found(str(place), KNOWN).parsers == {}
    assert found(str(place), KNOWN, family="llama-3.1-8b").parsers == KNOWN.models["llama-3.1-8b"].parsers
    assert found(str(same), KNOWN).parsers == KNOWN.models["orchestrator-8b"].parsers
    assert found(str(impostor), KNOWN).parsers == {}


@pytest.mark.parametrize(
    ("name", "content", "thinking", "key"),
    [
        ("chat_template.jinja", "{% if enable_thinking %}<think>{% endif %}", "hybrid", "enable_thinking"),
        (
            "tokenizer_config.json",
            '{"chat_template": "{% if enable_thinking is false %}"}',
            "hybrid",
            "enable_thinking",
        ),
        ("tokenizer_config.json", '{"chat_template": "assistant <think>"}', "always", None),
        ("tokenizer_config.json", "{}", "none", None),
    ],
)
def test_whether_it_thinks_is_read_from_its_own_template(
    tmp_path: Path, name: str, content: str, thinking: str, key: str | None
) -> None:
    place = checkpoint(tmp_path, QWEN3)
    (place / name).write_text(content)

    read = found(str(place), KNOWN).template

    assert (read.thinking, read.thinking_key, read.file) == (thinking, key, None)


def test_a_family_that_does_not_exist_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nearest: qwen3-32b"):
        found(str(checkpoint(tmp_path, QWEN3)), KNOWN, family="qwen-32b")
    with pytest.raises(UsageError, match="--family is for a local directory"):
        found("qwen3-32b", KNOWN, family="qwen3-32b")


@pytest.mark.parametrize(
    ("config", "files", "says"),
    [
        ({"model_type": "mamba"}, None, "architecture 'mamba' cannot be counted"),
        ({}, None, "architecture None cannot be counted"),
        ({key: value for key, value in QWEN3.items() if key != "vocab_size"}, None, "vocab_size is missing"),
        (QWEN3 | {"hidden_size": "wide"}, None, r"config\.json"),
        (QWEN3 | {"num_hidden_layers": 0}, None, r"config\.json"),
        (QWEN3, {"notes.txt": 1}, "holds no safetensors files"),
        (QWEN3 | {"quantization_config": {"quant_method": "bitsandbytes"}}, None, "quantisation cannot be counted"),
        (QWEN3 | {"quantization_config": {"quant_method": "gptq", "bits": 8}}, None, "quantisation cannot be counted"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_the_reason(
    tmp_path: Path, config: dict[str, Any], files: dict[str, int] | None, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        preset(tmp_path, config, files=files)


NUMBERS = (
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_size",
    "vocab_size",
    "max_position_embeddings",
    "head_dim",
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2**70) | st.floats() | st.sampled_from(["", "64", "fp8", "\0"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(HOSTILE_KEYS), inner, max_size=2),
    max_leaves=4,
)


@given(
    kind=st.sampled_from(sorted(ARCHITECTURES)),
    odd=st.dictionaries(st.sampled_from([*NUMBERS, *OPTIONAL]), ANYTHING, min_size=1, max_size=3),
)
@example(kind="qwen3", odd={"rope_scaling": [1]})
@example(kind="qwen3", odd={"num_attention_heads": 0, "head_dim": None})
@example(kind="qwen3", odd={"model_type": {}})
@example(kind="qwen3", odd={"quantization_config": "fp8"})
def test_whatever_a_config_holds_is_planned_or_refused(
    tmp_path_factory: pytest.TempPathFactory, kind: str, odd: dict[str, Any]
) -> None:
    place = checkpoint(tmp_path_factory.mktemp("odd"), QWEN3 | MLA | {"model_type": kind} | odd)

    with suppress(UsageError):
        assert found(str(place), KNOWN).lengths.max_positions >= 1


@pytest.mark.parametrize(
    "index",
    [
        "[1]",
        "{",
        "[" * 100_000,
        "{}",
        '{"weight_map": []}',
        '{"weight_map": {"x": 1}}',
        '{"weight_map": {"x": {}}}',
        '{"weight_map": {"x": "../../../etc/passwd"}}',
        '{"weight_map": {"x": "/etc/passwd"}}',
    ],
)
def test_an_index_that_names_no_files_of_the_folder_is_refused(tmp_path: Path, index: str) -> None:
    place = checkpoint(tmp_path, QWEN3)
    (place / "model.safetensors.index.json").write_text(index)

    with pytest.raises(UsageError, match=r"model\.safetensors\.index\.json"):
        found(str(place), KNOWN)


@pytest.mark.parametrize(
    "rope",
    [{"rope_theta": 1e6}, {"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}, "rope_scaling": None}],
)
def test_the_rotary_base_is_read_so_that_a_checkpoint_can_be_stretched(tmp_path: Path, rope: dict[str, Any]) -> None:
    read = preset(tmp_path, QWEN3 | rope)

    longer = stretched(read, "yarn:2.0")

    assert (read.lengths.rope_theta, read.lengths.native) == (1e6, 40960)
    assert longer.lengths.max_positions == 81_920


def test_missing_files_of_the_index_are_named(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, QWEN3, files={"a.safetensors": 1})
    (place / "model.safetensors.index.json").write_text('{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}')

    with pytest.raises(UsageError, match=r"1 of 2 files of its index are missing: b\.safetensors"):
        found(str(place), KNOWN)


def test_a_path_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "config.json").write_text("[]")
    (tmp_path / "file").touch()

    for path, says in {
        "none": "does not exist",
        "file": "is a file",
        "empty": r"holds no config\.json",
        "list": "holds no object",
    }.items():
        with pytest.raises(UsageError, match=says):
            found(str(tmp_path / path), KNOWN)


def test_a_preset_wins_over_a_directory_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint(tmp_path, QWEN3, name="qwen3-32b")

    assert found("qwen3-32b", KNOWN).id == "Qwen/Qwen3-32B"
    assert found("./qwen3-32b", KNOWN).id == str(tmp_path / "qwen3-32b")


def test_the_shape_of_the_test_suites_own_model_is_readable(tmp_path: Path) -> None:
    tiny = {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
    }
    read = preset(
        tmp_path, QWEN3 | tiny | {"intermediate_size": 256, "vocab_size": 512, "max_position_embeddings": 2048}
    )

    assert read.shape == Shape(
        layers=2, kv_layers=2, heads=4, kv_heads=2, head_dim=32, hidden=128, vocab=512, ffn=256, experts=None, mla=None
    )
    assert read.lengths.default == 2048
