"""Whether the same request gets the same text, alone and among others (D15)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

from services.inference.doctor import cures
from services.inference.doctor.asking import THINK, Ask, Said, user
from services.inference.doctor.subject import Result, Subject, passed, skipped

REPEATS: Final = 5
BATCH: Final = 16
_TOKENS: Final = 64


async def repeats(subject: Subject) -> Result:
    """D15: five times alone, five times within a batch of sixteen; temperature 0, one seed."""
    same, tokens = Ask(messages=user(THINK), max_tokens=_TOKENS), _TOKENS
    alone = [await subject.said_now(same) for _ in range(REPEATS)]
    others = [Ask(messages=user(f"{THINK} ({number})"), max_tokens=tokens) for number in range(BATCH - REPEATS)]
    # Interleaved, so that the repeats do not form a batch among themselves.
    asked = [ask for pair in zip(others, [same] * REPEATS, strict=False) for ask in pair] + others[REPEATS:]
    among = await asyncio.gather(*map(subject.said_now, asked))
    batched = [said for ask, said in zip(asked, among, strict=True) if ask is same]
    common = Counter(said.text for said in alone).most_common(1)[0][0]
    if not common:
        return skipped("nothing was said that could be compared")
    share_alone, share_batched = _share(alone, common), _share(batched, common)
    subject.facts |= {"equal_alone": share_alone, "equal_in_batch": share_batched}
    seen = f"equal texts: {share_alone} alone, {share_batched} in a batch of {BATCH}"
    if share_alone == share_batched == "100 %":
        return passed(seen)
    return Result(verdict="fail" if subject.deterministic else "warn", seen=seen, cure=cures.deterministic(subject))


def _share(said: Sequence[Said], common: str) -> str:
    return f"{100 * sum(one.text == common for one in said) // len(said)} %"
