"""gdpval: work of professionals, with the files they worked from; a judge rates the deliverable or compares it with theirs.

Finance specification 8. There is no rule for a deliverable: without a judge a trial is unscored, whatever its length.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Final, Literal

from pydantic import Field, JsonValue

from services.contract.assessment import nearest
from services.contract.conversation import AgentSession, Transcript
from services.contract.outcomes import Failure, Outcome
from services.contract.results import Section
from services.contract.seeds import rank
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
from services.green_agent.benchmarks.gdpval import grading, materials
from services.green_agent.benchmarks.gdpval.library import GDPvalRow, Library, open_library
from services.green_agent.benchmarks.gdpval.materials import Deliverable, GDPvalTask
from services.green_agent.data.store import DataError, Instead
from services.green_agent.scoring.numbers import without_thoughts
from services.green_agent.scoring.ruling import unjudged

NAME: Final = "gdpval"
PUBLISHED: Final = "openai/gdpval"


class GDPvalConfig(DatasetConfig):
    """The `gdpval` entry of a suite."""

    hf_dataset: str = PUBLISHED
    """Repository of the hub; another one must have the same columns."""
    sectors: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Keep only these; all when null."""
    occupations: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Keep only these; all when null."""
    include_reference_files: bool = True
    """Offer the reference files to the agent and show their text to the judge."""
    cache_dir: str | None = None
    """Folder for downloads; the cache of this machine when null."""
    mode: Literal["rubric", "pairwise"] = "rubric"
    """rubric: four scales. pairwise: against the deliverable of the professional, twice with positions swapped."""
    path: str | None = None
    """Folder that holds the data set, instead of its source."""
    revision: str | None = None
    """Commit of the data set; the registered one when null."""


class GDPval(Benchmark[GDPvalConfig, GDPvalTask]):
    """Deliverables rated by a judge."""

    name: ClassVar[str] = NAME
    section: ClassVar[Section] = Section.PROFESSIONAL_TASKS
    config_model: ClassVar[type[DatasetConfig]] = GDPvalConfig
    scorer_version: ClassVar[str] = "gdpval-1"
    sub_score_names: ClassVar[tuple[str, ...]] = (*grading.SCALE_NAMES, grading.WIN_RATE, grading.FLIP_RATE)
    limits_itself: ClassVar[bool] = True
    """Only the files of tasks that can enter a plan are downloaded."""

    def __init__(self, config: GDPvalConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self._notes: dict[str, JsonValue] = {}
        # Agent and judge both need the text. Not kept beyond this assessment: a file that was not read in time may be next time.
        self._documents = lru_cache(maxsize=64)(materials.documents)

    def tasks(self) -> Sequence[GDPvalTask]:
        """The tasks that the filters and the limit leave, with their files on this machine. Raises DatasetError."""
        try:
            library = self._library()
            rows = library.rows()
            kept = self._heads(self._filtered(rows))
            tasks = [self._task(row, library) for row in kept]
        except DataError as error:
            raise DatasetError(f"{NAME}: {error}") from error
        self._notes = {
            "source": library.origin,
            "rows": len(rows),
            "mode": self.config.mode,
            "reference_files": sum(len(task.references) for task in tasks),
        }
        return tasks

    def judge_need(self) -> JudgeNeed:
        """There is no rule for a deliverable."""
        return "all"

    def notes(self) -> Mapping[str, JsonValue]:
        """Source, rows and files found."""
        return self._notes

    def possible(self, task: GDPvalTask) -> Mapping[str, float]:  # noqa: ARG002
        """The hundred points of each scale, or the comparison that is lost."""
        if self.config.mode == "pairwise":
            return {grading.WIN_RATE: 1.0}
        return dict.fromkeys(grading.SCALE_NAMES, 4.0 * grading.POINTS)

    async def converse(self, task: GDPvalTask, trial: int, agent: AgentSession) -> None:  # noqa: ARG002
        """One question with the addresses of the files; what the agent returns as files is read and noted at once."""
        documents = await asyncio.to_thread(self._documents, task.references)
        addresses = [agent.offer(file.path, name=file.name) for file in task.references]
        reply = await agent.ask(materials.question(task.request, documents, addresses))
        if reply.files:
            returned = await asyncio.to_thread(materials.returned, reply.files)
            agent.note(materials.RETURNED, [one.model_dump(mode="json") for one in returned])

    async def score(self, task: GDPvalTask, trial: int, transcript: Transcript, tools: ScoringTools) -> Score:  # noqa: ARG002
        """Have the deliverable judged. Raises Failure without a judge or a valid verdict."""
        answer = materials.answer(without_thoughts(transcript.answer).strip(), transcript.notes)
        if not answer:
            raise Failure(Outcome.AGENT_ERROR, "empty", "the reply holds no text and no file")
        if tools.judge is None:
            raise unjudged(NAME)
        documents = await asyncio.to_thread(self._documents, task.references)
        if task.deliverable is None:
            case = grading.rubric_case(task, documents, answer)
            return grading.rated(task, await tools.judge.scales(case, grading.SCALES), tools.judge.name)
        files = await asyncio.to_thread(self._documents, task.deliverable.files)
        theirs = materials.deliverable_text(task.deliverable, files)
        case = grading.pairwise_case(task, documents)
        first = await tools.judge.compare(case, answer, theirs, swapped=False)
        second = await tools.judge.compare(case, theirs, answer, swapped=True)
        return grading.compared(task, first, second, tools.judge.name)

    def _library(self) -> Library:
        config = self.config
        instead = Instead(
            revision=config.revision,
            repo=config.hf_dataset,
            cache=None if config.cache_dir is None else Path(config.cache_dir).expanduser(),
        )
        return open_library(NAME, self.setting.store, path=config.path, instead=instead)

    def _filtered(self, rows: Sequence[GDPvalRow]) -> list[GDPvalRow]:
        sectors = _known("sectors", self.config.sectors, {row.sector for row in rows})
        occupations = _known("occupations", self.config.occupations, {row.occupation for row in rows})
        kept = [row for row in rows if row.sector in sectors and row.occupation in occupations]
        if not kept:
            raise DatasetError(f"{NAME}: no task is left; none of these occupations is in these sectors")
        return kept

    def _heads(self, rows: list[GDPvalRow]) -> list[GDPvalRow]:
        """What the planner would keep: the head of the source order, or of the order by seed."""
        if self.config.shuffle:
            rows = sorted(rows, key=lambda row: rank(self.seed, "order", _task_id(row)))
        return rows[: self.config.limit]

    def _task(self, row: GDPvalRow, library: Library) -> GDPvalTask:
        wanted = row.reference_files if self.config.include_reference_files else ()
        references = tuple(library.file(member, owner=row.task_id) for member in wanted)
        deliverable = self._deliverable(row, library)
        request = materials.request(row.prompt)
        files = [[file.name, file.size, file.sha256] for file in references]
        theirs = [] if deliverable is None else [deliverable.text, *[file.sha256 for file in deliverable.files]]
        return GDPvalTask(
            id=_task_id(row),
            stratum=row.sector,
            prompt=materials.listed(request, references),
            digest=digest(request, row.sector, row.occupation, files, self.config.mode, theirs),
            messages=2,  # one is sent; the time of the other is for reading the files, which is not the agent's doing
            expected="" if deliverable is None else "the deliverable of the professional",
            request=request,
            sector=row.sector,
            occupation=row.occupation,
            references=references,
            deliverable=deliverable,
        )

    def _deliverable(self, row: GDPvalRow, library: Library) -> Deliverable | None:
        if self.config.mode == "rubric":
            return None
        text, files = library.deliverable(row)
        if not text and not files:
            raise DatasetError(
                f"{NAME}: task {row.task_id} has no deliverable to compare with, neither in the data set nor in "
                f"deliverables/{row.task_id}/; pairwise mode needs one for each task"
            )
        return Deliverable(text=text, files=files)


def _task_id(row: GDPvalRow) -> str:
    return f"{NAME}_{row.task_id}"


def _known(key: str, wanted: Sequence[str] | None, there: set[str]) -> set[str]:
    """The names of the data set that are wanted, whatever their case. Raises DatasetError for an unknown one."""
    if wanted is None:
        return there
    by_fold = {name.casefold().strip(): name for name in there}
    if unknown := [name for name in wanted if name.casefold().strip() not in by_fold]:
        told = "; ".join(f"{name!r}{nearest(name, there)}" for name in unknown)
        raise DatasetError(f"{NAME}: {key}: unknown {told}")
    return {by_fold[name.casefold().strip()] for name in wanted}
