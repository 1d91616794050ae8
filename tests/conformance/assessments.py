"""Assessments that the platform's own programs ask our green for, and what must be in the file they write."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import tomli_w
from pydantic import ValidationError

from services.contract.results import AssessmentResult
from tests.support.processes import service
from tests.support.raw_agents import raw_agent, replies

ROLE = "purple_agent"
AGENT_ID = "00000000-0000-4000-8000-000000000001"
TASKS = 3
CONFIG = {"datasets": ["options"], "num_tasks": TASKS, "seed": 7}
QUIET = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
"""Nothing is written into a checkout."""


class Refused(Exception):  # noqa: N818 - a finding
    """The platform's program did not do what it is for."""


@asynccontextmanager
async def participant(dialect: str) -> AsyncIterator[str]:
    """URL of a foreign agent that speaks 0.3, or of our purple, to which our client speaks 1.0.

    Its card lists both all the same: the gateway's 0.3 SDK cannot read one of 1.0 alone.
    """
    if dialect == "0.3":
        async with raw_agent("0.3", replies("42")) as agent:
            yield agent.url.rstrip("/")
        return
    purple = ("purple-agent", "serve", "--baseline", "constant:42")
    with service(purple) as server:
        yield server.url.rstrip("/")


async def gateway_document(python: Path, checkout: Path, green: str, participant_url: str) -> Mapping[str, object]:
    """What the gateway shows when the assessment has ended."""
    proxy, results = free_port(), free_port()
    environment = {
        "SERVICE_URLS": json.dumps({"green": green, "purple1": participant_url}),
        "PARTICIPANT_ROLES": json.dumps({"green": "green", "purple1": ROLE}),
        "ASSESSMENT_CONFIG": json.dumps(CONFIG),
    }
    command = (
        str(python),
        str(checkout / "src" / "main.py"),
        "--proxy-port",
        str(proxy),
        "--results-port",
        str(results),
    )
    nowhere = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **QUIET, **environment}, stdout=nowhere, stderr=nowhere
    )
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            while process.returncode is None:
                await asyncio.sleep(0.2)
                try:
                    shown: dict[str, Any] = (await http.get(f"http://127.0.0.1:{results}/")).json()
                except httpx.TransportError:
                    continue
                if shown["status"] != "running":
                    return shown
        raise Refused(f"the gateway ended with {process.returncode}")
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def client_document(python: Path, checkout: Path, green: str, participant_url: str) -> Mapping[str, object]:
    """The file that the tutorial's client writes. It writes none unless the assessment is completed."""
    scenario = {
        "green_agent": {"endpoint": green},
        "participants": [{"role": ROLE, "endpoint": participant_url, "agentbeats_id": AGENT_ID}],
        "config": CONFIG,
    }
    with tempfile.TemporaryDirectory(prefix="assay-conformance-") as name:
        written, read = Path(name) / "scenario.toml", Path(name) / "results.json"
        written.write_text(tomli_w.dumps(scenario))
        process = await asyncio.create_subprocess_exec(
            *(str(python), "-m", "agentbeats.client_cli", str(written), str(read)),
            env={**os.environ, **QUIET, "PYTHONPATH": str(checkout / "src")},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        if process.returncode:
            raise Refused(f"the client ended with {process.returncode}: {said.decode()[-1_000:]}")
        document: dict[str, Any] = json.loads(read.read_text())
    if document["participants"] != {ROLE: AGENT_ID}:
        raise Refused(f"participants: {document['participants']!r}")
    return {"status": "completed", **document}


def why_not(document: Mapping[str, Any], dialect: str) -> str:
    """What is wrong with a results document, or nothing. Integers must still be integers, so reading is strict."""
    if document.get("status") != "completed":
        return f"status: {document!r:.500}"
    if len(document["results"]) != 1:
        return f"{len(document['results'])} result objects, not 1"
    text = json.dumps(document["results"][0])
    try:
        result = AssessmentResult.model_validate_json(text, strict=True)
    except ValidationError as error:
        return str(error)[:500]
    outcomes = [row.outcome for row in result.results]
    if outcomes != ["scored"] * TASKS:
        return f"outcomes: {outcomes}"
    metadata = result.evaluation_metadata
    if (json.dumps(metadata["num_tasks"]), metadata["complete"]) != (str(TASKS), True):
        return f"num_tasks: {metadata['num_tasks']!r}, complete: {metadata['complete']!r}"
    agent = metadata["purple_agent"]
    return "" if isinstance(agent, dict) and agent["dialect"] == dialect else f"purple_agent: {agent}"


def free_port() -> int:
    """A port that was free a moment ago; the gateway cannot take one by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
