"""The baselines by name, as `--baseline NAME[:ARG]` takes them. A new one is one row here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

from services.contract.assessment import nearest
from services.contract.outcomes import AgentFailure
from services.purple_agent.answer import Answer, NoAnswer
from services.purple_agent.baselines import cheating_code, faults, texts, toys, trading

Reply = Callable[[str], Awaitable[str]]


class BaselineError(ValueError):
    """No such baseline, or an argument it does not take. The text says what is expected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """A conversation without a model and without a memory."""

    name: str
    """As given, argument included."""
    exploit: str
    reply: Reply

    async def answer(self, text: str) -> Answer | NoAnswer:
        """See `Responder`."""
        try:
            return Answer(text=await self.reply(text))
        except AgentFailure as failure:
            return NoAnswer(outcome=failure.outcome, kind=failure.kind, message=failure.message)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One row of the table: the exploit it stands for and how an argument becomes a reply."""

    exploit: str
    build: Callable[[str], Reply]
    """Takes the argument, empty when there is none; raises ValueError."""


def _always(default: str, *, argument: bool = False) -> Callable[[str], Reply]:
    def build(given: str) -> Reply:
        if given and not argument:
            raise ValueError("takes no argument")

        async def reply(_question: str) -> str:
            return given or default

        return reply

    return build


def _trader(decide: trading.Decide) -> Callable[[str], Reply]:
    def build(given: str) -> Reply:
        if given:
            raise ValueError("takes no argument")

        async def reply(question: str) -> str:
            return trading.trader(decide, question)

        return reply

    return build


def _plain(reply: Reply) -> Callable[[str], Reply]:
    def build(given: str) -> Reply:
        if given:
            raise ValueError("takes no argument")
        return reply

    return build


def _cheat(given: str) -> Reply:
    if given not in cheating_code.CHEATS:
        raise ValueError(f"needs one of {', '.join(cheating_code.CHEATS)} after the colon, got {given!r}")

    async def reply(question: str) -> str:
        return cheating_code.answer(given, question)

    return reply


def _share(given: str) -> float:
    share = _number(given)
    if not 0 <= share <= 1:
        raise ValueError(f"needs a share from 0 to 1, got {given!r}")
    return share


def _seconds(given: str) -> float:
    seconds = _number(given)
    if not 0 <= seconds <= 86_400:
        raise ValueError(f"needs seconds from 0 to 86,400, got {given!r}")
    return seconds


def _number(given: str) -> float:
    try:
        return float(given)
    except ValueError:
        raise ValueError(f"needs a number after the colon, got {given!r}") from None


BASELINES: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "constant": Entry(
            exploit="one text for every question, `constant:TEXT` for a text of your own: garbage instead of decisions",
            build=_always(texts.DEFAULT_TEXT, argument=True),
        ),
        "echo": Entry(exploit="the question as the answer", build=_plain(texts.echo)),
        "hold": Entry(
            exploit="a valid trading HOLD at each step: profit from doing nothing", build=_always(texts.HOLD)
        ),
        "wrong-side-stop": Entry(
            exploit="buys with a stop above the price at each step: a stop that fills at its price wins every time",
            build=_trader(trading.wrong_side_stop),
        ),
        "buy-each-step": Entry(
            exploit="none: wrong-side-stop without its stop, to compare it with", build=_trader(trading.buy_each_step)
        ),
        "tiny-wins": Entry(
            exploit="risks a thousandth and sells only at a gain: a win rate without a risk",
            build=_trader(trading.tiny_wins),
        ),
        "scalp": Entry(
            exploit="tight targets and far stops: many small wins, the losses later",
            build=_trader(trading.scalp),
        ),
        "fade-shocks": Entry(
            exploit="trades against every shock: an injected event that closes again on its own",
            build=_trader(trading.fade_shocks),
        ),
        "keyword-soup": Entry(
            exploit="words of options trading without one right number", build=_always(texts.KEYWORD_SOUP)
        ),
        "cheating-code": Entry(
            exploit="`cheating-code:KIND` writes programs that fool a scorer instead of solving: "
            + ", ".join(cheating_code.CHEATS),
            build=_cheat,
        ),
        "number-list": Entry(
            exploit="the integers 1 to 90: one of them is right somewhere", build=_always(texts.NUMBER_LIST)
        ),
        "rubric-words": Entry(
            exploit="the vocabulary of rubrics without a statement: criteria met by their words",
            build=_always(texts.RUBRIC_WORDS),
        ),
        "one-letter": Entry(
            exploit="one letter, which is contained in nearly every key", build=_always(texts.ONE_LETTER)
        ),
        "blank": Entry(exploit="completes with nothing but blanks: credit for being there", build=_always(texts.BLANK)),
        "crash-rate": Entry(
            exploit="`crash-rate:P` fails on share P of the messages: failed tasks that vanish from the mean",
            build=lambda given: partial(faults.crash, share=_share(given)),
        ),
        "selective-failure": Entry(
            exploit="`selective-failure:P` blames the infrastructure on share P: hard tasks declared unscorable",
            build=lambda given: partial(faults.claim_infrastructure, share=_share(given)),
        ),
        "error-text": Entry(
            exploit="completes with the text of an HTTP 402: an error graded as an answer",
            build=_always(texts.ERROR_TEXT),
        ),
        "toy_solver": Entry(
            exploit="none: solves toy_code by rule and says that it can do nothing else", build=_plain(toys.solve)
        ),
        "slow": Entry(
            exploit="`slow:SECONDS` answers late: time-outs, cancellation and overlap",
            build=lambda given: partial(faults.dawdle, seconds=_seconds(given)),
        ),
    }
)


def baseline(spec: str) -> Baseline:
    """The baseline that `NAME[:ARG]` names. Raises BaselineError."""
    name, _, argument = spec.partition(":")
    entry = BASELINES.get(name)
    if entry is None:
        raise BaselineError(f"there is no baseline {name!r}{nearest(name, BASELINES)}")
    try:
        return Baseline(name=spec, exploit=entry.exploit, reply=entry.build(argument))
    except ValueError as error:
        raise BaselineError(f"baseline {name}: {error}") from None
