"""The whole stack: who reaches whom, and an assessment from build to results."""

from __future__ import annotations

import functools
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containers.engine import PYTHON_IMAGE, TAG, Stack, run

CARD = ".well-known/agent-card.json"


def results(stack: Stack) -> dict[str, Any]:
    """The one result object a run has written."""
    (written,) = json.loads((stack.results / "results.json").read_text())["results"]
    assert isinstance(written, dict)
    return written


def gateway(network: str) -> str:
    """Address of a network's gateway, the host's own unless the network withholds it."""
    template = "{{range .IPAM.Config}}{{.Gateway}}{{end}}"
    return run("docker", "network", "inspect", "--format", template, network).stdout.strip()


def test_what_must_be_reached_is_reached(stack: Stack) -> None:
    assert stack.answers("green", f"http://purple.arena:9009/{CARD}")
    assert stack.answers("purple", "http://inference.models:8000/health")


@pytest.mark.parametrize(
    ("start", "target", "network", "port"),
    [
        ("purple", "green", "control", 9009),
        ("purple", "green", "arena", 9009),
        ("inference", "purple", "arena", 9009),
        ("inference", "purple", "models", 9009),
        ("inference", "green", "control", 9009),
        ("green", "inference", "models", 8000),
    ],
)
def test_a_service_is_not_reached_where_it_has_no_business(
    stack: Stack, start: str, target: str, network: str, port: int
) -> None:
    assert not stack.answers(start, f"http://{stack.address(target, network)}:{port}/")


@pytest.mark.parametrize("start", ["purple", "inference", "green"])
def test_no_service_is_on_a_network_with_a_road_out(stack: Stack, start: str) -> None:
    networks = stack.networks(start)

    assert networks
    assert [network["Name"] for network in networks if not network["Internal"]] == []


@pytest.fixture
def host_port() -> Iterator[int]:
    """A web server of the host, on all of its addresses."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=os.devnull)
    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def open_network(images: None) -> Iterator[str]:
    """An ordinary network, from which the host is reached."""
    run("docker", "network", "create", "assay-test-open")
    yield "assay-test-open"
    run("docker", "network", "rm", "assay-test-open")


def test_purple_does_not_reach_services_of_the_host(stack: Stack, host_port: int, open_network: str) -> None:
    outside = f"http://{gateway(open_network)}:{host_port}/"
    curl = ("curl", f"assay-purple:{TAG}", "-s", "-o", "/dev/null", "--max-time", "2", outside)
    if run("docker", "run", "--rm", "--network", open_network, "--entrypoint", *curl, check=False).returncode:
        pytest.skip("the host is out of reach even for a container on an ordinary network")
    inside = [f"http://{gateway(f'{stack.name}_{network}')}:{host_port}/" for network in ("arena", "models")]

    assert not [url for url in [outside, *inside] if stack.answers("purple", url)]


def test_the_sandbox_has_no_network_but_loopback(stack: Stack) -> None:
    assert stack.compose("exec", "--no-TTY", "sandbox", "ls", "/sys/class/net").stdout.split() == ["lo"]


def test_a_whole_assessment_ends_complete_with_every_trial_accounted_for(stack: Stack) -> None:
    stack.compose("up", "--exit-code-from", "runner", "runner")

    result = results(stack)
    outcomes = {(row["benchmark"], row["outcome"]) for row in result["results"]}
    assert len(result["results"]) == result["evaluation_metadata"]["num_tasks"] == 24
    assert outcomes == {(name, "scored") for name in ("crypto", "humaneval", "options", "synthetic")}
    assert result["overall_score"]["coverage"] == 1.0
    assert result["evaluation_metadata"]["sandbox"]["isolated"] is True


def test_results_belong_to_the_owner_of_the_folder(stack: Stack) -> None:
    owner = stack.results.stat().st_uid
    written = [path for path in stack.results.rglob("*") if path.exists()]

    assert (stack.results / "results.json").is_file()
    assert {path.stat().st_uid for path in written} == {owner}


def test_results_belong_to_an_owner_who_is_not_root(images: None, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 4321, 4321)
    command = ("--entrypoint", "as-owner", f"assay-runner:{TAG}", "/results", "sh", "-c", "id -u; touch /results/made")
    limits = ("--rm", "--user", "0:0", "--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "SETGID")

    printed = run("docker", "run", *limits, "--volume", f"{folder}:/results", *command).stdout.strip()

    assert printed == str(folder.stat().st_uid)
    assert (folder / "made").stat().st_uid == folder.stat().st_uid


def test_another_agent_is_examined_by_naming_its_image(images: None, tmp_path: Path) -> None:
    dockerfile = f'FROM assay-purple:{TAG}\nENTRYPOINT ["purple-agent", "serve", "--baseline", "constant"]\n'
    (tmp_path / "Dockerfile").write_text(dockerfile)
    run("docker", "build", "--quiet", "--tag", "assay-swapped:test", str(tmp_path))
    before = run("docker", "image", "inspect", "--format", "{{.Id}}", "assay-swapped:test").stdout
    folder = tmp_path / "results"
    folder.mkdir()
    stack = Stack(
        name="assay-swap",
        results=folder,
        variables={"PURPLE_IMAGE": "assay-swapped:test", "EVAL_NUM_TASKS": "4", "PYTHON_IMAGE": PYTHON_IMAGE},
    )

    try:
        stack.compose("up", "--exit-code-from", "runner")
    finally:
        stack.compose("down", "--volumes", "--timeout", "2")

    result = results(stack)
    assert "constant" in result["evaluation_metadata"]["purple_agent"]["name"]
    assert len(result["results"]) == 4
    assert run("docker", "image", "inspect", "--format", "{{.Id}}", "assay-swapped:test").stdout == before
