"""Green as its peers see it: what becomes of odd requests, and of a cancelled assessment on both sides of it."""

import asyncio
import json
import os
from collections import Counter
from contextlib import aclosing
from pathlib import Path

import aiohttp
import pytest

from services.contract.a2a.client import AgentClient, ArtifactReceived, Ended, Progress
from services.contract.a2a.server import Incoming
from services.contract.assessment import ARTIFACT_PLAN, ARTIFACT_RESULT, KIND_TASK_RESULT, META_KIND
from services.contract.results import AssessmentResult, TaskResult
from tests.contract.a2a.raw_peer import Peer
from tests.support.greens import assess, green
from tests.support.processes import service
from tests.support.purples import Say, purple

TOKEN = "sk-" + "live-" + "0123456789abcdefghij"


async def test_however_many_faults_a_suite_has_the_rejection_is_short_and_holds_no_key(tmp_path: Path) -> None:
    wrong = [f"no_such_key_{number}: {TOKEN}" for number in range(200)]
    (tmp_path / "eval.yaml").write_text("\n".join(["name: x", "datasets: [{type: options}]", *wrong]))

    async with green(suite=tmp_path / "eval.yaml") as url:
        seen = await assess(url, "http://127.0.0.1:9/", {})

    assert seen.state == "rejected"
    assert "no_such_key_0: unknown key" in seen.text
    assert len(seen.text) <= 2_000
    assert TOKEN not in seen.text


@pytest.mark.parametrize("dialect", ["1.0", "0.3"])
async def test_a_request_as_a_data_part_is_read_also_beside_a_text_that_says_nothing(dialect: str) -> None:
    config = {"datasets": ["options"], "num_tasks": 1, "plan_only": True}
    request = {"participants": {"agent": "http://127.0.0.1:9"}, "config": config}
    async with green() as url, aiohttp.ClientSession() as session:
        peer = Peer(url, dialect, session)
        sent = peer.message(" ")
        sent["message"]["parts"].append({"data": request} | ({"kind": "data"} if dialect == "0.3" else {}))
        result = (await peer.call("send", sent))["result"]

    task = result if dialect == "0.3" else result["task"]
    assert (peer.state(task), [artifact["name"] for artifact in task["artifacts"]]) == ("completed", [ARTIFACT_PLAN])


async def test_a_cancelled_assessment_cancels_what_it_asked_for_and_tells_what_is_finished() -> None:
    asked = asyncio.Event()

    def script(incoming: Incoming, _seen: int) -> Say:
        contexts = [message.context_id for message in agent.asked]
        if len(set(contexts)) == 4:
            asked.set()
        return Say(text="no answer", after_s=0.0 if incoming.context_id == contexts[0] else 3_600)

    config = {"datasets": ["options"], "num_tasks": 6, "max_concurrency": 3}
    rows: list[TaskResult] = []
    last: list[str] = []
    async with green() as url, purple(script) as agent, aclosing(AgentClient(url)) as client:
        request = json.dumps({"participants": {"agent": agent.url}, "config": config})
        async for event in client.watch(request, deadline=None):
            if isinstance(event, Progress) and event.metadata.get(META_KIND) == KIND_TASK_RESULT:
                rows.append(TaskResult.model_validate_json(event.text))
                if len(rows) == 1:
                    await asked.wait()
                    await client.cancel(event.task_id)
            elif isinstance(event, ArtifactReceived):
                last.append(event.name)
                result = AssessmentResult.model_validate_json(event.texts[0])
            elif isinstance(event, Ended):
                last.append(event.state)

        assert (len(agent.cancelled), agent.in_flight) == (3, 0)
    assert last == [ARTIFACT_RESULT, "canceled"]
    assert Counter(row.outcome for row in rows) == {"scored": 1, "cancelled": 5}
    assert result.evaluation_metadata["complete"] is False


def children(pid: int) -> set[int]:
    """Every process below this one."""
    found = {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return found.union(*(children(child) for child in found)) if found else found


async def test_sigterm_sends_what_is_finished_ends_with_0_and_leaves_no_child_behind() -> None:
    answered = asyncio.Event()

    def endless(_incoming: Incoming, _seen: int) -> Say:
        if len(agent.asked) == 4:
            answered.set()
        return Say(text="```python\nwhile True: pass\n```")

    config = {"datasets": ["toy_code"], "num_tasks": 4}
    seen: list[str] = []
    with service(["green-agent", "serve", "--allow-unsafe-sandbox"], env={"EVAL_CONFIG": ""}) as evaluator:
        async with purple(endless) as agent, aclosing(AgentClient(evaluator.url)) as client:
            request = json.dumps({"participants": {"agent": agent.url}, "config": config})
            async for event in client.watch(request, deadline=None):
                if isinstance(event, Progress) and not seen:
                    seen.append("accepted")
                    await answered.wait()
                    below = await asyncio.to_thread(children, evaluator.process.pid)
                    evaluator.process.terminate()
                elif isinstance(event, ArtifactReceived):
                    seen.append(event.name)
                elif isinstance(event, Ended):
                    seen.append(event.state)
        code = await asyncio.to_thread(evaluator.process.wait, 20)

    assert (seen, code) == (["accepted", ARTIFACT_RESULT, "canceled"], 0)
    assert [pid for pid in below if _runs(pid)] == []


def _runs(pid: int) -> bool:
    """True for a process that exists and is more than a record that nobody has read."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
