"""What a verification report and the word about it come to. Pure; the texts are a model's, so anything may stand in them."""

from __future__ import annotations

from typing import Final

from services.contract.conversation import Opinion
from services.purple_agent.strategies.self_eval_prompts import DETAILS

LONGEST_FINDINGS: Final = 10_000
"""Characters of a report that a refinement is shown."""
_MARKUP: Final = " \t\r\n*_`#>~\"'"
_VERDICT: Final = "verdict:"
_WORDS: Final[dict[str, Opinion]] = {"yes": "yes", "no": "no"}


def opinion_of(reply: str) -> Opinion:
    """`yes` or `no` when the reply is that word and nothing else, or ends in a line `VERDICT: yes|no`; else `undecided`.

    Markup around the word and one full stop behind it do not count. Lines of a verdict that contradict each other decide
    nothing, and no word is ever looked for inside a sentence. Source: code-and-math specification 10.
    """
    word = _WORDS.get(_bare(reply))
    if word is not None:
        return word
    lines = [_bare(line) for line in reply.splitlines()]
    filled = [line for line in lines if line]
    if not filled or not filled[-1].startswith(_VERDICT):
        return "undecided"
    verdicts = {_bare(line.removeprefix(_VERDICT)) for line in filled if line.startswith(_VERDICT)}
    return _WORDS.get(verdicts.pop(), "undecided") if len(verdicts) == 1 else "undecided"


def findings_of(report: str) -> str:
    """The report before the heading of its detailed part, at most `LONGEST_FINDINGS` characters.

    A report that has no such part, or nothing before it, is taken from its beginning.
    """
    before: list[str] = []
    for line in report.splitlines():
        if _bare(line).removesuffix(":") == DETAILS.lower():
            break
        before.append(line)
    return ("\n".join(before).strip() or report.strip())[:LONGEST_FINDINGS]


def _bare(text: str) -> str:
    """In lower case, without markup at both ends and without a full stop behind it."""
    return text.strip(_MARKUP).removesuffix(".").strip(_MARKUP).lower()
