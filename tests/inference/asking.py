"""Short ways to write requests for the policy."""

from __future__ import annotations

from services.inference.reference_engine.exchange import Ask, Message, Tool

OPTION_PRICE = Tool(
    name="calculate_option_price",
    parameters={
        "type": "object",
        "properties": {
            "spot_price": {"type": "number"},
            "strike_price": {"type": "number"},
            "days_to_expiry": {"type": "number"},
            "volatility": {"type": "number"},
            "option_type": {"type": "string", "enum": ["call", "put"]},
            "risk_free_rate": {"type": "number"},
            "dividend_yield": {"type": "number"},
            "style": {"type": "string", "enum": ["european", "american"]},
        },
        "required": ["spot_price", "strike_price", "days_to_expiry", "volatility", "option_type"],
    },
)
IMPLIED_VOLATILITY = Tool(
    name="implied_volatility",
    parameters={
        "type": "object",
        "properties": {
            "price": {"type": "number"},
            "spot_price": {"type": "number"},
            "strike_price": {"type": "number"},
            "days_to_expiry": {"type": "number"},
            "option_type": {"type": "string"},
        },
        "required": ["price", "spot_price", "strike_price", "days_to_expiry", "option_type"],
    },
)
OPTION_QUESTION = (
    "Give delta of a put with strike 125.00 USD and 60 days to expiry. The stock is at 120.00 USD, its dividend yield 1.2 %, "
    "its volatility 32 % a year; the interest rate is 4.5 %. All options are European.\n\nRequired quantities:\n"
    '- put_delta: delta; per share; 6 decimals\nClose with one line:\nFINAL ANSWER: {"put_delta": <number>}'
)


def user(text: str) -> Message:
    """A message of the user."""
    return Message(role="user", text=text)


def result(text: str) -> Message:
    """The result of a tool."""
    return Message(role="tool", text=text)


def asked(*messages: Message | str, tools: tuple[Tool, ...] = ()) -> Ask:
    """A plain request."""
    said = tuple(user(one) if isinstance(one, str) else one for one in messages)
    return Ask(model="reference", messages=said, tools=tools)
