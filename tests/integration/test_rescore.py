"""Stored transcripts are scored again without the agent, through the real green and the real journal."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import BIN, service

TASKS = 9


def assay(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [BIN / "assay", *arguments, "--results-dir", folder / "results"]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    document = json.loads(Path(json.loads(done.stdout)["results_json"]).read_text())
    return {row["task_id"]: row for row in document["results"][0]["results"]}


def suite(folder: Path, *, wordings: int) -> Path:
    """A suite whose questions depend on `wordings`."""
    path = folder / "suite.yaml"
    path.write_text(
        f"name: small\ndatasets:\n  - {{type: options, limit: {TASKS}, generator: {{seed: {wordings}, count: {TASKS}}}}}\n"
    )
    return path


def first_run(folder: Path, green_url: str, purple: Sequence[str]) -> dict[str, dict[str, Any]]:
    with service(["purple-agent", "serve", *purple]) as agent:
        (folder / "scenario.toml").write_text(
            f'[green_agent]\nendpoint = "{green_url}"\n[[participants]]\nrole = "purple"\nendpoint = "{agent.url}"\n'
        )
        return rows(assay(folder, "run", "scenario.toml", "--json"))


def test_every_trial_that_was_scored_is_scored_again_and_the_others_keep_their_row(tmp_path: Path) -> None:
    with service(["green-agent", "serve", "--eval-config", str(suite(tmp_path, wordings=1))]) as green:
        before = first_run(tmp_path, green.url, ["--baseline", "crash-rate:0.4"])

        done = assay(tmp_path, "rescore", "latest", "--json")

    after = rows(done)
    assert done.returncode == 0, done.stderr
    assert {row["outcome"] for row in before.values()} == {"scored", "agent_error"}
    for task_id, row in before.items():
        again = after[task_id]
        same = ("outcome", "score", "answer", "explanation", "metrics", "usage", "error")
        assert [again.get(name) for name in same] == [row.get(name) for name in same]
        assert again["latency"]["agent_s"] == row["latency"]["agent_s"]
    document = json.loads(Path(json.loads(done.stdout)["results_json"]).read_text())
    assert document["results"][0]["overall_score"]["coverage"] == 1.0


def test_a_task_that_has_changed_is_left_out_aloud(tmp_path: Path) -> None:
    path = suite(tmp_path, wordings=1)
    with service(["green-agent", "serve", "--eval-config", str(path)]) as green:
        first_run(tmp_path, green.url, ["--baseline", "constant"])
        suite(tmp_path, wordings=2)

        done = assay(tmp_path, "rescore", "latest")

    assert done.returncode == 1
    assert f"{TASKS} trials are not scored again, its task has changed since" in done.stderr
    assert "Incomplete" in done.stdout


def test_a_rescored_run_is_not_resumed_with_an_agent(tmp_path: Path) -> None:
    with service(["green-agent", "serve", "--eval-config", str(suite(tmp_path, wordings=1))]) as green:
        first_run(tmp_path, green.url, ["--baseline", "constant"])
        assert assay(tmp_path, "rescore", "latest").returncode == 0

        done = assay(tmp_path, "resume", "latest")

    assert done.returncode == 2
    assert "asks no agent" in done.stderr


@pytest.mark.parametrize("flag", ["--judge-provider=none", "--unknown"])
def test_a_wrong_option_is_a_usage_error(tmp_path: Path, flag: str) -> None:
    assert assay(tmp_path, "rescore", "latest", flag).returncode == 2
