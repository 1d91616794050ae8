"""`inference plan`, as it is typed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from services.inference.cli import main
from services.inference.commands.options import spread
from services.inference.planning.hardware import this_machine
from tests.support.engine import INFERENCE

PROPOSALS = "same GPUs: qwen3-32b-fp8 TP 1 (another checkpoint: its scores are its own)"
EXAMPLE = (
    "qwen3-32b on 1 \N{MULTIPLICATION SIGN} h100-80, TP 1, 32768 tokens, vLLM, utilisation 0.90",
    "  weights 61.1 GiB · ceiling 71.3 · left for KV 6.2 to 8.2 · one full sequence 8.0 · full sequences 0.8 to 1.0",
    f"  same model: 2 \N{MULTIPLICATION SIGN} h100-80 TP 2     {PROPOSALS}",
)


def planned(*options: str) -> Result:
    return CliRunner().invoke(main, ["plan", *options])


def test_the_example_of_the_specification() -> None:
    shown = planned("qwen3-32b", "--gpu", "h100-80", "--count", "1").output.splitlines()

    assert shown[0].split("  ")[0] == EXAMPLE[0]
    assert shown[0].endswith(" TIGHT")
    assert (shown[1], shown[3]) == EXAMPLE[1:]


def test_json_holds_what_the_text_says() -> None:
    found = json.loads(planned("qwen3-32b", "--gpu", "h100-80", "--json").output)

    assert (found["verdict"], found["tp"], found["max_model_len"]) == ("tight", 1, 32768)
    assert found["memory"]["kv_gib"] == [6.19, 8.19]
    assert found["same_model"] == {
        "model": "qwen3-32b",
        "gpu": "h100-80",
        "count": 2,
        "tp": 2,
        "max_model_len": 32768,
        "note": "",
    }
    assert found["command"][:3] == ["vllm", "serve", "Qwen/Qwen3-32B"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["qwen3-32b", "--gpu", "h200-141"], 0),
        (["qwen3-32b", "--gpu", "h100-80"], 0),
        (["deepseek-v3", "--gpu", "h100-80", "--count", "8"], 3),
        (["qwen-32b", "--gpu", "h100-80"], 2),
        (["qwen3-32b", "--gpu", "h100-81"], 2),
        (["qwen3-32b", "--gpu", "h100-80", "--gpu-memory-utilization", "2"], 2),
        (["qwen3-32b", "--gpu", "h100-80", "--gpu-memory-utilization", "nan"], 2),
        (["qwen3-32b", "--gpu", "h100-80", "--tp", "0"], 2),
        ([], 2),
    ],
)
def test_the_exit_code_is_the_answer(options: list[str], code: int) -> None:
    assert planned(*options).exit_code == code


def test_an_impossible_plan_names_reasons_and_cures_and_no_command_line() -> None:
    found = json.loads(planned("llama-3.1-70b", "--gpu", "a100-80", "--count", "8", "--tp", "2", "--json").output)

    assert found["reasons"] == [
        "memory: not one sequence: 3.5 GiB at most for the cache, one of 32768 tokens takes 5.0"
    ]
    assert (found["same_gpus"]["tp"], found["command"]) == (4, None)


def test_every_preset_on_every_kind_is_listed() -> None:
    shown = {line.split()[0]: line.split()[1:] for line in planned("--list").output.splitlines() if line}

    assert shown["qwen3-32b"] == ["8", "8", "4", "2", "2", "2", "1", "1", "1", "1"]
    assert shown["deepseek-v3"] == ["-", "-", "-", "-", "-", "-", "-", "8", "-", "8"]
    assert shown["deepseek-v3.2-nvfp4"][-3:] == ["(4)", "-", "4"]


def test_the_list_of_one_model_as_json() -> None:
    found = json.loads(planned("gpt-oss-120b", "--list", "--gpu", "h100-80", "--json").output)

    assert [(one["model"], one["gpu"], one["tp"], one["verdict"]) for one in found] == [
        ("gpt-oss-120b", "h100-80", 1, "fit")
    ]


def test_the_drivers_own_gpus_are_counted_and_without_a_driver_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = planned("qwen3-32b")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nfor i in 0 1; do echo $i, GPU-$i, NVIDIA H100, 81559, 457, 4, 9.0; done\n")
    program.chmod(0o755)

    found = json.loads(planned("qwen3-32b", "--json").output)

    assert (missing.exit_code, "--gpu KIND" in missing.output) == (2, True)
    assert (found["gpu"], found["count"], found["tp"], found["verdict"]) == ("auto", 2, 2, "fit")


def test_a_cpu_build_has_the_memory_of_this_machine_and_no_compute_capability(tmp_path: Path) -> None:
    config = {
        "model_type": "qwen3",
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 512,
    }
    more = {"num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 256, "max_position_embeddings": 2048}
    (tmp_path / "config.json").write_text(json.dumps(config | more))
    (tmp_path / "model.safetensors").write_bytes(b"0" * 722_432)

    shown = planned(str(tmp_path), "--gpu", "cpu", "--tool-call-parser", "hermes", "--json")

    found = json.loads(shown.output)
    assert (found["verdict"], found["tp"], found["count"], found["reasons"]) == ("fit", 1, 1, [])
    assert found["memory"]["ceiling_gib"] == pytest.approx(0.9 * this_machine().gib, abs=0.01)
    assert found["memory"]["kv_gib"][0] <= 4.0


def test_help_and_plan_load_nothing_heavy() -> None:
    code = "from services.inference.cli import main; main(['plan', 'qwen3-32b', '--gpu', 'h100-80'])"
    names = ("structlog", "httpx", "aiohttp", "asyncio", "openai", "a2a")
    heavy = f"print([name for name in {names!r} if name in sys.modules])"

    ran = subprocess.run(
        [INFERENCE[0], "-c", f"import sys\ntry:\n    {code}\nexcept SystemExit: pass\n{heavy}"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["--gpu-ids", "0", "1", "m"], ["--gpu-ids", "0", "--gpu-ids", "1", "m"]),
        (["m", "--gpu-ids", "2,3"], ["m", "--gpu-ids", "2", "--gpu-ids", "3"]),
        (["--gpu-ids=0,1", "2", "--tp", "3"], ["--gpu-ids", "0", "--gpu-ids", "1", "--gpu-ids", "2", "--tp", "3"]),
        (["--gpu-ids", "x"], ["--gpu-ids", "x"]),
        (["--gpu-ids"], ["--gpu-ids"]),
        (["--gpu-ids", "0", "--", "7"], ["--gpu-ids", "0", "--", "7"]),
        (["--", "--gpu-ids", "0", "1"], ["--", "--gpu-ids", "0", "1"]),
    ],
)
def test_several_numbers_may_follow_one_flag(typed: list[str], meant: list[str]) -> None:
    assert spread(typed) == meant


@given(numbers=st.lists(st.integers(0, 15), min_size=1), before=st.lists(st.sampled_from(["m", "--tp", "2"])))
def test_however_numbers_are_written_they_mean_the_same(numbers: list[int], before: list[str]) -> None:
    words = [str(number) for number in numbers]

    meant = [*before, *(part for word in words for part in ("--gpu-ids", word))]

    assert spread([*before, "--gpu-ids", *words]) == meant
    assert spread([*before, "--gpu-ids", ",".join(words)]) == meant
    assert spread(meant) == meant
