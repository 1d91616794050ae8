import json
import os
import subprocess
from pathlib import Path

import pytest

from services.runner.failures import ScenarioError
from services.runner.scenario import read_scenario
from tests.runner.scenario.files import BY_ID, LEADERBOARD, MINIMAL, PURPLE_ID
from tests.runner.scenario_amber.manifests import AGENT, ROOT
from tests.runner.support.processes import ASSAY

NAMES = ("EVAL_DATA_PAT", "EVAL_DATA_REPO", "OPENAI_API_KEY", "OPENROUTER_API_KEY", "TAVILY_API_KEY")


def check(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | variables
    return subprocess.run(
        [ASSAY, "scenario", "check", *map(str, arguments)], capture_output=True, text=True, check=False, env=environment
    )


def test_the_guides_scenario_is_right_once_its_variables_are_there_and_no_value_is_shown(tmp_path: Path) -> None:
    variables = tmp_path / "settings"
    variables.write_text("EVAL_DATA_PAT=first-secret\nEVAL_DATA_REPO=maker/data\nOPENAI_API_KEY=second-secret\n")

    done = check(LEADERBOARD, "--env-file", variables, OPENROUTER_API_KEY="third-secret")

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["green", "id"],
        ["purple_agent", "id"],
        ["EVAL_DATA_PAT", "set"],
        ["EVAL_DATA_REPO", "set"],
        ["OPENAI_API_KEY", "set"],
        ["OPENROUTER_API_KEY", "set"],
        ["TAVILY_API_KEY", "default"],
        [f"{LEADERBOARD}:", "right"],
    ]
    assert f"{PURPLE_ID}: its image is looked up when the scenario runs" in done.stdout
    assert "secret" not in done.stdout


def test_variables_that_are_missing_end_with_exit_2_and_their_names() -> None:
    done = check(LEADERBOARD, EVAL_DATA_PAT="x", OPENAI_API_KEY="")

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"assay: {LEADERBOARD}: variable EVAL_DATA_REPO is not set (green)",
        f"{LEADERBOARD}: variable OPENAI_API_KEY is not set (green)",
        f"{LEADERBOARD}: variable OPENROUTER_API_KEY is not set (purple_agent)",
    ]
    assert "right" not in done.stdout


def test_json_says_the_same_and_the_table_of_images_counts(tmp_path: Path) -> None:
    scenario, images = tmp_path / "scenario.toml", tmp_path / "images.toml"
    scenario.write_text(BY_ID + 'env = { A_KEY = "a-literal-key", B = "${B:-x}" }\n[config]\nx_note = "${B}"\n')
    images.write_text(f'"{PURPLE_ID}" = "ghcr.io/maker/purple:2"\n')

    done = check(scenario, "--json", "--resolve", images)
    offline = check(scenario, "--json", "--resolve", images, "--offline")

    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"], told["faults"]) == (0, True, [])
    assert told["path"] == str(scenario)
    assert [(agent["role"], agent["kind"], agent["image"]) for agent in told["agents"]] == [
        ("green", "id", None),
        ("purple", "id", "ghcr.io/maker/purple:2"),
    ]
    assert told["variables"] == [
        {"name": "B", "needed": False, "secret": False, "is_set": False, "used_by": ["purple"]}
    ]
    assert told["warnings"] == [
        "purple: env A_KEY holds a secret: write ${A_KEY} and set A_KEY in .env",
        "config.x_note: ${...} is resolved in env only; here it is passed on as it is written",
    ]
    assert offline.returncode == 2
    assert [fault.partition(":")[0] for fault in json.loads(offline.stdout)["faults"]] == ["green"]


def test_the_config_of_another_green_is_refused_with_the_way_out(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(MINIMAL + '[config]\ntopic = "regulation"\n')

    refused, accepted = check(scenario), check(scenario, "--any-config")

    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.splitlines()[-1] == (
        "for a green agent that is not Assay's, --any-config passes [config] on as it is"
    )
    assert accepted.returncode == 0, accepted.stderr


def test_a_scenario_of_amber_manifests_is_told_apart_by_its_content(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.amber"
    scenario.write_text("// the root\n" + json.dumps(ROOT))
    (tmp_path / "agent.json5").write_text(json.dumps(AGENT))

    missing, there = check(scenario), check(scenario, "--json", AMBER_CONFIG_OPENAI_API_KEY="third-secret")
    idle = check(scenario, "--offline", "--allow-image")

    assert (missing.returncode, there.returncode) == (2, 0), there.stderr
    assert missing.stderr.splitlines()[-1].endswith(": variable AMBER_CONFIG_OPENAI_API_KEY is not set")
    told = json.loads(there.stdout)
    assert [(agent["role"], agent["kind"], agent["image"]) for agent in told["agents"]] == [
        ("examiner", "manifest", None),
        ("trader", "manifest", "registry.example:5000/team/trader:1.2"),
    ]
    assert [(one["name"], one["secret"], one["is_set"]) for one in told["variables"]] == [
        ("AMBER_CONFIG_OPENAI_API_KEY", True, True)
    ]
    assert idle.returncode == 2
    assert "--offline, --allow-image would have no effect on Amber manifests" in idle.stderr
    with pytest.raises(ScenarioError, match="an Amber scenario"):
        read_scenario(scenario)


@pytest.mark.parametrize("option", ["--env-file", "--resolve"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, option: str) -> None:
    done = check(LEADERBOARD, option, tmp_path / "absent")

    assert done.returncode == 2
    assert f"{tmp_path / 'absent'}: cannot be read" in done.stderr
