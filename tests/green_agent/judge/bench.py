"""A judge on the bench for tests: served over HTTP by a function of the request, and asked through the real panel."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from services.contract.assessment import PlannedTrial
from services.contract.judgements import Judgement
from services.contract.results import Section
from services.green_agent.judge.asking import Case, Judge, Material
from services.green_agent.judge.panel import JudgePanel, open_judge
from services.green_agent.judge.settings import JudgeSettings
from tests.support.raw_http import RawServer, Seen, raw_server, response

Says = Callable[[str], str | bytes | None]
"""Prompt -> what the model says; bytes are a whole HTTP response, None is silence."""

TRIAL = PlannedTrial(
    benchmark="prbench", section=Section.KNOWLEDGE_RETRIEVAL, stratum="finance", task_id="t1", task_digest="sha256:1"
)
FENCE = re.compile(r"<<<BEGIN (\w+) ([0-9a-f]{16})>>>\n(.*?)\n<<<END \1 \2>>>", re.DOTALL)


def completion(text: str, *, finish: str = "stop") -> bytes:
    """A chat completion that says this."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return response({"choices": [choice], "usage": {"prompt_tokens": 1000, "completion_tokens": 100}})


def is_probe(prompt: str) -> bool:
    """True for the question whether the model takes a schema."""
    return prompt.endswith('{"ok": true} and nothing else.')


def prompt_of(seen: Seen) -> str:
    """All words of a request."""
    return "\n".join(message["content"] for message in seen.body["messages"])


def outside(prompt: str) -> str:
    """What stands outside all fences, without the marks."""
    rest, marks = FENCE.sub("", prompt), {mark for _, mark, _ in FENCE.findall(prompt)}
    for mark in marks:
        rest = rest.replace(mark, "")
    return rest


def inside(prompt: str, role: str) -> str:
    """The fenced texts of a role."""
    return "\n".join(text for label, _, text in FENCE.findall(prompt) if label.partition("_")[0] == role)


def ids_in(prompt: str) -> list[str]:
    """Ids of the criteria that are asked for."""
    return re.findall(r"^(c\d{2,3}): ", outside(prompt), re.MULTILINE)


def met(*ids: str, of: list[str]) -> str:
    """A full reply that says these criteria are met and the others are not."""
    return json.dumps(
        {
            "criteria": [{"id": one, "met": one in ids, "evidence": "", "reason": ""} for one in of],
            "injection_suspected": False,
        }
    )


def case(answer: str = "It is 42.", *, question: str = "What is it?", references: tuple[str, ...] = ()) -> Case:
    """A question with its answer."""
    return Case(
        instructions="Judge the answer of a finance expert.",
        materials=(
            Material(name="question", text=question, role="question"),
            *(Material(name=f"reference {n}", text=text, role="reference") for n, text in enumerate(references, 1)),
            Material(name="answer", text=answer, role="answer"),
        ),
    )


@asynccontextmanager
async def served(says: Says) -> AsyncIterator[RawServer]:
    """A model on a free port."""

    def reply(seen: Seen) -> bytes | None:
        prompt = prompt_of(seen)
        if is_probe(prompt):
            return completion('{"ok": true}')
        said = says(prompt)
        return completion(said) if isinstance(said, str) else said

    async with raw_server(reply) as server:
        yield server


@asynccontextmanager
async def opened(*urls: str, folder: Path | None = None, **settings: Any) -> AsyncIterator[JudgePanel]:
    """The panel of these addresses; with a folder it keeps verdicts there."""
    panel = await open_judge(
        settings_of(*urls, cache=folder is not None, **settings), env={}, folder=folder or Path("-")
    )
    try:
        yield panel
    finally:
        await panel.aclose()


def settings_of(*urls: str, **settings: Any) -> JudgeSettings:
    """Settings of a judge, or of a panel when there are several addresses."""
    members = [{"model": f"m{number}", "api_base": url} for number, url in enumerate(urls)] if len(urls) > 1 else []
    values = {"model": "m0", "api_base": urls[0], "panel": members, "timeout_seconds": 20} | settings
    return JudgeSettings.model_validate(values)


@asynccontextmanager
async def judge(says: Says, **settings: Any) -> AsyncIterator[tuple[Judge, list[Judgement], RawServer]]:
    """One judge with its record and its server, without a cache."""
    record: list[Judgement] = []
    async with served(says) as server, opened(server.url, **settings) as panel:
        yield panel.for_trial(TRIAL, record), record, server


def questions(server: RawServer) -> list[str]:
    """Prompts that arrived, the probe left out."""
    return [prompt for seen in server.seen if not is_probe(prompt := prompt_of(seen))]
