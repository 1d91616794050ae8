"""IMO-Bench: olympiad problems with short answers (AnswerBench) and with proofs (ProofBench).

`subset` chooses; each kind of task is scored by its own module. Source: code-and-math specification 7 and 8;
docs/benchmarks/imobench.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, JsonValue

from services.contract.assessment import nearest
from services.contract.conversation import Transcript
from services.contract.results import Section
from services.green_agent.benchmarks.base import (
    Benchmark,
    DatasetConfig,
    DatasetError,
    JudgeNeed,
    Score,
    ScoringTools,
    Setting,
    Task,
)
from services.green_agent.benchmarks.imobench.answers import AnswerTask, answer_tasks, score_answer
from services.green_agent.benchmarks.imobench.grading import NO_BENCHMARK
from services.green_agent.benchmarks.imobench.proofs import GROUPS, ProofTask, possible, proof_tasks, score_proof
from services.green_agent.benchmarks.imobench.rows import CATEGORIES, Version
from services.green_agent.scoring.math import rubric
from services.green_agent.scoring.math.equivalence import SCORER_VERSION, WithoutJudge
from services.green_agent.scoring.math.rubric import Permitted

NAME: Final = "imobench"


def _categories(value: object) -> object:
    """Names as published, in any case, with blanks or underscores; one of them or a list."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        return value
    known = {category.lower(): category for category in CATEGORIES}
    found = []
    for name in names:
        plain = str(name).replace("_", " ").lower()
        if plain not in known:
            raise ValueError(f"unknown category {name!r}{nearest(plain, known)}")
        found.append(known[plain])
    return tuple(dict.fromkeys(found))


def _version(value: object) -> object:
    """Requests may write the number as text."""
    return int(value) if isinstance(value, str) and value.strip().isdigit() else value


class ImobenchConfig(DatasetConfig):
    """The `imobench` entry of a suite."""

    subset: Literal["answer", "proof", "grading", "all"] = "answer"
    """answer: short answers; proof: complete proofs, which only a judge can grade; all: both. grading measures a judge."""
    version: Annotated[Version, BeforeValidator(_version)] = 2
    """Of AnswerBench."""
    categories: Annotated[tuple[str, ...] | None, BeforeValidator(_categories)] = Field(default=None, min_length=1)
    """Keep only problems of these categories: Algebra, Combinatorics, Geometry, Number theory."""
    score_intermediates: bool = True
    """Score the answers on the way to the last one too, where the agent tells them; see `oracle_passed`."""
    without_judge: WithoutJudge = "unscored"
    """math_verify_only: without a judge an answer that no rule shows to be equal is wrong; prose stays unscored."""
    scale: Permitted = "points"
    """Of proofs. levels: only 0, 1, 6 and 7 points."""
    judge_repeats: int = Field(default=1, ge=1, le=20)
    """Times that a judge grades each proof; the mean counts."""


class Imobench(Benchmark[ImobenchConfig, Task]):
    """The benchmark. An answer scores 1 or 0, a proof its points of seven."""

    name: ClassVar[str] = NAME
    section: ClassVar[Section] = Section.MATH
    config_model: ClassVar[type[DatasetConfig]] = ImobenchConfig
    scorer_version: ClassVar[str] = f"imobench-1+math-{SCORER_VERSION}+{rubric.calibration_of('points')}"
    sub_score_names: ClassVar[tuple[str, ...]] = GROUPS

    def __init__(self, config: ImobenchConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self._notes: dict[str, JsonValue] = {}

    def tasks(self) -> Sequence[Task]:
        """The problems in published order, answers before proofs. Raises DatasetError."""
        if self.config.subset == "grading":
            raise DatasetError(f"{NAME}: {NO_BENCHMARK}")
        tasks = [*self._answers(), *self._proofs()]
        if not tasks:
            raise DatasetError(f"{NAME}: no problem of subset {self.config.subset} is of {self.config.categories}")
        return tasks

    def judge_need(self) -> JudgeNeed:
        """Proofs can only be judged, and answers in words."""
        return "all" if self.config.subset == "proof" else "some"

    def notes(self) -> Mapping[str, JsonValue]:
        """Where the files came from, and what they hold."""
        return self._notes

    def possible(self, task: Task) -> Mapping[str, float]:
        """Points of a proof."""
        return possible(task) if isinstance(task, ProofTask) else {}

    @property
    def scores_intermediates(self) -> bool:
        """As the entry says."""
        return self.config.score_intermediates

    async def score(self, task: Task, trial: int, transcript: Transcript, tools: ScoringTools) -> Score:  # noqa: ARG002
        """See `answers` and `proofs`. Raises Failure."""
        if isinstance(task, ProofTask):
            return await score_proof(
                task, transcript, tools, permitted=self.config.scale, repeats=self.config.judge_repeats
            )
        if not isinstance(task, AnswerTask):
            raise TypeError(f"expected a task of {NAME}, got {task!r}")
        return await score_answer(task, transcript, tools, without_judge=self.config.without_judge)

    def _answers(self) -> list[AnswerTask]:
        if self.config.subset == "proof":
            return []
        located, tasks = answer_tasks(self.setting.store, version=self.config.version)
        kept = [task for task in tasks if self._is_asked(task.category)]
        self._notes["answers"] = {
            "source": located.origin,
            "dataset_verified": located.verified,
            "version": self.config.version,
            "tasks": len(kept),
            "by_category": dict(Counter(task.category for task in kept)),
            "golds_in_prose": sum(task.needs_judge for task in kept),
            "without_judge": self.config.without_judge,
        }
        return kept

    def _proofs(self) -> list[ProofTask]:
        if self.config.subset == "answer":
            return []
        located, tasks = proof_tasks(self.setting.store, self.config.scale)
        kept = [task for task in tasks if self._is_asked(task.category)]
        self._notes["proofs"] = {
            "source": located.origin,
            "dataset_verified": located.verified,
            "tasks": len(kept),
            "scale": self.config.scale,
            "judge_repeats": self.config.judge_repeats,
        }
        return kept

    def _is_asked(self, category: str) -> bool:
        return self.config.categories is None or category.lower() in {name.lower() for name in self.config.categories}
