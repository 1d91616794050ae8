"""Verdicts that are known already: agents that are sampled often repeat their programs.

A verdict of a clock is not kept: it hangs on what else the machine did. Source: code-and-math specification 5, "Cache".
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final

from services.contract.execution import SandboxInfo
from services.green_agent.scoring.code.verdicts import Verdict

MOST_KEPT: Final = 20_000
"""Verdicts in memory, each below a kilobyte."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a verdict hangs on, apart from the trial. Limits follow from the task and the entry, whose cache this is."""

    task_digest: str
    program_sha256: str
    scorer: str
    sandbox: str
    """Backend and interpreter."""


def key_of(task_digest: str, source: str, *, scorer: str, sandbox: SandboxInfo) -> Key:
    """The key of a program for a task."""
    facts = "; ".join(f"{name}={value}" for name, value in sorted(sandbox.facts.items()))
    return Key(
        task_digest=task_digest,
        program_sha256=hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest(),
        scorer=scorer,
        sandbox=f"{sandbox.backend}; {facts}",
    )


class VerdictCache:
    """Keeps the verdicts used last, of one suite entry in one process."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[Key, int | None], Verdict] = OrderedDict()

    def find(self, key: Key, trial: int) -> Verdict | None:
        """The verdict on an equal program, for this trial where the verdict hangs on it; None when it is not known."""
        for place in ((key, None), (key, trial)):
            if place in self._kept:
                self._kept.move_to_end(place)
                return self._kept[place]
        return None

    def keep(self, key: Key, trial: int, verdict: Verdict) -> None:
        """Keep a verdict unless time decided it."""
        if verdict.ran_out_of_time:
            return
        self._kept[key, trial if verdict.seeded else None] = _small(verdict)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)


def _small(verdict: Verdict) -> Verdict:
    """The verdict without what the program returned or printed; a row tells the first fault alone."""
    job = verdict.job.model_copy(update={"calls": [], "stdout": "", "stderr": "", "build": None, "interactor": None})
    return replace(verdict, faults=verdict.faults[:1], job=job)
