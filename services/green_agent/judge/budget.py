"""How much fits into a judge's context, and what is cut when it does not: references first, then the middle of the answer.

Never a criterion, never the question. Every cut is recorded. Pure; counting by a server's tokenizer is the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.contract.judgements import Cut
from services.green_agent.judge.asking import Material
from services.green_agent.judge.fences import labels

DEFAULT_CONTEXT: Final = 32_768
OUTPUT_BASE: Final = 256
OUTPUT_EACH: Final = 120
CHARS_OF_A_TOKEN: Final = 2
"""Of reasons, on the low side: mathematics is written in short tokens."""
RESERVE: Final = 256
MARGIN: Final = 0.05
REFERENCE_SHARE: Final = 0.25
HEAD: Final = 0.6
_NOTICE: Final = 80
"""Characters that the notice of a cut may take."""
_CJK: Final = re.compile(
    r"[\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]+"
)


class NoRoomError(Exception):
    """Instructions, criteria and question alone do not fit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Tokens of one call."""

    context: int
    output: int

    @property
    def prompt(self) -> int:
        """What the prompt may have: the context less the output, 5 % and a reserve for the chat template."""
        return self.context - self.output - int(self.context * MARGIN) - RESERVE


def budget_for(verdicts: int, *, context: int, max_tokens: int | None, extra_chars: int = 0) -> Budget:
    """The budget of a call that asks for so many verdicts, with so many characters of reasons beyond short ones."""
    wanted = OUTPUT_BASE + OUTPUT_EACH * verdicts + extra_chars // CHARS_OF_A_TOKEN
    return Budget(context=context, output=wanted if max_tokens is None else min(max_tokens, wanted))


def estimate(text: str) -> int:
    """Tokens of a text without a tokenizer, on the high side: a third of its characters and each of the CJK ones."""
    if text.isascii():
        return -(-len(text) // 3)
    return max(-(-len(text) // 3) + sum(map(len, _CJK.findall(text))), -(-len(text.encode(errors="replace")) // 3))


def shortened(text: str, keep: int) -> str:
    """The text with its middle left out visibly, `keep` characters of it left: 60 % head, 40 % tail."""
    if keep >= len(text):
        return text
    head = int(keep * HEAD)
    left_out = len(text) - keep
    tail = text[head + left_out :]
    return f"{text[:head]}\n[... {left_out} characters left out by the evaluator ...]\n{tail}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """The texts of a prompt, cut where they had to be."""

    texts: tuple[str, ...]
    cuts: tuple[Cut, ...] = ()


def cut_to_fit(materials: Sequence[Material], *, excess: int, allowed: int, per_estimate: float) -> Fitted:
    """Texts that are about `excess` tokens shorter than those of the materials.

    `allowed` is the prompt budget; `per_estimate` how many tokens the tokenizer counts for one of `estimate`. References give way
    first, all together down to a quarter of the budget, then the answers. Raises NoRoomError when that is not enough.
    """
    sizes = [estimate(material.text) * per_estimate for material in materials]
    references = [index for index, material in enumerate(materials) if material.role == "reference"]
    answers = [index for index, material in enumerate(materials) if material.role == "answer"]
    floor = min(sum(sizes[index] for index in references), REFERENCE_SHARE * allowed)
    from_references = min(excess, sum(sizes[index] for index in references) - floor)
    targets = list(sizes)
    _shrink(targets, references, from_references)
    from_answers = excess - from_references
    if from_answers > sum(sizes[index] for index in answers):
        raise NoRoomError(f"{excess} tokens too many, and no more than the references and the answer may be cut")
    _shrink(targets, answers, from_answers)
    kept = [
        len(material.text) if target >= size else _characters(material.text, target / size)
        for material, size, target in zip(materials, sizes, targets, strict=True)
    ]
    return Fitted(
        texts=tuple(shortened(material.text, keep) for material, keep in zip(materials, kept, strict=True)),
        cuts=tuple(
            Cut(field=name, original_chars=len(material.text), kept_chars=keep)
            for name, material, keep in zip(labels(tuple(materials)), materials, kept, strict=True)
            if keep < len(material.text)
        ),
    )


def _shrink(targets: list[float], chosen: Sequence[int], tokens: float) -> None:
    """Take so many tokens from the largest of the chosen, level by level: small ones stay whole as long as possible."""
    if tokens <= 0:
        return
    wanted = sum(targets[index] for index in chosen) - tokens
    left = max(0.0, wanted)
    for position, index in enumerate(sorted(chosen, key=lambda one: targets[one])):
        targets[index] = min(targets[index], left / (len(chosen) - position))
        left -= targets[index]


def _characters(text: str, share: float) -> int:
    """Characters to keep so that the text with the notice of its cut has about this share of its size."""
    return max(0, int(len(text) * share) - _NOTICE)
