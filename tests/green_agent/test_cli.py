"""The command line of green, as processes."""

import json
import subprocess
from pathlib import Path

import aiohttp
import pytest

from services.contract.assessment import ARTIFACT_PLAN, Plan
from services.contract.results import AssessmentResult
from tests.support.greens import assess
from tests.support.processes import BIN, service
from tests.support.purples import purple, replay

SUITE = """
name: mine
datasets:
  - {type: options, limit: 4, categories: [greeks-analysis]}
  - {type: crypto, on_missing: generate, limit: 9, scenarios: [crypto-g1-0000], generator: {count: 3}}
llm_eval: {enabled: true, model: a-judge, api_key: hunter2}
"""


def tasks(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "green-agent"), "tasks", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


def test_tasks_prints_strata_digests_notes_judge_and_shortfalls_and_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "eval.yaml").write_text(SUITE)

    done = tasks("--eval-config", "eval.yaml", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["    1  crypto / crypto", "    4  options / greeks-analysis"]
    assert "judge: a-judge; needed by no data set" in lines
    assert "short: crypto: asked for 9 tasks, there are 1" in lines
    assert any(line.startswith("data set options: sha256:") and "scorer options@" in line for line in lines)
    assert any(line.startswith('  crypto: {"generated": ') for line in lines)
    assert lines[-1].startswith("    5  trials of 5 tasks, suite mine, plan sha256:")
    assert "hunter2" not in done.stdout + done.stderr


def test_tasks_prints_the_whole_plan_as_json(tmp_path: Path) -> None:
    (tmp_path / "eval.yaml").write_text(SUITE)

    done = tasks("--eval-config", "eval.yaml", "--json", cwd=tmp_path)

    plan = Plan.model_validate_json(done.stdout)
    assert plan.num_tasks == 5
    assert plan.effective_config["judge.model"] == {"value": "a-judge", "source": "suite"}
    assert "hunter2" not in done.stdout


def test_what_is_logged_while_planning_never_stands_between_the_lines_of_the_plan(tmp_path: Path) -> None:
    (tmp_path / "eval.yaml").write_text(
        "name: t\non_dataset_error: skip\ndatasets: [{type: crypto, path: nowhere}, {type: options, limit: 2}]\n"
    )

    done = tasks("--eval-config", "eval.yaml", "--json", cwd=tmp_path)

    assert Plan.model_validate_json(done.stdout).num_tasks == 2
    assert "dataset_skipped" in done.stderr


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name: x\ndatasets: [{type: options, limits: 3}]\n", "eval.yaml:2 datasets[0].limits: unknown key"),
        ("name: x\ndatasets: [{type: crypto, path: nowhere}]\n", "datasets.crypto: "),
    ],
)
def test_what_cannot_be_planned_exits_with_2_and_says_why(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "eval.yaml").write_text(text)

    done = tasks("--eval-config", "eval.yaml", cwd=tmp_path)

    assert done.returncode == 2
    assert fault in done.stderr


def test_an_unknown_suite_is_answered_with_the_nearest(tmp_path: Path) -> None:
    done = tasks("--eval-config", "config/eval_mediums.yaml", cwd=tmp_path)

    assert done.returncode == 2
    assert "no suite 'config/eval_mediums.yaml'; did you mean 'medium'?" in done.stderr


async def test_flags_of_serve_beat_request_and_suite_and_cut_the_printed_rows(tmp_path: Path) -> None:
    (tmp_path / "eval.yaml").write_text(SUITE)
    flags = ["--no-eval-llm", "--eval-llm-temperature", "0.5", "--question-max-chars", "5", "--no-store-predicted"]
    command = ["green-agent", "serve", "--eval-config", str(tmp_path / "eval.yaml"), *flags]
    config = {"datasets": ["options"], "num_tasks": 1, "judge": {"model": "asked"}}

    with service(command) as green:
        async with purple(replay({})) as agent:
            plan = await assess(green.url, agent.url, {**config, "plan_only": True})
            seen = await assess(green.url, agent.url, config)

    effective = json.loads(plan.artifacts[ARTIFACT_PLAN][0])["effective_config"]
    assert effective["judge.enabled"] == {"value": False, "source": "command line"}
    assert effective["judge.temperature"] == {"value": 0.5, "source": "command line"}
    assert effective["judge.model"] == {"value": "asked", "source": "request"}
    result: AssessmentResult = seen.result
    assert result.results[0].question.endswith(" [...]")
    assert len(result.results[0].question) == 5 + len(" [...]")
    assert result.results[0].answer == ""


async def test_a_green_named_as_its_own_agent_under_test_is_rejected() -> None:
    with service(["green-agent", "serve"], env={"EVAL_CONFIG": ""}) as green:
        seen = await assess(green.url, green.url, {"datasets": ["options"], "num_tasks": 1})

    assert (seen.state, seen.rows, seen.artifacts) == ("rejected", [], {})
    assert seen.text == "participants.agent: a green agent; name the agent under test"


async def test_the_flags_of_other_guides_and_their_compose_files_are_taken() -> None:
    guide = ["--store-predicted", "--predicted-max-chars", "20", "--no-truncate-predicted", "--eval-llm-model", "m-1"]
    platform = ["--host", "0.0.0.0", "--card-url", "http://green-agent:9009", "--eval-config", "config/eval_all.yaml"]

    with service(["green-agent", "serve", *guide, *platform, "--no-eval-llm", "--debug"]) as green:
        async with aiohttp.ClientSession() as session, session.get(f"{green.url}.well-known/agent-card.json") as got:
            card = await got.json()
        # Nobody is asked, so the address is that of nobody.
        plan = await assess(green.url, "http://127.0.0.1:9/", {"datasets": ["crypto"], "plan_only": True})

    assert plan.state == "completed", plan.text
    assert card["url"] == "http://green-agent:9009/"
    effective = json.loads(plan.artifacts[ARTIFACT_PLAN][0])["effective_config"]
    assert effective["suite_asked_as"] == {"value": "eval_all.yaml", "source": "old name"}
    assert effective["judge.model"] == {"value": "m-1", "source": "command line"}


async def test_a_green_without_a_suite_of_its_own_plans_any_data_set(tmp_path: Path) -> None:
    with service(["green-agent", "serve"], env={"EVAL_CONFIG": ""}) as green:
        async with purple(replay({})) as agent:
            csv = await assess(green.url, agent.url, {"datasets": ["public_csv"], "plan_only": True})
            options = await assess(green.url, agent.url, {"datasets": ["options"], "plan_only": True})

    assert "public_csv has no default for path" in csv.text
    assert ARTIFACT_PLAN in options.artifacts
