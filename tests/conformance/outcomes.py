"""What a suite found, and how that compares with what is expected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

Status = Literal["passed", "failed", "skipped", "not tested"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One test or requirement of a suite."""

    id: str
    level: str
    """must, should, may; mandatory; or test where a suite knows no levels."""
    status: Status
    text: str = ""
    """Why it failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteRun:
    """One suite against our servers."""

    suite: str
    commit: str
    checks: tuple[Check, ...]
    printed: str = ""
    """The last line of the suite's own report."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Level -> status -> number."""
        counts: dict[str, Counter[str]] = {}
        for check in self.checks:
            counts.setdefault(check.level, Counter())[check.status] += 1
        return {level: dict(sorted(counter.items())) for level, counter in counts.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The difference to the expected failures, as `suite id` each."""

    unexpected: list[str] = field(default_factory=list)
    healed: list[str] = field(default_factory=list)
    """Expected to fail, and passed."""


def compare(runs: Iterable[SuiteRun], expected: Mapping[tuple[str, str], str]) -> Verdict:
    """New failures, and expected ones that did not come. Suites that were not run say nothing."""
    verdict = Verdict()
    for run in runs:
        failed = {check.id for check in run.checks if check.status == "failed"}
        known = {test for suite, test in expected if suite == run.suite}
        verdict.unexpected.extend(f"{run.suite} {test}" for test in sorted(failed - known))
        verdict.healed.extend(f"{run.suite} {test}" for test in sorted(known - failed))
    return verdict


def read_expected(path: Path) -> dict[tuple[str, str], str]:
    """(suite, id) -> reason, from a list of objects with these keys."""
    return {(entry["suite"], entry["id"]): entry["reason"] for entry in json.loads(path.read_text())}


def from_junit(path: Path, level: str) -> tuple[Check, ...]:
    """The tests of a pytest report."""
    return tuple(_from_case(case, level) for case in ET.parse(path).getroot().iter("testcase"))


def _from_case(case: ET.Element, level: str) -> Check:
    name = f"{case.get('classname')}::{case.get('name')}"
    for tag in ("failure", "error"):
        if (found := case.find(tag)) is not None:
            return Check(id=name, level=level, status="failed", text=found.get("message") or "")
    return Check(id=name, level=level, status="passed" if case.find("skipped") is None else "skipped")


def from_requirements(path: Path) -> tuple[Check, ...]:
    """The requirements of the 1.0 kit's own report; several tests may stand behind one."""
    statuses: dict[str, Status] = {"PASS": "passed", "FAIL": "failed", "SKIPPED": "skipped", "NOT TESTED": "not tested"}
    return tuple(
        Check(id=name, level=entry["level"].lower(), status=statuses[entry["status"]], text="; ".join(entry["errors"]))
        for name, entry in json.loads(path.read_text())["per_requirement"].items()
    )
