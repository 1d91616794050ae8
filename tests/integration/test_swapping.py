"""Agents of both generations side by side, by the real green and the real runner."""

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx

from services.runner.participants import StartOptions, guarded, start_agents
from services.runner.purples.reading import bundled_green
from services.runner.scenario import Scenario
from tests.support.processes import BIN
from tests.support.raw_agents import raw_agent, replies


async def test_an_agent_that_speaks_0_3_only_is_compared_with_our_own_on_one_plan(tmp_path: Path) -> None:
    async with raw_agent("0.3", replies("42")) as old:
        process = await asyncio.create_subprocess_exec(
            BIN / "assay", "run", "--purple", f"old={old.url}", "--purple", "new=purple-agent serve --baseline constant:42",
            "--parallel-purples", "2", "--num-tasks", "2", "--json", "-o", "out.json",
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        output, errors = await process.communicate()

    assert process.returncode == 0, errors.decode()
    told: Any = json.loads(output)
    scores = [run["overall_score"]["score"] for run in told["runs"]]
    assert [run["purple"] for run in told["runs"]] == ["old", "new"]
    assert scores[0] == scores[1]
    (pair,) = told["comparisons"]
    assert (pair["first"], pair["second"], pair["differences"][-1]["tasks"]) == ("old", "new", 2)
    assert {row["difference"] for row in pair["differences"]} == {0.0}
    assert old.calls != []
    assert set(old.calls) == {"send"}
    results = [json.loads((tmp_path / f"out-{role}.json").read_text())["results"][0] for role in ("old", "new")]
    assert results[0]["evaluation_metadata"]["plan_digest"] == results[1]["evaluation_metadata"]["plan_digest"]


async def test_only_the_runner_may_ask_the_green_that_was_started_for_a_run(tmp_path: Path) -> None:
    scenario = guarded(Scenario(name="t", green=bundled_green(None), participants=()))
    options = StartOptions(
        run_id="t", log_folder=tmp_path / "logs", state_folder=tmp_path, variables=dict(os.environ), start_timeout_s=60
    )
    message = {"messageId": "1", "role": "user", "kind": "message", "parts": [{"kind": "text", "text": "Hello"}]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": message}}

    async with start_agents(scenario, options) as agents, httpx.AsyncClient(trust_env=False, timeout=30) as client:
        stranger = await client.post(agents.green_url, json=body)
        ours = await client.post(
            agents.green_url, json=body, headers={"Authorization": f"Bearer {agents.tokens['green']}"}
        )

    assert stranger.status_code == 401
    assert ours.status_code == 200
    assert ours.json()["result"]["status"]["state"] == "rejected"
