"""The template of a purple agent, examined by a real `assay run`."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.contract.a2a.client import AgentClient
from services.contract.outcomes import AgentFailure, Outcome
from tests.support.engine import running_engine
from tests.support.processes import BIN, service
from tests.templates.purple_process import PURPLE, purple_template

SUITE = """
name: small
datasets:
  - {type: options}
  - {type: crypto, on_missing: generate, max_steps: 3, generator: {count: 1, bars: 20}}
"""
TASKS = 3


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    suite = tmp_path_factory.mktemp("suite") / "suite.yaml"
    suite.write_text(SUITE)
    with service(("green-agent", "serve", "--eval-config", str(suite))) as examiner:
        yield examiner.url


def model(url: str) -> dict[str, str]:
    return {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "EMPTY", "LLM_MODEL": "reference"}


def run(folder: Path, green: str, purple: str) -> tuple[int, dict[str, Any]]:
    """Exit code and the one result of an assessment."""
    agents = ("--green-url", green, "--purple-url", purple)
    command = [str(BIN / "assay"), "run", *agents, "--num-tasks", str(TASKS), "-o", "out.json"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode in {0, 1}, ran.stderr
    (result,) = json.loads((folder / "out.json").read_text())["results"]
    return ran.returncode, result


@pytest.mark.parametrize("older", [False, True], ids=["1.0", "0.3"])
def test_every_trial_of_an_assessment_is_scored_in_both_dialects(tmp_path: Path, green: str, *, older: bool) -> None:
    with running_engine() as engine, purple_template(model(engine.url), older=older) as purple:
        code, result = run(tmp_path, green, purple.url)

    assert (code, result["overall_score"]["coverage"]) == (0, 1.0)
    assert [row["outcome"] for row in result["results"]] == ["scored"] * TASKS


async def test_our_client_reads_that_a_model_was_not_paid_and_takes_it_for_no_answer() -> None:
    with running_engine("402") as engine, purple_template(model(engine.url)) as purple:
        async with aclosing(AgentClient(purple.url)) as client:
            with pytest.raises(AgentFailure) as caught:
                await client.conversation().ask("question", deadline=asyncio.get_running_loop().time() + 20)

    assert (caught.value.outcome, caught.value.kind) == (Outcome.INFRA_ERROR, "http_402")


def test_it_stops_when_it_is_told_to() -> None:
    with purple_template(model("http://127.0.0.1:9/v1")) as purple:
        assert httpx.get(f"{purple.url}.well-known/agent.json").status_code == 200

        assert purple.stopped() == 0


def test_the_lock_pins_what_is_required_with_hashes_and_names_no_index() -> None:
    lock = (PURPLE / "requirements.lock").read_text()
    pins = [line.partition("==")[0] for line in lock.splitlines() if "==" in line]
    hashed = re.findall(
        r"^([a-z0-9-]+)==\S+(?: ;[^\\\n]*)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+", lock, re.MULTILINE
    )

    assert hashed == pins
    assert {"a2a-sdk", "sse-starlette", "uvicorn"} < set(pins)
    assert "://" not in lock


def test_its_own_tests_pass() -> None:
    ran = subprocess.run(
        [sys.executable, "-B", "-m", "unittest"], cwd=PURPLE, capture_output=True, text=True, check=False, timeout=60
    )

    assert (ran.returncode, ran.stderr.rstrip().splitlines()[-1]) == (0, "OK"), ran.stderr
