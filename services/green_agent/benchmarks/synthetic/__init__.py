"""synthetic: questions of financial analysis with computed keys, generated or from the file of AgentBusters.

Finance specification 5. Truth decides alone; a judge is needed only for the rare key in prose of a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from pydantic import JsonValue

from services.contract.conversation import AgentSession, Transcript
from services.contract.results import Section
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
from services.green_agent.benchmarks.synthetic.config import GeneratorConfig, SyntheticConfig
from services.green_agent.benchmarks.synthetic.generator import BENCHMARK, Item, generate
from services.green_agent.benchmarks.synthetic.loader import load
from services.green_agent.benchmarks.synthetic.prose import score_prose
from services.green_agent.benchmarks.synthetic.task import SyntheticTask
from services.green_agent.benchmarks.synthetic.templates import GENERATOR_VERSION
from services.green_agent.data.errors import DataError
from services.green_agent.data.hidden_seeds import hidden_seed
from services.green_agent.scoring.answers import Value, grade
from services.green_agent.scoring.questions import ask_for_quantities, counts, given, read_reply, stable

__all__ = ["GeneratorConfig", "Synthetic", "SyntheticConfig", "SyntheticTask"]

DEFAULT_COUNT: Final = 90


class Synthetic(Benchmark[SyntheticConfig, SyntheticTask]):
    """Financial analysis; the score is the share of required quantities that are right."""

    name: ClassVar[str] = BENCHMARK
    section: ClassVar[Section] = Section.ANALYTICAL_REASONING
    config_model: ClassVar[type[DatasetConfig]] = SyntheticConfig
    scorer_version: ClassVar[str] = "synthetic-1"
    endless: ClassVar[bool] = True

    def __init__(self, config: SyntheticConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self._prose: tuple[bool, ...] = ()
        self._notes: dict[str, JsonValue] = {}

    def tasks(self) -> Sequence[SyntheticTask]:
        """The items of the file, or generated questions, or both. Raises DatasetError when there is none."""
        try:
            tasks = [] if self.config.path is None else self._from_file(self.config.path)
            tasks += self._generated(self._missing(len(tasks)))
        except DataError as error:
            raise DatasetError(f"synthetic: {error}") from error
        if not tasks:
            raise DatasetError("synthetic: every usable item of the file asks for prose and there is no judge")
        self._prose = tuple(task.is_prose for task in tasks)
        return tasks

    def judge_need(self) -> JudgeNeed:
        """Keys in prose need a judge; generated questions never do."""
        return "all" if all(self._prose) else "some" if any(self._prose) else "never"

    def notes(self) -> Mapping[str, JsonValue]:
        """`file` (audit of the file, origin), `left_out` (items without a judge), `generated` (version, seed by name, count)."""
        return self._notes

    async def converse(self, task: SyntheticTask, trial: int, agent: AgentSession) -> None:  # noqa: ARG002
        """One question; one reminder of the answer form when no required key can be read from the reply."""
        if task.is_prose:
            await agent.ask(task.prompt)
        else:
            await ask_for_quantities(agent, task.prompt, task.quantities)

    async def score(
        self,
        task: SyntheticTask,
        trial: int,  # noqa: ARG002
        transcript: Transcript,
        tools: ScoringTools,
    ) -> Score:
        """The share of required quantities that are right in the last reply; prose goes to the judge."""
        if task.is_prose:
            return await score_prose(task, transcript, tools.judge)
        reading = await read_reply(transcript.answer, task.quantities)
        graded = grade(task.quantities, task.keys, reading)
        return Score(
            score=graded.share,
            passed=graded.right == len(graded.marks),
            scored_by=f"rule:{'none' if reading is None else reading.source}",
            answer=given(graded),
            explanation=graded.explain(),
            metrics={**counts(graded, transcript)},
            details={"source": task.source, "template": task.template, "audit_flags": list(task.flags)},
        )

    def _from_file(self, path: str) -> list[SyntheticTask]:
        """The usable items; those that need a judge leave the plan when there is none."""
        located = self.setting.store.path(path)
        loaded = load(located.path, audit=self.config.audit)
        kept = [item for item in loaded.items if self.setting.has_judge or not item.is_prose]
        left_out: list[JsonValue] = [item.id for item in loaded.items if item.is_prose and not self.setting.has_judge]
        self._notes["file"] = {**loaded.report, "origin": located.origin}
        if left_out:
            self._notes["left_out"] = {"reason": "the key is prose and there is no judge", "items": left_out}
        return kept

    def _missing(self, there: int) -> int:
        """How many questions the generator makes beside the items of the file."""
        limit = self.config.limit or 0
        filled = limit if self.config.fill == "generate" else 0
        if self.config.path is not None:
            return max(filled - there, 0)
        return max(self.config.generator.count or max(DEFAULT_COUNT, limit), filled)

    def _generated(self, number: int) -> list[SyntheticTask]:
        if not number:
            return []
        made = self.config.generator
        self._notes["generated"] = {
            "version": GENERATOR_VERSION,
            "count": number,
            "seed": f"hidden {made.seed}" if isinstance(made.seed, str) else "run" if made.seed is None else made.seed,
        }
        items = generate(seed=self._seed(), names=made.names, shares=made.difficulty, number=number)
        return [_task(item) for item in items]

    def _seed(self) -> int:
        """The seed of the generator. A hidden one lives in this call alone."""
        seed = self.config.generator.seed
        if isinstance(seed, str):
            return hidden_seed(seed)
        return self.seed if seed is None else seed


def _task(item: Item) -> SyntheticTask:
    question = item.question
    form = [
        (quantity.key, quantity.measure, quantity.tolerance, quantity.decimals, quantity.labels)
        for quantity in question.quantities
    ]
    return SyntheticTask(
        id=item.id,
        stratum=item.template.name,
        prompt=question.prompt,
        digest=digest(GENERATOR_VERSION, item.id, question.prompt, form, stable(question.keys)),
        messages=2,
        expected=", ".join(f"{key} = {_in_words(value)}" for key, value in question.keys.items()),
        template=item.template.name,
        quantities=question.quantities,
        keys=question.keys,
        source="generated",
    )


def _in_words(value: Value) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)
