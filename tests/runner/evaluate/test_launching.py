"""Servers are launched by the real `inference`, and ended or left as asked, whatever becomes of the runner."""

from __future__ import annotations

import asyncio
import json
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from services.contract.endpoint_files import parse_services
from services.runner.evaluate import keeper
from services.runner.evaluate.launching import check_launch, launched
from services.runner.failures import AgentStartError, ScenarioError
from tests.runner.evaluate.test_asked import asked
from tests.runner.support.processes import alive, await_true, free_ports
from tests.support.processes import BIN


def listens(url: str) -> bool:
    host, _, port = url.partition("://")[2].partition("/")[0].partition(":")
    with closing(socket.socket()) as probe:
        return probe.connect_ex((host, int(port))) == 0


def program(folder: Path, text: str) -> Path:
    """Stands in for the engine."""
    file = folder / "engine"
    file.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


@pytest.fixture
def taken_port() -> Iterator[int]:
    with closing(socket.socket()) as holder:
        (port,) = free_ports(1)
        holder.bind(("127.0.0.1", port))
        holder.listen()
        yield port


async def test_what_is_to_be_cleaned_up_is_gone_afterwards_and_a_taken_port_is_skipped_aloud(
    tmp_path: Path, taken_port: int
) -> None:
    wanted = asked(num_services=2, start_port=taken_port, cleanup=True)
    said: list[str] = []
    seen: list[str] = []

    async def failing() -> None:
        async with launched(wanted, tmp_path / "logs", says=said.append) as served:
            assert served.model == "reference"
            servers = served.record["servers"]
            assert isinstance(servers, list)
            assert [(one["engine"], one["command"][1:3]) for one in servers if isinstance(one, dict)] == [  # type: ignore[index] # JSON
                ("reference", ["up", "reference"])
            ] * 2
            seen.extend(served.urls)
            assert all(map(listens, served.urls))
            raise ScenarioError("any failure")

    with pytest.raises(ScenarioError, match="any failure"):
        await failing()

    assert len(set(seen)) == 2
    assert not any(map(listens, seen))
    assert f"http://127.0.0.1:{taken_port}/v1" not in seen
    assert any(f"port {taken_port} is taken" in line for line in said)


async def test_without_cleanup_servers_go_on_and_the_command_that_ends_them_is_told(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    said: list[str] = []

    async with launched(asked(num_services=1, start_port=port), tmp_path / "logs", says=said.append) as served:
        pass

    try:
        assert all(map(listens, served.urls))
    finally:
        command = shlex.split(said[-1].partition("`")[2].partition("`")[0])
        ending = await asyncio.create_subprocess_exec(BIN / command[0], *command[1:], stdout=subprocess.PIPE)
        await ending.communicate()
    assert command[:3] == ["inference", "down", "--all"]
    assert not any(map(listens, served.urls))


async def test_a_server_that_dies_at_its_start_ends_the_command_with_the_end_of_its_log(tmp_path: Path) -> None:
    engine = program(tmp_path, "echo 'no memory for this' >&2; exit 7")
    wanted = asked(num_services=1, up_options=f"--program {engine}", start_port=free_ports(1)[0])

    with pytest.raises(AgentStartError, match=r"(?s)ended at its start with exit code 7.*no memory for this"):
        async with launched(wanted, tmp_path / "logs", says=lambda _text: None):
            pass


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model_path": "qwen3-23b"}, r"unknown model 'qwen3-23b'; nearest: qwen3-"),
        ({"model_path": "qwen3-32b", "up_options": "--gpu rtx4090-24 --count 1"}, r"(?s)IMPOSSIBLE.*--force"),
        ({"up_options": "--frobnicate"}, "No such option '--frobnicate'"),
        ({"model_name": "other"}, "is called 'reference'"),
    ],
)
async def test_what_cannot_be_launched_is_refused_before_anything_starts(values: dict[str, str], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        await check_launch(asked(**values))


@pytest.mark.parametrize("keeping", ["end", "leave"])
def test_a_runner_that_is_gone_while_servers_start_leaves_none(tmp_path: Path, keeping: str) -> None:
    pid = tmp_path / "pid"
    engine = program(tmp_path, f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 600")
    registry = tmp_path / "services.txt"
    line = [sys.executable, keeper.__file__, str(BIN / "inference"), str(registry), "0", keeping, "reference", "--json"]
    line += ["--detach", "--registry", str(registry), "--log-dir", str(tmp_path), "--program", str(engine)]
    line += ["--num-servers", "1", "--start-port", str(free_ports(1)[0])]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as kept:
        await_true(pid.exists, what="the server has started")
        out, err = kept.communicate(timeout=60)

    assert kept.returncode == 130, err
    assert not alive(int(pid.read_text()))
    assert json.loads(out) == {"ended": [], "left": []}  # `up` itself had ended it
    assert [one.status for one in parse_services(registry.read_text())] == ["stopped"]


def test_servers_that_a_killed_up_has_left_are_ended(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    registry = tmp_path / "services.txt"
    # Stands in for `inference`: its `up` is killed before it could tell that the server runs.
    inference = program(
        tmp_path,
        f'{BIN}/inference "$@" >{tmp_path}/out || exit; [ $1 = up ] && kill -9 $$; cat {tmp_path}/out',
    )
    line = [sys.executable, keeper.__file__, str(inference), str(registry), "0", "leave", "reference", "--json"]
    line += ["--detach", "--registry", str(registry), "--log-dir", str(tmp_path), "--num-servers", "1"]
    line += ["--start-port", str(port)]

    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as kept:
        told = kept.stdout.read() if kept.stdout is not None else b""

    assert kept.returncode == -9 & 0xFF
    assert len(json.loads(told)["ended"]) == 1
    assert not listens(f"http://127.0.0.1:{port}/v1")
