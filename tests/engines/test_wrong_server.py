"""Traps: a vLLM with the wrong tool parser, and with a reasoning parser on a model that does not think by itself.

Every answer comes with HTTP 200. What is asserted is what was measured; when a release changes it, the doctor's words and
the specification (inference 3) have to change too.
"""

from __future__ import annotations

import pytest

from services.contract.model_client import ResponseFormat
from tests.contract.calling import client_of, completed, failed
from tests.engines.raw import QUOTE, THINKING_OFF, VERDICT, VERDICT_FORMAT, place, said
from tests.engines.servers import Served

pytestmark = pytest.mark.engine


def test_parser_of_another_model_loses_the_call_without_a_trace(wrong_vllm: Served) -> None:
    found = said(wrong_vllm, "Quote ABC", tools=[QUOTE], **THINKING_OFF)
    assert (found.message["content"], found.calls) == (None, [])


def test_model_that_does_not_think_leaves_its_whole_answer_in_the_reasoning(wrong_vllm: Served) -> None:
    found = said(wrong_vllm, "ping").message
    assert (found["content"], found["reasoning"]) == (None, "pong")


def test_template_default_is_what_cures_it(wrong_vllm: Served) -> None:
    assert said(wrong_vllm, "ping", **THINKING_OFF).message["content"] == "pong"


def test_even_an_answer_bound_to_a_schema_lands_in_the_reasoning(wrong_vllm: Served) -> None:
    found = said(wrong_vllm, "Judge: well done", response_format=VERDICT_FORMAT).message
    assert (found["content"], found["reasoning"]) == (None, '{"score":4,"verdict":"pass"}')


async def test_client_calls_an_answer_in_the_reasoning_a_failure_and_names_the_cure(wrong_vllm: Served) -> None:
    async with client_of(place(wrong_vllm)) as client:
        found = await failed(client)
    assert found.kind == "empty_content"
    assert "check D11" in found.message


async def test_client_takes_from_the_reasoning_what_conforms_to_the_schema(wrong_vllm: Served) -> None:
    verdict = ResponseFormat(name="verdict", schema=VERDICT)
    async with client_of(place(wrong_vllm)) as client:
        found = await completed(client, "Judge: well done", response_format=verdict)
    assert (found.text, found.flags) == ('{"score":4,"verdict":"pass"}', ("from_reasoning",))
