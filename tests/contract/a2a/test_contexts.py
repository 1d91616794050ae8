"""Conversation state: lines, bounds and eviction."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from services.contract.a2a.contexts import ContextLimits, ContextRefused, ContextStore
from services.contract.a2a.emitter import Incoming


def message(context_id: str, text: str = "hi", *, owner: str = "me") -> Incoming:
    return Incoming(text=text, context_id=context_id, task_id="t", message_id="m", owner=owner)


async def say(store: ContextStore[list[str]], context_id: str, text: str = "hi", *, owner: str = "me") -> list[str]:
    """One message; the state lists what was said."""
    async with store.turn(message(context_id, text, owner=owner)) as turn:
        turn.state = said = [*(turn.state or []), text]
        return said


class Held:
    """A message that stays in its context until told to leave."""

    def __init__(self, store: ContextStore[list[str]], context_id: str) -> None:
        self.entered = asyncio.Event()
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._hold(store, context_id))

    async def _hold(self, store: ContextStore[list[str]], context_id: str) -> None:
        async with store.turn(message(context_id)):
            self.entered.set()
            await self.leave.wait()

    async def done(self) -> None:
        self.leave.set()
        await self.task


async def settled() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_context_remembers_and_belongs_to_its_owner() -> None:
    store: ContextStore[list[str]] = ContextStore()

    await say(store, "a", "one")
    mine = await say(store, "a", "two")
    theirs = await say(store, "a", "three", owner="them")
    other = await say(store, "b", "four")

    assert (mine, theirs, other) == (["one", "two"], ["three"], ["four"])


async def test_messages_of_one_context_come_one_at_a_time_in_order() -> None:
    store: ContextStore[list[str]] = ContextStore()
    first = Held(store, "a")
    await first.entered.wait()
    later = [asyncio.create_task(say(store, "a", str(number))) for number in range(5)]
    await settled()

    assert not any(task.done() for task in later)
    await first.done()
    assert (await asyncio.gather(*later))[-1] == ["0", "1", "2", "3", "4"]


async def test_different_contexts_run_at_once_up_to_the_bound() -> None:
    store: ContextStore[list[str]] = ContextStore(limits=ContextLimits(concurrency=2))
    held = [Held(store, name) for name in "abc"]
    await settled()

    assert [message.entered.is_set() for message in held] == [True, True, False]
    await held[0].done()
    await settled()
    assert held[2].entered.is_set()
    for message in held[1:]:
        await message.done()


async def test_who_waits_for_a_context_takes_no_place_from_others() -> None:
    store: ContextStore[list[str]] = ContextStore(limits=ContextLimits(concurrency=2))
    first, second = Held(store, "a"), Held(store, "a")
    await settled()

    assert await say(store, "b") == ["hi"]
    assert not second.entered.is_set()
    await first.done()
    await second.done()


async def test_one_waiting_message_too_many_is_refused() -> None:
    store: ContextStore[list[str]] = ContextStore(limits=ContextLimits(concurrency=1, waiting=1))
    first, second = Held(store, "a"), Held(store, "b")
    await settled()

    with pytest.raises(ContextRefused, match="busy"):
        await say(store, "c")
    await first.done()
    await second.done()
    assert await say(store, "c") == ["hi"]


async def test_a_cancelled_message_frees_its_place_in_the_line() -> None:
    store: ContextStore[list[str]] = ContextStore(limits=ContextLimits(concurrency=1, waiting=1))
    first, second = Held(store, "a"), Held(store, "b")
    await settled()

    second.task.cancel()
    await asyncio.wait([second.task])
    third = Held(store, "c")
    await first.done()
    await settled()

    assert third.entered.is_set()
    await third.done()


@pytest.mark.parametrize(
    ("limits", "spend"),
    [
        (ContextLimits(messages=4), lambda store: _twice(store, "x")),
        (ContextLimits(context_bytes=10), lambda store: _twice(store, "12345")),
    ],
)
async def test_a_full_context_is_refused_and_others_are_not(
    limits: ContextLimits, spend: Callable[[ContextStore[list[str]]], Awaitable[None]]
) -> None:
    store: ContextStore[list[str]] = ContextStore(limits=limits)
    await spend(store)

    with pytest.raises(ContextRefused, match="context too large"):
        await say(store, "a", "one more")
    assert await say(store, "b") == ["hi"]


async def _twice(store: ContextStore[list[str]], text: str) -> None:
    for _ in range(2):
        async with store.turn(message("a", text)) as turn:
            turn.said(0)


async def test_idle_contexts_leave_and_are_never_begun_again_silently() -> None:
    now = [0.0]
    store: ContextStore[list[str]] = ContextStore(limits=ContextLimits(idle_s=60), clock=lambda: now[0])
    await say(store, "old")
    now[0] = 50.0
    await say(store, "young")
    now[0] = 61.0

    with pytest.raises(ContextRefused, match="context expired"):
        await say(store, "old")
    assert await say(store, "young") == ["hi", "hi"]
    assert await say(store, "old", owner="them") == ["hi"]


async def test_the_least_recently_used_context_makes_room_but_never_one_in_use() -> None:
    store: ContextStore[list[str]] = ContextStore(limits=ContextLimits(contexts=2))
    held = Held(store, "held")
    await settled()
    await say(store, "a")
    await say(store, "b")

    with pytest.raises(ContextRefused, match="context expired"):
        await say(store, "a")
    assert await say(store, "b") == ["hi", "hi"]
    assert len(store) == 2
    await held.done()


async def test_only_so_many_expired_ids_are_remembered() -> None:
    store: ContextStore[list[str]] = ContextStore(limits=ContextLimits(contexts=1, remembered=1))
    for name in "abc":
        await say(store, name)

    with pytest.raises(ContextRefused):
        await say(store, "b")
    assert await say(store, "a") == ["hi"]
