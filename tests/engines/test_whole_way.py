"""The whole way with the tiny model: `inference up` of two servers, a run through them, one dies, `down`; nothing is left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from services.contract.endpoints import endpoint_from_environment
from tests.contract.calling import KEY, client_of, completed
from tests.engines.processes import Process, await_end, await_true, family, titles
from tests.engines.servers import KV_TOKENS, MODEL, START_TIMEOUT_S, VLLM_OPTIONS, free_port
from tests.support.processes import BIN

pytestmark = pytest.mark.engine

LENGTH = 8192
"""Of the context: room for the tools of the agent under test."""
SCENARIO = """
[green_agent]
cmd = "green-agent serve --port {green}"
endpoint = "http://127.0.0.1:{green}"
[[participants]]
role = "purple"
cmd = "purple-agent serve --port {purple}"
endpoint = "http://127.0.0.1:{purple}"
[participants.env]
LLM_MODEL = "${{LLM_MODEL}}"
SGLANG_API_BASES = "${{SGLANG_API_BASES}}"
PURPLE_MAX_TOKENS = "64"
[config]
datasets = ["options"]
num_tasks = 6
"""


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"} | variables


def inference(folder: Path, *arguments: str, code: int = 0) -> str:
    """A command's standard output; it must end with this code."""
    line = [str(BIN / "inference"), *arguments]
    done = subprocess.run(
        line, cwd=folder, env=environment(), capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False
    )
    assert done.returncode == code, f"{line}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if code == 0 else done.stdout + done.stderr


def up(home: Path, checkpoint: Path, *more: str) -> list[str]:
    """`inference up` for the tiny model on this machine's CPU."""
    structured = VLLM_OPTIONS["--structured-outputs-config"]
    return [
        "up", str(checkpoint), "--gpu", "cpu", "--family", "qwen3-32b", "--model-name", MODEL, "--thinking", "off",
        "--program", str(home / "bin/vllm"), "--start-port", str(free_port()), "--max-model-len", str(LENGTH),
        "--engine-arg", f"structured-outputs-config={structured}", *more,
    ]  # fmt: skip


def assessed(folder: Path, exported: dict[str, str]) -> list[dict[str, object]]:
    """Every trial of a run with the agent that asks a model."""
    (folder / "scenario.toml").write_text(SCENARIO.format(green=free_port(), purple=free_port()))
    done = subprocess.run(
        [str(BIN / "assay"), "run", "scenario.toml", "results.json"],
        cwd=folder, env=environment(**exported), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((folder / "results.json").read_text())
    rows: list[dict[str, object]] = results["results"][0]["results"]
    return rows


def exported(folder: Path) -> dict[str, str]:
    """The variables as a shell has them after `eval "$(inference export)"`."""
    names = ("OPENAI_API_BASE", "SGLANG_API_BASES", "LLM_MODEL", "OPENAI_API_KEY")
    script = f'eval "$({BIN}/inference export)"; for name in {" ".join(names)}; do echo "${{!name}}"; done'
    told = subprocess.check_output(["bash", "-c", script], cwd=folder, env=environment(), text=True)
    return dict(zip(names, told.splitlines(), strict=True))


def servers(folder: Path) -> list[frozenset[Process]]:
    """The processes of each server in the registry."""
    lines = [line.split("|") for line in (folder / "services.txt").read_text().splitlines()]
    return [family(int(fields[0].split("-")[1])) for fields in lines]


@pytest.fixture(scope="module")
def orphans(vllm_home: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> frozenset[Process]:
    """Processes of a server whose launcher was killed. While it loads, vLLM does not heed SIGTERM: the 30 seconds until it is
    killed pass during the other tests, so this comes first and is looked at last."""
    line = [str(BIN / "inference"), *up(vllm_home, checkpoint)]
    folder, nowhere = tmp_path_factory.mktemp("orphans"), subprocess.DEVNULL
    with subprocess.Popen(line, cwd=folder, env=environment(), stdout=nowhere, stderr=nowhere) as launcher:
        try:
            await_true(lambda: "VLLM::EngineCore" in titles(family(launcher.pid)), what=lambda: "its core")
            return family(launcher.pid)
        finally:
            launcher.kill()


@pytest.mark.usefixtures("orphans")
def test_two_servers_go_up_are_examined_used_and_go_down(vllm_home: Path, checkpoint: Path, tmp_path: Path) -> None:
    inference(tmp_path, *up(vllm_home, checkpoint, "--num-servers", "2", "--stagger-delay", "0", "--detach"))
    first, second = servers(tmp_path)
    try:
        inference(tmp_path, "wait", "--min-healthy", "2", "--timeout", "60")
        inference(tmp_path, "health")
        inference(tmp_path, "doctor")
        variables = exported(tmp_path)
        assert variables["LLM_MODEL"] == MODEL
        urls = inference(tmp_path, "urls").split()
        assert variables["OPENAI_API_BASE"] == variables["SGLANG_API_BASES"] == ",".join(urls)
        facts = [json.loads(path.read_text()) for path in (tmp_path / "services.txt.d").glob("*.json")]
        assert [fact["kv_measured_tokens"] for fact in facts] == [KV_TOKENS, KV_TOKENS]

        trials = assessed(tmp_path, variables)
        assert [trial["outcome"] for trial in trials] == ["scored"] * 6

        kill(first)
        assert asyncio.run(answers(variables)) == ["pong"] * 8
        assert inference(tmp_path, "urls", "--healthy").split() == urls[1:]
    finally:
        inference(tmp_path, "down", "--all")
    await_end(first | second)


def kill(processes: frozenset[Process]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


async def answers(variables: dict[str, str]) -> list[str]:
    """Eight tasks' questions to both replicas, of which one is dead."""
    async with client_of(endpoint_from_environment(variables)) as client:
        return [(await completed(client, key=replace(KEY, task_id=f"t{number}"))).text for number in range(8)]


@pytest.mark.usefixtures("orphans")
def test_flag_the_engine_does_not_know_ends_the_start_with_its_words(
    vllm_home: Path, checkpoint: Path, tmp_path: Path
) -> None:
    told = inference(tmp_path, *up(vllm_home, checkpoint, "--engine-arg", "no-such-flag=1"), code=1)
    assert "unrecognized arguments: --no-such-flag" in told


def test_launcher_killed_while_its_engine_loads_leaves_no_process(orphans: frozenset[Process]) -> None:
    await_end(orphans)
