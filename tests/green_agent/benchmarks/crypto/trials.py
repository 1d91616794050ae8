"""Crypto entries, agents as functions of a request, and one trial from the first question to the score."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from services.contract.conversation import Reply, Transcript
from services.green_agent.benchmarks.base import Score, ScoringTools, Setting
from services.green_agent.benchmarks.crypto import Crypto, CryptoTask
from services.green_agent.benchmarks.crypto.config import CryptoConfig
from tests.support.scripted_session import ScriptedSession

Request = dict[str, Any]
Trader = Callable[[Request], str]

HOLD = '{"action": "HOLD"}'
BASELINE_ONLY = {"score_weights": {"baseline": 1}}
"""An evaluation with one episode."""


def entry(**keys: Any) -> CryptoConfig:
    """A small generated entry: one scenario of 40 bars; `keys` replace."""
    made = {"type": "crypto", "on_missing": "generate", "generator": {"count": 1, "bars": 40}}
    return CryptoConfig.model_validate(made | keys)


def benchmark(seed: int = 7, **keys: Any) -> Crypto:
    """The benchmark of a small generated entry."""
    return Crypto(entry(**keys), Setting(seed=seed))


def session(trader: Trader) -> ScriptedSession:
    """An agent that answers each request by a function."""

    async def say(_branch: str, question: str) -> Reply:
        return Reply(text=trader(json.loads(question)))

    return ScriptedSession(say=say)


async def talk(bench: Crypto, task: CryptoTask, trader: Trader) -> Transcript:
    """The conversation of one trial."""
    agent = session(trader)
    await bench.converse(task, 0, agent)
    return agent.transcript


async def score(bench: Crypto, task: CryptoTask, transcript: Transcript) -> Score:
    """The score of a transcript."""
    return await bench.score(task, 0, transcript, ScoringTools())


async def trade(trader: Trader, seed: int = 7, **keys: Any) -> Score:
    """One trial of the first scenario of an entry."""
    bench = benchmark(seed, **keys)
    task = bench.tasks()[0]
    return await score(bench, task, await talk(bench, task, trader))


def hold(_request: Request) -> str:
    """Valid and idle."""
    return HOLD


def churn(request: Request) -> str:
    """Buys and closes in turns."""
    close = request["state"]["ohlcv"]["close"]
    if request["state"]["account"]["positions"]:
        return '{"action": "CLOSE"}'
    return json.dumps({"action": "BUY", "size": 5_000 / close, "stop_loss": 0.9 * close})
