"""The words of `self_eval_sequential`, and their digest, which every trace carries."""

from __future__ import annotations

import hashlib
from typing import Final

DETAILS: Final = "Step by step"
"""Heading of a report's second part. What stands before it are the findings."""

_VERIFY: Final = """\
Check a proposed solution to a problem. Somebody else wrote it; your task is to find out whether it is right.

<problem>
{problem}
</problem>

<solution>
{solution}
</solution>

Go through the solution from its first line to its last.
For mathematics: does each step follow from what stands before it, is any case left out, are the calculations right, and \
is exactly what was asked answered?
For a program: follow it by hand on the examples of the problem, on the smallest and largest inputs and on unusual ones. \
Does it read and write what the problem says, and is it fast enough for the limits?
Check, do not repair. An unusual way is no fault; a gap that matters is one even if the result happens to be right.

Write a report of two parts.
Under the heading "## Findings": in one sentence, whether the solution is correct; then each fault with the place where it \
stands, what is wrong there and how much of the solution falls with it. Without faults, say that there are none.
Under the heading "## {details}": the check itself, step by step.
"""

_DECIDE: Final = """\
Below is a report by somebody who checked a solution to a problem.

<report>
{report}
</report>

Does this report find the solution correct as a whole, without a fault that matters? Small remarks on style are no such \
fault; a wrong result, a gap in a proof, a failing input or a solution that breaks off are.
Answer with one word and nothing else: yes or no.
"""

_REMINDER: Final = """\

An answer to this could not be read before. Write one single word, either yes or no, without anything before or behind it.
"""

_REFINE: Final = """\
Improve a proposed solution to a problem with the help of a reader's findings.

<problem>
{problem}
</problem>

<solution>
{solution}
</solution>

<findings>
{findings}
</findings>

The reader may be mistaken: look at each finding yourself, mend what is really wrong and keep what is right. If the whole \
approach fails, choose another one.
Answer with the complete solution, from its beginning to its end, in the form that the problem asks for, as if it were the \
first one. Mention neither the findings nor the earlier solution.
"""

_WORDS: Final = (_VERIFY, _DECIDE, _REMINDER, _REFINE, DETAILS)
DIGEST: Final = f"sha256:{hashlib.sha256(chr(0).join(_WORDS).encode()).hexdigest()}"


def verify(*, problem: str, solution: str) -> str:
    """Asks for a report on a solution."""
    return _VERIFY.format(problem=problem, solution=solution, details=DETAILS)


def decide(*, report: str) -> str:
    """Asks what a report comes to."""
    return _DECIDE.format(report=report)


def decide_again(*, report: str) -> str:
    """The same after an answer that was neither yes nor no."""
    return _DECIDE.format(report=report) + _REMINDER


def refine(*, problem: str, solution: str, findings: str) -> str:
    """Asks for a better solution."""
    return _REFINE.format(problem=problem, solution=solution, findings=findings)
