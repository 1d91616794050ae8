"""Verdicts that are known already."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.contract.execution import CallResult, CallStatus, JobResult, LimitHit, SandboxInfo
from services.green_agent.scoring.code.cache import Key, VerdictCache, key_of
from services.green_agent.scoring.code.verdicts import Verdict

HERE = SandboxInfo(backend="bwrap-warm", isolated=True, facts={"python": "3.11.2"})
VERDICT = Verdict(method="pairs", passed=1, total=3, faults=("a", "b"), job=JobResult(cpu_s=0.5, stdout="x" * 100))


def key(*, task: str = "sha256:1", source: str = "x = 1", scorer: str = "1", sandbox: SandboxInfo = HERE) -> Key:
    return key_of(task, source, scorer=scorer, sandbox=sandbox)


def test_a_kept_verdict_is_found_for_every_trial() -> None:
    cache = VerdictCache()
    cache.keep(key(), 0, VERDICT)

    found = cache.find(key(), 5)

    assert found is not None
    assert (found.passed, found.total, found.faults, found.job.cpu_s) == (1, 3, ("a",), 0.5)
    assert found.job.stdout == ""


@pytest.mark.parametrize(
    "other",
    [
        key(task="sha256:2"),
        key(source="x = 2"),
        key(scorer="2"),
        key(sandbox=HERE.model_copy(update={"backend": "container"})),
        key(sandbox=HERE.model_copy(update={"facts": {"python": "3.12.0"}})),
    ],
    ids=["task", "program", "scorer", "backend", "interpreter"],
)
def test_a_verdict_is_found_for_its_key_alone(other: Key) -> None:
    cache = VerdictCache()
    cache.keep(key(), 0, VERDICT)

    assert cache.find(other, 0) is None


def test_a_seeded_verdict_is_found_for_its_trial_alone() -> None:
    cache = VerdictCache()
    cache.keep(key(), 3, replace(VERDICT, seeded=True))

    assert cache.find(key(), 4) is None
    assert cache.find(key(), 3) is not None


@pytest.mark.parametrize(
    "verdict",
    [
        replace(VERDICT, timed_out=True),
        replace(VERDICT, job=JobResult(limit=LimitHit.WALL)),
        replace(VERDICT, job=JobResult(limit=LimitHit.CPU)),
        replace(VERDICT, job=JobResult(calls=[CallResult(status=CallStatus.TIMEOUT)])),
    ],
    ids=["said", "wall", "cpu", "call"],
)
def test_what_a_clock_decided_is_not_kept(verdict: Verdict) -> None:
    cache = VerdictCache()
    cache.keep(key(), 0, verdict)

    assert cache.find(key(), 0) is None


def test_the_verdict_used_longest_ago_makes_room() -> None:
    cache = VerdictCache(most=2)
    cache.keep(key(source="a"), 0, VERDICT)
    cache.keep(key(source="b"), 0, VERDICT)
    cache.find(key(source="a"), 0)
    cache.keep(key(source="c"), 0, VERDICT)

    assert [source for source in "abc" if cache.find(key(source=source), 0) is not None] == ["a", "c"]


def test_a_program_with_lone_surrogates_has_a_key() -> None:
    assert key(source="'\udc80'") != key(source="'\udc81'")
