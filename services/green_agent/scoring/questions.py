"""Questions drawn from templates: parameters, wording, key, and the proof that no number of the question answers it.

Also the conversation about named quantities: one question, one reminder of the form. Shared by options and synthetic, which
may not import each other. Source: finance specification 5.2 and 5.3.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from services.contract.conversation import AgentSession, Transcript
from services.green_agent.scoring.answers import (
    Grade,
    Measure,
    Quantity,
    Reading,
    Value,
    answer_form,
    read,
    reminder,
)
from services.green_agent.scoring.numbers import MULTIPLIERS

MOST_REDRAWS: Final = 20
LONG_REPLY: Final = 20_000
"""Characters up to which a reply is read in microseconds."""
REMINDERS: Final = "reminders"
"""Key of the transcript's notes: how often the agent was reminded of the answer form."""

P = TypeVar("P")


@dataclass(frozen=True, kw_only=True, slots=True)
class Template(Generic[P]):
    """One kind of question over parameters P, a frozen dataclass whose values are exactly those the question prints."""

    name: str
    wordings: tuple[str, ...]
    """At least three `str.format` texts."""
    conventions: str
    """What the question states about model, units and signs."""
    draw: Callable[[random.Random], P]
    key: Callable[[P], Mapping[str, Value]]
    """The truth, by key of the quantities. Tests hold a second, independent derivation of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question(Generic[P]):
    """What is asked about drawn parameters, and the truth."""

    params: P
    prompt: str
    quantities: tuple[Quantity, ...]
    """In the order of the question."""
    keys: Mapping[str, Value]
    """By key of `quantities`."""


Ask = Callable[[P, random.Random], Question[P]]
"""Puts parameters into words; draws the wording."""


def draw_question(
    template: Template[P], ask: Ask[P], rng: random.Random, *, taken: set[str], apart_from: Sequence[float] = ()
) -> Question[P] | None:
    """A valid question whose parameters are not in `taken`, or None when MOST_REDRAWS draws gave none.

    No key is near a number of `apart_from`. The question's parameters are added to `taken`.
    """
    for _ in range(1 + MOST_REDRAWS):
        params = template.draw(rng)
        question = ask(params, rng)
        name = f"{template.name} {params!r}"
        if name not in taken and is_valid(question, apart_from=apart_from):
            taken.add(name)
            return question
    return None


def compose(*, body: str, params: P, quantities: Sequence[Quantity], keys: Mapping[str, Value]) -> Question[P]:
    """The question with the body's spaces made regular and the answer form at its end. Keys beyond `quantities` are left out."""
    return Question(
        params=params,
        prompt=f"{' '.join(body.split())}\n\n{answer_form(quantities)}",
        quantities=tuple(quantities),
        keys={quantity.key: keys[quantity.key] for quantity in quantities},
    )


def stable(keys: Mapping[str, Value]) -> dict[str, str]:
    """Keys for a digest: rounded, so that another build of the same libraries cannot change it by a last bit."""
    return {key: f"{value:.9g}" if isinstance(value, float) else repr(value) for key, value in keys.items()}


async def ask_for_quantities(agent: AgentSession, prompt: str, quantities: Sequence[Quantity]) -> None:
    """One question; one reminder of the answer form when no required key can be read from the reply."""
    reply = await agent.ask(prompt)
    if await read_reply(reply.text, quantities) is None:
        agent.note(REMINDERS, 1)
        await agent.ask(reminder(quantities))


async def read_reply(reply: str, quantities: Sequence[Quantity]) -> Reading | None:
    """Read a reply. A hostile one of megabytes takes seconds; other conversations go on meanwhile."""
    if len(reply) <= LONG_REPLY:
        return read(reply, quantities)
    return await asyncio.to_thread(read, reply, quantities)


def counts(graded: Grade, transcript: Transcript) -> dict[str, int]:
    """The metrics of an answer: `quantities_right`, `quantities_required`, `unit_slips` and `reminders`."""
    reminders = transcript.notes.get(REMINDERS, 0)
    return {
        "quantities_right": graded.right,
        "quantities_required": len(graded.marks),
        "unit_slips": graded.unit_slips,
        "reminders": reminders if isinstance(reminders, int) else 0,
    }


def given(graded: Grade) -> str:
    """What was read from the reply, in one line."""
    return ", ".join(f"{mark.quantity.key}={mark.got}" for mark in graded.marks if mark.got)


def is_valid(question: Question[P], *, apart_from: Sequence[float] = ()) -> bool:
    """True when every key is finite, has three significant digits, and echoing no number of the question answers it.

    A key must be apart from the numbers of `apart_from` in the same way: by more than twice its tolerance.
    """
    printed = [*_numbers_printed(question.prompt), *((number, 1.0) for number in apart_from)]
    return all(
        _is_telling(quantity, float(question.keys[quantity.key]), printed)
        for quantity in question.quantities
        if quantity.is_number
    )


def _is_telling(quantity: Quantity, key: float, printed: Collection[tuple[float, float]]) -> bool:
    if not math.isfinite(key):
        return False
    last_digit = 1.0 if quantity.measure is Measure.COUNT else 10.0**-quantity.decimals
    if abs(key) < 100 * last_digit:
        return False
    clearance = 2 * quantity.margin(key)
    readings = {0.0}
    for number, unit in printed:
        # A unit that is repeated with its number is turned into the quantity's own when the answer is read.
        readings |= {number} if unit == 1 else {number, number * unit, number * unit / quantity.scale}
    return all(abs(key - reading) > clearance for reading in readings)


_PRINTED = re.compile(r"([-+]?)([0-9][0-9,]*(?:\.[0-9]+)?)(?:\s?(%|bp|thousand|million|billion))?")


def _numbers_printed(prompt: str) -> list[tuple[float, float]]:
    """Every number of the prompt with what its unit is worth; a negative one also without its sign."""
    found: list[tuple[float, float]] = []
    for match in _PRINTED.finditer(prompt):
        number, unit = float(match[2].replace(",", "")), MULTIPLIERS[match[3] or ""]
        found.append((number, unit))
        if match[1] == "-":
            found.append((-number, unit))
    return found
