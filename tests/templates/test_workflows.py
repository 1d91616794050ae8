"""The workflows of the templates, as text: what no reviewer should have to look for."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.templates.purple_process import TEMPLATES
from tests.templates.workflows import Step, steps

WORKFLOWS = sorted(TEMPLATES.glob("*/.github/workflows/*.yml"))
STEPS = [step for workflow in WORKFLOWS for step in steps(workflow)]


def name(step: Step) -> str:
    return f"{step.job}-{step.name or step.uses.partition('@')[0]}"


def test_both_templates_have_a_workflow() -> None:
    assert [path.name for path in WORKFLOWS] == ["run-scenario.yml", "publish.yml"]


@pytest.mark.parametrize("step", STEPS, ids=name)
def test_no_expression_becomes_shell_text_and_the_shell_can_read_it(step: Step) -> None:
    assert "${{" not in step.run
    assert subprocess.run(["bash", "-n", "-c", step.run], check=False, capture_output=True).stderr == b""


@pytest.mark.parametrize("step", [step for step in STEPS if step.uses], ids=name)
def test_actions_are_pinned_to_a_commit(step: Step) -> None:
    assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step.uses)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_secrets_are_named_one_by_one_and_reach_single_steps_only(workflow: Path) -> None:
    text = workflow.read_text()
    in_steps = [value for step in steps(workflow) for value in step.env.values() if "secrets." in value]

    assert "toJSON" not in text
    assert len(re.findall(r"secrets\.", text)) == len(in_steps)
    assert all(re.fullmatch(r"\$\{\{ secrets\.[A-Z_]+ \}\}", value) for value in in_steps)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_may_read_and_only_the_last_may_write(workflow: Path) -> None:
    document = yaml.safe_load(workflow.read_text())
    *others, _last = document["jobs"].values()

    assert document["permissions"] == {"contents": "read"}
    assert [job.get("permissions") for job in others] == [None] * len(others)
