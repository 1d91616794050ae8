"""Policy rule 3: calls the tool whose parameters the question gives, then fills the asked keys from its result."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from services.inference.reference_engine import schemas
from services.inference.reference_engine.exchange import Answer, Ask, Call, Schema, Tool
from services.inference.reference_engine.quantities import Quantity, Value, read

MAX_ROUNDS: Final = 4
"""Calls it makes for one question before it answers with what it has."""

_ALIASES: Final[Mapping[Quantity, str]] = {
    Quantity.SPOT: "s s0 spot spotprice underlying underlyingprice stockprice currentprice",
    Quantity.STRIKE: "k x strike strikeprice exerciseprice",
    Quantity.RATE: "r rate riskfreerate interestrate",
    Quantity.DIVIDEND: "q dividend dividendyield",
    Quantity.VOLATILITY: "sigma vol volatility",
    Quantity.PRICE: "price marketprice optionprice premium",
    Quantity.DAYS: "days daystoexpiry daystoexpiration daystomaturity dte",
    Quantity.YEARS: "t tau time years timetoexpiry timetoexpiration timetomaturity maturity",
    Quantity.OPTION_TYPE: "optiontype type kind right",
    Quantity.STYLE: "style exercisestyle",
    Quantity.TICKER: "ticker symbol",
    Quantity.EXPRESSION: "expression expr",
}
PARAMETERS: Final = {alias: quantity for quantity, aliases in _ALIASES.items() for alias in aliases.split()}
"""Parameter name, lower case without marks, to what it means."""

_SYNONYMS: Final = {
    "iv": "volatility",
    "implied": "volatility",
    "vol": "volatility",
    "premium": "price",
    "value": "price",
}
_UNIT_WORDS: Final = frozenset(
    ["usd", "eur", "per", "day", "point", "points", "pct", "percent", "share", "fraction", "call", "put"]
)
_FORM: Final = re.compile(r"FINAL ANSWER:\s*`?\s*\{(.*?)\}", re.DOTALL)
_QUOTED_KEY: Final = re.compile(r'"([A-Za-z_]\w*)"\s*:')
_FIRST_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def call_for(tool: Tool, text: str) -> Call | None:
    """A call with what the text says, or None when a required parameter cannot be read from it."""
    arguments = read_arguments(tool, text)
    required = tool.parameters.get("required")
    if not isinstance(required, list) or not required or any(name not in arguments for name in required):
        return None
    return Call(name=tool.name, arguments=json.dumps(arguments))


def forced_call(tool: Tool, text: str) -> Call:
    """A call of this tool in any case; what the text does not say gets the schema's least value."""
    least = schemas.instance(tool.parameters)
    arguments = (least if isinstance(least, dict) else {}) | read_arguments(tool, text)
    return Call(name=tool.name, arguments=json.dumps(arguments))


def read_arguments(tool: Tool, text: str) -> dict[str, JsonValue]:
    """Parameters of the tool that the text gives, required or not."""
    properties = tool.parameters.get("properties")
    names = properties if isinstance(properties, Mapping) else {}
    found = ((name, _argument(name, schema, text)) for name, schema in names.items())
    return {name: value for name, value in found if value is not None}


def call_a_tool(ask: Ask) -> Answer | None:
    """The first tool the question suffices for; again with the next one while results are errors."""
    rounds = [call for message in ask.since_user for call in message.calls]
    if not ask.tools or len(rounds) >= MAX_ROUNDS or any(_is_useful(result) for result in _results(ask)):
        return None
    tried = {call.name for call in rounds}
    calls = (call_for(tool, ask.last_user) for tool in ask.tools if tool.name not in tried)
    call = next(filter(None, calls), None)
    return Answer(calls=(call,), finish="tool_calls") if call else None


def answer_from_result(ask: Ask) -> Answer | None:
    """After a result: the asked keys, filled from it."""
    useful = [result for result in _results(ask) if _is_useful(result)]
    if not useful:
        return None
    facts = _facts(useful[-1])
    keys = asked_keys(ask.last_user) or ["answer"]
    return Answer(text="FINAL ANSWER: " + json.dumps({key: _filled(key, facts) for key in keys}))


def asked_keys(text: str) -> list[str]:
    """Keys of the last answer form in the text, in order."""
    forms = _FORM.findall(text)
    return list(dict.fromkeys(_QUOTED_KEY.findall(forms[-1]))) if forms else []


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fact:
    name: str
    value: float
    is_fraction: bool


def _argument(name: str, schema: JsonValue, text: str) -> JsonValue:
    quantity = PARAMETERS.get(re.sub(r"[^a-z0-9]", "", name.lower()))
    if quantity is None or not isinstance(schema, Mapping):
        return None
    return _fitting(read(quantity, text), schema)


def _fitting(value: Value | None, schema: Schema) -> JsonValue:
    """The value in the type the schema wants; None when it cannot be that."""
    kind = schema.get("type")
    if isinstance(value, str):
        choices = schema.get("enum")
        return value if kind in {"string", None} and (not isinstance(choices, list) or value in choices) else None
    if value is None or kind not in {"number", "integer", None}:
        return None
    return round(value) if kind == "integer" or value.is_integer() else value


def _results(ask: Ask) -> list[str]:
    return [message.text for message in ask.since_user if message.role == "tool"]


def _is_useful(result: str) -> bool:
    """Errors are told apart by `ok: false`, and by holding no number."""
    parsed = _parsed(result)
    failed = isinstance(parsed, Mapping) and parsed.get("ok") is False
    return not failed and bool(_facts(result))


def _parsed(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value


def _facts(result: str) -> list[_Fact]:
    """Every number of a result with its name, in order."""
    parsed = _parsed(result)
    if isinstance(parsed, str):
        match = _FIRST_NUMBER.search(parsed)
        return [_Fact(name="", value=float(match[0]), is_fraction=False)] if match else []
    wrapped = parsed if isinstance(parsed, Mapping) and "result" in parsed else {"result": parsed, "units": None}
    units = wrapped.get("units")
    fractions = (
        {name for name, unit in units.items() if "fraction" in str(unit)} if isinstance(units, Mapping) else set()
    )
    return [
        _Fact(name=name, value=value, is_fraction=name in fractions) for name, value in _numbers("", wrapped["result"])
    ]


def _numbers(name: str, node: JsonValue) -> Iterator[tuple[str, float]]:
    if isinstance(node, bool):
        return
    if isinstance(node, int | float):
        if math.isfinite(node):
            yield name, float(node)
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _numbers(key, value)
    elif isinstance(node, list):
        for value in node:
            yield from _numbers(name, value)


def _filled(key: str, facts: Sequence[_Fact]) -> float:
    """The fact that shares most words with the key; the first one when none does."""
    words = _meaning(key)
    best = max(facts, key=lambda fact: len(words & _meaning(fact.name)))
    in_percent = bool({"pct", "percent"} & set(key.lower().split("_")))
    return round(best.value * (100 if in_percent and best.is_fraction else 1), 8)


def _meaning(name: str) -> set[str]:
    words = re.findall(r"[a-z]+", name.lower())
    return {_SYNONYMS.get(word, word) for word in words} - _UNIT_WORDS
