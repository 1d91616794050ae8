"""`--lora NAME=DIR`: real folders as PEFT saves them, right and wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.inference.failures import UsageError
from services.inference.planning.adapters import RANKS, adapters
from services.inference.planning.presets import catalogue

BASE = catalogue().preset("qwen3-32b")


def saved(folder: Path, *, weights: int = 2**20, file: str = "adapter_model.safetensors", **config: Any) -> Path:
    """An adapter of this many bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"peft_type": "LORA", "base_model_name_or_path": "Qwen/Qwen3-32B", "r": 16, "lora_alpha": 32, **config}
    (folder / "adapter_config.json").write_text(json.dumps(whole), encoding="utf-8")
    if weights:
        (folder / file).write_bytes(bytes(weights))
    return folder


def test_an_adapter_is_served_under_its_name_with_its_rank_and_size(tmp_path: Path) -> None:
    [found] = adapters([f"tuned={saved(tmp_path / 'x', weights=3 * 2**20)}"], BASE)

    assert (found.name, found.path, found.rank, found.gib) == ("tuned", tmp_path / "x", 16, 3 / 1024)


def test_several_adapters_come_in_their_order(tmp_path: Path) -> None:
    texts = [f"{name}={saved(tmp_path / name, file='adapter_model.bin')}" for name in ("b", "a")]

    assert [one.name for one in adapters(texts, BASE)] == ["b", "a"]


@pytest.mark.parametrize(("rank", "taken"), [(1, 8), (8, 8), (9, 16), (65, 128), (257, 320), (321, 512), (512, 512)])
def test_the_next_rank_that_engines_allow_is_taken(tmp_path: Path, rank: int, taken: int) -> None:
    [found] = adapters([f"x={saved(tmp_path, r=rank)}"], BASE)

    assert found.rank == taken
    assert found.rank in RANKS


def test_a_module_with_a_higher_rank_of_its_own_decides(tmp_path: Path) -> None:
    [found] = adapters([f"x={saved(tmp_path, rank_pattern={'q_proj': 100, 'k_proj': 4})}"], BASE)

    assert found.rank == 128


@pytest.mark.parametrize("base", ["Qwen/Qwen3-32B", "/data/models/Qwen3-32B/", "qwen3-32b", "Qwen3-32B", "./Qwen3-32B"])
def test_the_base_model_is_known_by_id_folder_or_key(tmp_path: Path, base: str) -> None:
    assert adapters([f"x={saved(tmp_path, base_model_name_or_path=base)}"], BASE)


def test_an_adapter_of_the_16_bit_model_is_served_on_its_fp8_checkpoint(tmp_path: Path) -> None:
    assert adapters([f"x={saved(tmp_path)}"], catalogue().preset("qwen3-32b-fp8"))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"base_model_name_or_path": "Qwen/Qwen3-14B"}, "was trained on Qwen/Qwen3-14B, not on Qwen/Qwen3-32B"),
        ({"base_model_name_or_path": None}, "names no base model; write base_model_name_or_path"),
        ({"peft_type": "IA3"}, "engines serve LoRA adapters, this one is IA3"),
        ({"r": 513}, "rank 513 is above 512"),
        ({"r": 0}, "r: Input should be greater than or equal to 1"),
        ({"r": None}, "r: Input should be a valid integer"),
        ({"use_dora": True}, r"do not serve DoRA \(use_dora\); merge it into the base model"),
        ({"modules_to_save": ["lm_head"]}, "whole modules beside the adapter"),
        ({"bias": "all"}, r"biases \(bias: all\)"),
    ],
)
def test_an_adapter_that_cannot_be_served_is_refused(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"--lora x: .*{said}"):
        adapters([f"x={saved(tmp_path, **config)}"], BASE)


@pytest.mark.parametrize("text", ["x", "=dir", "x=", "", "a b=dir", "../x=dir", "a,b=dir"])
def test_another_form_than_name_and_folder_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected NAME=DIR"):
        adapters([text], BASE)


def test_a_name_twice_or_that_of_the_base_model_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path)

    with pytest.raises(UsageError, match="--lora: x is named twice"):
        adapters([f"x={folder}", f"x={folder}"], BASE)
    with pytest.raises(UsageError, match="that is the name of the base model"):
        adapters([f"qwen3-32b={folder}"], BASE)


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*adapter_config\.json: No such file or directory"):
        adapters([f"x={tmp_path / 'nowhere'}"], BASE)


def test_an_adapter_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected adapter_model\.safetensors or adapter_model\.bin"):
        adapters([f"x={saved(tmp_path, weights=0)}"], BASE)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '"text"', "[]", "\ufeff{}"])
def test_a_damaged_configuration_is_refused(tmp_path: Path, text: str) -> None:
    folder = saved(tmp_path)
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")

    with pytest.raises(UsageError, match="--lora x: "):
        adapters([f"x={folder}"], BASE)
