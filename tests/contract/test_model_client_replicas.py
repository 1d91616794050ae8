"""Several servers of one model: a trial stays with one of them, and another takes over when that one is lost."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from services.contract.endpoints import Endpoint
from services.contract.model_client import CallKey, ModelClient
from services.contract.model_replicas import KNOCK_S, OPEN_S
from services.contract.outcomes import Outcome
from tests.contract.calling import KEY, Sleeper, call, client_of, completed, endpoint, failed, in_, until
from tests.support.engine import running_engine
from tests.support.raw_http import Seen, raw_server, response

DEAD = "http://127.0.0.1:9/v1"  # the discard port; nothing listens there
ALSO_DEAD = "http://127.0.0.1:7/v1"
PONG = response({"choices": [{"message": {"content": "pong"}, "finish_reason": "stop"}]})


@dataclass(kw_only=True, slots=True)
class Clock:
    """Time that passes when a test says so, by default as it really does."""

    added: float = 0.0

    def __call__(self) -> float:
        return in_(self.added)


async def preferring(url: str, urls: tuple[str, ...]) -> CallKey:
    """The key of a trial that goes to `url` while all servers are well."""
    async with client_of(endpoint(url, urls=urls)) as client:
        keys = (replace(KEY, trial=trial) for trial in range(100))
        return next(key for key in keys if client._replicas.ordered(key)[0].url == url)


@asynccontextmanager
async def two(first: str, second: str, **options: Any) -> AsyncIterator[tuple[ModelClient, CallKey]]:
    """A client of two servers and the key of a trial that prefers the first."""
    urls = (first, second)
    key = await preferring(first, urls)
    async with client_of(endpoint(first, urls=urls), **options) as client:
        yield client, key


async def test_trials_are_spread_over_the_replicas_whatever_their_addresses() -> None:
    with running_engine() as first, running_engine() as second:
        chosen = []
        for urls in ((first.url, second.url), (second.url, first.url)):
            async with client_of(endpoint(first.url, urls=urls)) as client:
                answers = [await completed(client, key=replace(KEY, trial=trial)) for trial in range(40)]
            chosen.append([urls.index(answer.replica) for answer in answers])

    assert chosen[0] == chosen[1]
    assert 10 <= Counter(chosen[0])[0] <= 30


async def test_all_calls_of_a_trial_go_to_one_replica() -> None:
    with running_engine() as first, running_engine() as second:
        async with client_of(endpoint(first.url, urls=(first.url, second.url))) as client:
            answers = [
                await completed(client, key=replace(KEY, index=index, purpose=purpose))
                for index in range(4)
                for purpose in ("generate", "verify")
            ]

    assert len({answer.replica for answer in answers}) == 1


async def test_a_call_whose_server_does_not_listen_moves_on_at_once_and_says_so() -> None:
    sleeper = Sleeper()
    with running_engine() as engine:
        async with two(DEAD, engine.url, sleep=sleeper) as (client, key):
            answer = await completed(client, key=key)
            again = await completed(client, key=key)

    assert (answer.text, answer.replica, answer.usage.calls) == ("pong", engine.url, 2)
    assert [(attempt.replica, attempt.kind, attempt.status) for attempt in answer.attempts] == [
        (DEAD, "connection", None)
    ]
    assert sleeper.waits == []
    assert (again.replica, again.attempts) == (engine.url, ())  # the lost one is not asked any more


async def test_a_request_in_flight_when_its_server_dies_is_repeated_elsewhere_with_the_same_seed() -> None:
    async with raw_server([b""]) as dying, raw_server([PONG]) as well, two(dying.url, well.url) as (client, key):
        answer = await completed(client, key=key)

    assert answer.replica == well.url
    [lost], [repeated] = dying.seen, well.seen
    assert lost.body == repeated.body
    assert lost.body["seed"] == key.seed


async def test_after_a_status_of_500_a_call_waits_before_it_moves_on() -> None:
    sleeper = Sleeper()
    with running_engine("503:retry_after=60") as failing, running_engine() as well:
        async with two(failing.url, well.url, sleep=sleeper) as (client, key):
            answer = await completed(client, key=key)

    [waited] = sleeper.waits
    assert answer.replica == well.url
    assert 0.25 <= waited <= 0.75  # what the failing server asks for is for itself
    assert [(attempt.replica, attempt.status) for attempt in answer.attempts] == [(failing.url, 503)]


async def test_a_rate_limit_is_waited_for_where_the_trial_is() -> None:
    with running_engine("429:times=2") as limited, running_engine() as well:
        async with two(limited.url, well.url) as (client, key):
            answer = await completed(client, key=key)

    assert answer.replica == limited.url
    assert [attempt.replica for attempt in answer.attempts] == [limited.url, limited.url]


@pytest.mark.parametrize("fault", ["402", "401", "overflow"])
async def test_what_no_server_can_mend_never_moves(fault: str) -> None:
    with running_engine(fault) as refusing, running_engine() as well:
        async with two(refusing.url, well.url) as (client, key):
            failure = await failed(client, key=key)

    assert [attempt.replica for attempt in failure.attempts] == [refusing.url]


async def test_a_model_that_one_server_lacks_is_not_looked_for_on_another() -> None:
    with running_engine() as first, running_engine() as second:
        urls = (first.url, second.url)
        async with client_of(endpoint(first.url, urls=urls, model="another")) as client:
            failure = await failed(client)

    assert (failure.kind, len(failure.attempts)) == ("model_missing", 1)


async def test_when_no_server_listens_each_is_tried_and_none_more_often_than_needed() -> None:
    sleeper = Sleeper()
    async with client_of(endpoint(DEAD, urls=(DEAD, ALSO_DEAD)), sleep=sleeper) as client:
        failure = await failed(client)

    assert (failure.outcome, failure.kind) == (Outcome.INFRA_ERROR, "connection")
    assert Counter(attempt.replica for attempt in failure.attempts) == {DEAD: 2, ALSO_DEAD: 2}
    assert len(sleeper.waits) == 2  # not before the second server, which was not known to be lost


async def test_a_file_whose_servers_are_all_gone_may_be_stale_and_is_named() -> None:
    place = endpoint(DEAD, urls=(DEAD, ALSO_DEAD), facts={"url": "LLM_ENDPOINT_FILE"})
    async with client_of(place) as client:
        failure = await failed(client)

    assert "LLM_ENDPOINT_FILE may be stale: `inference list`" in failure.message


async def test_of_three_servers_two_may_be_lost() -> None:
    with running_engine() as engine:
        async with client_of(endpoint(DEAD, urls=(DEAD, engine.url, ALSO_DEAD))) as client:
            answers = [await completed(client, key=replace(KEY, trial=trial)) for trial in range(30)]

    assert {answer.replica for answer in answers} == {engine.url}
    assert sum(len(answer.attempts) for answer in answers) == 2  # one for each, and no more


async def test_a_server_that_is_back_is_tried_by_one_call_and_has_its_trials_again() -> None:
    clock = Clock()
    with running_engine("500:times=1") as shaken, running_engine() as other:
        async with two(shaken.url, other.url, clock=clock) as (client, key):
            moved = await completed(client, key=key, deadline=clock() + 20)
            away = await completed(client, key=key, deadline=clock() + 20)
            clock.added = OPEN_S
            back = [await completed(client, key=key, deadline=clock() + 20) for _ in range(2)]

    assert (moved.replica, away.replica) == (other.url, other.url)
    assert [answer.replica for answer in back] == [shaken.url, shaken.url]


async def test_a_server_that_listens_again_is_noticed_long_before_its_time_is_over() -> None:
    clock = Clock()
    async with raw_server([PONG]) as first:
        gone = first.url
    with running_engine() as other:
        async with two(gone, other.url, clock=clock) as (client, key):
            lost = client._replicas.ordered(key)[0].breaker
            for _ in range(4):
                await completed(client, key=key, deadline=clock() + 20)
                clock.added += 80
            await completed(client, key=key, deadline=clock() + 20)
            assert not lost.admits  # it is away for minutes, and the next try is two more off

            async with raw_server([PONG], port=int(gone.split(":")[2].partition("/")[0])):
                clock.added += KNOCK_S
                knocking = await completed(client, key=key, deadline=clock() + 20)
                await until(lambda: lost.admits)
                back = await completed(client, key=key, deadline=clock() + 20)

    assert (knocking.replica, back.replica) == (other.url, gone)


async def test_a_server_that_falls_silent_costs_the_calls_that_wait_for_it_and_no_others() -> None:
    with running_engine() as other:
        async with raw_server([None]) as stuck, two(stuck.url, other.url, probe_s=0.1) as (client, key):
            stalled = await failed(client, key=key, deadline=in_(0.2))
            moved = await completed(client, key=key)

    assert (stalled.outcome, stalled.kind) == (Outcome.INFRA_ERROR, "engine_stalled")
    assert [(attempt.replica, attempt.kind, attempt.status) for attempt in stalled.attempts] == [
        (stuck.url, "engine_stalled", None)
    ]
    assert moved.replica == other.url


@contextmanager
def dropping() -> Iterator[str]:
    """An address that answers no attempt to connect: its backlog is full, so further ones are dropped, as by a firewall."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


async def test_a_server_behind_a_wall_costs_the_calls_that_wait_for_it_and_no_others() -> None:
    with dropping() as walled, running_engine() as other:
        async with two(walled, other.url, probe_s=0.1) as (client, key):
            stalled = await failed(client, key=key, deadline=in_(0.2))
            moved = await completed(client, key=key)

    assert (stalled.outcome, stalled.kind) == (Outcome.INFRA_ERROR, "engine_stalled")
    assert moved.replica == other.url


async def test_a_try_of_a_returning_server_that_is_cancelled_leaves_it_to_the_next_call() -> None:
    clock = Clock()
    with running_engine("500:times=1", "hang:after=1:times=1") as shaken, running_engine() as other:
        async with two(shaken.url, other.url, clock=clock) as (client, key):
            await completed(client, key=key, deadline=clock() + 20)
            clock.added = OPEN_S
            trying = asyncio.create_task(call(client, key=key, deadline=clock() + 20))
            await until(lambda: not client._replicas.ordered(key)[0].breaker.admits)
            meanwhile = await completed(client, key=key, deadline=clock() + 20)
            trying.cancel()
            await asyncio.gather(trying, return_exceptions=True)
            back = await call(client, key=key, deadline=clock() + 20)

    assert meanwhile.replica == other.url
    assert getattr(back, "replica", None) == shaken.url


async def test_context_and_prompt_are_asked_of_a_server_that_answers() -> None:
    with running_engine() as engine:
        place: Endpoint = endpoint(DEAD, urls=(DEAD, engine.url), max_model_len=None)
        async with client_of(place) as client:
            length = await client.context_length()
            counted = await client.count_tokens([])

    assert length == 32_768
    assert counted is not None


async def test_what_a_model_rejects_is_sent_to_none_of_its_servers_again() -> None:
    refusal = response({"error": {"message": "Unsupported parameter: temperature", "param": "temperature"}}, status=400)

    def picky(seen: Seen) -> bytes:
        return refusal if "temperature" in seen.body else PONG

    async with raw_server(picky) as first, raw_server(picky) as second:
        urls = (first.url, second.url)
        async with client_of(endpoint(urls[0], urls=urls)) as client:
            answers = [await completed(client, key=replace(KEY, trial=trial)) for trial in range(10)]

    assert {answer.replica for answer in answers} == set(urls)
    assert sum("temperature" in seen.body for seen in (*first.seen, *second.seen)) == 1
