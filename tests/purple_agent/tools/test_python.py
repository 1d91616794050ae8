"""The model's Python runs in the real sandbox service, or not at all."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from services.contract.model_call import ToolCall
from services.contract.sandbox_client import SandboxClient
from services.purple_agent.tools.python import OUTPUT_SHARE, execute_python, shorten
from services.purple_agent.tools.registry import FORMULAS
from services.purple_agent.tools.toolbox import OUTPUT_LIMIT, Toolbox
from tests.support.processes import BIN, service


@pytest.fixture(scope="module")
def sandbox_url() -> Iterator[str]:
    """The address of a sandbox service; where nothing isolates there is none to test with."""
    checked = subprocess.run([BIN / "assay", "sandbox", "check"], capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        pytest.skip(f"nothing isolates here: {(checked.stderr or checked.stdout).strip()[:200]}")
    with service(["assay", "sandbox", "serve"]) as sandbox:
        yield sandbox.url.rstrip("/")


@pytest.fixture
async def client(sandbox_url: str) -> AsyncIterator[SandboxClient]:
    """A client of it."""
    client = SandboxClient(sandbox_url)
    yield client
    await client.aclose()


async def run(client: SandboxClient, code: str, **arguments: Any) -> dict[str, Any]:
    call = ToolCall(id="1", name="execute_python", arguments=json.dumps({"code": code, **arguments}))
    text = await Toolbox([execute_python(client)]).call(call)
    assert len(text) <= OUTPUT_LIMIT
    answer: dict[str, Any] = json.loads(text)
    return answer


async def test_a_program_prints_and_ends(client: SandboxClient) -> None:
    answer = await run(client, "print(6 * 7)")

    assert answer["result"] == {"stdout": "42\n", "stderr": "", "exit_status": 0, "stopped_by": None}


async def test_a_program_that_raises_shows_its_traceback(client: SandboxClient) -> None:
    answer = await run(client, "1 / 0")

    assert answer["result"]["exit_status"] == 1
    assert "ZeroDivisionError" in answer["result"]["stderr"]


async def test_a_program_that_never_ends_is_stopped_at_its_time_limit(client: SandboxClient) -> None:
    answer = await run(client, "while True: pass", timeout=0.5)

    assert answer["result"]["stopped_by"] in {"cpu", "wall"}


async def test_long_output_keeps_both_ends(client: SandboxClient) -> None:
    answer = await run(client, "print('begin' + 'x' * 100_000 + 'end')")

    stdout = answer["result"]["stdout"]
    assert (stdout[:5], stdout[-4:]) == ("begin", "end\n")
    assert "characters cut]" in stdout


async def test_the_environment_of_the_agent_is_not_there(
    client: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")

    answer = await run(client, "import os; print(sorted(os.environ.values()))")

    assert "sk-planted" not in answer["result"]["stdout"]


def test_python_is_not_among_the_tools_that_are_always_there() -> None:
    assert "execute_python" not in {tool.name for tool in FORMULAS}


def test_a_short_text_is_not_shortened() -> None:
    assert shorten("x" * OUTPUT_SHARE, limit=OUTPUT_SHARE) == "x" * OUTPUT_SHARE
