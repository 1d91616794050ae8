"""Questions from a seed: the same seed gives the same questions in any process, and a longer run starts like a shorter one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from services.contract import seeds
from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.options.template import AnyTemplate, Category, draw_question
from services.green_agent.benchmarks.options.templates import GENERATOR_VERSION, TEMPLATES
from services.green_agent.scoring.questions import Question

BENCHMARK: Final = "options"


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A generated question with its id."""

    id: str
    template: AnyTemplate
    question: Question[Any]


def generate(*, seed: int, categories: Sequence[Category], number: int) -> Iterator[Item]:
    """`number` items, dealt round robin over `categories` and, inside each, over its templates.

    No two items share parameters. Raises DatasetError when a template finds no valid parameters.
    """
    taken: set[str] = set()
    made = 0
    for index in count():
        for category in categories:
            if made == number:
                return
            yield _item(seed=seed, category=category, index=index, taken=taken)
            made += 1


def _item(*, seed: int, category: Category, index: int, taken: set[str]) -> Item:
    templates = TEMPLATES[category]
    template = templates[index % len(templates)]
    rng = seeds.generator(seed, BENCHMARK, category.value, template.name, index)
    question = draw_question(template, rng, taken=taken)
    if question is None:
        raise DatasetError(
            f"options: template {template.name!r} found no valid parameters for item {index} of seed {seed};"
            " choose another generator.seed or a smaller count"
        )
    return Item(id=f"opt-{GENERATOR_VERSION}-{category.value}-{index}", template=template, question=question)
