"""What the reference engine answers: the first rule that applies decides (inference specification 8)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from services.inference.reference_engine import finance, judging, schemas, trading
from services.inference.reference_engine.exchange import Answer, Ask, Call, Tool

NO_ANSWER: Final = "I am the reference engine, a program without a language model. I have no answer to this."

_QUOTE: Final = re.compile(r"Quote ([A-Z][A-Z.]{0,5})")
QUOTE_TOOL: Final = "get_quote"


def answer(ask: Ask) -> Answer:
    """The answer to a request, a pure function of it."""
    return next((found for rule in RULES if (found := rule(ask)) is not None), Answer(text=NO_ANSWER))


def lesson(ask: Ask) -> Answer | None:
    """What the trained test model knows too, so that one contract test runs on both engines."""
    text = ask.last_user.strip()
    if text == "ping":
        return Answer(text="pong")
    if text.startswith("Judge: "):
        return Answer(text='{"score":4,"verdict":"pass"}')
    if text.startswith("Think: "):
        return Answer(text="Done.", reasoning="I think.")
    quote = next((tool for tool in ask.tools if tool.name == QUOTE_TOOL), None)
    ticker = _QUOTE.fullmatch(text)
    if not ticker:
        return None
    if any(message.role == "tool" for message in ask.since_user):
        return Answer(text="The quote is done.")
    return Answer(calls=(_quote_call(quote, ticker[1]),), finish="tool_calls") if quote else None


def forced_tool(ask: Ask) -> Answer | None:
    """A named tool, or any when one is required: its arguments from the question, the rest the least the schema allows."""
    if not ask.must_call or not ask.tools:
        return None
    if ask.named_tool is not None:
        tool = next((tool for tool in ask.tools if tool.name == ask.named_tool), None)
        # vLLM ends a named call with "stop"; clients have to look at the calls.
        return Answer(calls=(finance.forced_call(tool, ask.last_user),), finish="stop") if tool else None
    readable = (call for tool in ask.tools if (call := finance.call_for(tool, ask.last_user)))
    call = next(readable, None) or finance.forced_call(ask.tools[0], ask.last_user)
    return Answer(calls=(call,), finish="tool_calls")


def trading_decision(ask: Ask) -> Answer | None:
    """A decision on a market state. It goes before the tools: numbers in a state are no question to a calculator."""
    text = trading.reply(ask.last_user)
    return Answer(text=text) if text is not None else None


def judgement(ask: Ask) -> Answer | None:
    """A verdict, when a JSON schema is asked for or the judge's fences are found."""
    prompt = "\n".join(message.text for message in ask.messages)
    if not (ask.schema is not None and ask.judged) and not judging.is_judge_prompt(prompt):
        return None
    return Answer(text=judging.verdict(prompt, ask.schema))


def minimal_instance(ask: Ask) -> Answer | None:
    """Any other schema: the least that is valid."""
    return Answer(text=json.dumps(schemas.instance(ask.schema))) if ask.schema is not None else None


RULES: Final[tuple[Callable[[Ask], Answer | None], ...]] = (
    lesson,
    forced_tool,
    trading_decision,
    finance.call_a_tool,
    finance.answer_from_result,
    judgement,
    minimal_instance,
)


def _quote_call(tool: Tool, ticker: str) -> Call:
    properties = tool.parameters.get("properties")
    name = next(iter(properties), "ticker") if isinstance(properties, dict) else "ticker"
    return Call(name=tool.name, arguments=json.dumps({name: ticker}))
