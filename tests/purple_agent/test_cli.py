"""The command: what it refuses before its port opens, and that it serves and stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from services.contract.env_file import SETTLED
from services.purple_agent.baselines.registry import BASELINES
from services.purple_agent.settings import Settings
from services.purple_agent.strategies.registry import STRATEGIES
from tests.support.processes import service
from tests.support.raw_client import artifact_texts, send

COMMAND = str(Path(sys.executable).parent / "purple-agent")
MODEL = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "LLM_MODEL": "m"}
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


def run(*flags: str, **env: str) -> subprocess.CompletedProcess[str]:
    return run_in(Path(), flags, env)


def run_in(folder: Path, flags: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *flags],
        env={**ENVIRONMENT, **env},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("flags", "env", "remedy"),
    [
        ((), {}, "inference up reference"),
        ((), {}, "OPENAI_BASE_URL"),
        ((), {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, "LLM_MODEL"),
        ((), MODEL | {"LLM_PROVIDER": "closedai"}, "expected openai or anthropic, got 'closedai'"),
        ((), MODEL | {"PURPLE_LLM_TEMPERATURE": "warm"}, "PURPLE_LLM_TEMPERATURE: expected a number, got 'warm'"),
        ((), MODEL | {"PURPLE_MAX_TOOL_CALLS": "many"}, "PURPLE_MAX_TOOL_CALLS"),
        (("--max-tool-calls", "-1"), MODEL, "max_tool_calls: Input should be greater than or equal to 0, got -1"),
        (("--strategy", "clever"), MODEL, "strategy: Input should be 'direct', 'baseline', 'self_eval_sequential' or"),
        (("--iterations", "3"), MODEL, "--strategy direct does not read --iterations"),
        (("--strategy", "self_evil", "--iterations", "3"), MODEL, "strategy: Input should be 'direct'"),
        (("--strategy", "completion", "--max-tool-calls", "3"), MODEL, "completion does not read --max-tool-calls"),
        (
            ("--strategy", "completion"),
            {"ANTHROPIC_API_KEY": "k", "LLM_MODEL": "m"},
            "needs an OpenAI-compatible engine",
        ),
        (
            ("--strategy", "self_eval_sequential", "--iterations", "-1"),
            MODEL,
            "iterations: Input should be greater than",
        ),
        (
            ("--strategy", "self_eval_sequential"),
            MODEL | {"PURPLE_ON_UNDECIDED": "drop"},
            "should be 'keep' or 'refine'",
        ),
        ((), MODEL | {"PURPLE_TOP_K": "many"}, "PURPLE_TOP_K: expected a number, got 'many'"),
        (("--baseline", "keyword-soop"), {}, "did you mean 'keyword-soup'?"),
        (("--baseline", "echo", "--model", "m"), {}, "--model would have no effect"),
        (("--modle", "m"), MODEL, "--modle"),
        (("--auth-token-env", "NO_TOKEN"), MODEL, "NO_TOKEN, which is not set"),
    ],
)
def test_what_cannot_work_ends_with_exit_2_and_names_the_remedy(
    flags: tuple[str, ...], env: dict[str, str], remedy: str
) -> None:
    ended = run("serve", "--port", "0", *flags, **env)

    assert (ended.returncode, remedy in " ".join(ended.stderr.split())) == (2, True), ended.stderr


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({}, "got 'from-file'"),
        ({"LLM_PROVIDER": "from-process"}, "got 'from-process'"),
        ({SETTLED: "1"}, "LLM_MODEL"),
    ],
)
def test_the_process_beats_the_file_and_a_settled_environment_reads_none(
    tmp_path: Path, env: dict[str, str], named: str
) -> None:
    (tmp_path / ".env").write_text("OPENAI_BASE_URL=http://127.0.0.1:9/v1\nLLM_MODEL=m\nLLM_PROVIDER=from-file\n")

    ended = run_in(tmp_path, ["serve", "--port", "0"], {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"} | env)

    assert (ended.returncode, named in " ".join(ended.stderr.split())) == (2, True), ended.stderr


def test_every_baseline_is_listed_with_its_exploit() -> None:
    listed = run("baselines").stdout

    assert [line.split(maxsplit=1) for line in listed.splitlines()] == [
        [name, entry.exploit] for name, entry in BASELINES.items()
    ]


def test_help_tells_the_variables() -> None:
    text = run("serve", "--help").stdout

    for variable in (
        "LLM_MODEL",
        "PURPLE_LLM_TEMPERATURE",
        "PURPLE_MAX_TOOL_CALLS",
        "PURPLE_SANDBOX_URL",
        "PURPLE_TOP_P",
    ):
        assert variable in text


def test_help_names_every_strategy() -> None:
    text = run("serve", "--help").stdout

    assert [name for name in STRATEGIES if name not in text] == []


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_can_be_named_in_the_settings(name: str) -> None:
    assert Settings.model_validate({"strategy": name}).strategy == name


def test_a_baseline_serves_answers_and_stops_on_sigterm() -> None:
    with service(["purple-agent", "serve", "--baseline", "constant:42"]) as purple:
        task = send(purple.url, "What is 6 x 7?")
        old = send(purple.url, "What is 6 x 7?", dialect="0.3")
        purple.process.send_signal(signal.SIGTERM)
        code = purple.process.wait(30)

    assert artifact_texts(task, "reply") == artifact_texts(old, "reply") == ["42"]
    assert code == 0


def test_the_card_is_up_though_the_model_is_not_and_tells_strategy_and_sampling() -> None:
    flags = ["--reply-timeout", "0.2", "--strategy", "self_eval_sequential", "--temperature", "0.6", "--top-k", "20"]
    with service(["purple-agent", "serve", *flags], env=MODEL) as purple:
        card = httpx.get(f"{purple.url}.well-known/agent-card.json").json()
        task = send(purple.url, "What is 6 x 7?")

    assert card["name"] == "Assay purple agent"
    assert card["description"] == (
        "An agent with tools on the model m (openai). Strategy self_eval_sequential; temperature 0.6, top_p 1, top_k 20, "
        "at most 4096 tokens an answer."
    )
    assert task["status"]["state"] == "TASK_STATE_FAILED"
    assert "artifacts" not in task


def test_the_port_opens_before_the_model_and_pricing_libraries_are_loaded() -> None:
    code = "import sys, services.purple_agent.server; print(*sys.modules)"

    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )

    assert loaded.isdisjoint({"openai", "anthropic", "QuantLib"})
