"""The template of a leaderboard: its files are those our commands write, and its workflow runs to a submission."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tomli
import tomli_w

from services.runner.scenario.amber import read_amber
from tests.support.engine import running_engine
from tests.support.processes import BIN, service
from tests.templates.purple_process import TEMPLATES, purple_template
from tests.templates.workflows import Runner, global_env

LEADERBOARD = TEMPLATES / "leaderboard"
WORKFLOW = LEADERBOARD / ".github/workflows/run-scenario.yml"
GREEN_ID = "11111111-1111-4111-8111-111111111111"
PURPLE_ID = "22222222-2222-4222-8222-222222222222"
KEY = "made-up-key"


def command(folder: Path, *arguments: str) -> str:
    ran = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, f"{arguments}: {ran.stdout}\n{ran.stderr}"
    return ran.stdout


def assay(folder: Path, *arguments: str) -> str:
    return command(folder, str(BIN / "assay"), *arguments)


def test_the_manifests_are_what_the_command_of_the_readme_writes(tmp_path: Path) -> None:
    readme = (LEADERBOARD / "README.md").read_text()
    (line,) = [line for line in readme.splitlines() if "assay scenario amber" in line]

    shutil.copytree(LEADERBOARD, tmp_path, dirs_exist_ok=True)
    written = command(tmp_path, "bash", "-c", line.strip().removeprefix("$ ").replace("assay", str(BIN / "assay"), 1))

    assert written.split() == ["scenario.json5", "green.json5", "purple_agent.json5"]
    for name in written.split():
        assert (tmp_path / name).read_bytes() == (LEADERBOARD / name).read_bytes()


def test_the_manifests_are_right() -> None:
    scenario = read_amber(LEADERBOARD / "scenario.json5")

    assert scenario.warnings == ()
    assert [agent.agentbeats_id for agent in scenario.agents] == [GREEN_ID, PURPLE_ID]


def test_the_queries_are_those_of_this_version(tmp_path: Path) -> None:
    assert json.loads((LEADERBOARD / "leaderboard.json").read_text()) == json.loads(
        assay(tmp_path, "leaderboard", "queries")
    )


def machine(folder: Path, **inputs: str) -> Runner:
    """A checkout of a branch of a repository that began as the template."""
    origin, work = folder / "origin.git", folder / "work"
    shutil.copytree(LEADERBOARD, work)
    command(folder, "git", "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    for arguments in (
        ("init", "--quiet", "--initial-branch=main"),
        ("config", "user.name", "owner"),
        ("config", "user.email", "owner@example.org"),
        ("add", "."),
        ("commit", "--quiet", "--message", "the template"),
        ("remote", "add", "origin", str(origin)),
        ("push", "--quiet", "origin", "main"),
        ("switch", "--quiet", "--create", "my-agent"),
    ):
        command(work, "git", *arguments)
    github = {
        "GITHUB_REPOSITORY_OWNER": "octo-cat",
        "GITHUB_REPOSITORY": "octo-cat/leaderboard",
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_RUN_ID": "77",
        "GITHUB_ACTIONS": "true",
    }
    env = global_env(WORKFLOW, **{"SHARDS": "1", "INSTANCES": "", **inputs})
    return Runner(checkout=work, workflow=WORKFLOW, env=env | github, values={"secrets.OPENAI_API_KEY": KEY})


def test_a_scenario_is_checked_with_the_secrets_it_names(tmp_path: Path) -> None:
    runner = machine(tmp_path)

    assert "scenario.toml: right" in runner.right("check", "Check the scenario")

    without = replace(runner, values={"secrets.OPENAI_API_KEY": ""}).run("check", "Check the scenario")
    assert without.returncode == 2
    assert "OPENAI_API_KEY" in without.stderr


@pytest.mark.parametrize(
    ("given", "indices"), [("1", "[0]"), ("3", "[0,1,2]"), ("20", f"{list(range(20))}".replace(" ", ""))]
)
def test_shards_are_listed_for_the_matrix(tmp_path: Path, given: str, indices: str) -> None:
    runner = machine(tmp_path, SHARDS=given)

    runner.right("check", "List the shards")

    assert runner.outputs() == {"indices": indices}


@pytest.mark.parametrize(
    "inputs",
    [{"SHARDS": "0"}, {"SHARDS": "21"}, {"SHARDS": "2; touch taken"}, {"SHARDS": "$(touch taken)"}, {"INSTANCES": "x"}],
    ids=str,
)
def test_a_wrong_or_hostile_input_is_refused_and_never_run(tmp_path: Path, inputs: dict[str, str]) -> None:
    runner = machine(tmp_path, **inputs)

    ran = runner.run("check", "List the shards")

    assert ran.returncode == 1
    assert next(iter(inputs.values())) in ran.stderr
    assert not (runner.checkout / "taken").exists()


@dataclass(frozen=True, kw_only=True, slots=True)
class Agents:
    """Running agents that stand in the place of the containers."""

    green: str
    purple: str

    def assess(self, folder: Path) -> None:
        """Ask what the compose file of a shard would have asked, and leave what it would have left."""
        config = tomli.loads((folder / "a2a-scenario.toml").read_text())["config"]
        local = {
            "green_agent": {"endpoint": self.green, "agentbeats_id": GREEN_ID},
            "participants": [{"role": "purple_agent", "endpoint": self.purple, "agentbeats_id": PURPLE_ID}],
            "config": config,
        }
        (folder / "local.toml").write_text(tomli_w.dumps(local))
        assay(folder, "run", "local.toml", "output/results.json", "--no-doctor")
        digests = {"green-agent": "ghcr.io/your-org/assay-green@sha256:" + "1" * 64}
        provenance = {"image_digests": digests, "timestamp": "2026-03-01T12:00:00Z"}
        (folder / "output/results.provenance.json").write_text(json.dumps(provenance))


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    with running_engine() as engine, service(("green-agent", "serve", "--eval-config", "offline")) as green:
        model = {"OPENAI_BASE_URL": engine.url, "OPENAI_API_KEY": "EMPTY", "LLM_MODEL": "reference"}
        with purple_template(model) as purple:
            yield Agents(green=green.url, purple=purple.url)


@pytest.fixture(scope="module")
def assessed(agents: Agents, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Both shards of an assessment of five tasks, as the jobs leave them to the last one."""
    runner = machine(tmp_path_factory.mktemp("leaderboard"), SHARDS="2", INSTANCES="5")
    for index in ("0", "1"):
        runner.right("assess", "Write the shard", INDEX=index)
        agents.assess(runner.checkout / "shard")
        kept = runner.checkout / "shards" / f"shard-{index}"
        kept.mkdir(parents=True)
        for name in ("results.json", "results.provenance.json"):
            shutil.move(runner.checkout / "shard/output" / name, kept / name)
    return runner


def committed(runner: Runner) -> dict[str, Any]:
    """Texts that the pushed branch adds to main, by path."""
    origin = runner.checkout.parent / "origin.git"
    branch = f"submission/{runner.outputs()['name']}"
    names = command(origin, "git", "diff", "--name-only", "--diff-filter=A", f"main...{branch}").split()
    return {name: command(origin, "git", "show", f"{branch}:{name}") for name in names}


def submit(runner: Runner) -> None:
    runner.right("submit", "Merge the shards")
    runner.right("submit", "Pack the submission")
    named = replace(runner, values={"steps.pack.outputs.name": runner.outputs()["name"]})
    named.right("submit", "Commit it to a branch")
    named.right("submit", "Say where it is")


def test_the_shards_become_one_submission_on_a_branch_of_its_own(assessed: Runner) -> None:
    submit(assessed)

    name = assessed.outputs()["name"]
    added = committed(assessed)
    result = json.loads(added[f"results/{name}.json"])
    provenance = json.loads(added[f"submissions/{name}.provenance.json"])
    assert name == "octo-cat-20260301-120000"
    assert sorted(added) == sorted(
        [f"results/{name}.json", f"submissions/{name}.provenance.json", f"submissions/{name}.toml"]
    )
    assert tomli.loads(added[f"submissions/{name}.toml"]) == tomli.loads((LEADERBOARD / "scenario.toml").read_text())
    assert [row["outcome"] for row in result["results"][0]["results"]] == ["scored"] * 5
    assert result["participants"] == {"purple_agent": PURPLE_ID}
    assert provenance["image_digests"] == {"green-agent": "ghcr.io/your-org/assay-green@sha256:" + "1" * 64}
    assert provenance["github_actions"]["repository_url"] == "https://github.example/octo-cat/leaderboard"
    assert KEY not in str(added)
    assert f"compare/main...submission/{name}?expand=1" in assessed.summary()


def test_a_lost_shard_leaves_an_incomplete_submission_and_not_none(assessed: Runner, tmp_path: Path) -> None:
    other = machine(tmp_path, SHARDS="2", INSTANCES="5")
    shutil.copytree(assessed.checkout / "shards/shard-1", other.checkout / "shards/shard-1")

    submit(other)

    (result,) = json.loads(committed(other)[f"results/{other.outputs()['name']}.json"])["results"]
    assert result["evaluation_metadata"]["complete"] is False
    assert (len(result["results"]), result["evaluation_metadata"]["shards_missing"]) == (2, [0])
    assert result["overall_score"]["lower"] < result["overall_score"]["upper"]
