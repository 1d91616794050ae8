"""Short answers out of free text, compared with their key: number, sequence, id set, map, label or text.

Finance specification 3. An answer is compared with truth, never with vocabulary; exactly one value is ever taken, and what
is contained in a reply never scores. Every step is linear in the length of the reply, and no reply raises.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from services.green_agent.scoring.numbers import (
    LONGEST_ZONE,
    Number,
    Passage,
    Zone,
    answer_passage,
    clean,
    numbers_in,
    read_number,
)
from services.green_agent.scoring.structures import balanced

LONGEST_SHOWN: Final = 200
"""Characters of a value that are kept for people."""
WORDS_BESIDE_NUMBER: Final = 12
"""Letters a reference may hold beside its number, such as `USD per share`; with more it is a text that mentions one."""
LONGEST_LABEL: Final = 60


class Kind(StrEnum):
    """What an answer is."""

    NUMBER = "number"
    SEQUENCE = "sequence"
    ID_SET = "id_set"
    MAP = "map"
    LABEL = "label"
    TEXT = "text"


class Centre(StrEnum):
    """What a relative tolerance is a share of."""

    REFERENCE = "reference"
    PREDICTION = "prediction"
    """The reference lies in the interval around the prediction, as the rule of some data sets is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberKey:
    """A number and how far an answer may lie from it."""

    number: Number
    tolerance: float
    """A share; an amount when the key is 0."""
    centre: Centre = Centre.REFERENCE

    kind = Kind.NUMBER

    def takes(self, answer: Number) -> bool:
        """True when the answer, in one of the readings its unit allows, is near enough."""
        return any(self._near(got, expected) for got, expected in _readings(answer, self.number))

    def _near(self, got: float, expected: float) -> bool:
        if not math.isfinite(got):
            return False  # the interval around an infinite prediction would hold everything
        if self.centre is Centre.PREDICTION:
            margin = self.tolerance * abs(got)
        else:
            margin = self.tolerance * abs(expected) if expected else self.tolerance
        # The slack lets a value exactly on the margin pass in spite of binary fractions.
        return abs(got - expected) <= margin + 1e-9 * max(abs(expected), margin)


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceKey:
    """Items in an order."""

    items: tuple[int, ...]

    kind = Kind.SEQUENCE


@dataclass(frozen=True, kw_only=True, slots=True)
class IdSetKey:
    """Items in no order."""

    ids: frozenset[int]

    kind = Kind.ID_SET


@dataclass(frozen=True, kw_only=True, slots=True)
class MapKey:
    """A set of items for each description."""

    sets: Mapping[str, frozenset[int]]

    kind = Kind.MAP


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelKey:
    """One of a closed set."""

    label: str
    labels: tuple[str, ...]
    """All of the set, normalised by `plain`."""

    kind = Kind.LABEL


@dataclass(frozen=True, kw_only=True, slots=True)
class TextKey:
    """Anything else: nothing is read out of the answer, it is equal or somebody judges it."""

    text: str

    kind = Kind.TEXT


Key = NumberKey | SequenceKey | IdSetKey | MapKey | LabelKey | TextKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """What was read and what it is worth by the rule alone."""

    kind: Kind
    share: float
    """0..1. Between them only for a map: the share of descriptions that are right."""
    zone: Zone
    value: str = ""
    """As read, for people; empty when nothing could be read."""
    unit: str = ""

    @property
    def settled(self) -> bool:
        """True when nothing is left to judge: right, or wrong in an explicit answer. A text is settled only by equality."""
        explicit = bool(self.value) and self.zone is not Zone.WHOLE and self.kind is not Kind.TEXT
        return self.share > 0 or explicit


_INTEGER = r"(?<![A-Za-z0-9_.])[0-9]{1,9}+(?![A-Za-z0-9_]|\.[0-9])"
_RUN = re.compile(rf"{_INTEGER}(?:\s*+(?:->|[,;>\-\u3001\u2192])\s*+{_INTEGER})*+")
_BARE_LIST = re.compile(r"[0-9]{1,9}+(?:(?:\s*+(?:[,;\u3001&]|and\b|\u548c|\u4e0e)\s*+|\s++)[0-9]{1,9}+)*+")
_JSON_MARKS = str.maketrans({"[": " ", "]": " ", '"': " ", "'": " "})
_DESCRIPTION_KEYS: Final = ("description_id", "\u63cf\u8ff0\u7f16\u53f7")
_GAPS = re.compile(r"(?:->|[\s,;|/>\u2192\u3001])++")
_EDGES: Final = " \t\r\n.,;:!?'\"()[]{}<>*_\u3002\u3001"
_DIGIT_RUN = re.compile(r"[0-9]{1,9}+(?![0-9])")
_NEGATED: Final = r"(?<![\u4e0d\u975e\u65e0\u672a\u6ca1])(?<!\bnot )(?<!\bnon-)"


def number_key(reference: str, *, tolerance: float, centre: Centre = Centre.REFERENCE) -> NumberKey | None:
    """The key of a reference that is one number, else None. `tolerance` as in `NumberKey`."""
    text = clean(reference)
    tokens = numbers_in(answer_passage(text).text)
    eligible = [token for token in tokens if token.eligible]
    found = eligible if len(eligible) == 1 else tokens
    if len(found) != 1 or not math.isfinite(found[0].scaled) or _letters(text) > WORDS_BESIDE_NUMBER:
        return None
    return NumberKey(number=found[0], tolerance=tolerance, centre=centre)


def sequence_key(reference: str) -> SequenceKey | None:
    """The key of a reference that is an order of at least two integers, else None."""
    content = answer_passage(clean(reference)).text.translate(_JSON_MARKS).strip(_EDGES)
    items = _items(content) if _RUN.fullmatch(content) else ()
    return SequenceKey(items=items) if len(items) > 1 else None


def id_set_key(reference: str) -> IdSetKey | None:
    """The key of a reference that is a list of integers, as JSON or bare, else None."""
    ids = _listed(answer_passage(clean(reference)).text.strip())
    return None if ids is None else IdSetKey(ids=ids)


def map_key(reference: str) -> MapKey | None:
    """The key of a reference that is a JSON list of descriptions with their answers, each named once; else None."""
    items = _described(clean(reference))
    if not items or any(ids is None for _, ids in items) or len({name for name, _ in items}) < len(items):
        return None
    return MapKey(sets={name: ids for name, ids in items if ids is not None})


def label_key(reference: str, labels: Iterable[str]) -> LabelKey | None:
    """The key of a reference that is one of `labels`, else None."""
    closed = tuple(sorted({plain(label) for label in labels} - {""}))
    label = plain(reference)
    return LabelKey(label=label, labels=closed) if label in closed else None


def plain(label: str) -> str:
    """A label without case, quotes and full stop, for comparison."""
    return " ".join(clean(label).casefold().split()).strip(_EDGES)


def flat(text: str) -> str:
    """A text for comparison: without case, blanks and separators, but a comma stays wherever digits would run together."""
    return _GAPS.sub(_gap, clean(text).casefold().strip()).strip(".\u3002,")


def mark(reply: str, key: Key) -> Mark:
    """Read the answer of the key's kind out of a reply and compare it."""
    if isinstance(key, NumberKey):
        return _mark_number(reply, key)
    text = clean(reply)
    passage = answer_passage(text)
    match key:
        case SequenceKey():
            return _mark_sequence(passage, key)
        case IdSetKey():
            return _mark_ids(passage, key)
        case MapKey():
            return _mark_map(text, passage, key)
        case LabelKey():
            return _mark_label(passage, key)
        case TextKey():
            return _mark_text(text, passage, key)
        case _:  # pragma: no cover - mypy proves it cannot happen
            assert_never(key)


def _mark_number(reply: str, key: NumberKey) -> Mark:
    found = read_number(reply)
    if found is None:
        return Mark(kind=key.kind, share=0.0, zone=Zone.WHOLE)
    number = found.number
    right = float(key.takes(number))
    return Mark(kind=key.kind, share=right, zone=found.zone, value=f"{number.value:.15g}", unit=number.unit)


def _mark_sequence(passage: Passage, key: SequenceKey) -> Mark:
    wanted = sorted(key.items)
    found: tuple[int, ...] = ()
    for run in _RUN.finditer(passage.text.translate(_JSON_MARKS)):
        items = _items(run[0]) if run.end() - run.start() <= 24 * len(wanted) + 24 else ()
        if sorted(items) == wanted:
            found = items
    return Mark(
        kind=key.kind, share=float(found == key.items), zone=passage.zone, value=_show(",".join(map(str, found)))
    )


def _mark_ids(passage: Passage, key: IdSetKey) -> Mark:
    ids = next(_id_lists(passage.text[:LONGEST_ZONE] if passage.explicit else passage.text[-LONGEST_ZONE:]), None)
    if ids is None and passage.explicit:
        ids = _listed(passage.text.strip())
    return Mark(kind=key.kind, share=float(ids == key.ids), zone=passage.zone, value="" if ids is None else _ids(ids))


def _mark_map(text: str, passage: Passage, key: MapKey) -> Mark:
    """A map is explicit by its form: its items are JSON objects with an answer."""
    zone = passage.zone if passage.zone in {Zone.FINAL_ANSWER, Zone.BOXED} else Zone.JSON
    items = _described(passage.text) if zone is not Zone.JSON else []
    if not items:
        zone, items = Zone.JSON, _described(text)
    answers = dict(items)
    right = sum(answers.get(name) == ids for name, ids in key.sets.items())
    value = "; ".join(f"{name}: {'unreadable' if ids is None else _ids(ids)}" for name, ids in answers.items())
    return Mark(kind=key.kind, share=right / len(key.sets), zone=zone, value=_show(value))


def _mark_label(passage: Passage, key: LabelKey) -> Mark:
    if passage.explicit:
        label = plain(passage.text[: 10 * LONGEST_LABEL])
        found = {label} & set(key.labels)
    else:
        found = _occurring(passage.text[-LONGEST_ZONE:], key.labels)
    value = next(iter(found)) if len(found) == 1 else ""
    return Mark(kind=key.kind, share=float(value == key.label), zone=passage.zone, value=value)


def _mark_text(text: str, passage: Passage, key: TextKey) -> Mark:
    wanted = flat(key.text)
    # An empty text is equal to nothing: two answers that cannot be read do not agree.
    equal = bool(wanted) and wanted in (flat(passage.text), flat(text))
    return Mark(kind=key.kind, share=float(equal), zone=passage.zone, value=_show(passage.text.strip()))


def _readings(answer: Number, key: Number) -> Iterator[tuple[float, float]]:
    """Pairs to compare. Where one side alone has a unit, the other may mean the figure before or after it."""
    if answer.unit and key.unit:
        yield answer.scaled, key.scaled
        return
    for got in {answer.value, answer.scaled}:
        for expected in {key.value, key.scaled}:
            yield got, expected


def _letters(text: str) -> int:
    return sum(char.isalpha() for char in text[:10_000])


def _items(run: str) -> tuple[int, ...]:
    return tuple(int(item[0]) for item in _DIGIT_RUN.finditer(run))


def _listed(content: str) -> frozenset[int] | None:
    """Integers of a passage that is nothing but a list of them, JSON or bare."""
    if (ids := _id_list(_parsed(content))) is not None:
        return ids
    bare = content.strip(_EDGES)
    return frozenset(_items(bare)) if _BARE_LIST.fullmatch(bare) else None


def _id_lists(text: str) -> Iterator[frozenset[int]]:
    """The JSON lists of integers in a text, the last to end first."""
    for start, end in reversed(list(balanced(text, "["))):
        if (ids := _id_list(_parsed(text[start:end]))) is not None:
            yield ids


def _id_list(parsed: object) -> frozenset[int] | None:
    if not isinstance(parsed, list):
        return None
    ids = [_identifier(item) for item in parsed]
    return None if None in ids else frozenset(item for item in ids if item is not None)


def _identifier(item: object) -> int | None:
    """The integer of `"3"` or `"description 3"`; every number of `_parsed` is a string of what was written."""
    if not isinstance(item, str) or len(item) > LONGEST_SHOWN or "." in item or item.strip().startswith("-"):
        return None
    found = _DIGIT_RUN.findall(item)
    return int(found[0]) if len(found) == 1 else None


def _described(text: str) -> list[tuple[str, frozenset[int] | None]]:
    """Descriptions and their ids of the last list of descriptions in a text; None where an answer is no list of ids."""
    if not any(name in text for name in _DESCRIPTION_KEYS):
        return []
    for start, end in reversed(list(balanced(text, "["))):
        parsed = _parsed(text[start:end]) if "{" in text[start:end] else None
        items = [_description(item) for item in parsed] if isinstance(parsed, list) else [None]
        if items and None not in items:
            return [item for item in items if item is not None]
    return []


def _description(item: object) -> tuple[str, frozenset[int] | None] | None:
    if not isinstance(item, dict):
        return None
    name = next((item[key] for key in _DESCRIPTION_KEYS if key in item), None)
    return (name.strip(), _id_list(item.get("answer"))) if isinstance(name, str) else None


def _parsed(text: str) -> object:
    """A JSON value with its numbers as strings, or None."""
    try:
        return json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None


def _occurring(text: str, labels: Iterable[str]) -> set[str]:
    """The labels of a set that occur as whole words and are not denied in the word before; the longest wins."""
    longest_first = sorted(labels, key=len, reverse=True)
    pattern = re.compile(_NEGATED + "(" + "|".join(map(_whole, longest_first)) + ")", re.IGNORECASE)
    return {plain(found[1]) for found in pattern.finditer(text)}


def _whole(label: str) -> str:
    """A pattern for the label as a whole word. Chinese has no blanks between words, so only Latin edges are guarded."""
    words = r"\s{1,3}".join(map(re.escape, label.split()))
    before = r"(?<![A-Za-z0-9_])" if label[0].isascii() and label[0].isalnum() else ""
    after = r"(?![A-Za-z0-9_])" if label[-1].isascii() and label[-1].isalnum() else ""
    return f"{before}{words}{after}"


def _gap(found: re.Match[str]) -> str:
    before = found.string[found.start() - 1 : found.start()]
    after = found.string[found.end() : found.end() + 1]
    return "," if before.isdigit() and after.isdigit() else ""


def _ids(ids: frozenset[int]) -> str:
    return _show("[" + ", ".join(map(str, sorted(ids))) + "]")


def _show(value: str) -> str:
    """Cut for people, without halves of surrogate pairs, which nothing can store."""
    whole = value[:LONGEST_SHOWN].encode("utf-8", "replace").decode()
    return whole if len(value) <= LONGEST_SHOWN else whole + "\u2026"
