"""Stored transcripts are scored again without the agent, through the real green and the real journal."""

import asyncio
import json
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.runner.journal import Journal
from tests.support.processes import BIN, service
from tests.support.purples import Say, purple

TASKS = 9


def assay(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [str(BIN / "assay"), *arguments, "--results-dir", str(folder / "results")]
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


def first_run(folder: Path, green_url: str, command: Sequence[str]) -> dict[str, dict[str, Any]]:
    with service(["purple-agent", "serve", *command]) as agent:
        scenario(folder, green_url, agent.url)
        return rows(assay(folder, "run", "scenario.toml", "--json"))


def first_run_id(folder: Path, green_url: str) -> str:
    first_run(folder, green_url, ["--baseline", "constant"])
    with closing(Journal.open(folder / "results", create=False)) as journal:
        return journal.run("latest").id


def scenario(folder: Path, green_url: str, purple_url: str) -> None:
    (folder / "scenario.toml").write_text(
        f'[green_agent]\nendpoint = "{green_url}"\n[[participants]]\nrole = "purple"\nendpoint = "{purple_url}"\n'
    )


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


def test_what_was_said_and_who_said_it_is_kept_for_every_trial(tmp_path: Path) -> None:
    with service(["green-agent", "serve", "--eval-config", str(suite(tmp_path, wordings=1))]) as green:
        first_run(tmp_path, green.url, ["--baseline", "crash-rate:0.4"])
        done = assay(tmp_path, "rescore", "latest", "--json")

    document = json.loads(Path(json.loads(done.stdout)["results_json"]).read_text())
    metadata = document["results"][0]["evaluation_metadata"]
    assert metadata["purple_agent"]["name"] == "Assay baseline crash-rate:0.4"
    assert metadata["provenance"]["agents"]["purple"]["name"] == "Assay baseline crash-rate:0.4"
    assert document["participants"] == {"purple": "purple"}
    with closing(Journal.open(tmp_path / "results", create=False)) as journal:
        latest = journal.run("latest")
        first = dict(journal.transcripts(str(latest.rescored_from)))
        again = dict(journal.transcripts(latest.id))
    assert len(first) == TASKS
    assert again == first


def test_a_task_that_green_plans_no_more_is_named(tmp_path: Path) -> None:
    path = suite(tmp_path, wordings=1)
    with service(["green-agent", "serve", "--eval-config", str(path)]) as green:
        first_run(tmp_path, green.url, ["--baseline", "constant"])
        path.write_text(path.read_text().replace(f"limit: {TASKS}", "limit: 5"))

        done = assay(tmp_path, "rescore", "latest")

    assert f"{TASKS - 5} trials are not scored again, green no longer plans its task" in done.stderr


def test_a_rescored_run_that_lacks_trials_says_what_helps(tmp_path: Path) -> None:
    path = suite(tmp_path, wordings=1)
    with service(["green-agent", "serve", "--eval-config", str(path)]) as green:
        first = first_run_id(tmp_path, green.url)
        suite(tmp_path, wordings=2)

        done = assay(tmp_path, "rescore", "latest")

    assert f"assay rescore {first}" in done.stderr
    assert "assay resume" not in done.stderr + done.stdout


async def test_long_answers_in_chinese_are_sent_in_messages_that_green_takes(tmp_path: Path) -> None:
    with service(["green-agent", "serve", "--eval-config", str(suite(tmp_path, wordings=1))]) as green:
        async with purple(lambda _incoming, _before: Say(text="\u77e5" * 500_000)) as agent:
            scenario(tmp_path, green.url, agent.url)
            first = await asyncio.to_thread(assay, tmp_path, "run", "scenario.toml", "--json")
        again = await asyncio.to_thread(assay, tmp_path, "rescore", "latest", "--json")

    assert (first.returncode, again.returncode) == (0, 0), again.stderr
    assert {row["outcome"] for row in rows(again).values()} == {"scored"}


@pytest.mark.parametrize("flag", ["--judge-provider=none", "--unknown"])
def test_a_wrong_option_is_a_usage_error(tmp_path: Path, flag: str) -> None:
    assert assay(tmp_path, "rescore", "latest", flag).returncode == 2
