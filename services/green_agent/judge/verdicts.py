"""What a judge must reply: JSON schemas of verdicts, and the strict reading of a reply.

A reply is valid when it is one JSON object and nothing else, with each id of the question exactly once and every value in its
range. "true" and "3" in quotes are taken for what they mean; anything else is invalid. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, NoReturn, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, create_model

from services.contract.endpoints import Provider
from services.green_agent.judge.asking import SHORT_REASON, Scale
from services.green_agent.judge.questions import Form, Kind, Question

Value = bool | int | str
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A valid reply, by id of criterion, name of scale, `correct` or `verdict`."""

    values: Mapping[str, Value]
    reasons: Mapping[str, str] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    """Quotes the judge gave."""
    injection_suspected: bool = False


class InvalidVerdictError(Exception):
    """A reply is no verdict. The text names what is wrong without repeating any of the reply, which may be steered."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def _flag(value: object) -> object:
    return {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str):
        return value
    digits = value.strip()
    return int(digits) if len(digits) <= 9 and digits.removeprefix("-").isdecimal() and digits.isascii() else value


def _id(value: object) -> object:
    """`c01`, and what stands for it: `C1`, `1`, 1."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        return value
    digits = text.strip().lower().removeprefix("c")
    return f"c{int(digits):02d}" if digits.isdecimal() and digits.isascii() and len(digits) <= 4 else text


Flag = Annotated[bool, BeforeValidator(_flag)]
Whole = Annotated[int, BeforeValidator(_whole)]
Id = Annotated[str, BeforeValidator(_id)]


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class CriterionReply(_Reply):
    """Verdict on one criterion."""

    id: Id
    met: Flag
    evidence: str = ""
    reason: str = ""


class CriteriaReply(_Reply):
    """Verdicts on criteria."""

    criteria: list[CriterionReply]
    injection_suspected: Flag = False


class ShortCriteriaReply(_Reply):
    """The simplified form."""

    met: list[Id]
    not_met: list[Id]


class ScalesReply(_Reply):
    """Ratings; names and ranges depend on the question."""

    scores: dict[str, Whole]
    reasons: dict[str, str] = Field(default_factory=dict)
    injection_suspected: Flag = False


class CorrectReply(_Reply):
    """Right or wrong."""

    correct: Flag
    reason: str = ""
    injection_suspected: Flag = False


class CompareReply(_Reply):
    """The better of two."""

    verdict: Literal["first", "second", "tie"]
    reason: str = ""
    injection_suspected: Flag = False


def schema_of(question: Question, form: Form, *, provider: Provider) -> Mapping[str, JsonValue]:
    """The JSON schema of the reply, in the subset that strict modes accept: closed objects, every property required."""
    return _schema(question.kind, question.ids, question.scales, form, provider)


@lru_cache(maxsize=256)
def _schema(
    kind: Kind, ids: tuple[str, ...], scales: tuple[Scale, ...], form: Form, provider: Provider
) -> Mapping[str, JsonValue]:
    schema = _model_of(kind, scales, form).model_json_schema(by_alias=True)
    if form == "simplified" and kind != "criteria":
        schema["properties"] = {name: schema["properties"][name] for name in _SHORT[kind]}
    closed = cast("dict[str, JsonValue]", _closed(schema, bounds=provider != "anthropic"))
    if kind == "criteria":
        _name_ids(closed, ids)
    return closed


_SHORT: Final = {"scales": ("scores",), "correct": ("correct",), "compare": ("verdict",)}


def _model_of(kind: Kind, rated: tuple[Scale, ...], form: Form) -> type[BaseModel]:
    reasons_first = any(scale.reason_chars > SHORT_REASON for scale in rated)
    match kind:
        case "criteria":
            return ShortCriteriaReply if form == "simplified" else CriteriaReply
        case "correct":
            return CorrectReply
        case "compare":
            return CompareReply
        case "scales":
            scores = _by_scale(
                "Scores",
                rated,
                lambda scale: (_value_of(scale), Field(alias=scale.name)),
            )
            reasons = _by_scale("Reasons", rated, lambda scale: (str, Field(alias=scale.name)))
            fields = {"scores": (scores, ...), "reasons": (reasons, ...)}
            if reasons_first:
                fields = dict(reversed(fields.items()))
            return create_model("Ratings", __base__=_Reply, **cast("Any", fields), injection_suspected=(bool, ...))


def _value_of(scale: Scale) -> Any:
    if scale.permitted:
        return Literal[scale.permitted]
    return Annotated[int, Field(ge=scale.lowest, le=scale.highest)]


def _by_scale(name: str, scales: Sequence[Scale], field_of: Any) -> type[BaseModel]:
    return create_model(name, **{f"scale_{index}": field_of(scale) for index, scale in enumerate(scales)})


def _closed(schema: JsonValue, *, bounds: bool) -> JsonValue:
    if isinstance(schema, list):
        return [_closed(one, bounds=bounds) for one in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = _DECORATION if bounds else _DECORATION | {"minimum", "maximum"}
    kept = {name: _closed(value, bounds=bounds) for name, value in schema.items() if name not in dropped | _MAPS}
    for name in _MAPS & set(schema):
        named = cast("dict[str, JsonValue]", schema[name])
        kept[name] = {key: _closed(value, bounds=bounds) for key, value in named.items()}
    properties = kept.get("properties")
    if isinstance(properties, dict):
        kept |= {"required": [*properties], "additionalProperties": False}
    return kept


_DECORATION: Final = frozenset({"title", "default", "description", "required"})
_MAPS: Final = frozenset({"properties", "$defs"})
"""Keywords whose keys are names, not keywords."""


def _name_ids(schema: dict[str, JsonValue], ids: Sequence[str]) -> None:
    """Only the ids of the question can be said."""
    named: dict[str, JsonValue] = {"type": "string", "enum": [*ids]}
    definitions = schema.get("$defs")
    if isinstance(definitions, dict):
        criterion = cast("dict[str, dict[str, JsonValue]]", definitions["CriterionReply"])
        criterion["properties"]["id"] = named
        return
    properties = cast("dict[str, dict[str, JsonValue]]", schema["properties"])
    for name in ("met", "not_met"):
        properties[name]["items"] = named


def read(text: str, question: Question, form: Form) -> Verdict:
    """The verdict in a reply. Raises InvalidVerdictError."""
    raw = _object(text)
    match question.kind:
        case "criteria":
            return _short_criteria(raw, question) if form == "simplified" else _criteria(raw, question)
        case "scales":
            return _scales(raw, question)
        case "correct":
            correct = _parsed(CorrectReply, raw)
            return _single("correct", correct.correct, correct)
        case "compare":
            better = _parsed(CompareReply, raw)
            return _single("verdict", better.verdict, better)


def _criteria(raw: dict[str, JsonValue], question: Question) -> Verdict:
    reply = _parsed(CriteriaReply, raw)
    _check_ids([one.id for one in reply.criteria], question.ids)
    return Verdict(
        values={one.id: one.met for one in reply.criteria},
        reasons={one.id: _kept(one.reason) for one in reply.criteria},
        evidence=tuple(_kept(one.evidence) for one in reply.criteria if one.evidence.strip()),
        injection_suspected=reply.injection_suspected,
    )


def _short_criteria(raw: dict[str, JsonValue], question: Question) -> Verdict:
    reply = _parsed(ShortCriteriaReply, raw)
    _check_ids([*reply.met, *reply.not_met], question.ids)
    return Verdict(values=dict.fromkeys(reply.met, True) | dict.fromkeys(reply.not_met, False))


def _scales(raw: dict[str, JsonValue], question: Question) -> Verdict:
    reply = _parsed(ScalesReply, raw)
    _check_ids(list(reply.scores), question.ids)
    for scale in question.scales:
        if not scale.holds(reply.scores[scale.name]):
            raise InvalidVerdictError("out_of_range", f"{scale.name} must be an integer, {scale.words}")
    return Verdict(
        values=reply.scores,
        reasons={one.name: _kept(reply.reasons.get(one.name, ""), one.reason_chars) for one in question.scales},
        injection_suspected=reply.injection_suspected,
    )


def _single(name: str, value: Value, reply: CorrectReply | CompareReply) -> Verdict:
    return Verdict(
        values={name: value},
        reasons={name: _kept(reply.reason)},
        injection_suspected=reply.injection_suspected,
    )


def _kept(text: str, most: int = SHORT_REASON) -> str:
    """The words as they are kept. Half an escaped pair, which JSON may hold, cannot be stored or sent."""
    return text[:most].encode(errors="replace").decode()


def _check_ids(given: Sequence[str], wanted: Sequence[str]) -> None:
    unknown = sum(name not in wanted for name in given)
    missing = [name for name in wanted if name not in given]
    twice = sorted({name for name in given if name in wanted and given.count(name) > 1})
    faults = [f"{unknown} unknown ids"] if unknown else []
    faults += [f"missing: {', '.join(missing)}"] if missing else []
    faults += [f"more than once: {', '.join(twice)}"] if twice else []
    if faults:
        raise InvalidVerdictError(
            "wrong_ids", f"each of {', '.join(wanted)} must be there exactly once; {'; '.join(faults)}"
        )


def _parsed(model: type[M], raw: dict[str, JsonValue]) -> M:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        places = sorted(
            {
                ".".join(str(part) for part in one["loc"] if isinstance(part, int) or part in _FIELDS)
                for one in error.errors()
            }
        )
        raise InvalidVerdictError("wrong_shape", f"missing or of the wrong type: {', '.join(places[:10])}") from None


_FIELDS: Final = frozenset(
    name
    for model in (CriterionReply, CriteriaReply, ShortCriteriaReply, ScalesReply, CorrectReply, CompareReply)
    for name in model.model_fields
)


def _object(text: str) -> dict[str, JsonValue]:
    try:
        value = json.loads(_unwrapped(text), parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise InvalidVerdictError("not_json", "expected one complete JSON object and nothing else") from None
    if not isinstance(value, dict):
        raise InvalidVerdictError("not_json", "expected a JSON object")
    return value


def _unwrapped(text: str) -> str:
    """Without a block of thoughts in front and without a code fence around the whole: neither says anything of its own."""
    body = text.strip()
    if body.startswith("<think>"):
        body = body.partition("</think>")[2].strip()
    first, _, rest = body.partition("\n")
    if first.strip().lower() in {"```json", "```"} and rest.endswith("```"):
        return rest.removesuffix("```")
    return body


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _once(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """An object in which no key stands twice: the first of two might be meant, or the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found
