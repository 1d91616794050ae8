"""The shape of a synthetic question: difficulty, required quantities, figures among facts that do not matter."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from services.green_agent.benchmarks.synthetic.figures import show_figures
from services.green_agent.benchmarks.synthetic.surroundings import ASIDES, FIRMS, Scene
from services.green_agent.scoring import questions
from services.green_agent.scoring.answers import Measure, Quantity
from services.green_agent.scoring.questions import Question, compose

P = TypeVar("P")

_BETWEEN_SENTENCES: Final = re.compile(r"(?<=[.?]) ")
_POINTS_BACK: Final = re.compile(r"\b(?:it|its|they|their|that|those|these|both|then|thereafter)\b", re.IGNORECASE)
_GUESSES: Final = (1.0, 10.0, 42.0, 50.0, 100.0)
"""Numbers that are answered by agents that do not know; no key is one of them."""


class Difficulty(StrEnum):
    """How much is asked, how much does not matter, and whether units are mixed."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"


_FEWEST_AND_MOST_ASIDES: Final = {Difficulty.EASY: (0, 1), Difficulty.MEDIUM: (2, 2), Difficulty.HARD: (3, 4)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Template(questions.Template[P], Generic[P]):
    """One kind of question; its wordings are texts over the fields of P, `firm` and `other`, of two sentences or more."""

    scene: Scene
    asked: Mapping[Difficulty, tuple[Quantity, ...]]
    """Easy 1-2, medium 2-3, hard 3 or more."""


AnyTemplate = Template[Any]
"""A template whose parameters are known to itself alone."""


def draw_question(
    template: Template[P], difficulty: Difficulty, rng: random.Random, *, taken: set[str]
) -> Question[P] | None:
    """A valid question whose parameters are not in `taken`, or None, as `questions.draw_question`."""

    def ask_in_words(params: P, rng: random.Random) -> Question[P]:
        return ask(template, difficulty, params, rng)

    return questions.draw_question(template, ask_in_words, rng, taken=taken, apart_from=_GUESSES)


def ask(template: Template[P], difficulty: Difficulty, params: P, rng: random.Random) -> Question[P]:
    """The question about these parameters; wording, firms, asides and units are drawn."""
    firm, other = rng.sample(FIRMS, 2)
    figures = show_figures(params, mixed=rng if difficulty is Difficulty.HARD else None)
    wording = rng.choice(template.wordings).format(firm=firm, other=other, **figures)
    asides = rng.sample(ASIDES[template.scene], rng.randint(*_FEWEST_AND_MOST_ASIDES[difficulty]))
    sentences = _among(_BETWEEN_SENTENCES.split(wording), [aside.tell(rng, firm=firm) for aside in asides], rng)
    return compose(
        body=f"{' '.join(sentences)} {template.conventions}",
        params=params,
        quantities=template.asked[difficulty],
        keys=template.key(params),
    )


def _among(sentences: Sequence[str], asides: Sequence[str], rng: random.Random) -> list[str]:
    """The asides, nowhere between a sentence and one that points back at it, and never last."""
    mixed = list(sentences)
    for aside in asides:
        places = [at for at, sentence in enumerate(mixed) if at == 0 or not _POINTS_BACK.search(sentence)]
        mixed.insert(rng.choice(places), aside)
    return mixed


def asked(
    *quantities: Quantity, easy: Sequence[str], medium: Sequence[str], hard: Sequence[str]
) -> Mapping[Difficulty, tuple[Quantity, ...]]:
    """Which of the quantities each difficulty asks for, by key."""
    by_key = {quantity.key: quantity for quantity in quantities}
    keys = {Difficulty.EASY: easy, Difficulty.MEDIUM: medium, Difficulty.HARD: hard}
    return {difficulty: tuple(by_key[key] for key in chosen) for difficulty, chosen in keys.items()}


def figure(key: str, meaning: str, unit: str = "", *, decimals: int = 2, tolerance: float = 0.005) -> Quantity:
    """A number, right within a share of itself."""
    return Quantity(key=key, meaning=meaning, unit=unit, decimals=decimals, tolerance=tolerance)


def percent(key: str, meaning: str, *, decimals: int = 3, tolerance: float = 0.005) -> Quantity:
    """A percentage, right within a share of itself."""
    return figure(key, meaning, "%", decimals=decimals, tolerance=tolerance)


def label(key: str, meaning: str, *labels: str) -> Quantity:
    """One of a closed list."""
    return Quantity(key=key, meaning=meaning, measure=Measure.LABEL, labels=labels)
