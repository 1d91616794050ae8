"""crypto: trading one market through several episodes, scored by a simulator. Finance specification 7.

A task is a scenario. Its episodes are the market as it is, seen through noise, hit by shocks, rescaled and inverted; each is
a conversation of its own and all run at once. The score is computed from the transcript alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from pydantic import JsonValue

from services.contract.conversation import AgentSession, Transcript
from services.contract.results import Section
from services.green_agent.benchmarks.base import (
    Benchmark,
    DatasetConfig,
    DatasetError,
    Score,
    ScoringTools,
    Setting,
    Task,
    digest,
)
from services.green_agent.benchmarks.crypto import sources
from services.green_agent.benchmarks.crypto.bars import COLUMNS, MIN_BARS
from services.green_agent.benchmarks.crypto.config import CryptoConfig
from services.green_agent.benchmarks.crypto.episodes import Course, Window, cut, episodes
from services.green_agent.benchmarks.crypto.grading import KINDS, grade_scenario
from services.green_agent.benchmarks.crypto.play import Play, converse_all, replay
from services.green_agent.benchmarks.crypto.scenario_files import Scenario
from services.green_agent.benchmarks.crypto.transforms import SHOCK_SIZE

BENCHMARK: Final = "crypto"
REQUEST_VERSION: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class CryptoTask(Task):
    """A scenario with all that decides its episodes."""

    course: Course


class Crypto(Benchmark[CryptoConfig, CryptoTask]):
    """Trading through the episodes of a scenario; doing nothing scores exactly 50 of 100."""

    name: ClassVar[str] = BENCHMARK
    section: ClassVar[Section] = Section.CRYPTO_TRADING
    config_model: ClassVar[type[DatasetConfig]] = CryptoConfig
    scorer_version: ClassVar[str] = "crypto-1"
    sub_score_names: ClassVar[tuple[str, ...]] = KINDS

    def __init__(self, config: CryptoConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self._notes: dict[str, JsonValue] = {}

    def tasks(self) -> Sequence[CryptoTask]:
        """One task a scenario, in the order of the source. Raises DatasetError."""
        loaded = sources.load(self.config, self.seed, self.setting.store)
        self._notes = dict(loaded.notes)
        tasks = [self._task(scenario) for scenario in loaded.scenarios]
        asked = self.config.max_steps
        if short := [task.id for task in tasks if asked is not None and len(task.course.window.bars) < asked]:
            self._notes["shorter_than_max_steps"] = list(short)
        return tasks

    def notes(self) -> Mapping[str, JsonValue]:
        """Where the scenarios came from and what was passed over."""
        return self._notes

    def possible(self, task: CryptoTask) -> Mapping[str, float]:
        """One for each kind of episode that is played."""
        return dict.fromkeys(task.course.config.score_weights.positive(), 1.0)

    async def converse(self, task: CryptoTask, trial: int, agent: AgentSession) -> None:  # noqa: ARG002
        """All episodes at once, the steps of each in order. Malformed decisions cost; infrastructure faults end the trial."""
        await converse_all(await asyncio.to_thread(episodes, task.course), agent)

    async def score(
        self,
        task: CryptoTask,
        trial: int,  # noqa: ARG002
        transcript: Transcript,
        tools: ScoringTools,  # noqa: ARG002
    ) -> Score:
        """Replay the simulator over the replies of the transcript. Raises Failure."""
        return await asyncio.to_thread(_score, task, transcript)

    def _task(self, scenario: Scenario) -> CryptoTask:
        course = Course(
            scenario_id=scenario.id,
            symbol=scenario.symbol,
            window=self._window(scenario),
            config=self.config.evaluation,
            seed=self.seed if self.config.evaluation.seed is None else self.config.evaluation.seed,
            reveal=self.config.reveal,
        )
        try:
            plays = [Play(episode=episode) for episode in episodes(course)]
        except OverflowError:
            raise DatasetError(
                f"crypto scenario {scenario.id}: its returns are so large that a shock of"
                f" {SHOCK_SIZE[1]:g} deviations leaves the range of numbers"
            ) from None
        return CryptoTask(
            id=scenario.id,
            stratum=BENCHMARK,
            prompt=plays[0].question() or "",
            digest=_digest(course),
            messages=sum(play.planned_questions for play in plays),
            course=course,
        )

    def _window(self, scenario: Scenario) -> Window:
        """The bars that are played. Raises DatasetError when the stride leaves too few."""
        config, bars = self.config, scenario.bars
        if len(bars) // config.stride < MIN_BARS:
            raise DatasetError(
                f"crypto scenario {scenario.id}: stride {config.stride} leaves {len(bars) // config.stride} of"
                f" {len(bars)} bars, at least {MIN_BARS} are needed"
            )
        return cut(bars, stride=config.stride, max_steps=config.max_steps, warmup_bars=config.warmup_bars)


def _score(task: CryptoTask, transcript: Transcript) -> Score:
    course = task.course
    played = [replay(episode, transcript) for episode in episodes(course)]
    return grade_scenario(course.scenario_id, played, course.config)


def _digest(course: Course) -> str:
    """Over everything two participants must share to meet the same market: bars, rules, seed and what is shown."""
    window = course.window
    return digest(
        REQUEST_VERSION,
        course.scenario_id,
        course.symbol if course.reveal else "",
        [[getattr(part, name) for name in COLUMNS] for part in (window.warm, window.bars)],
        window.bars.bar_ms,
        course.config.model_dump(mode="json", exclude={"seed"}),
        course.seed,
    )
