"""options: option pricing, Greeks, strategies, volatility and risk, graded by truth.

Finance specification 6. Questions come from our own generator, whose keys are computed, or from a question file of AgentBusters,
whose keys are recomputed; a judge decides only what no number can.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictInt

from services.contract.conversation import AgentSession, Transcript
from services.contract.results import Section, SubScore
from services.green_agent.benchmarks.base import (
    Benchmark,
    DatasetConfig,
    DatasetError,
    JudgeNeed,
    Score,
    ScoringTools,
    Setting,
    digest,
)
from services.green_agent.benchmarks.options import file
from services.green_agent.benchmarks.options.category import CategoryName
from services.green_agent.benchmarks.options.generator import BENCHMARK, Item, generate
from services.green_agent.benchmarks.options.qualitative import Verdict, judged
from services.green_agent.benchmarks.options.task import OptionsTask
from services.green_agent.benchmarks.options.template import Category, Dimension
from services.green_agent.benchmarks.options.templates import GENERATOR_VERSION
from services.green_agent.data.errors import DataError
from services.green_agent.data.hidden_seeds import hidden_seed
from services.green_agent.scoring.answers import Grade, Reading, grade
from services.green_agent.scoring.questions import ask_for_quantities, counts, given, read_reply, stable

__all__ = ["GeneratorConfig", "Options", "OptionsConfig", "OptionsTask"]

PASS_MARK: Final = 0.7
DEFAULT_COUNT: Final = 90
Categories = tuple[CategoryName, ...]


class GeneratorConfig(BaseModel):
    """Which questions are made."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: StrictInt | str | None = None
    """The run seed when null. A text names a hidden seed in the file `ASSAY_HIDDEN_SEEDS` or `~/.assay/hidden_seeds.yaml`."""
    count: int | None = Field(default=None, ge=1, le=1_000_000)
    """Questions, dealt evenly over the categories. Null: 90, or as many as the entry's `limit` if that is more."""
    categories: Categories | None = Field(default=None, min_length=1)
    """The categories to make questions for; all nine when null."""


class OptionsConfig(DatasetConfig):
    """The `options` entry of a suite."""

    path: str | None = None
    """A question file of AgentBusters, such as `data/options/questions.json`. Null: the generator makes all questions."""
    audit: file.Audit = "quarantine"
    """What happens to items of the file whose key their own parameters contradict: quarantine drops them, report flags them."""
    qualitative: Literal["auto", "on", "off"] = "auto"
    """The part of file items that only a judge can decide. auto: on when there is a judge. off: left out, with the items that
    hold nothing else."""
    fill: Literal["none", "generate"] = "none"
    """generate: top the file up to `limit` (else `generator.count`, else 90) from the generator."""
    generator: GeneratorConfig = GeneratorConfig()
    """Which questions the generator makes."""
    categories: Categories | None = Field(default=None, min_length=1)
    """Keep only these categories; all when null."""


class Options(Benchmark[OptionsConfig, OptionsTask]):
    """Option questions; the score is the share of required quantities that are right, beside the judged part of file items."""

    name: ClassVar[str] = BENCHMARK
    section: ClassVar[Section] = Section.OPTIONS_TRADING
    config_model: ClassVar[type[DatasetConfig]] = OptionsConfig
    scorer_version: ClassVar[str] = "options-2"
    sub_score_names: ClassVar[tuple[str, ...]] = tuple(dimension.value for dimension in Dimension)
    endless: ClassVar[bool] = True

    def __init__(self, config: OptionsConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self._need: JudgeNeed = "never"
        self._notes: dict[str, JsonValue] = {}

    def tasks(self) -> Sequence[OptionsTask]:
        """The questions of the file, if one is named, then those of the generator, that pass the filter. Raises DatasetError."""
        tasks = self._generated() if self.config.path is None else self._of_file(self.config.path)
        judged_tasks = sum(bool(task.criteria) for task in tasks)
        self._need = "never" if not judged_tasks else "all" if judged_tasks == len(tasks) else "some"
        sources = Counter("file" if task.template == file.TEMPLATE else "generator" for task in tasks)
        self._notes |= {"tasks": dict(sources)}
        return tasks

    def judge_need(self) -> JudgeNeed:
        """Generated questions need no judge; file items do where their qualitative part is on."""
        return self._need

    def notes(self) -> Mapping[str, JsonValue]:
        """Where the questions come from, and of a file what its audit found and what is not asked."""
        return self._notes

    def possible(self, task: OptionsTask) -> Mapping[str, float]:
        """One for each required quantity and each criterion, by dimension."""
        dimensions = [one.dimension for one in task.asked] + [one.dimension for one in task.criteria]
        return Counter(dimension.value for dimension in dimensions)

    def _of_file(self, path: str) -> list[OptionsTask]:
        asked = self.config.qualitative
        is_on = self.setting.has_judge if asked == "auto" else asked == "on"
        try:
            located = self.setting.store.path(path)
        except DataError as error:
            raise DatasetError(f"options: {error}") from error
        loaded = file.load(located.path, audit=self.config.audit, qualitative=is_on)
        self._notes |= {"source": located.origin, "file": dict(loaded.report)}
        tasks = [task for task in loaded.tasks if task.stratum in self._wanted]
        if self.config.fill == "generate":
            target = self.config.limit or self.config.generator.count or DEFAULT_COUNT
            tasks += self._made(self._makeable(), max(target - len(tasks), 0))
        if not tasks:
            raise DatasetError(f"options: {located.path.name} has no item of {', '.join(sorted(self._wanted))}")
        return tasks

    def _generated(self) -> list[OptionsTask]:
        made = self.config.generator
        count = made.count or max(DEFAULT_COUNT, self.config.limit or 0)
        tasks = [task for task in self._made(_makeable(made), count) if task.stratum in self._wanted]
        if not tasks:
            raise DatasetError(
                f"options: no question is left: categories keeps {', '.join(sorted(self._wanted))}, but generator makes"
                f" {count} of {', '.join(made.categories or tuple(Category))}; widen one of them"
            )
        return tasks

    @property
    def _wanted(self) -> frozenset[Category]:
        return frozenset(self.config.categories or Category)

    def _makeable(self) -> tuple[Category, ...]:
        return tuple(category for category in _makeable(self.config.generator) if category in self._wanted)

    def _made(self, categories: Sequence[Category], number: int) -> Iterator[OptionsTask]:
        asked = self.config.generator.seed
        self._notes |= {
            "generator": {"version": GENERATOR_VERSION, "seed": self.seed if asked is None else asked}
        }  # of a hidden seed its name
        items = generate(seed=self._generator_seed(), categories=categories, number=number if categories else 0)
        return map(_task, items)

    def _generator_seed(self) -> int:
        """The seed of the generator. A hidden one lives in this call alone."""
        asked = self.config.generator.seed
        try:
            return hidden_seed(asked) if isinstance(asked, str) else self.seed if asked is None else asked
        except DataError as error:
            raise DatasetError(f"options: {error}") from None

    async def converse(self, task: OptionsTask, trial: int, agent: AgentSession) -> None:  # noqa: ARG002
        """One question; one reminder of the answer form when no required key can be read from the reply."""
        if task.asked:
            await ask_for_quantities(agent, task.prompt, task.quantities)
        else:
            await agent.ask(task.prompt)

    async def score(
        self,
        task: OptionsTask,
        trial: int,  # noqa: ARG002
        transcript: Transcript,
        tools: ScoringTools,
    ) -> Score:
        """(1 - w) x the share of required quantities that are right in the last reply + w x the weight of the criteria met.

        w is 0 for generated questions. Raises Failure(judge_error) when the criteria cannot be judged.
        """
        reading = await read_reply(transcript.answer, task.quantities) if task.asked else None
        graded = grade(task.quantities, task.keys, reading)
        verdict = await judged(task, transcript, tools.judge) if task.criteria else None
        return _score(task, transcript, graded, reading, verdict)


def _score(
    task: OptionsTask, transcript: Transcript, graded: Grade, reading: Reading | None, verdict: Verdict | None
) -> Score:
    score = graded.share if graded.marks else 0.0
    deciders = [f"rule:{'none' if reading is None else reading.source}"] if task.asked else []
    explanations = [graded.explain()] if task.asked else []
    metrics: dict[str, float | int | bool | str | None] = {**counts(graded, transcript)}
    details: dict[str, JsonValue] = {}
    if verdict is not None:
        metrics |= {"quantitative": score, "qualitative": verdict.share, "qualitative_weight": task.qualitative_weight}
        score = (1 - task.qualitative_weight) * score + task.qualitative_weight * verdict.share
        deciders.append(f"judge:{verdict.judge}")
        details |= {"injection_suspected": verdict.injection_suspected}
        explanations.append(verdict.explain())
    if task.flags:
        details |= {"audit_flags": list(task.flags)}
    return Score(
        score=score,
        passed=score >= PASS_MARK,
        scored_by="+".join(deciders),
        answer=given(graded) if task.asked else transcript.answer,
        explanation="\n".join(explanations),
        metrics=metrics,
        sub_scores=_sub_scores(task, graded, verdict),
        details=details,
    )


def _task(item: Item) -> OptionsTask:
    question = item.question
    keys = stable(question.keys)
    form = [(quantity.key, quantity.measure, quantity.tolerance, quantity.decimals) for quantity in question.quantities]
    return OptionsTask(
        id=item.id,
        stratum=item.template.category.value,
        prompt=question.prompt,
        # Keys are rounded so that another build of the same libraries cannot change the digest by a last bit.
        digest=digest(GENERATOR_VERSION, item.id, question.prompt, form, keys),
        messages=2,
        template=item.template.name,
        asked=item.template.asked,
        keys=question.keys,
        expected=", ".join(f"{name} = {key}" for name, key in keys.items()),
    )


def _makeable(made: GeneratorConfig) -> tuple[Category, ...]:
    return tuple(dict.fromkeys(made.categories or tuple(Category)))


def _sub_scores(task: OptionsTask, graded: Grade, verdict: Verdict | None) -> dict[str, SubScore]:
    """Right and required quantities, and criteria met and judged, of each dimension the question has."""
    decided = [(one.dimension, mark.right) for one, mark in zip(task.asked, graded.marks, strict=True)]
    if verdict is not None:
        decided += [(one.dimension, met) for one, met in zip(verdict.criteria, verdict.met, strict=True)]
    sums: dict[str, SubScore] = {}
    for dimension, right in decided:
        before = sums.get(dimension.value, SubScore(earned=0, possible=0))
        sums[dimension.value] = SubScore(earned=before.earned + right, possible=before.possible + 1)
    return sums
