"""The right answer to every task, for agents that replay it. Tests only: no service holds both sides."""

import json
from collections.abc import Iterator

from services.green_agent.benchmarks.base import Setting
from services.green_agent.benchmarks.humaneval import HumanEval, HumanEvalConfig
from services.green_agent.benchmarks.options import Options, OptionsConfig


def right_answers(count: int, *, seed: int = 42) -> Iterator[tuple[str, str]]:
    """(prompt, right reply) of the first `count` option questions."""
    made = Options(OptionsConfig(type="options", limit=count), Setting(seed=seed))
    for task in made.tasks()[:count]:
        yield task.prompt, f"FINAL ANSWER: {json.dumps(dict(task.keys))}"


def canonical_solutions() -> Iterator[tuple[str, str]]:
    """(question, right reply) of the 164 HumanEval tasks."""
    for task in HumanEval(HumanEvalConfig(type="humaneval"), Setting(seed=42)).tasks():
        yield task.prompt, f"```python\n{task.reference}\n```"
