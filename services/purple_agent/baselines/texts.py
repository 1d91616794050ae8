"""Baselines that always complete: the same text, the question, or words and numbers without thought."""

from __future__ import annotations

import json
from typing import Final

DEFAULT_TEXT: Final = "I do not know."

HOLD: Final = json.dumps(
    {
        "action": "HOLD",
        "size": 0,
        "stop_loss": None,
        "take_profit": None,
        "reasoning": "always hold",
        "confidence": 0.5,
    }
)

KEYWORD_SOUP: Final = (
    "Delta, gamma, theta, vega and rho describe the position. Black-Scholes gives the fair price of the call and the put; "
    "implied volatility exceeds historical volatility. An iron condor, a butterfly, a calendar spread, a straddle, a "
    "strangle, a collar and a covered call were considered. Maximum profit, maximum loss, breakeven points and the "
    "probability of profit were analysed. Risk management: position sizing, stop loss, hedging, value at risk, stress "
    "test, margin and diversification. The P&L attribution covers delta P&L, gamma P&L, theta decay and vega P&L. "
    "Therefore the strategy is sound, the risk is limited and the reward is favourable."
)

NUMBER_LIST: Final = ", ".join(map(str, range(1, 91)))

ERROR_TEXT: Final = (
    "Error code: 402 - {'error': {'message': 'Insufficient credits', 'type': 'insufficient_quota', 'code': 402}}"
)

RUBRIC_WORDS: Final = (
    "The response is accurate, complete, well structured, professional and compliant. It identifies the relevant facts,"
    " cites the applicable rules, states assumptions and limitations, quantifies the impact, considers alternatives and"
    " risks, recommends clear next steps and avoids unsupported claims. All criteria are addressed."
)

ONE_LETTER: Final = "a"

BLANK: Final = " \n"


async def echo(question: str) -> str:
    """The question itself."""
    return question
