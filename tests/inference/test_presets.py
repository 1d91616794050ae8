"""The file of models, GPUs and engines: what is in it, and how a wrong one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from services.green_agent.judge.prices import Hosted
from services.inference.failures import UsageError
from services.inference.planning.presets import catalogue, catalogue_path, with_parsers

HARDWARE = 'hardware: {small: {gib: 8, cc: "8.0", per_node: 1}}\n'


@pytest.fixture
def text() -> str:
    """The file that comes with Assay."""
    return catalogue_path().read_text(encoding="utf-8")


def test_every_row_knows_its_key() -> None:
    known = catalogue()

    assert {key: row.key for key, row in known.models.items()} == {key: key for key in known.models}
    assert {key: row.key for key, row in known.hardware.items()} == {key: key for key in known.hardware}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("qwen3-32b", "qwen3-32b"),
        ("Qwen/Qwen3-32B", "qwen3-32b"),
        ("deepseek-v3-gh200", "deepseek-v3"),
        ("deepseek-v3-nvfp4-4gpu", "deepseek-v3.2-nvfp4"),
        ("qwen3-235b-b200", "qwen3-235b"),
        ("llama3.1-8b", "llama-3.1-8b"),
    ],
)
def test_a_model_is_found_by_key_hub_id_or_a_key_of_the_guides(name: str, key: str) -> None:
    assert catalogue().preset(name).key == key


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown model 'qwen-32b'; nearest: qwen3-32b"):
        catalogue().preset("qwen-32b")


def test_an_unknown_kind_of_gpu_names_the_nearest_and_nothing_near_names_all() -> None:
    with pytest.raises(UsageError, match="unknown kind of GPU 'h100-81'; nearest: h100-80"):
        catalogue().gpu("h100-81")
    with pytest.raises(UsageError, match=r"known: rtx3090-24, .*b200"):
        catalogue().gpu("!")


def test_a_gh200_with_480_gb_is_the_one_of_144_and_says_so() -> None:
    found = catalogue().gpu("GH200 480 GB")

    assert (found.key, "CPU memory" in found.notes) == ("gh200-144", True)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("    family: qwen3-14b\n", "    family: qwen3-14b\n    gpus: 2\n", "models.qwen3-14b.gpus"),
        ("    revision: null\n", "", "models.qwen3-14b.revision"),
        ("per_node: 8,", "per_nodes: 8,", "hardware.rtx3090-24.per_nodes"),
        ("engines:\n", "engines:\n  lmdeploy: {version: 1, image: x}\n", "engines.lmdeploy"),
        ("hosted:\n", "prices: {}\nhosted:\n", "prices: Extra inputs are not permitted"),
        ("    family: qwen3-14b\n", "    family: qwen3-14b\n    key: other\n", "models.qwen3-14b.key"),
        ("load_peak: 1.0", "load_peak: 0.5", "models.qwen3-14b.checkpoint.load_peak"),
        ('cc_min: "8.0"', 'cc_min: "eight"', "models.qwen3-14b.needs.cc_min"),
        ('cc: "8.6"', 'cc: "8"', "hardware.rtx3090-24.cc"),
        ("aliases: [rtx3090]", "aliases: [H100]", "two rows are called h100"),
        (
            "    family: qwen3-14b\n",
            "    family: qwen3-14b\n    aliases: [QWEN3-32B]\n",
            "two rows are called qwen3-32b",
        ),
    ],
)
def test_an_unknown_missing_or_wrong_key_is_an_error_that_names_it(
    text: str, tmp_path: Path, old: str, new: str, named: str
) -> None:
    wrong = tmp_path / "models.yaml"
    wrong.write_text(text.replace(old, new, 1))

    with pytest.raises(UsageError, match=named):
        catalogue(wrong)


@pytest.mark.parametrize("content", ["", "models: {", "[]", "models: 7"])
def test_a_file_that_is_no_catalogue_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    wrong = tmp_path / "models.yaml"
    wrong.write_text(content)

    with pytest.raises(UsageError, match=r"models\.yaml"):
        catalogue(wrong)


def test_without_a_file_the_error_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASSAY_CONFIG_DIR", str(tmp_path))

    with pytest.raises(UsageError, match="ASSAY_CONFIG_DIR"):
        catalogue(catalogue_path())


def test_a_qwen_model_never_gets_the_parser_that_loses_its_calls() -> None:
    parsers = [row.parsers["vllm"].tools for row in catalogue().models.values() if row.key.startswith("qwen3")]

    assert parsers == ["hermes"] * 11


def test_a_named_parser_stands_in_for_the_presets_own_in_one_engine_only() -> None:
    own = catalogue().preset("gpt-oss-120b")

    named = with_parsers(own, "trtllm", tools="mine", reasoning=None)

    assert (named.parsers["trtllm"].tools, named.parsers["trtllm"].reasoning) == ("mine", None)
    assert named.parsers["vllm"] == own.parsers["vllm"]
    assert with_parsers(own, "trtllm", tools=None, reasoning=None) is own


def test_hosted_rows_are_readable_by_those_who_need_prices_and_no_price_is_invented(text: str) -> None:
    hosted = {key: Hosted.model_validate(row) for key, row in yaml.safe_load(text)["hosted"].items()}

    assert {key for key, row in hosted.items() if row.alias_moves} == {"deepseek-chat", "deepseek/deepseek-chat"}
    assert all((row.price is None) == (row.source is None) for row in hosted.values())
    assert all(row.verify for row in hosted.values())
    assert hosted["gpt-4"].context == 8192
