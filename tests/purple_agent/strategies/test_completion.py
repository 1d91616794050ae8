"""Base models: the message goes out as it stands, and the answer is what they add up to the next top-level statement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.conversation import Usage
from services.inference.reference_engine.app import Engine
from services.inference.reference_engine.app import Settings as EngineSettings
from services.purple_agent.settings import Settings
from services.purple_agent.strategies.completion import STOPS, until_stop
from tests.purple_agent.models_by_hand import continuation, model_server
from tests.purple_agent.serving import deadline, on_model
from tests.support.asgi import serving_app

PROMPT = 'def add(a: int, b: int) -> int:\n    """The sum."""\n'
BASE = Settings(strategy="completion")


async def test_the_message_is_the_prompt_and_the_indented_continuation_is_the_answer() -> None:
    env = {"PURPLE_LLM_TEMPERATURE": "0.2"}

    async with (
        model_server(lambda _body, _number: continuation("    return a + b\n")) as model,
        on_model(model.url, BASE, env=env) as peer,
    ):
        reply = await peer.ask(PROMPT)

    [asked] = model.asked
    assert (asked["prompt"], asked["temperature"], "messages" in asked) == (PROMPT, 0.2, False)
    assert asked["stop"] == ["\nclass", "\ndef", "\n#", "\nprint"]
    assert (reply.text, reply.usage) == ("    return a + b\n", Usage(input_tokens=30, output_tokens=5, calls=1))
    assert reply.trace is None


@pytest.mark.parametrize(
    "more", ["class Other:", "def other():", "# Tests", "if __name__ == '__main__':", "print(add(1, 2))"]
)
async def test_an_engine_that_ignores_stops_is_cut_at_the_next_top_level_statement(more: str) -> None:
    said = f"    if a:\n        return a + b  # print\n    return b\n{more}\n    pass\n"

    async with model_server(lambda _body, _number: continuation(said)) as model, on_model(model.url, BASE) as peer:
        reply = await peer.ask(PROMPT)

    assert reply.text == "    if a:\n        return a + b  # print\n    return b"


async def test_earlier_messages_are_not_part_of_the_prompt() -> None:
    async with (
        model_server(lambda _body, _number: continuation("    pass")) as model,
        on_model(model.url, BASE) as peer,
    ):
        conversation = peer.client.conversation()
        await conversation.ask(PROMPT, deadline())
        await conversation.ask("def other():\n", deadline())

    assert [body["prompt"] for body in model.asked] == [PROMPT, "def other():\n"]


@pytest.mark.parametrize("said", ["", " \n", "\ndef other(): pass"])
async def test_a_model_that_adds_nothing_is_the_agents_own_fault(said: str) -> None:
    async with model_server(lambda _body, _number: continuation(said)) as model, on_model(model.url, BASE) as peer:
        end = await peer.outcome(PROMPT)

    assert (end.state, end.metadata["assay/outcome"], end.metadata["assay/fault"]) == ("failed", "agent_error", "empty")


async def test_the_reference_engine_continues_a_text() -> None:
    engine = Engine(EngineSettings())

    async with serving_app(lambda _: engine) as url, on_model(f"{url}v1", BASE, env={"LLM_MODEL": "reference"}) as peer:
        reply = await peer.ask("ping")

    assert reply.text == "pong"


@given(st.text(alphabet="\n #abcdefiprnt", max_size=60))
def test_what_is_kept_is_a_beginning_without_a_stop(text: str) -> None:
    kept = until_stop(text)

    assert text.startswith(kept)
    assert not any(stop in kept for stop in STOPS)
    assert kept == text or any(text[len(kept) :].startswith(stop) for stop in STOPS)
