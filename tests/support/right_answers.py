"""The right answer to every task, for agents that replay it. Tests only: no service holds both sides."""

import json
from collections.abc import Iterator

from services.green_agent.benchmarks.options import Options, OptionsConfig


def right_answers(count: int, *, seed: int = 42) -> Iterator[tuple[str, str]]:
    """(prompt, right reply) of the first `count` option questions."""
    made = Options(OptionsConfig(type="options", limit=count), seed=seed)
    for task in made.tasks()[:count]:
        yield task.prompt, f"FINAL ANSWER: {json.dumps(dict(task.keys))}"
