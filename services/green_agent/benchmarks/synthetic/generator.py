"""Questions from a seed: the same seed gives the same questions in any process, and a longer run starts like a shorter one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.contract import seeds
from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.synthetic.template import AnyTemplate, Difficulty, draw_question
from services.green_agent.benchmarks.synthetic.templates import GENERATOR_VERSION, TEMPLATES
from services.green_agent.scoring.questions import Question

BENCHMARK: Final = "synthetic"

Shares = Mapping[Difficulty, float]
"""How much of each difficulty is made; relative to their sum."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A generated question with its id."""

    id: str
    template: AnyTemplate
    question: Question[Any]


def generate(*, seed: int, names: Sequence[str], shares: Shares, number: int) -> Iterator[Item]:
    """`number` items, dealt round robin over the templates called `names`; each of these follows `shares` on its own.

    No two items share parameters. Raises DatasetError when a template finds no valid parameters.
    """
    taken: set[str] = set()
    rounds = -(-number // len(names))
    starts = {name: start for start, name in enumerate(TEMPLATES)}
    order = _difficulties(shares, rounds + len(starts))
    made: Counter[tuple[str, Difficulty]] = Counter()
    for at in range(number):
        turn, position = divmod(at, len(names))
        name = names[position]
        # Templates start at different places of the order, so that a short run has all difficulties too.
        difficulty = order[starts[name] + turn]
        yield _item(
            seed=seed, template=TEMPLATES[name], difficulty=difficulty, index=made[name, difficulty], taken=taken
        )
        made[name, difficulty] += 1


def _difficulties(shares: Shares, number: int) -> list[Difficulty]:
    """An order in which each difficulty is always about as frequent as its share."""
    total = sum(shares.values())
    given = {difficulty: 0 for difficulty in Difficulty if shares.get(difficulty)}
    order: list[Difficulty] = []
    for position in range(1, number + 1):
        most_missing = max(given, key=lambda difficulty: shares[difficulty] / total * position - given[difficulty])
        given[most_missing] += 1
        order.append(most_missing)
    return order


def _item(*, seed: int, template: AnyTemplate, difficulty: Difficulty, index: int, taken: set[str]) -> Item:
    rng = seeds.generator(seed, BENCHMARK, template.name, difficulty.value, index)
    question = draw_question(template, difficulty, rng, taken=taken)
    if question is None:
        # The seed may be a hidden one, so it is not named.
        raise DatasetError(
            f"synthetic: template {template.name!r} found no valid parameters for its {difficulty.value} item {index};"
            " choose another generator.seed or a smaller count"
        )
    item_id = f"syn-{GENERATOR_VERSION}-{template.name}-{difficulty.value}-{index}"
    return Item(id=item_id, template=template, question=question)
