"""One or several judges behind one face: majority a criterion, median a scale."""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

import structlog
from pydantic import JsonValue

from services.contract.assessment import PlannedTrial
from services.contract.endpoints import Endpoint, EndpointError
from services.contract.judgements import Judgement
from services.contract.outcomes import Failure, Outcome
from services.green_agent.judge.asking import (
    BinaryVerdict,
    Case,
    CriteriaVerdict,
    Judge,
    Preference,
    Scale,
    ScalesVerdict,
)
from services.green_agent.judge.cache import VerdictCache, cache_folder
from services.green_agent.judge.member import Hearing, Means, Member
from services.green_agent.judge.model import JudgeModel
from services.green_agent.judge.places import endpoints_of
from services.green_agent.judge.prices import PricesError
from services.green_agent.judge.prompts import template_digest
from services.green_agent.judge.questions import (
    Question,
    Wording,
    comparison,
    of_criteria,
    of_scales,
    right_or_wrong,
    worded,
)
from services.green_agent.judge.records import judge_name, standing_in
from services.green_agent.judge.settings import JudgeSettings
from services.green_agent.judge.verdicts import Value, Verdict

log = structlog.get_logger()

BATCH: Final = 10
"""Criteria in one call."""
HOPELESS: Final = frozenset({"auth", "payment", "model_missing", "connection", "bad_request"})
"""Answers to the first question after which no other can succeed; what may pass, such as a rate limit, is not among them."""


class JudgeUnavailableError(Exception):
    """There is no usable judge. The text says why and what would help."""


class JudgePanel:
    """The judges of an assessment."""

    def __init__(self, members: Sequence[Member], means: Means, settings: JudgeSettings, *, folder: Path) -> None:
        self._members = tuple(members)
        self._folder = folder
        self._means = means
        self._settings = settings
        self._asked: set[str] = set()
        """Calibrations that speak for what was asked."""
        self.name = judge_name([member.model.endpoint for member in members])
        """Models and digest of the prompts."""

    def for_trial(self, trial: PlannedTrial, record: list[Judgement], *, wording: Wording = "plain") -> Judge:
        """The judge for one trial; every call is appended to `record`, failed ones included.

        Another wording serves calibration, which measures how much verdicts depend on it.
        """
        hearing = Hearing(trial=trial, record=record)
        return _TrialJudge(
            name=self.name,
            fallback=self._settings.fallback,
            members=self._members,
            hearing=hearing,
            wording=wording,
            asked=self._asked,
        )

    def description(self) -> dict[str, JsonValue]:
        """Models, parameters and prompts, for the record of a run. Holds no secret."""
        standing = standing_in(self._folder, self.name, self._asked or {""})
        records: dict[str, JsonValue] = {
            name: None if record is None else record.model_dump(mode="json")
            for name, record in standing.records.items()
        }
        return {
            "name": self.name,
            "template": template_digest(),
            "members": [_described(member.model) for member in self._members],
            "timeout_seconds": self._settings.timeout_seconds,
            "concurrency": self._settings.concurrency,
            "cache": self._means.cache is not None,
            "fallback": self._settings.fallback,
            "calibration": records.get(""),
            "calibrations": {name: record for name, record in records.items() if name},
            "headline": standing.headline,
            "kappa": standing.kappa,
        }

    async def aclose(self) -> None:
        """Close connections and the cache."""
        for member in self._members:
            await member.model.aclose()
        if self._means.cache is not None:
            await self._means.cache.aclose()


async def open_judge(
    settings: JudgeSettings,
    *,
    env: Mapping[str, str] = os.environ,
    folder: Path | None = None,
    salt: bytes | None = None,
) -> JudgePanel:
    """The judge of these settings, each model asked once how it takes a schema. Raises JudgeUnavailableError.

    `folder` holds the cache, by default that of the user; `salt` is the secret of the run, by default a fresh one.
    """
    try:
        endpoints = endpoints_of(settings, env)
    except (EndpointError, PricesError) as error:
        raise JudgeUnavailableError(str(error)) from None
    folder = folder or cache_folder()
    cache = await VerdictCache.open(folder) if settings.cache else None
    means = Means(
        timeout_s=settings.timeout_seconds,
        salt=secrets.token_bytes(32) if salt is None else salt,
        places=asyncio.Semaphore(settings.concurrency),
        cache=cache,
    )
    members = [
        Member(_model(endpoint, settings, cache), number=number, means=means, twins=_twins(endpoints, number))
        for number, endpoint in enumerate(endpoints)
    ]
    panel = JudgePanel(members, means, settings, folder=folder)
    try:
        await _check(members)
    except BaseException:
        await panel.aclose()
        raise
    log.info("judge_opened", name=panel.name)
    return panel


def _twins(endpoints: Sequence[Endpoint], number: int) -> int:
    """How many endpoints before this one would share its verdicts in the cache, where the address does not count."""
    one = endpoints[number]
    return sum((other.provider, other.model) == (one.provider, one.model) for other in endpoints[:number])


def _model(endpoint: Endpoint, settings: JudgeSettings, cache: VerdictCache | None) -> JudgeModel:
    return JudgeModel(
        endpoint,
        max_tokens=settings.max_tokens,
        timeout_s=settings.timeout_seconds,
        concurrency=settings.concurrency,
        cache=cache,
    )


async def _check(members: Sequence[Member]) -> None:
    """Ask every model before anything is spent. What may pass by itself is left to the questions."""
    for member in members:
        failure = await member.model.learn()
        if failure is None:
            continue
        place = f"the judge {member.model.endpoint.model} at {', '.join(member.model.endpoint.urls)}"
        if failure.kind in HOPELESS:
            raise JudgeUnavailableError(f"{place} cannot be used ({failure.kind}): {failure.message}")
        log.warning("judge_not_ready", judge=place, kind=failure.kind, reason=failure.message)


def _described(model: JudgeModel) -> JsonValue:
    endpoint = model.endpoint
    price = None if endpoint.price is None else endpoint.price.model_dump(mode="json")
    return {
        "model": endpoint.model,
        "provider": endpoint.provider,
        "url": ", ".join(endpoint.urls),
        "temperature": endpoint.temperature,
        "max_tokens": model.max_tokens,
        "context": model.context,
        "context_source": model.context_source,
        "format": model.mode,
        "price": price,
        "facts": dict(endpoint.facts),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _TrialJudge:
    """The panel, on behalf of one trial."""

    name: str
    fallback: Literal["none", "rule"]
    members: tuple[Member, ...]
    hearing: Hearing
    wording: Wording
    asked: set[str]

    async def criteria(self, case: Case, criteria: Sequence[str]) -> CriteriaVerdict:
        """Judge every criterion, in batches. All or nothing: no partial verdict is ever returned."""
        if not criteria:
            return CriteriaVerdict(met=(), reasons=())
        starts = range(0, len(criteria), BATCH)
        batches = [of_criteria(case, tuple(criteria[start : start + BATCH]), first=start + 1) for start in starts]
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._heard(batch)) for batch in batches]
        met: list[bool] = []
        reasons: list[str] = []
        suspected = False
        for batch, task in zip(batches, asked, strict=True):
            votes = _enough(task.result())
            suspected |= any(vote.injection_suspected for vote in votes)
            for name in batch.ids:
                met.append(_majority(votes, name))
                reasons.append(_reason(votes, name, met[-1]))
        return CriteriaVerdict(met=tuple(met), reasons=tuple(reasons), injection_suspected=suspected)

    async def scales(self, case: Case, scales: Sequence[Scale]) -> ScalesVerdict:
        """Rate the answer on every scale in one call."""
        if not scales:
            return ScalesVerdict(scores={})
        votes = _enough(await self._heard(of_scales(case, tuple(scales))))
        return ScalesVerdict(
            scores={scale.name: statistics.median(int(vote.values[scale.name]) for vote in votes) for scale in scales},
            reasons={scale.name: votes[0].reasons.get(scale.name, "") for scale in scales},
            injection_suspected=any(vote.injection_suspected for vote in votes),
        )

    async def correct(self, case: Case) -> BinaryVerdict:
        """Decide whether the answer agrees with the reference."""
        votes = _enough(await self._heard(right_or_wrong(case)))
        correct = _majority(votes, "correct")
        return BinaryVerdict(
            correct=correct,
            reason=_reason(votes, "correct", correct),
            injection_suspected=any(vote.injection_suspected for vote in votes),
        )

    async def compare(self, case: Case, first: str, second: str, *, swapped: bool) -> Preference:
        """Compare two answers in one call; call again with them exchanged and `swapped`, for the record."""
        votes = _enough(await self._heard(comparison(case, first, second, swapped=swapped)))
        [(leader, count), *_] = Counter(vote.values["verdict"] for vote in votes).most_common(1)
        verdict = cast("Literal['first', 'second', 'tie']", leader if 2 * count > len(votes) else "tie")
        return Preference(
            verdict=verdict,
            reason=_reason(votes, "verdict", verdict),
            injection_suspected=any(vote.injection_suspected for vote in votes),
        )

    async def _heard(self, question: Question) -> list[Verdict | Failure]:
        """What each member says, in the order of the panel."""
        self.asked.add(question.case.calibration)
        said = worded(question, self.wording)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(member.ask(said, self.hearing)) for member in self.members]
        return [task.result() for task in asked]


def _enough(heard: Sequence[Verdict | Failure]) -> list[Verdict]:
    """The valid verdicts. Raises Failure when they come from less than half of the panel."""
    valid = [verdict for verdict in heard if isinstance(verdict, Verdict)]
    failures = [failure for failure in heard if isinstance(failure, Failure)]
    if valid and 2 * len(valid) >= len(heard):
        return valid
    first = failures[0]
    told = "; ".join(failure.message for failure in failures)
    raise Failure(Outcome.JUDGE_ERROR, first.kind, told, evidence=first.evidence)


def _majority(votes: Sequence[Verdict], name: str) -> bool:
    """More than half; a tie is not met."""
    return 2 * sum(vote.values[name] is True for vote in votes) > len(votes)


def _reason(votes: Sequence[Verdict], name: str, verdict: Value) -> str:
    """The words of the first member that saw it like the panel."""
    return next((vote.reasons.get(name, "") for vote in votes if vote.values[name] == verdict), "")
