"""The completions API for base models: the text as it stands, the same account of deadlines and faults."""

from __future__ import annotations

import pytest

from services.contract.model_client import Completion, ModelFailure, Sampling
from services.contract.outcomes import Outcome
from services.inference.reference_engine import FINGERPRINT
from tests.contract.calling import KEY, client_of, endpoint, in_
from tests.support.engine import running_engine
from tests.support.raw_http import raw_server, response

PATHS = ("/v1/completions", "/tokenize")
SAID = response({"choices": [{"text": "    return 1\n", "finish_reason": "stop"}], "usage": {"prompt_tokens": 7}})
SAMPLING = Sampling(temperature=0.2, top_p=0.9, top_k=20, max_tokens=50)


async def test_a_text_goes_out_as_it_is_with_all_sampling_spelled_out() -> None:
    async with raw_server([SAID], paths=PATHS) as server, client_of(server.url) as client:
        answer = await client.continuation("def f():\n", stop=("\ndef",), sampling=SAMPLING, deadline=in_(20), key=KEY)

    assert server.seen[0].body == {
        "model": "reference",
        "prompt": "def f():\n",
        "temperature": 0.2,
        "top_p": 0.9,
        "top_k": 20,
        "seed": KEY.seed,
        "max_tokens": 50,
        "stop": ["\ndef"],
    }
    assert isinstance(answer, Completion)
    assert (answer.text, answer.finish, answer.usage.input_tokens, answer.usage.calls) == (
        "    return 1\n",
        "stop",
        7,
        1,
    )


async def test_the_reference_engine_continues_a_text_without_a_template() -> None:
    with running_engine() as engine:
        async with client_of(engine.url) as client:
            answer = await client.continuation("ping", deadline=in_(20), key=KEY)

    assert isinstance(answer, Completion)
    assert (answer.text, answer.fingerprint) == ("pong", FINGERPRINT)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (1, 1)


async def test_a_text_near_the_limit_is_counted_as_a_text() -> None:
    script = [response({"count": 3_900}), SAID]
    place_limit = {"max_model_len": 4_096}
    async with raw_server(script, paths=PATHS) as server, client_of(endpoint(server.url, **place_limit)) as client:
        answer = await client.continuation("x" * 4_000, sampling=Sampling(max_tokens=100), deadline=in_(20), key=KEY)

    assert server.seen[0].body == {"model": "reference", "prompt": "x" * 4_000}
    assert isinstance(answer, Completion)
    assert answer.sampling.max_tokens == 100


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (response({"error": {"message": "boom", "code": 402}}), "payment"),
        (
            response({"error": {"message": "This model's maximum context length is 10 tokens"}}, status=400),
            "context_overflow",
        ),
        (response({"choices": []}), "server"),
        (response({"choices": [{"message": {"content": "a chat"}}]}), "server"),
    ],
)
async def test_faults_are_those_of_every_model_call(reply: bytes, kind: str) -> None:
    async with raw_server([reply], paths=PATHS) as server, client_of(server.url) as client:
        failure = await client.continuation("text", deadline=in_(20), key=KEY)

    assert isinstance(failure, ModelFailure)
    assert (failure.outcome, failure.kind) == (Outcome.INFRA_ERROR, kind)


async def test_anthropic_has_no_such_api_and_is_not_asked() -> None:
    async with raw_server([SAID]) as server, client_of(endpoint(server.url, provider="anthropic")) as client:
        failure = await client.continuation("text", deadline=in_(20), key=KEY)

    assert isinstance(failure, ModelFailure)
    assert (failure.kind, server.seen) == ("bad_request", [])
    assert "OpenAI-compatible" in failure.message
