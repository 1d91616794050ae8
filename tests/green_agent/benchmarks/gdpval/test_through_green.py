"""The whole road: green offers the reference file, the agent fetches it, and nothing is served when the trial is over."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
from aiohttp import web

from services.contract.outcomes import Outcome
from services.contract.results import TaskResult
from tests.green_agent.benchmarks.gdpval.library import publish, row
from tests.support.greens import assess, green
from tests.support.raw_agents import Call, raw_agent

SUITE = """
name: deliverables
allow_unscored: true
datasets:
  - {type: gdpval, path: published}
"""


def suite(tmp_path: Path) -> Path:
    publish(tmp_path / "published", [row(1)])
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    return path


async def examined(tmp_path: Path, fetched: list[httpx.Response]) -> TaskResult:
    async def manner(call: Call) -> web.StreamResponse:
        address = next(line.rsplit(" ", 1)[1] for line in call.text.splitlines() if "/files/" in line)
        async with httpx.AsyncClient() as client:
            fetched.append(await client.get(address))
        table = {"raw": base64.b64encode(fetched[0].content).decode(), "mediaType": "text/csv", "filename": "mine.csv"}
        return call.answer(call.said("See the table.", table))

    async with green(suite=suite(tmp_path)) as green_url, raw_agent("1.0", manner) as agent:
        seen = await assess(green_url, agent.url, {"stream_transcripts": True})
        async with httpx.AsyncClient() as client:
            fetched.append(await client.get(str(fetched[0].url)))
    assert len(seen.rows) == 1
    return seen.rows[0]


async def test_the_agent_reads_the_file_while_the_trial_lasts_and_not_afterwards(tmp_path: Path) -> None:
    fetched: list[httpx.Response] = []

    result = await examined(tmp_path, fetched)

    assert [answer.status_code for answer in fetched] == [200, 404]
    assert fetched[0].text == "account,amount\ncash,120\n"
    assert fetched[0].headers["content-type"].startswith("text/csv")
    assert result.error is not None
    assert (result.outcome, result.error.kind, result.score) == (Outcome.JUDGE_ERROR, "no_judge", None)


async def test_what_the_agent_returned_stands_in_the_transcript_so_that_it_can_be_judged_later(tmp_path: Path) -> None:
    result = await examined(tmp_path, [])

    assert result.transcript is not None
    returned = result.transcript.notes["returned_files"]
    assert isinstance(returned, list)
    assert isinstance(returned[0], dict)
    assert (returned[0]["name"], returned[0]["text"]) == ("mine.csv", "account\tamount\ncash\t120")
