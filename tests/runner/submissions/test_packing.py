"""Runs as submissions: three files of one name that other people can run and read, without a secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import tomli
import tomli_w
from click.testing import CliRunner, Result

from services.runner.cli import main
from services.runner.failures import ScenarioError
from services.runner.journal import Journal, RunRecord, RunStatus
from services.runner.scenario import parse_scenario, read_scenario
from services.runner.submissions.packing import leaderboard_tables, owner_of
from tests.runner.support.rows import make_plan, make_row, make_run
from tests.runner.support.shards import document, shard_of, whole_plan

NAME = "jane-doe-20260131-233543"
TOKEN = "sk-" + "0123456789abcdef" * 2
PURPLE_ID = "019b0000-0000-7000-8000-000000000001"
TABLES: dict[str, Any] = {
    "green_agent": {
        "image": "ghcr.io/example/green:1",
        "env": {"OPENAI_API_KEY": "${OPENAI_API_KEY}", "EVAL_CONFIG": "offline"},
    },
    "participants": [
        {
            "name": "purple_agent",
            "agentbeats_id": PURPLE_ID,
            "endpoint": "http://127.0.0.1:9010",
            "cmd": "purple-agent serve --port 9010",
            "env": {"OPENAI_API_KEY": TOKEN, "LLM_MODEL": 'a "quoted" # model\nof two lines', "COST": "5 $$"},
        }
    ],
    "config": {"num_tasks": "10", "datasets": ["options"], "shard_index": 1, "num_shards": 4},
}

IMAGE = {"name": "purple_agent", "image": "ghcr.io/example/purple:1", "env": {"OPENAI_API_KEY": "${OPENAI_API_KEY}"}}


def run_of(tables: Mapping[str, Any] = TABLES) -> RunRecord:
    stored = parse_scenario(tables, name="test").storable()
    config: Any = tables["config"]
    provenance: Any = {
        "timestamp": "2026-01-31T23:36:00+00:00",
        "image_digests": {"green": "ghcr.io/example/green@sha256:1"},
        "agents": {"purple_agent": {"name": "Purple", "version": "1", "description": f"my key is {TOKEN}"}},
        "versions": {"assay": "0.1.0"},
    }
    run = make_run(make_plan(), created="2026-02-01T00:35:43.123+01:00")
    return run.model_copy(
        update={
            "scenario": stored,
            "provenance": provenance,
            "request": {"participants": {"purple_agent": "http://127.0.0.1:9010/"}, "config": config},
        }
    )


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store(tmp_path / "results", run_of())
    return tmp_path / "results"


def store(folder: Path, run: RunRecord) -> None:
    with closing(Journal.open(folder)) as journal:
        journal.create_run(run)
        journal.record_all(run.id, [make_row(trial, said=f"my key is {TOKEN}") for trial in run.plan.trials])
        journal.finish(run.id, RunStatus.COMPLETE)


def pack(*arguments: object, owner: str | None = "jane-doe", env: Mapping[str, str | None] | None = None) -> Result:
    given = [*arguments, *(() if owner is None else ("--owner", owner))]
    return CliRunner().invoke(main, ["pack", *map(str, given)], env={"GITHUB_ACTIONS": None, **(env or {})})


def written(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_becomes_three_files_named_by_owner_and_time_in_utc(results: Path, tmp_path: Path) -> None:
    done = pack("latest", "-o", tmp_path / "board", "--results-dir", results)

    assert done.exit_code == 0, done.output
    files = written(tmp_path / "board")
    assert list(files) == [f"results/{NAME}.json", f"submissions/{NAME}.provenance.json", f"submissions/{NAME}.toml"]
    assert [Path(line).name for line in done.stdout.splitlines()] == [
        f"{NAME}.toml",
        f"{NAME}.provenance.json",
        f"{NAME}.json",
    ]
    assert json.loads(files[f"results/{NAME}.json"])["participants"] == {"purple_agent": PURPLE_ID}
    assert all(TOKEN not in text for text in files.values())


def test_the_scenario_names_agents_by_id_or_image_and_keeps_values_exactly(results: Path, tmp_path: Path) -> None:
    pack("latest", "-o", tmp_path / "board", "--results-dir", results)

    path = tmp_path / "board" / "submissions" / f"{NAME}.toml"
    assert tomli.loads(path.read_text()) == {
        "green_agent": {
            "image": "ghcr.io/example/green:1",
            "env": {"OPENAI_API_KEY": "${OPENAI_API_KEY}", "EVAL_CONFIG": "offline"},
        },
        "participants": [
            {
                "name": "purple_agent",
                "agentbeats_id": PURPLE_ID,
                "env": {
                    "OPENAI_API_KEY": "${OPENAI_API_KEY}",
                    "LLM_MODEL": 'a "quoted" # model\nof two lines',
                    "COST": "5 $$",
                },
            }
        ],
        "config": TABLES["config"],
    }
    assert read_scenario(path, allow_image=True).purple.agentbeats_id == PURPLE_ID


def test_the_provenance_has_the_platforms_fields_and_our_record(results: Path, tmp_path: Path) -> None:
    workflow = {"GITHUB_ACTIONS": "true", "GITHUB_REF": "refs/heads/main", "GITHUB_REPOSITORY": "jane-doe/board"}
    pack("latest", "-o", tmp_path / "board", "--results-dir", results, env=workflow)

    found = json.loads((tmp_path / "board" / "submissions" / f"{NAME}.provenance.json").read_text())
    assert found["image_digests"] == {"green-agent": "ghcr.io/example/green@sha256:1"}
    assert found["timestamp"] == "2026-01-31T23:36:00Z"
    assert found["github_actions"]["ref"] == "refs/heads/main"
    assert found["assay"]["versions"] == {"assay": "0.1.0"}
    assert found["assay"]["plan"]["digest"] == make_plan().digest
    assert "trials" not in found["assay"]["plan"]


def test_the_same_run_is_packed_to_the_same_bytes_and_another_one_of_this_name_is_refused(
    results: Path, tmp_path: Path
) -> None:
    board = tmp_path / "board"
    pack("latest", "-o", board, "--results-dir", results)
    before = written(board)

    again = pack("latest", "-o", board, "--results-dir", results)
    (board / "results" / f"{NAME}.json").write_text("{}")
    refused = pack("latest", "-o", board, "--results-dir", results)

    assert (again.exit_code, refused.exit_code) == (0, 1)
    assert f"{NAME}.json; move it away" in refused.stderr
    assert written(board) == before | {f"results/{NAME}.json": "{}"}


def test_a_merged_file_is_packed_with_a_scenario_that_asks_for_no_single_shard(tmp_path: Path) -> None:
    files = [tmp_path / f"{index}.json" for index in (0, 1)]
    for index, file in enumerate(files):
        file.write_text(json.dumps(document(shard_of(whole_plan(), index, 2))))
    merged, scenario = tmp_path / "merged.json", tmp_path / "scenario.toml"
    scenario.write_text(tomli_w.dumps(TABLES))
    CliRunner().invoke(main, ["merge", *map(str, files), "-o", str(merged)])

    done = pack(merged, "-o", tmp_path / "board", "--scenario", scenario, "--json")

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["name"] == "jane-doe-20260101-000001"
    packed = written(tmp_path / "board")
    submitted = tomli.loads(packed["submissions/jane-doe-20260101-000001.toml"])
    assert submitted["config"] == {"num_tasks": "10", "datasets": ["options"]}
    assert json.loads(packed["results/jane-doe-20260101-000001.json"]) == json.loads(merged.read_text())
    record = json.loads(packed["submissions/jane-doe-20260101-000001.provenance.json"])["assay"]
    assert [shard["run_id"] for shard in record["shards"]] == ["run-0", "run-1"]


def test_the_platforms_provenance_beside_a_results_file_is_kept_as_it_is(tmp_path: Path) -> None:
    file, scenario = tmp_path / "results" / "n.json", tmp_path / "scenario.toml"
    file.parent.mkdir()
    file.write_text(json.dumps(document(whole_plan())))
    scenario.write_text(tomli_w.dumps(TABLES))
    platform = {
        "image_digests": {"purple_agent": "ghcr.io/example/purple@sha256:2"},
        "timestamp": "2026-03-04T05:06:07Z",
        "manifest_digests": {"green": "sha256:3"},
    }
    (tmp_path / "submissions").mkdir()
    (tmp_path / "submissions" / "n-provenance.json").write_text(json.dumps(platform))

    done = pack(file, "-o", tmp_path / "board", "--scenario", scenario)

    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "board" / "submissions").glob("*provenance.json")
    assert path.name == "jane-doe-20260304-050607.provenance.json"
    found = json.loads(path.read_text())
    assert {name: found[name] for name in platform} == platform
    assert found["assay"]["run_id"] == "run-0"


def test_a_results_file_of_a_stored_run_takes_its_scenario_from_the_journal(results: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    CliRunner().invoke(main, ["report", "--results-dir", str(results), "-o", str(file)])

    done = pack(file, "-o", tmp_path / "board", "--results-dir", results)
    elsewhere = pack(file, "-o", tmp_path / "board", "--results-dir", tmp_path / "none")

    assert done.exit_code == 0, done.output
    assert elsewhere.exit_code == 2
    assert "its run is not in the journal here, so its scenario is unknown: give --scenario FILE" in elsewhere.stderr


def test_a_run_that_has_not_ended_is_not_packed(results: Path, tmp_path: Path) -> None:
    with closing(Journal.open(results)) as journal:
        journal.finish("20260101-000000-test-0000", RunStatus.RUNNING)

    done = pack("latest", "-o", tmp_path / "board", "--results-dir", results)

    assert (done.exit_code, written(tmp_path / "board")) == (1, {})
    assert "has not ended: wait for it, or if its runner was killed, `assay resume" in done.stderr


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        ("{", 1, "not JSON"),
        ("{}", 1, "no results file"),
        ('{"results": [{}, {}]}', 1, "holds 2 results: make one of them by `assay merge`"),
    ],
)
def test_a_file_that_is_no_result_is_refused_by_name(tmp_path: Path, content: str, code: int, reason: str) -> None:
    file = tmp_path / "out.json"
    file.write_text(content)

    done = pack(file, "-o", tmp_path / "board", "--results-dir", tmp_path / "none")

    assert done.exit_code == code
    assert f"{file}: {reason}" in done.stderr


def test_agents_that_nobody_else_could_run_are_all_named() -> None:
    tables: dict[str, Any] = {
        "green_agent": {"endpoint": "http://127.0.0.1:1", "cmd": "green"},
        "participants": [{"role": "purple", "endpoint": "http://127.0.0.1:2"}],
    }

    with pytest.raises(ScenarioError) as caught:
        leaderboard_tables(parse_scenario(tables, name="test").storable())

    assert [fault.split(":")[0] for fault in caught.value.faults] == ["green", "purple"]
    assert "ran from an endpoint; add its agentbeats_id" in caught.value.faults[1]


@pytest.mark.parametrize("stored", [True, False])
def test_secrets_outside_env_are_refused_with_their_places(tmp_path: Path, *, stored: bool) -> None:
    green = {"image": "ghcr.io/example/green:1", "args": ["--db", "postgres://me:hidden@db/x", "--api-key=hidden"]}
    purple = IMAGE | {"args": ["--token", "hidden", "--show-key", "--key-file", "a"]}
    config = {"num_tasks": 2, "x_note": f"use {TOKEN}", "x_token": "hidden"}
    tables = {"green_agent": green, "participants": [purple], "config": config}
    store(tmp_path / "results", run_of(tables))
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(tomli_w.dumps(tables))

    named = () if stored else ("--scenario", scenario)
    done = pack("latest", "-o", tmp_path / "board", "--results-dir", tmp_path / "results", *named)

    assert done.exit_code == 2
    told = [line.removeprefix("assay: ").partition(" holds a secret")[0] for line in done.stderr.splitlines() if line]
    assert told == ["green: args[1]", "green: args[2]", "purple_agent: args[1]", "config.x_note", "config.x_token"]
    assert "hidden" not in done.stderr
    assert written(tmp_path / "board") == {}


def test_two_runs_of_one_second_become_two_submissions(results: Path, tmp_path: Path) -> None:
    other = run_of()
    store(results, other.model_copy(update={"id": "20260101-000000-test-0001"}))
    first, second = ("20260101-000000-test-0000", "20260101-000000-test-0001")

    done = [pack(run, "-o", tmp_path / "board", "--results-dir", results) for run in (first, second, second, first)]

    names = [one.stdout.splitlines()[0].rpartition("/")[2] for one in done]
    later = NAME.replace("233543", "233544")
    assert names == [f"{NAME}.toml", f"{later}.toml", f"{later}.toml", f"{NAME}.toml"]
    assert len(written(tmp_path / "board")) == 6


@pytest.mark.parametrize(
    ("given", "variable", "owner"), [("a", "b", "a"), (None, "b", "b"), ("x" * 39, None, "x" * 39)]
)
def test_the_owner_is_what_was_given_then_the_workflows(given: str | None, variable: str | None, owner: str) -> None:
    assert owner_of(given, {} if variable is None else {"GITHUB_REPOSITORY_OWNER": variable}) == owner


def test_the_owner_can_come_from_gits_configuration(results: Path, tmp_path: Path) -> None:
    git: dict[str, str | None] = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "github.user",
        "GIT_CONFIG_VALUE_0": "jane-doe",
    }
    git |= {"GITHUB_REPOSITORY_OWNER": ""}

    done = pack("latest", "-o", tmp_path / "board", "--results-dir", results, owner=None, env=git)

    assert done.exit_code == 0, done.output
    assert f"submissions/{NAME}.toml" in written(tmp_path / "board")


def test_a_run_of_an_amber_scenario_is_packed_as_json5(results: Path, tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(tomli_w.dumps(TABLES | {"participants": [IMAGE]}))
    amber = CliRunner().invoke(main, ["scenario", "amber", str(scenario), "-o", str(tmp_path / "amber")])
    assert amber.exit_code == 0, amber.output

    made = tmp_path / "amber" / "scenario.json5"
    done = pack("latest", "-o", tmp_path / "board", "--results-dir", results, "--scenario", made)

    assert done.exit_code == 0, done.output
    files = written(tmp_path / "board")
    assert list(files) == [f"results/{NAME}.json", f"submissions/{NAME}-provenance.json", f"submissions/{NAME}.json5"]
    assert json.loads(files[f"submissions/{NAME}.json5"]) == json.loads(made.read_text())


def test_a_name_of_git_in_another_encoding_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gitconfig").write_bytes(b'[github]\n\tuser = "J\xe9r\xf4me"\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ScenarioError, match=r"git config github.user\): letters, digits"):
        owner_of(None, {})


@pytest.mark.parametrize("owner", ["", "../up", "a b", "-a", "a-", "x" * 40, "a/b", "ä"])
def test_an_owner_that_is_no_account_is_refused(owner: str) -> None:
    with pytest.raises(ScenarioError, match="letters, digits and - inside, at most 39"):
        owner_of(owner, {})
