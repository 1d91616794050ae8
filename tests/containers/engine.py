"""Calls the Docker command line, and says why container tests cannot run here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
PYTHON_IMAGE: Final = os.environ.get("PYTHON_IMAGE") or "python:3.12-slim"
TAG: Final = "test"
SERVICES: Final = {
    "assay-green": "services/green_agent",
    "assay-purple": "services/purple_agent",
    "assay-inference": "services/inference",
    "assay-runner": "services/runner",
    "assay-sandbox": "services/green_agent/sandbox",
}
"""Image and the folder of its Dockerfile."""


class CommandError(AssertionError):
    """A command that had to succeed did not; the text holds its output."""


def run(*command: str, env: Mapping[str, str] | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository's root. Raises CommandError with the output, unless `check` is off."""
    environment = {**os.environ, **(env or {})}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1500)
    if check and ran.returncode:
        raise CommandError(f"{' '.join(command)}: exit {ran.returncode}\n{ran.stdout[-4000:]}\n{ran.stderr[-4000:]}")
    return ran


def no_engine() -> str | None:
    """Why no engine answers, or None when one does. The library for Python would leave a socket open to find out."""
    if shutil.which("docker") is None:
        return "no docker command on PATH"
    return "no Docker engine answers" if run("docker", "info", check=False).returncode else None


def why_not() -> str | None:
    """Why no container can be built here, or None when it can."""
    if (silent := no_engine()) is not None:
        return silent
    if run("docker", "compose", "version", check=False).returncode:
        return "docker has no compose plugin"
    known = run("docker", "image", "inspect", PYTHON_IMAGE, check=False).returncode == 0
    if not known and run("docker", "pull", "--quiet", PYTHON_IMAGE, check=False).returncode:
        return f"the base image {PYTHON_IMAGE} is neither here nor can be pulled; name one in PYTHON_IMAGE"
    return None


def inspect(image: str) -> dict[str, Any]:
    """The configuration of an image, as Docker prints it."""
    config: dict[str, Any] = json.loads(run("docker", "image", "inspect", f"{image}:{TAG}").stdout)[0]["Config"]
    return config


def in_image(image: str, *command: str, options: Sequence[str] = ()) -> str:
    """Output of a command run in a fresh container of an image, without network."""
    name, *arguments = command
    fixed = ("--rm", "--network", "none", "--entrypoint", name)
    return run("docker", "run", *fixed, *options, f"{image}:{TAG}", *arguments).stdout.strip()


def await_health(container: str, *, within_s: float) -> str:
    """The container's health once it is decided: healthy, unhealthy or exited; `starting` when time is up."""
    until = time.monotonic() + within_s
    state = "starting"
    while state == "starting" and time.monotonic() < until:
        shown = run("docker", "inspect", "--format", "{{.State.Status}} {{.State.Health.Status}}", container).stdout
        status, health = shown.split()
        state = health if status == "running" else status
        time.sleep(0.2)
    return state


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """The compose project of this repository under a name and a results folder of its own."""

    name: str
    results: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `docker compose` with the test's images."""
        own = {"PYTHON_IMAGE": PYTHON_IMAGE, "ASSAY_TAG": TAG, "RESULTS_DIR": str(self.results)}
        return run("docker", "compose", "-p", self.name, *arguments, env=own | dict(self.variables), check=check)

    def address(self, service: str, network: str) -> str:
        """IPv4 address of a service on one of the networks."""
        container = self.compose("ps", "--quiet", service).stdout.strip()
        template = f'{{{{(index .NetworkSettings.Networks "{self.name}_{network}").IPAddress}}}}'
        return run("docker", "inspect", "--format", template, container).stdout.strip()

    def answers(self, service: str, url: str) -> bool:
        """True when the address answers HTTP at all to a request from inside a service."""
        curl = ("curl", "-s", "-o", "/dev/null", "--max-time", "2", url)
        return self.compose("exec", "--no-TTY", service, *curl, check=False).returncode == 0

    def networks(self, service: str) -> list[dict[str, Any]]:
        """The networks a service is on, as the engine describes them."""
        container = self.compose("ps", "--quiet", service).stdout.strip()
        (found,) = json.loads(run("docker", "inspect", container).stdout)
        names = list(found["NetworkSettings"]["Networks"])
        described: list[dict[str, Any]] = json.loads(run("docker", "network", "inspect", *names).stdout)
        return described
