"""Trading decisions: the prompt, the memory of one episode, and the one repair of a reply that is no decision.

A request is JSON of `type: trading_decision` (finance specification 7.4). The model sees it with a line on position, limits
and events in front, and what it decided before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, model_validator

from services.contract.model_call import ChatMessage, Completion
from services.contract.outcomes import AgentFailure, Outcome
from services.purple_agent.models.reasoning import without_reasoning
from services.purple_agent.models.session import ModelSession

TRADING_PROMPT: Final = """\
You trade one asset in a market simulation, one decision a message. Each message is a JSON request: the state of the market \
and of your account at the close of a bar, and the rules.

Answer with one JSON object and nothing else:
{"action": "BUY" | "SELL" | "HOLD" | "CLOSE", "size": number, "stop_loss": number or null, "take_profit": number or null, \
"reasoning": "one sentence", "confidence": number from 0 to 1}

- size is in base units of the asset, neither money nor percent. account.max_buy and account.max_sell are the largest orders \
that fill whole; more is cut.
- The order fills at the open of the next bar, at that price and with a fee, whatever the close was.
- BUY adds size to the position and SELL subtracts it: first what is held on the other side is closed, the rest opens the \
other way. CLOSE closes everything. HOLD trades nothing.
- Of a long position the stop_loss lies below the price and the take_profit above it; of a short one the other way round. A \
level on the wrong side is rejected while the order stands. null leaves the old level. HOLD may set levels too.
- A stop is checked before a target in the same bar, a gap fills at the open, and at the liquidation price all is closed at a \
penalty.
- The score rewards return against its risk, small drawdowns and winning trades; doing nothing scores 50 of 100."""

REPAIR: Final = (
    "That was no valid decision: {fault}. Answer again with one JSON object only, with the keys action, size, stop_loss, "
    "take_profit, reasoning and confidence."
)
MEMORY_CHARS: Final = 24_000
"""Characters of earlier decisions that are shown; beyond it the older half goes, so that most prompts begin alike."""

LONGEST_KEPT: Final = 2_000
"""Characters of one reply that are remembered."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Position(_Part):
    size: float
    entry_price: float | None = None
    stop_loss: float | None = None
    take_profit: float | None = None
    unrealised_pnl: float | None = None


class _Account(_Part):
    equity: float
    max_buy: float | None = None
    max_sell: float | None = None
    liquidation_price: float | None = None
    positions: tuple[_Position, ...] = ()


class _Event(_Part):
    kind: str
    price: float | None = None
    size: float | None = None
    net: float | None = None


class _Ohlcv(_Part):
    close: float


class _State(_Part):
    bar: int | None = None
    ohlcv: _Ohlcv
    account: _Account
    events: tuple[_Event, ...] = ()


class _Rules(_Part):
    steps_left: int | None = None


class Request(_Part):
    """One question of an episode, as far as it is put into words."""

    type: Literal["trading_decision"]
    step: int | None = None
    state: _State
    rules: _Rules = _Rules()

    @property
    def brief(self) -> str:
        """Position, limits and events in one line."""
        account = self.state.account
        held = "; ".join(map(_held, account.positions)) or "flat"
        limits = f"may buy {_figure(account.max_buy)} or sell {_figure(account.max_sell)} base units"
        happened = ", ".join(map(_happened, self.state.events)) or "nothing"
        left = "" if self.rules.steps_left is None else f"; {self.rules.steps_left} decisions left"
        return f"{held}; equity {_figure(account.equity)}; {limits}; since the last decision: {happened}{left}"


def _upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


Level = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Decision(BaseModel):
    """What is sent back."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    action: Annotated[Literal["BUY", "SELL", "HOLD", "CLOSE"], BeforeValidator(_upper)]
    size: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    stop_loss: Level | None = None
    take_profit: Level | None = None
    reasoning: str = ""
    confidence: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _orders_have_a_size(self) -> Decision:
        if self.action in {"BUY", "SELL"} and self.size is None:
            raise ValueError(f"{self.action} needs a size in base units")
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class Invalid:
    """A reply of the model that is no decision, and why."""

    fault: str


def read_request(text: str) -> Request | None:
    """The request in a message, or None when it is none."""
    if '"trading_decision"' not in text:
        return None
    try:
        return Request.model_validate_json(text)
    except ValidationError:
        return None


def read_decision(text: str) -> Decision | Invalid:
    """The decision in what a model answered: the text, or what lies between its first and its last brace."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return Invalid(fault="there is no JSON object in it")
    try:
        return Decision.model_validate_json(text[start : end + 1])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return Invalid(fault=f"{'.'.join(map(str, first['loc'])) or 'the object'}: {first['msg']}")


class Desk:
    """Decides the steps of one episode and remembers them."""

    def __init__(self) -> None:
        self._past: list[ChatMessage] = []

    async def decide(self, request: Request, text: str, session: ModelSession) -> str:
        """The decision as JSON text. After one failed repair it is what the model said: nobody decides in its place.

        Raises AgentFailure when the model refuses, says nothing or cannot be reached; the memory is then as before.
        """
        asked = ChatMessage(role="user", content=_with_brief(text, request))
        prompt = [ChatMessage(role="system", content=TRADING_PROMPT), *self._past, asked]
        said = _said(await session.complete(prompt))
        decision = read_decision(said)
        if isinstance(decision, Invalid):
            repair = ChatMessage(role="user", content=REPAIR.format(fault=decision.fault))
            said = _said(await session.complete([*prompt, ChatMessage(role="assistant", content=said), repair]))
            decision = read_decision(said)
        reply = said if isinstance(decision, Invalid) else decision.model_dump_json()
        self._remember(_in_short(request), reply)
        return reply

    def _remember(self, asked: str, reply: str) -> None:
        answered = ChatMessage(role="assistant", content=reply[:LONGEST_KEPT])
        self._past += [ChatMessage(role="user", content=asked), answered]
        if _length(self._past) > MEMORY_CHARS:
            while len(self._past) > 2 and _length(self._past) > MEMORY_CHARS // 2:
                del self._past[:2]


def _said(completion: Completion) -> str:
    if completion.refused:
        raise AgentFailure(Outcome.AGENT_ERROR, "refused", f"the model refused: {completion.text[:500]}".rstrip(": "))
    text = without_reasoning(completion.text)
    if not text:
        cause = f"the model ended without a decision (finish reason {completion.finish!r})"
        raise AgentFailure(Outcome.AGENT_ERROR, "empty", cause)
    return text


def _with_brief(text: str, request: Request) -> str:
    """The request with the brief in front, still one JSON object."""
    body: dict[str, JsonValue] = json.loads(text)
    return json.dumps({"type": request.type, "brief": request.brief} | body, ensure_ascii=False)


def _in_short(request: Request) -> str:
    """What is remembered of a request."""
    kept = {"type": request.type, "step": request.step, "bar": request.state.bar, "close": request.state.ohlcv.close}
    return json.dumps(kept | {"brief": request.brief}, ensure_ascii=False)


def _length(messages: Sequence[ChatMessage]) -> int:
    return sum(len(message.content or "") for message in messages)


def _held(position: _Position) -> str:
    side = "long" if position.size > 0 else "short"
    return (
        f"{side} {_figure(abs(position.size))} at {_figure(position.entry_price)}, stop {_figure(position.stop_loss)},"
        f" target {_figure(position.take_profit)}, unrealised {_figure(position.unrealised_pnl)}"
    )


def _happened(event: _Event) -> str:
    net = "" if event.net is None else f" for {_figure(event.net)}"
    return f"{event.kind} {_figure(event.size)} at {_figure(event.price)}{net}"


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
