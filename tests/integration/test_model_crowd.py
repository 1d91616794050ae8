"""A thousand calls at once through one client, over two model servers."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.contract.model_client import Completion, ModelClient
from tests.contract.calling import KEY, client_of, completed, endpoint, in_
from tests.support.engine import engine_process

CALLS = 1_000


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for a thousand sockets, which is more than the usual limit leaves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 8_192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def crowd(client: ModelClient, trials: int, *, index: int) -> list[Completion]:
    """One call of each trial, all at once."""
    keys = (replace(KEY, task_id=f"task-{number}", index=index) for number in range(trials))
    return await asyncio.gather(*(completed(client, key=key, deadline=in_(120)) for key in keys))


@pytest.mark.slow
@pytest.mark.usefixtures("many_files")
async def test_of_a_thousand_calls_at_once_none_is_lost_and_each_trial_keeps_its_server(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with engine_process(folders[0]) as (_, first), engine_process(folders[1]) as (_, second):
        async with client_of(endpoint(first, urls=(first, second)), max_connections=CALLS) as client:
            answers = await crowd(client, CALLS, index=0)
            again = await crowd(client, 100, index=1)

    assert [answer.text for answer in answers] == ["pong"] * CALLS
    assert not any(answer.attempts for answer in answers)
    servers = [answer.replica for answer in answers]
    assert [answer.replica for answer in again] == servers[:100]
    assert 0.4 * CALLS <= Counter(servers)[first] <= 0.6 * CALLS
    assert set(servers) == {first, second}
