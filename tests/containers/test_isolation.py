"""`--isolate`: what a purple in a container reaches, tried from inside; and a run of two of them as a user starts it."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from services.runner.participants import Agents, StartOptions, start_agents
from services.runner.participants.networks import LABEL
from services.runner.scenario import parse_scenario
from tests.containers.engine import TAG, run

pytestmark = [pytest.mark.usefixtures("images"), pytest.mark.filterwarnings("ignore::ResourceWarning")]

ASSAY = Path(sys.executable).with_name("assay")
GREEN, PURPLE = f"assay-green:{TAG}", f"assay-purple:{TAG}"
CONSTANT = ["--baseline", "constant"]


@contextmanager
def server_here(answer: bytes) -> Iterator[int]:
    """A port of this machine, on all its addresses, that answers every GET."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def address_here() -> str:
    """Where containers with a way out find this machine."""
    return run(
        "docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"
    ).stdout.strip()


def inspected(name: str) -> Any:
    return json.loads(run("docker", "inspect", name).stdout)[0]


def addresses(name: str) -> dict[str, str]:
    """Network of a container to its address there."""
    return {net: found["IPAddress"] for net, found in inspected(name)["NetworkSettings"]["Networks"].items()}


def gateways(name: str) -> list[str]:
    """Where this machine would be on the networks of a container."""
    return [found["Gateway"] for found in inspected(name)["NetworkSettings"]["Networks"].values() if found["Gateway"]]


ASKS = """
import json, sys, urllib.request
from concurrent.futures import ThreadPoolExecutor
def ask(way):
    proxies, url, patience = way
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    try:
        return opener.open(url, timeout=patience).read().decode()
    except OSError:
        return ""
ways = json.load(sys.stdin)
with ThreadPoolExecutor(len(ways)) as pool:
    print(json.dumps(dict(zip(ways, pool.map(ask, ways.values())))))
"""
"""Asks all at once, as each of them may take its whole time to fail."""


def way(url: str, *, patience_s: float = 30, proxy: str = "") -> tuple[dict[str, str], str, float]:
    """A request: by which proxy, where to, and for how long."""
    return ({"http": proxy} if proxy else {}), url, patience_s


def answers(name: str, ways: Mapping[str, tuple[dict[str, str], str, float]]) -> dict[str, str]:
    """What is answered to requests from inside a container; empty when nothing is."""
    done = subprocess.run(
        ["docker", "exec", "-i", name, "python", "-c", ASKS],
        input=json.dumps(ways), capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    said: dict[str, str] = json.loads(done.stdout)
    return said


def left(run_id: str) -> list[str]:
    kinds = (("container", "ls", "--all"), ("network", "ls"))
    return [
        line
        for kind in kinds
        for line in run("docker", *kind, "--quiet", "--filter", f"label={LABEL}={run_id}").stdout.split()
    ]


@asynccontextmanager
async def isolated(folder: Path, run_id: str, **purple: object) -> AsyncIterator[Agents]:
    table = {
        "green_agent": {"image": GREEN},
        "participants": [{"role": "agent", "image": PURPLE, "args": CONSTANT, **purple}],
    }
    options = StartOptions(
        run_id=run_id,
        log_folder=folder / "logs",
        state_folder=folder,
        variables={**os.environ},
        isolate=True,
        start_timeout_s=60,
    )
    async with start_agents(parse_scenario(table, name="t"), options) as agents:
        yield agents


async def test_an_isolated_purple_reaches_green_and_its_model_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_TAG", TAG)
    one, other = f"t{uuid.uuid4().hex[:8]}", f"t{uuid.uuid4().hex[:8]}"
    host = address_here()
    with server_here(b"the model") as model, server_here(b"somebody else") as stranger:
        address = f"http://{host}:{model}/v1"
        limits = {"cpus": 0.5, "memory": "300m", "pids": 100}
        async with (
            isolated(tmp_path, one, model_endpoint=address, limits=limits) as agents,
            isolated(tmp_path, other) as neighbours,
        ):
            purple, green, neighbour = f"assay-{one}-agent", f"assay-{one}-green", f"assay-{other}-agent"
            told = dict(agents.told["agent"])
            open_ways = {
                "green": way("http://green:9009/healthz"),
                "model": way("http://egress:3128/v1/models"),
                "another port, by the proxy": way(f"http://{host}:{stranger}/", proxy="http://egress:3128"),
            }
            # Each of these answers somebody: the machine itself, green, or containers with a way out.
            closed_ways = {
                "the model, straight": address,
                "another port": f"http://{host}:{stranger}/",
                "what is beside green": f"http://{addresses(green)[f'assay-{one}']}:9009/healthz",
                "another purple": f"http://{addresses(neighbour)[f'assay-{other}-agent']}:9009/healthz",
                "another green": f"http://{addresses(f'assay-{other}-green')[f'assay-{other}']}:9009/healthz",
                **{f"this machine at {at}": f"http://{at}:{stranger}/" for at in gateways(purple)},
            }
            closed = {name: way(url, patience_s=2) for name, url in closed_ways.items()}
            reached = answers(purple, open_ways | closed)
            from_green = answers(green, {"another port": way(f"http://{host}:{stranger}/")})
            bounds = inspected(purple)["HostConfig"]
            cards = agents.cards["agent"].name, neighbours.cards["agent"].name
            networks = set(addresses(purple)), set(addresses(neighbour))

    opened = {"green": '{"status":"ok"}', "model": "the model", "another port, by the proxy": "the model"}
    assert reached == opened | dict.fromkeys(closed_ways, "")
    assert told["OPENAI_BASE_URL"] == "http://egress:3128/v1"
    assert len(closed_ways) == 7
    assert from_green == {"another port": "somebody else"}
    assert cards[0] == cards[1] != ""
    assert networks == ({f"assay-{one}-agent", f"assay-{one}-agent.model"}, {f"assay-{other}-agent"})
    assert (bounds["NanoCpus"], bounds["Memory"], bounds["PidsLimit"]) == (500_000_000, 300 * 1024 * 1024, 100)
    assert (bounds["CapDrop"], bounds["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert bounds["PortBindings"] in ({}, None)
    assert left(one) == left(other) == []


def test_two_isolated_purples_are_examined_at_once_and_nothing_is_left(tmp_path: Path) -> None:
    table = {
        "green_agent": {"image": GREEN, "limits": {"memory": "2g"}},
        "participants": [
            {"name": "model", "image": PURPLE, "model_endpoint": "reference"},
            {"name": "fixed", "agentbeats_id": 17, "args": CONSTANT},
        ],
        "config": {"num_tasks": 1, "options_limit": 1, "seed": 1},
    }
    (tmp_path / "scenario.toml").write_text(tomli_w.dumps(table))
    (tmp_path / "images.json").write_text(json.dumps({"17": PURPLE}))
    environment = {**os.environ, "ASSAY_TAG": TAG}
    options = "--isolate --parallel-purples 2 --start-timeout 90 --json --offline --resolve images.json"

    done = subprocess.run(
        [ASSAY, "run", "scenario.toml", *options.split()],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr + done.stdout[-3000:]
    told = json.loads(done.stdout)
    assert [(one["purple"], one["exit_code"]) for one in told["runs"]] == [("model", 0), ("fixed", 0)]
    assert [(pair["first"], pair["second"]) for pair in told["comparisons"]] == [("model", "fixed")]
    for one in told["runs"]:
        (result,) = json.loads((tmp_path / one["results_json"]).read_text())["results"]
        facts = result["evaluation_metadata"]["provenance"]
        assert facts["isolated"] is True
        assert set(facts["image_digests"]) == {"green", one["purple"]}
        assert facts["images"] == {"green": GREEN, one["purple"]: PURPLE}
        assert (tmp_path / "logs" / one["run"] / "green.log").is_file()
        assert (tmp_path / "logs" / one["run"] / f"{one['purple']}.log").is_file()
        assert left(one["run"]) == []
