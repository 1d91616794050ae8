"""`transformers serve`, the light engine: what it does, and what it ignores with HTTP 200."""

from __future__ import annotations

import pytest

from tests.engines.raw import QUOTE, VERDICT_FORMAT, said
from tests.engines.servers import Served

pytestmark = pytest.mark.engine


def test_it_calls_tools_when_the_model_wants_to(transformers_server: Served) -> None:
    found = said(transformers_server, "Quote ABC", tools=[QUOTE])
    assert found.calls == [("get_quote", {"ticker": "ABC"})]


def test_it_ignores_that_a_tool_is_required(transformers_server: Served) -> None:
    found = said(transformers_server, "ping", tools=[QUOTE], tool_choice="required")
    assert (found.message["content"], found.calls) == ("pong", [])


def test_it_ignores_a_schema(transformers_server: Served) -> None:
    assert said(transformers_server, "ping", response_format=VERDICT_FORMAT).message["content"] == "pong"


def test_it_ignores_logprobs(transformers_server: Served) -> None:
    assert said(transformers_server, "ping", logprobs=True).body["choices"][0].get("logprobs") is None
