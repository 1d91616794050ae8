"""A run that was interrupted and resumed draws the samples that it would have drawn without the interruption."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.purple_agent.models_by_hand import Body, ModelServer, model_server, say
from tests.runner.support.processes import free_ports
from tests.support.processes import BIN

TRIALS = 5
MESSAGES = 2
"""Of a trial: the question, and a reminder of its form, which "42" does not have."""
PATIENCE_S = 60.0


def write_scenario(folder: Path, model_url: str) -> None:
    green, purple = free_ports(2)
    (folder / "scenario.toml").write_text(
        f"""
        [green_agent]
        cmd = "green-agent serve --port {green}"
        endpoint = "http://127.0.0.1:{green}"
        [[participants]]
        role = "purple"
        cmd = "purple-agent serve --port {purple} --max-tool-calls 0"
        endpoint = "http://127.0.0.1:{purple}"
        env = {{ LLM_PROVIDER = "openai", LLM_MODEL = "by-hand", OPENAI_API_BASE = "{model_url}", OPENAI_API_KEY = "EMPTY" }}
        [config]
        datasets = ["options"]
        num_tasks = 1
        num_trials = {TRIALS}
        max_concurrency = 1
        """
    )


@asynccontextmanager
async def assay(folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`assay` in the background; killed at the end if it is still there."""
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(
        BIN / "assay", *arguments, cwd=folder, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def drawn(asked: list[Body]) -> list[tuple[str, int]]:
    """Question and seed of each request to the model."""
    return [(json.dumps(body["messages"]), body["seed"]) for body in asked]


async def interrupted_after_two(folder: Path, model: ModelServer) -> None:
    """Run until two trials are in the journal and the model thinks about the third, then interrupt."""
    async with assay(folder, "run", "scenario.toml", "--no-doctor") as run:
        assert run.stderr is not None
        seen = b""
        while f"[2/{TRIALS}]".encode() not in seen:
            line = await run.stderr.readline()
            assert line, seen.decode()
            seen += line
        await model.waiting.wait()
        run.send_signal(signal.SIGINT)
        await run.communicate()
    assert run.returncode == 130


async def test_a_resumed_run_repeats_no_stored_sample_and_draws_the_interrupted_one_again(tmp_path: Path) -> None:
    def script(body: Body, number: int) -> Body:
        if number == 2 * MESSAGES - 1:
            model.hang_on = ""  # every further request waits until its client leaves
        return say("42")(body, number)

    async with model_server(script) as model:
        write_scenario(tmp_path, model.url)
        await interrupted_after_two(tmp_path, model)
        *stored, in_flight = drawn(model.asked)
        model.hang_on = None
        async with assay(tmp_path, "resume", "latest", "--no-doctor") as resumed:
            _, errors = await resumed.communicate()
        again = drawn(model.asked)[len(stored) + 1 :]

    assert resumed.returncode == 0, errors.decode()
    assert len(stored) == 2 * MESSAGES
    assert again[0] == in_flight
    assert len(again) == (TRIALS - 2) * MESSAGES
    seeds = [seed for _, seed in stored + again]
    assert len(set(seeds)) == len(seeds)
    assert len({question for question, _ in stored + again}) == MESSAGES
