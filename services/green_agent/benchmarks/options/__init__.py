"""options: option pricing, Greeks, strategies, volatility and risk, generated and graded by truth alone.

Finance specification 6. Items come from our own generator; the key of every quantity is computed, so no judge is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from services.contract.assessment import nearest
from services.contract.conversation import AgentSession, Transcript
from services.contract.results import Section, SubScore
from services.green_agent.benchmarks.base import (
    Benchmark,
    DatasetConfig,
    DatasetError,
    Score,
    ScoringTools,
    Task,
    digest,
)
from services.green_agent.benchmarks.options.generator import BENCHMARK, Item, generate
from services.green_agent.benchmarks.options.template import Asked, Category, Dimension
from services.green_agent.benchmarks.options.templates import GENERATOR_VERSION
from services.green_agent.scoring.answers import Grade, Quantity, Reading, Value, grade, read, reminder

PASS_MARK: Final = 0.7
DEFAULT_COUNT: Final = 90
LONG_REPLY: Final = 20_000
"""Characters up to which a reply is read in microseconds."""
REMINDERS: Final = "reminders"
"""Key of the transcript's notes: how often the agent was reminded of the answer form."""


def _category(value: object) -> object:
    """Categories may be written as the slug or as a title: "Options Pricing", "P&L Attribution"."""
    if isinstance(value, Category) or not isinstance(value, str):
        return value
    slug = value.strip().casefold().replace("&", "n").replace(" ", "-").replace("_", "-")
    if slug not in {category.value for category in Category}:
        raise ValueError(f"unknown category {value!r}{nearest(slug, [category.value for category in Category])}")
    return Category(slug)


Categories = tuple[Annotated[Category, BeforeValidator(_category)], ...]


class GeneratorConfig(BaseModel):
    """Which questions are made."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: int | None = None
    """The run seed when null. Another seed gives other questions of the same kinds."""
    count: int | None = Field(default=None, ge=1, le=1_000_000)
    """Questions, dealt evenly over the categories. Null: 90, or as many as the entry's `limit` if that is more."""
    categories: Categories | None = Field(default=None, min_length=1)
    """The categories to make questions for; all nine when null."""


class OptionsConfig(DatasetConfig):
    """The `options` entry of a suite."""

    generator: GeneratorConfig = GeneratorConfig()
    """Where the questions come from."""
    categories: Categories | None = Field(default=None, min_length=1)
    """Keep only these categories; all when null."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionsTask(Task):
    """A generated question with its key."""

    template: str
    asked: tuple[Asked, ...]
    keys: Mapping[str, Value]

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """The required quantities."""
        return tuple(asked.quantity for asked in self.asked)


class Options(Benchmark[OptionsConfig, OptionsTask]):
    """Generated option questions; the score is the share of required quantities that are right."""

    name: ClassVar[str] = BENCHMARK
    section: ClassVar[Section] = Section.OPTIONS_TRADING
    config_model: ClassVar[type[DatasetConfig]] = OptionsConfig
    scorer_version: ClassVar[str] = "options-1"
    sub_score_names: ClassVar[tuple[str, ...]] = tuple(dimension.value for dimension in Dimension)
    endless: ClassVar[bool] = True

    def tasks(self) -> Sequence[OptionsTask]:
        """The generated questions that pass the filter. Raises DatasetError when none does."""
        made = self.config.generator
        seed = self.seed if made.seed is None else made.seed
        wanted = frozenset(self.config.categories or Category)
        count = made.count or max(DEFAULT_COUNT, self.config.limit or 0)
        items = generate(seed=seed, categories=_unique(made.categories or tuple(Category)), number=count)
        tasks = [_task(item) for item in items if item.template.category in wanted]
        if not tasks:
            raise DatasetError(
                f"options: no question is left: categories keeps {', '.join(sorted(wanted))}, but generator makes"
                f" {count} of {', '.join(made.categories or tuple(Category))}; widen one of them"
            )
        return tasks

    async def converse(self, task: OptionsTask, trial: int, agent: AgentSession) -> None:  # noqa: ARG002
        """One question; one reminder of the answer form when no required key can be read from the reply."""
        reply = await agent.ask(task.prompt)
        if await _read(reply.text, task) is None:
            agent.note(REMINDERS, 1)
            await agent.ask(reminder(task.quantities))

    async def score(
        self,
        task: OptionsTask,
        trial: int,  # noqa: ARG002
        transcript: Transcript,
        tools: ScoringTools,  # noqa: ARG002
    ) -> Score:
        """The share of required quantities that are right in the last reply."""
        reading = await _read(transcript.answer, task)
        graded = grade(task.quantities, task.keys, reading)
        reminders = transcript.notes.get(REMINDERS, 0)
        return Score(
            score=graded.share,
            passed=graded.share >= PASS_MARK,
            scored_by=f"rule:{'none' if reading is None else reading.source}",
            answer=", ".join(f"{mark.quantity.key}={mark.got}" for mark in graded.marks if mark.got),
            explanation=graded.explain(),
            metrics={
                "quantities_right": graded.right,
                "quantities_required": len(graded.marks),
                "unit_slips": graded.unit_slips,
                "reminders": reminders if isinstance(reminders, int) else 0,
            },
            sub_scores=_sub_scores(task.asked, graded),
        )


async def _read(reply: str, task: OptionsTask) -> Reading | None:
    """Read a reply. A hostile one of megabytes takes seconds; other conversations go on meanwhile."""
    if len(reply) <= LONG_REPLY:
        return read(reply, task.quantities)
    return await asyncio.to_thread(read, reply, task.quantities)


def _task(item: Item) -> OptionsTask:
    question = item.question
    form = [(quantity.key, quantity.measure, quantity.tolerance, quantity.decimals) for quantity in question.quantities]
    return OptionsTask(
        id=item.id,
        stratum=item.template.category.value,
        prompt=question.prompt,
        # Keys are rounded so that another build of the same libraries cannot change the digest by a last bit.
        digest=digest(
            GENERATOR_VERSION, item.id, question.prompt, form, {k: _stable(v) for k, v in question.keys.items()}
        ),
        messages=2,
        template=item.template.name,
        asked=item.template.asked,
        keys=question.keys,
    )


def _stable(value: Value) -> str:
    return f"{value:.9g}" if isinstance(value, float) else repr(value)


def _unique(categories: Sequence[Category]) -> tuple[Category, ...]:
    return tuple(dict.fromkeys(categories))


def _sub_scores(asked: Sequence[Asked], graded: Grade) -> dict[str, SubScore]:
    """Right and required quantities of each dimension the question has."""
    sums: dict[str, SubScore] = {}
    for one, mark in zip(asked, graded.marks, strict=True):
        before = sums.get(one.dimension.value, SubScore(earned=0, possible=0))
        sums[one.dimension.value] = SubScore(earned=before.earned + mark.right, possible=before.possible + 1)
    return sums
