"""Model servers as containers: the launcher, the files that `inference compose` writes, and the router."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.inference.servers.registry import Registry
from tests.containers.engine import PYTHON_IMAGE, ROOT, TAG, in_image, run

pytestmark = pytest.mark.usefixtures("images")

INFERENCE = (sys.executable, "-c", "from services.inference.cli import main; main()")


def free_port() -> int:
    """A port that was free a moment ago; the launcher skips it should somebody take it meanwhile."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def inference(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*INFERENCE, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def environment() -> dict[str, str]:
    return {**os.environ, "ASSAY_TAG": TAG, "PYTHONPATH": str(ROOT)}


def left(folder: Path) -> list[str]:
    """Containers and networks of every project whose file lies in the folder."""
    projects = [file.stem for file in (folder / "logs" / "servers").glob("*.yaml")]
    assert projects
    wanted = [("--filter", f"label=com.docker.compose.project={project}") for project in projects]
    containers = [run("docker", "ps", "--all", "--quiet", *one).stdout for one in wanted]
    networks = [run("docker", "network", "ls", "--quiet", *one).stdout for one in wanted]
    return "".join(containers + networks).split()


def until_healthy(folder: Path) -> None:
    """Return once a container of the folder's project is healthy."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        projects = [file.stem for file in (folder / "logs" / "servers").glob("*.yaml")]
        filters = [part for project in projects for part in ("--filter", f"label=com.docker.compose.project={project}")]
        if filters and run("docker", "ps", "--quiet", "--filter", "health=healthy", *filters).stdout.strip():
            return
        time.sleep(0.1)
    raise AssertionError("no container became healthy")


@pytest.fixture
def clean(tmp_path: Path) -> Iterator[Path]:
    """A folder; whatever a failing test leaves of its projects is removed."""
    yield tmp_path
    for file in (tmp_path / "logs" / "servers").glob("*.yaml"):
        run("docker", "compose", "-p", file.stem, "down", "--timeout", "1", check=False)


def test_the_image_holds_the_presets() -> None:
    planned = in_image("assay-inference", "inference", "plan", "qwen3-32b", "--gpu", "h100-80")

    assert "TIGHT" in planned


def test_two_servers_start_answer_are_listed_and_are_stopped_one_by_one(clean: Path) -> None:
    options = ("--launcher", "compose", "--num-servers", "2", "--start-port", str(free_port()))
    started = inference(clean, "up", "reference", *options, "--json")
    assert started.returncode == 0, started.stderr
    first, second = json.loads(started.stdout)

    names = [httpx.get(f"{one['url']}/models").json()["data"][0]["id"] for one in (first, second)]
    listed = {line.job_id: line.status for line in Registry(clean / "services.txt").lines()}
    noted = Registry(clean / "services.txt").facts(first["id"])
    one_down = inference(clean, "down", first["id"])
    still = httpx.get(f"{second['url']}/models").status_code
    all_down = inference(clean, "down", "--all")

    assert names == ["reference", "reference"]
    assert listed == {first["id"]: "running", second["id"]: "running"}
    assert first["id"].startswith("compose-assay-reference-")
    assert noted is not None
    assert re.fullmatch(r"(assay-inference@)?sha256:[0-9a-f]{64}", noted.image or "")
    assert (one_down.returncode, still, all_down.returncode) == (0, 200, 0)
    assert {line.status for line in Registry(clean / "services.txt").lines()} == {"stopped"}
    assert left(clean) == []


def test_a_server_that_ends_at_its_start_is_shown_with_its_own_words_and_nothing_is_left(clean: Path) -> None:
    options = ("--launcher", "compose", "--start-port", str(free_port()), "--fault", "418")

    failed = inference(clean, "up", "reference", *options)

    assert failed.returncode == 1
    assert "ended at its start" in failed.stderr
    assert "418" in failed.stderr
    assert [line.status for line in Registry(clean / "services.txt").lines()] == ["stopped"]
    assert left(clean) == []


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_start_leaves_nothing(clean: Path, told: signal.Signals) -> None:
    # Its health is good, but it never answers, so the start waits.
    options = ("--launcher", "compose", "--start-port", str(free_port()), "--fault", "hang")
    with subprocess.Popen([*INFERENCE, "up", "reference", *options], cwd=clean, env=environment()) as starting:
        until_healthy(clean)

        starting.send_signal(told)

        assert starting.wait(timeout=60) == 130
    assert left(clean) == []
    assert [line.status for line in Registry(clean / "services.txt").lines()] == ["stopped"]


def test_without_its_image_the_remedy_is_named(clean: Path) -> None:
    options = ("--launcher", "compose", "--start-port", str(free_port()))
    env = environment() | {"ASSAY_TAG": "never-built"}

    failed = subprocess.run(
        [*INFERENCE, "up", "reference", *options], cwd=clean, env=env, capture_output=True, text=True, check=False
    )

    assert failed.returncode == 1
    assert "docker compose build inference" in failed.stderr
    assert left(clean) == []


def test_a_written_file_starts_servers_behind_one_published_address(clean: Path) -> None:
    build = ("--quiet", "--build-arg", f"PYTHON_IMAGE={PYTHON_IMAGE}", "--file", "services/inference/router/Dockerfile")
    run("docker", "build", *build, "--tag", f"assay-router:{TAG}", ".")
    port = free_port()
    file = clean / "logs" / "servers" / f"assay-written-{port}.yaml"
    address = f"127.0.0.1:{port}"
    options = ("--num-servers", "2", "--router", "--publish", address, "--output", str(file))
    written = inference(clean, "compose", "reference", *options)
    assert written.returncode == 0, written.stderr
    profiles = ("--profile", "reference", "--profile", "router")
    started = ("docker", "compose", "-p", file.stem, "-f", str(file), *profiles, "up", "--detach", "--wait")
    run(*started, env=environment())

    body = {"model": "reference", "messages": [{"role": "user", "content": "ping"}]}
    answer = httpx.post(f"http://{address}/v1/chat/completions", json=body, timeout=30)
    inside = run(
        "docker", "inspect", "--format", "{{json .NetworkSettings.Ports}}", f"{file.stem}-reference-0-1"
    ).stdout

    assert answer.json()["choices"][0]["message"]["content"] == "pong"
    assert [published for published in json.loads(inside).values() if published] == []
