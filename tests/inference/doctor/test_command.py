"""`inference doctor` as people and the runner call it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from services.contract.endpoint_files import ServiceLine
from services.contract.fitness import Examination
from services.inference.cli import main
from services.inference.planning.presets import catalogue_path
from services.inference.reference_engine.app import Settings
from services.inference.servers.registry import Registry
from tests.support.engine import INFERENCE, running_engine

DEAD = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No registry and no endpoint of the machine the tests run on."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "OPENAI_BASE_URL",
        "OPENAI_API_BASE",
        "SGLANG_API_BASES",
        "LLM_ENDPOINT_FILE",
        "LLM_MODEL",
        "ASSAY_REGISTRY",
    ):
        monkeypatch.delenv(name, raising=False)


def doctor(*arguments: str, **how: Any) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments], **how)


def test_a_fit_server_ends_with_code_0_and_a_line_for_each_check() -> None:
    with running_engine() as engine:
        done = doctor(engine.root)

    assert done.exit_code == 0, done.output
    assert f"{engine.url}, model reference: fit" in done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [[f"D{n:02d}", "pass"] for n in range(1, 19)]


def test_a_failed_check_ends_with_code_1_and_the_cure_below_it() -> None:
    with running_engine("think-in-content") as engine:
        done = doctor(engine.url, "--only", "D11", "--engine", "vllm", "--preset", "qwen3-32b")

    assert done.exit_code == 1
    assert "  D11  FAIL  reasoning  " in done.stdout
    assert "> start the engine with `--reasoning-parser qwen3`, the parser of qwen3-32b" in done.stdout
    assert "D03" not in done.stdout


def test_one_unreachable_replica_ends_with_code_4_and_the_others_are_examined() -> None:
    with running_engine() as engine:
        done = doctor(engine.url, DEAD, "--json")

    found = Examination.model_validate_json(done.stdout)
    assert (done.exit_code, [one.reachable for one in found.endpoints]) == (4, [True, False])
    assert not found.endpoints[0].failed


def test_replicas_of_different_lengths_are_told() -> None:
    with running_engine() as first, running_engine(settings=Settings(max_model_len=4096)) as second:
        done = doctor(first.url, second.url, "--only", "D17")

    assert done.exit_code == 1
    assert "max_model_len 4096 instead of 32768" in done.stdout


def test_without_a_url_the_running_servers_of_the_registry_are_examined(tmp_path: Path) -> None:
    with running_engine() as engine:
        port = int(engine.root.rpartition(":")[2])
        for number, status in ((1, "running"), (2, "stopped")):
            Registry(tmp_path / "services.txt").put(
                ServiceLine(
                    job_id=f"10{number}",
                    hostname="elsewhere",
                    host_ip="127.0.0.1",
                    port=port if number == 1 else 9,
                    model_path="/models/reference",
                    start_time="1767225600",
                    status=status,
                )
            )
        done = doctor("--only", "D03")

    assert done.exit_code == 0, done.output
    assert done.stdout.count(engine.url) == 1
    assert ":9/" not in done.stdout


def test_without_url_and_registry_the_agents_variables_name_the_server() -> None:
    with running_engine() as engine:
        done = doctor("--only", "D01", env={"OPENAI_BASE_URL": engine.url, "LLM_MODEL": "another"})

    assert done.exit_code == 1
    assert "'another' is not served; the server lists reference" in done.stdout
    assert "servers of OPENAI_BASE_URL" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no server is named: give a URL"),
        ([DEAD, "--only", "D99"], "no check D99; there are D01 to D18"),
        ([DEAD, "--preset", "qwen3-33b"], "nearest: qwen3-32b"),
        (["ftp://here"], "expected http://host"),
        ([DEAD, "--only", ","], "no check is named; there are D01 to D18"),
        ([DEAD, "--api-key-file", "-"], "it is empty"),
        (["--anthropic"], "--anthropic needs the URL of the server"),
    ],
)
def test_wrong_usage_ends_with_code_2_and_names_the_remedy(arguments: list[str], said: str) -> None:
    done = doctor(*arguments)

    assert (done.exit_code, said in done.stderr) == (2, True), done.output


def test_a_key_is_read_from_a_file_and_shown_nowhere(tmp_path: Path) -> None:
    key = "sk" + "-only-for-this-one-server"
    (tmp_path / "key").write_text(f"{key}\n")
    with running_engine() as engine:
        done = doctor(engine.url, "--api-key-file", "key", "--json")

    assert (done.exit_code, key in done.output) == (0, False)


@pytest.mark.parametrize("text", ["first\nsecond", "schl\u00fcssel", "\ufffd\ufffd"])
def test_what_cannot_be_a_key_is_refused_before_it_is_sent_and_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_bytes(text.encode("utf-8" if text.isascii() else "utf-16"))
    done = doctor(DEAD, "--api-key-file", "key")

    assert (done.exit_code, "expected a key alone, on one line" in done.stderr) == (2, True), done.output
    assert "second" not in done.output


def test_a_registry_whose_servers_have_stopped_gives_way_to_the_agents_variables(tmp_path: Path) -> None:
    line = ServiceLine(
        job_id="101",
        hostname="h",
        host_ip="127.0.0.1",
        port=9,
        model_path="m",
        start_time="1767225600",
        status="stopped",
    )
    Registry(tmp_path / "services.txt").put(line)
    with running_engine() as engine:
        done = doctor("--only", "D01", env={"OPENAI_BASE_URL": engine.url})
    nowhere = doctor("--only", "D01")

    assert (done.exit_code, "servers of OPENAI_BASE_URL" in done.stderr) == (0, True), done.output
    assert (nowhere.exit_code, "lists no running server" in nowhere.stderr) == (4, True), nowhere.output


def test_a_provider_may_serve_names_that_it_does_not_list(tmp_path: Path) -> None:
    rows = yaml.safe_load(catalogue_path().read_text())
    for row in rows["hosted"].values():
        row["base_url"] = "http://127.0.0.1:1/v1"
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(rows))
    with running_engine() as engine:
        done = subprocess.run(
            [*INFERENCE, "doctor", engine.url, "--model", "alias", "--only", "D01,D03", "--json"],
            env={**os.environ, "ASSAY_CONFIG_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    (found,) = Examination.model_validate_json(done.stdout).endpoints
    assert [(one.id, one.verdict) for one in found.findings] == [("D01", "warn"), ("D03", "fail")]
    assert "does not exist" in found.findings[1].seen


def test_the_machine_is_examined_without_any_server() -> None:
    done = doctor("--host", "--json")

    found = json.loads(done.stdout)
    assert [one["title"] for one in found["host"]] == [
        "driver", "GPUs", "container toolkit", "shared memory", "disk for weights", "hub token", "vllm", "clock",
    ]  # fmt: skip
    assert found["endpoints"] == []
    assert all(one["cure"] for one in found["host"] if one["verdict"] in {"warn", "fail"})
