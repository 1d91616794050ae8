"""The whole road: the real green asks our agent, whose chain a scripted model plays, and scores answer and intermediates."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import JsonValue

from services.contract.results import TaskResult
from services.purple_agent.settings import Settings
from tests.purple_agent.models_by_hand import Body, completion, heard, model_server
from tests.purple_agent.serving import on_model
from tests.support.greens import assess, green
from tests.support.right_answers import canonical_solutions

WRONG = "```python\ndef {name}(*args):\n    return object()\n```"
CHAIN = Settings(strategy="self_eval_sequential", iterations=2, max_tool_calls=0)


class Solver:
    """A model that finds fault with everything and writes programs in the given order."""

    def __init__(self, *programs: Literal["right", "wrong"]) -> None:
        self.programs = programs
        self.written = 0
        self.solutions = dict(canonical_solutions())

    def __call__(self, body: Body, _number: int) -> Body:
        asked = heard(body)[-1][1]
        if asked.startswith("Check a proposed"):
            return completion("## Findings\nI do not like it.")
        if asked.startswith("Below is a report"):
            return completion("no")
        self.written += 1
        if self.programs[self.written - 1] == "right":
            return completion(next(program for prompt, program in self.solutions.items() if prompt in asked))
        name = re.search(r"Python function `(\w+)`", asked)
        assert name is not None
        return completion(WRONG.format(name=name[1]))


async def examined(solver: Solver) -> TaskResult:
    """The one row of an assessment of one task."""
    async with green() as url, model_server(solver) as model, on_model(model.url, CHAIN) as peer:
        seen = await assess(url, peer.url, {"datasets": ["humaneval"], "num_tasks": 1})
    [row] = seen.rows
    return row


async def test_a_right_intermediate_before_a_wrong_answer_counts_for_the_oracle_alone() -> None:
    row = await examined(Solver("wrong", "right", "wrong"))

    assert (row.score, row.passed, row.metrics["oracle_passed"]) == (0.0, False, True)
    assert [step["passed"] for step in _iterations(row)] == [False, True, False]


async def test_a_chain_that_mends_its_solution_passes_by_its_answer() -> None:
    row = await examined(Solver("wrong", "right", "right"))

    assert (row.score, row.passed, row.metrics["oracle_passed"]) == (1.0, True, True)
    assert [(step["verdict"], step["was_refined"]) for step in _iterations(row)] == [
        (None, False),
        ("no", True),
        ("no", True),
    ]
    assert row.model is not None
    assert row.model.sampling is not None
    assert row.model.sampling.temperature == 0.0
    assert row.usage.calls == 7


def _iterations(row: TaskResult) -> list[dict[str, JsonValue]]:
    told = row.details["iterations"]
    assert isinstance(told, list)
    return [step for step in told if isinstance(step, dict)]
