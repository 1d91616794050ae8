"""Several servers of one model: a trial stays with one of them, and all of them work."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tests.contract.calling import KEY, client_of, completed, endpoint, failed
from tests.support.engine import running_engine

DEAD = "http://127.0.0.1:9/v1"  # the discard port; nothing listens there


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


async def test_a_failed_call_names_the_replica_it_went_to() -> None:
    with running_engine() as engine:
        async with client_of(endpoint(engine.url, urls=(engine.url, DEAD)), max_attempts=1) as client:
            trials = [replace(KEY, trial=trial) for trial in range(20)]
            lost = [key for key in trials if client._chosen(key).url == DEAD]
            failure = await failed(client, key=lost[0])

    assert {attempt.replica for attempt in failure.attempts} == {DEAD}
