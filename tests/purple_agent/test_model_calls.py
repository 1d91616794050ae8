"""Which servers answered and what failed on the way travels with the reply, and with the failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.conversation import MOST_FAILED_CALLS, MOST_SERVERS, FailedCall, ModelCalls
from services.contract.outcomes import AgentFailure
from tests.purple_agent.models_by_hand import http_error, model_server, say
from tests.purple_agent.serving import on_model

DEAD = "http://127.0.0.1:9/v1"  # the discard port; nothing listens there


async def test_a_reply_tells_of_the_server_that_was_lost_and_of_the_one_that_answered() -> None:
    async with model_server(say("42")) as model, on_model("", env={"OPENAI_API_BASE": f"{DEAD},{model.url}"}) as peer:
        # Twenty conversations: whichever server a question prefers, some prefer the one that is not there.
        told = [(await peer.ask(f"What is {number} x 7?")).model_calls for number in range(20)]

    calls = sum((one for one in told if one is not None), ModelCalls())
    [failed] = calls.failed
    assert len([one for one in told if one is not None]) == 20
    assert (failed.replica, failed.kind, failed.status) == (DEAD, "connection", None)
    assert calls.answered_by == (model.url,)
    assert calls.failures == 1
    assert 5 <= calls.switched <= 15


async def test_a_failure_tells_of_every_attempt() -> None:
    async with model_server(lambda _body, _number: http_error(402, "pay first")) as model, on_model(model.url) as peer:
        with pytest.raises(AgentFailure) as raised:
            await peer.ask("What is 6 x 7?")

    assert raised.value.model_calls == ModelCalls(
        failed=(FailedCall(replica=model.url, kind="payment", status=402, message="pay first"),), failures=1
    )


async def test_where_there_is_one_server_and_all_went_well_there_is_nothing_to_tell() -> None:
    async with model_server(say("42")) as model, on_model(model.url) as peer:
        end = await peer.outcome("What is 6 x 7?")

    assert "assay/model-calls" not in end.metadata


FAILED = st.builds(FailedCall, replica=st.text(max_size=3), kind=st.just("server"))
CALLS = st.builds(
    ModelCalls,
    answered_by=st.lists(st.text(max_size=4), max_size=MOST_SERVERS, unique=True).map(tuple),
    switched=st.integers(0, 10**12),
    failed=st.lists(FAILED, max_size=MOST_FAILED_CALLS).map(tuple),
    failures=st.integers(0, 10**12),
)


@given(CALLS, CALLS)
def test_sums_stay_within_what_an_evaluator_reads_and_keep_the_latest(one: ModelCalls, other: ModelCalls) -> None:
    both = one + other

    assert ModelCalls.model_validate_json(both.model_dump_json()) == both
    assert both.failed[len(both.failed) - len(other.failed) :] == other.failed
    assert set(other.answered_by) <= set(both.answered_by) or len(both.answered_by) == MOST_SERVERS
