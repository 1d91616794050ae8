import asyncio
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import httpx
import pytest
from docker.errors import ImageNotFound

from services.runner.failures import AgentStartError, ScenarioError
from services.runner.participants import StartOptions, start_agents
from services.runner.participants.container import ContainerHost, url_between
from services.runner.participants.networks import LABEL
from services.runner.scenario import parse_scenario
from tests.containers.engine import no_engine
from tests.runner.support.processes import ROOT, await_true

BASE = os.environ.get("ASSAY_TEST_BASE_IMAGE", "assay-ci-python:3.11")
IMAGE = "assay-test-agent:latest"
AGENT = """
import http.server, json, os, pathlib, sys, urllib.request
class Agent(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        here = {"name": os.environ.get("NAME", "container"), "version": "3", "description": " ".join(sys.argv[1:])}
        if self.path == "/facts":
            status = pathlib.Path("/proc/self/status").read_text()
            here = {"no_new_privileges": "NoNewPrivs:\\t1" in status}
        if self.path.startswith("/reach/"):
            here = {"status": urllib.request.urlopen(f"http://{self.path[7:]}:9009/", timeout=10).status}
        body = json.dumps(here).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
print("container agent starts", os.environ.get("A_TOKEN"), flush=True)
if os.environ.get("FAIL"):
    sys.exit(4)
http.server.ThreadingHTTPServer(("0.0.0.0", 9009), Agent).serve_forever()
"""
DOCKERFILE = f'FROM {BASE}\nCOPY agent.py /agent.py\nENTRYPOINT ["python3", "/agent.py"]\n'

pytestmark = [pytest.mark.docker, pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    if (silent := no_engine()) is not None:
        pytest.skip(silent)
    client = docker.from_env()
    try:
        client.images.get(BASE)
    except ImageNotFound:
        pytest.skip(f"no image {BASE}; name one with Python in ASSAY_TEST_BASE_IMAGE")
    files = {"Dockerfile": DOCKERFILE, "agent.py": AGENT}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    packed.seek(0)
    client.images.build(fileobj=packed, custom_context=True, tag=IMAGE, network_mode="none", rm=True, forcerm=True)
    yield client
    client.images.remove(IMAGE, force=True)
    client.close()


def options(folder: Path, run_id: str) -> StartOptions:
    return StartOptions(
        run_id=run_id,
        log_folder=folder / "logs",
        state_folder=folder,
        variables={**os.environ, "SECRET": "s3cret-value"},
    )


def left(engine: docker.DockerClient, run_id: str) -> int:
    chosen: dict[str, str | list[str] | bool] = {"label": f"{LABEL}={run_id}"}
    return len(engine.containers.list(all=True, filters=chosen)) + len(engine.networks.list(filters=chosen))


def scenario(**purple: object) -> dict[str, object]:
    return {
        "green_agent": {"image": IMAGE},
        "participants": [{"role": "purple", "image": IMAGE, **purple}],
    }


async def fetch(url: str) -> dict[str, object]:
    async with httpx.AsyncClient(trust_env=False) as client:
        return dict((await client.get(url)).json())


async def test_containers_start_know_each_other_and_leave_nothing_behind(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    run_id = f"t{os.getpid()}a"
    table = scenario(
        env={"NAME": "from env", "A_TOKEN": "${SECRET}"},
        args=["--extra", "1"],
        limits={"cpus": 0.5, "memory": "256m", "pids": 64},
    )

    async with start_agents(parse_scenario(table, name="t"), options(tmp_path, run_id)) as agents:
        purple = next(agent for agent in agents.started if agent.role == "purple")
        facts = await fetch(f"{purple.url}facts")
        reached = await fetch(f"{agents.green_url}reach/purple")
        (running,) = engine.containers.list(filters={"name": f"assay-{run_id}-purple"})
        bounds = running.attrs["HostConfig"]
        networks = list(running.attrs["NetworkSettings"]["Networks"])
        cards = dict(agents.cards)
        urls = dict(agents.participant_urls)

    assert cards["purple"].name == "from env"
    assert cards["purple"].description == "--host 0.0.0.0 --port 9009 --card-url http://purple:9009/ --extra 1"
    assert urls == {"purple": "http://purple:9009/"}
    assert facts == {"no_new_privileges": True}
    assert reached == {"status": 200}
    assert networks == [f"assay-{run_id}"]
    assert (bounds["NanoCpus"], bounds["Memory"], bounds["PidsLimit"]) == (500_000_000, 256 * 1024 * 1024, 64)
    assert purple.facts["image_id"].startswith("sha256:")
    assert (tmp_path / "logs" / "purple.log").read_text() == "container agent starts [redacted]\n"
    assert left(engine, run_id) == 0


async def test_a_container_that_ends_at_once_is_shown_with_its_log(engine: docker.DockerClient, tmp_path: Path) -> None:
    run_id = f"t{os.getpid()}b"

    with pytest.raises(AgentStartError) as caught:
        async with start_agents(parse_scenario(scenario(env={"FAIL": "1"}), name="t"), options(tmp_path, run_id)):
            pass

    assert "agent purple ended with exit code 4 before it answered" in str(caught.value)
    assert "container agent starts" in str(caught.value)
    assert left(engine, run_id) == 0


async def test_an_image_that_is_not_there_is_named(engine: docker.DockerClient, tmp_path: Path) -> None:
    run_id = f"t{os.getpid()}c"
    table = scenario()
    table["participants"] = [{"role": "purple", "image": "127.0.0.1:9/no-such:1"}]

    with pytest.raises(AgentStartError, match=r"agent purple: image 127\.0\.0\.1:9/no-such:1: "):
        async with start_agents(parse_scenario(table, name="t"), options(tmp_path, run_id)):
            pass

    assert left(engine, run_id) == 0


def test_containers_of_a_killed_runner_are_removed(engine: docker.DockerClient, tmp_path: Path) -> None:
    run_id = f"t{os.getpid()}d"
    code = f"""
import asyncio, json, os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from tests.runner.participants.test_container import options, scenario
from services.runner.participants import start_agents
from services.runner.scenario import parse_scenario
async def main():
    async with start_agents(parse_scenario(scenario(), name="t"), options(Path({str(tmp_path)!r}), {run_id!r})):
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)

    assert done.returncode == -9, done.stderr
    await_true(lambda: left(engine, run_id) == 0, what="the reaper removed everything")


def test_green_in_a_container_cannot_use_this_machines_loopback() -> None:
    with pytest.raises(
        ScenarioError, match=r"green runs in a container and cannot reach purple at http://127\.0\.0\.1:9/"
    ):
        url_between(green_in_container=True, agent_in_container=False, role="purple", url="http://127.0.0.1:9/")

    assert (
        url_between(green_in_container=True, agent_in_container=False, role="purple", url="http://10.0.0.1/")
        == "http://10.0.0.1/"
    )


async def test_networks_are_not_left_when_the_opening_is_cancelled(engine: docker.DockerClient) -> None:
    run_id = f"t{os.getpid()}f"
    opening = asyncio.create_task(ContainerHost.open(run_id))
    while left(engine, run_id) == 0:  # noqa: ASYNC110 - the engine sets no event
        await asyncio.sleep(0)

    opening.cancel()
    (ended,) = await asyncio.gather(opening, return_exceptions=True)
    if isinstance(ended, ContainerHost):  # it was quicker
        await ended.close()

    assert left(engine, run_id) == 0
