"""The templates as they are used: the purple image built and hardened, and the leaderboard's workflow running it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.containers.engine import PYTHON_IMAGE, TAG, await_health, run
from tests.templates.purple_process import PURPLE, TEMPLATES
from tests.templates.workflows import Runner, global_env

IMAGE = "assay-template-purple"
NAME = "assay-test-templates"
WORKFLOW = TEMPLATES / "leaderboard/.github/workflows/run-scenario.yml"


@pytest.fixture(scope="module")
def purple(images: None) -> str:
    """The template's image; its lock installs with hashes checked, or there is none."""
    run(
        "docker", "build", "--quiet", "--build-arg", f"PYTHON_IMAGE={PYTHON_IMAGE}", "-t", f"{IMAGE}:{TAG}", str(PURPLE)
    )
    return f"{IMAGE}:{TAG}"


@pytest.fixture
def hardened(purple: str) -> Iterator[str]:
    """A container of it with nothing to write to but /tmp and no right to anything."""
    limits = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none")
    run("docker", "run", "--detach", "--name", NAME, *limits, purple)
    try:
        yield NAME
    finally:
        run("docker", "rm", "--force", NAME)


def test_the_image_is_healthy_with_a_read_only_root_runs_as_nobody_and_stops_when_told(hardened: str) -> None:
    assert await_health(hardened, within_s=60) == "healthy"
    assert run("docker", "exec", hardened, "id", "-u").stdout.strip() == "10001"

    run("docker", "stop", "--timeout", "25", hardened)

    assert run("docker", "inspect", "--format", "{{.State.ExitCode}}", hardened).stdout.strip() == "0"


def test_the_image_holds_the_agent_and_nothing_of_its_repository(purple: str) -> None:
    listed = run("docker", "run", "--rm", "--network", "none", "--entrypoint", "ls", purple, "/app").stdout.split()

    assert set(listed) == {"__pycache__", "agent.py", "requirements.lock", "server.py"}


@pytest.fixture
def shard(purple: str, tmp_path: Path) -> Iterator[Runner]:
    """A checkout of the leaderboard with images of this machine and the engine that needs no key."""
    shutil.copytree(TEMPLATES / "leaderboard", tmp_path, dirs_exist_ok=True)
    (tmp_path / ".git").mkdir()
    scenario = tmp_path / "scenario.toml"
    kept = [
        line for line in scenario.read_text().splitlines() if "OPENAI_BASE_URL" not in line and "LLM_MODEL" not in line
    ]
    scenario.write_text(
        "\n".join(kept).replace('name = "purple_agent"', 'name = "purple_agent"\nmodel_endpoint = "reference"')
    )
    images = tmp_path / "images.toml"
    pinned = images.read_text()
    for published, here in (("assay-green:0.1.0", f"assay-green:{TAG}"), ("your-agent:0.1.0", purple)):
        pinned = pinned.replace(f"ghcr.io/your-org/{published}", here)
    images.write_text(pinned)
    inputs = {"SHARDS": "1", "INSTANCES": "3", "ASSAY_REGISTRY": "", "ASSAY_TAG": TAG, "INDEX": "0"}
    own = {"COMPOSE_PROJECT_NAME": NAME, "COMPOSE_FILE": "docker-compose.yml:names.yml"}
    runner = Runner(
        checkout=tmp_path,
        workflow=WORKFLOW,
        env=global_env(WORKFLOW) | inputs | own,
        values={"secrets.OPENAI_API_KEY": "made-up-key"},
    )
    runner.right("assess", "Write the shard")
    # Container names are the same in every project, and other tests run beside this one.
    services = yaml.safe_load((tmp_path / "shard/docker-compose.yml").read_text())["services"]
    lines = ["services:", *(f"  {json.dumps(service)}: {{container_name: !reset null}}" for service in services)]
    (tmp_path / "shard/names.yml").write_text("\n".join(lines) + "\n")
    try:
        yield runner
    finally:
        runner.right("assess", "Stop the agents")


def test_the_workflow_of_the_leaderboard_assesses_the_image(shard: Runner) -> None:
    shard.right("assess", "Run the assessment")
    shard.right("assess", "Record the images")

    output = shard.checkout / "shard/output"
    (result,) = json.loads((output / "results.json").read_text())["results"]
    provenance = json.loads((output / "results.provenance.json").read_text())
    assert [row["outcome"] for row in result["results"]] == ["scored"] * 3
    assert result["overall_score"]["coverage"] == 1.0
    assert provenance["image_digests"].keys() == {
        "green-agent",
        "purple_agent",
        "inference",
        "agentbeats-client",
    }
