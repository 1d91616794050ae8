"""The agent with a model, over real sockets: what it answers, remembers, computes, and how it fails."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any

import pytest

from services.contract.conversation import ModelFacts, Sampled, Usage
from services.contract.outcomes import AgentFailure, Outcome
from services.inference.reference_engine.app import Engine
from services.inference.reference_engine.app import Settings as EngineSettings
from services.purple_agent.agent import ModelAgent
from services.purple_agent.answer import Answer
from services.purple_agent.settings import Settings
from tests.contract.calling import endpoint
from tests.purple_agent.models_by_hand import Body, completion, heard, http_error, model_server, say
from tests.purple_agent.serving import begin_and_cancel, deadline, on_model
from tests.support.asgi import serving_app
from tests.support.raw_http import raw_server, response

CALL = {
    "spot_price": 120,
    "strike_price": 125,
    "days_to_expiry": 60,
    "volatility": 0.32,
    "option_type": "call",
    "risk_free_rate": 0.045,
    "dividend_yield": 0.012,
}
QUESTION = (
    "A European call has a spot price of 120, a strike of 125, a volatility of 32 %, a risk-free rate of 4.5 %, a dividend "
    "yield of 1.2 % and 60 days to expiry. What is its price? Close with one line "
    'FINAL ANSWER: {"call_price": <number>}'
)


REFERENCE = {"LLM_MODEL": "reference"}


async def test_the_reference_engine_prices_an_option_with_our_tool() -> None:
    engine = Engine(EngineSettings())

    async with serving_app(lambda _: engine) as url, on_model(f"{url}v1", emit_tool_calls=True, env=REFERENCE) as peer:
        reply = await peer.ask(QUESTION)

    (call,) = reply.tool_calls
    assert isinstance(call, dict)
    assert json.loads(reply.text.removeprefix("FINAL ANSWER: "))["call_price"] == pytest.approx(4.381425, abs=5e-7)
    assert (call["name"], json.loads(str(call["arguments"])), call["ok"]) == (
        "calculate_option_price",
        CALL | {"style": "european"},
        True,
    )
    assert reply.model is not None
    assert reply.model.fingerprint is not None
    assert reply.model.fingerprint.startswith("reference-engine")


async def test_an_answer_is_one_artifact_and_a_completed_status_that_carries_no_copy() -> None:
    async with model_server(say("42")) as model, on_model(model.url) as peer:
        end = await peer.outcome("What is 6 x 7?")

    assert (end.state, end.text, end.artifacts) == ("completed", "", {"reply": "42"})
    assert Usage.model_validate_json(end.metadata["assay/usage"]) == Usage(input_tokens=100, output_tokens=10, calls=1)
    assert ModelFacts.model_validate_json(end.metadata["assay/model"]) == ModelFacts(
        provider="openai",
        model="by-hand",
        fingerprint="by-hand-1",
        sampling=Sampled(temperature=0.0, top_p=1.0, max_tokens=4096),
    )


async def test_an_answer_is_not_lost_over_a_fingerprint_without_end() -> None:
    said = {**completion("42"), "system_fingerprint": "x" * 10_000}
    async with model_server(lambda _body, _number: said) as model, on_model(model.url) as peer:
        reply = await peer.ask("What is 6 x 7?")

    assert reply.text == "42"
    assert reply.model is not None
    assert reply.model.fingerprint == "x" * 500


async def test_reasoning_is_neither_sent_nor_remembered() -> None:
    async with model_server(say("<think>Is it 41?</think>\n42")) as model, on_model(model.url) as peer:
        conversation = peer.client.conversation()
        first = await conversation.ask("What is 6 x 7?", deadline())
        await conversation.ask("Sure?", deadline())

    assert first.text == "42"
    assert heard(model.asked[1])[1:] == [("user", "What is 6 x 7?"), ("assistant", "42"), ("user", "Sure?")]


async def test_a_conversation_is_remembered_in_its_context_and_in_no_other() -> None:
    async with model_server(say("Noted.")) as model, on_model(model.url) as peer:
        conversation = peer.client.conversation()
        await conversation.ask("My number is 7.", deadline())
        await conversation.ask("Which is it?", deadline())
        await peer.ask("Which is my number?")

    assert [heard(body)[1:] for body in model.asked] == [
        [("user", "My number is 7.")],
        [("user", "My number is 7."), ("assistant", "Noted."), ("user", "Which is it?")],
        [("user", "Which is my number?")],
    ]


def calling(*rounds: tuple[str, Any]) -> Any:
    """A model that calls one tool a request, then answers."""

    def script(_body: Body, number: int) -> Body:
        return completion(calls=(rounds[number],)) if number < len(rounds) else completion("done")

    return script


async def test_results_of_tools_go_back_to_the_model_and_stay_in_memory() -> None:
    async with model_server(calling(("calculate_option_price", CALL))) as model, on_model(model.url) as peer:
        conversation = peer.client.conversation()
        reply = await conversation.ask("Price it.", deadline())
        await conversation.ask("Again.", deadline())

    result = json.loads(model.asked[1]["messages"][-1]["content"])
    assert (reply.text, reply.usage) == ("done", Usage(input_tokens=200, output_tokens=20, calls=2))
    assert result["result"]["price"] == pytest.approx(4.381425, abs=5e-7)
    assert [role for role, _ in heard(model.asked[2])] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert model.asked[2]["messages"][3]["tool_call_id"] == "call-0"


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("calculate_option_price", {"spot_price": -1}, "invalid_arguments"),
        ("implied_volatility", CALL, "invalid_arguments"),
        ("look_up_the_answer", {}, "unknown_tool"),
    ],
)
async def test_a_wrong_tool_call_is_explained_to_the_model_which_may_still_answer(
    name: str, arguments: object, kind: str
) -> None:
    async with model_server(calling((name, arguments))) as model, on_model(model.url) as peer:
        reply = await peer.ask("Price it.")

    told = json.loads(model.asked[1]["messages"][-1]["content"])
    assert reply.text == "done"
    assert (told["ok"], told["error"]["kind"]) == (False, kind)


async def test_a_spent_tool_budget_forces_one_last_request_without_tools() -> None:
    def script(body: Body, _number: int) -> Body:
        return completion(calls=(("calculate_option_price", CALL),) * 2) if body.get("tools") else completion("done")

    async with model_server(script) as model, on_model(model.url, Settings(max_tool_calls=3)) as peer:
        reply = await peer.ask("Price it.")

    answers = [json.loads(message["content"]) for message in model.asked[2]["messages"] if message["role"] == "tool"]
    assert reply.text == "done"
    assert [bool(body.get("tools")) for body in model.asked] == [True, True, False]
    assert [answer["ok"] for answer in answers] == [True, True, True, False]
    assert answers[3]["error"]["kind"] == "budget_spent"


async def test_a_spent_tool_budget_leaves_anthropic_the_tools_its_history_needs() -> None:
    call = {"type": "tool_use", "id": "a", "name": "calculate_option_price", "input": CALL}
    answers = [
        response({"content": [call], "stop_reason": "tool_use"}),
        response({"content": [{"type": "text", "text": "done"}], "stop_reason": "end_turn"}),
    ]
    place = {"provider": "anthropic", "max_model_len": 100_000}
    async with raw_server(answers) as model:
        agent = ModelAgent(endpoint(model.url, **place), Settings(max_tool_calls=1))
        async with aclosing(agent):
            answer = await agent.conversation().answer("Price it.")

    assert isinstance(answer, Answer)
    assert answer.text == "done"
    assert [body.get("tool_choice") for body in (seen.body for seen in model.seen)] == [None, {"type": "none"}]
    assert model.seen[0].body["tools"] == model.seen[1].body["tools"]


async def test_without_a_tool_budget_no_tools_are_offered() -> None:
    async with model_server(say("42")) as model, on_model(model.url, Settings(max_tool_calls=0)) as peer:
        reply = await peer.ask("What is 6 x 7?")

    assert reply.text == "42"
    assert "tools" not in model.asked[0]


async def test_tool_calls_are_sent_only_when_asked_for() -> None:
    async with model_server(calling(("calculate_option_price", CALL))) as model, on_model(model.url) as peer:
        end = await peer.outcome("Price it.")

    assert end.artifacts == {"reply": "done"}


async def test_sampling_is_as_configured_and_told_with_the_answer() -> None:
    sampling = {
        "PURPLE_LLM_TEMPERATURE": "0.6",
        "PURPLE_TOP_P": "0.95",
        "PURPLE_TOP_K": "20",
        "PURPLE_MAX_TOKENS": "99",
    }

    async with model_server(say("42")) as model, on_model(model.url, env=sampling) as peer:
        reply = await peer.ask("What is 6 x 7?")

    sent = {name: model.asked[0].get(name) for name in ("temperature", "top_p", "top_k", "max_tokens")}
    assert sent == {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "max_tokens": 99}
    assert reply.model is not None
    assert reply.model.sampling == Sampled(temperature=0.6, top_p=0.95, top_k=20, max_tokens=99)


async def test_a_sampling_parameter_that_the_model_refuses_is_not_told_as_if_it_held() -> None:
    def script(body: Body, _number: int) -> Any:
        return http_error(400, "Unsupported parameter: top_k") if "top_k" in body else completion("42")

    async with model_server(script) as model, on_model(model.url, env={"PURPLE_TOP_K": "20"}) as peer:
        reply = await peer.ask("What is 6 x 7?")

    assert reply.model is not None
    assert reply.model.sampling == Sampled(temperature=0.0, top_p=1.0, top_k=None, max_tokens=4096)


async def test_repeats_of_a_question_draw_different_seeds_and_a_new_process_draws_them_again() -> None:
    seeds: list[list[int]] = []
    for seed in (0, 0, 1):
        async with model_server(say("42")) as model, on_model(model.url, Settings(seed=seed)) as peer:
            for question in ("A?", "A?", "B?"):
                await peer.ask(question)
        seeds.append([body["seed"] for body in model.asked])

    assert len(set(seeds[0])) == 3
    assert seeds[0] == seeds[1]
    assert set(seeds[0]).isdisjoint(seeds[2])


async def seeds_of(*samples: str | None) -> list[int]:
    """Seeds of one process that is asked the same question again and again."""
    async with model_server(say("42")) as model, on_model(model.url) as peer:
        for sample in samples:
            await peer.ask("A?", sample=sample)
    return [body["seed"] for body in model.asked]


async def test_a_numbered_sample_has_its_own_seed_whatever_the_process_was_asked_before() -> None:
    in_order = await seeds_of("0", "1", "2", "3")
    begun_anew = await seeds_of("3", "1", "3")

    assert len(set(in_order)) == 4
    assert begun_anew == [in_order[3], in_order[1], in_order[3]]


async def test_messages_of_one_conversation_go_on_with_the_sample_of_the_first() -> None:
    async with model_server(say("42")) as model, on_model(model.url) as peer:
        for sample in ("0", "1", "0"):
            conversation = peer.client.conversation(metadata={"assay/sample": sample})
            await conversation.ask("A?", deadline())
            await conversation.ask("B?", deadline())

    seeds = [body["seed"] for body in model.asked]
    assert len(set(seeds)) == 4
    assert seeds[4:] == seeds[:2]


@pytest.mark.parametrize(
    "said", ["", "-1", "+1", "01", "1.0", "1e3", " 1", "\u0661", "\u00b2", "1000000", "9" * 900, "None"]
)
async def test_what_is_no_number_of_a_sample_is_ignored_and_the_process_counts(said: str) -> None:
    counted = await seeds_of(None, None, "999999")

    assert await seeds_of(said, said) == counted[:2]
    assert counted[2] not in counted[:2]


async def test_a_sandbox_that_is_configured_but_gone_is_the_infrastructures_fault() -> None:
    async with model_server(say("")) as gone:
        url = gone.url.removesuffix("/v1")

    async with (
        model_server(calling(("execute_python", {"code": "print(6 * 7)"}))) as model,
        on_model(model.url, Settings(sandbox_url=url)) as peer,
    ):
        end = await peer.outcome("What is 6 x 7?")

    assert (end.state, end.metadata["assay/outcome"], end.metadata["assay/fault"]) == (
        "failed",
        "infra_error",
        "sandbox",
    )


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (402, "Insufficient credits"),
        (401, "Incorrect API key provided"),
        (404, "The model `by-hand` does not exist"),
        (400, "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens"),
    ],
)
async def test_a_failing_model_fails_the_message_at_once_and_is_no_answer(status: int, message: str) -> None:
    async with model_server(lambda _body, _number: http_error(status, message)) as model, on_model(model.url) as peer:
        end = await peer.outcome("What is 6 x 7?")

    kinds = {402: "payment", 401: "auth", 404: "model_missing", 400: "context_overflow"}
    assert (end.state, end.artifacts) == ("failed", {})
    assert (end.metadata["assay/outcome"], end.metadata["assay/fault"]) == ("infra_error", kinds[status])
    assert (end.error["kind"], end.error["code"]) == ("infra", kinds[status])
    assert len(model.asked) == 1


async def test_a_server_error_is_retried_by_the_model_client_alone_and_then_fails_the_message() -> None:
    async with (
        model_server(lambda _body, _number: http_error(500, "boom")) as model,
        on_model(model.url, Settings(reply_timeout_s=30)) as peer,
    ):
        with pytest.raises(AgentFailure) as failed:
            await peer.ask("What is 6 x 7?")

    assert (failed.value.outcome, failed.value.kind) == (Outcome.INFRA_ERROR, "server")
    assert failed.value.self_reported
    assert len(model.asked) == 4


async def test_a_model_that_nobody_serves_fails_the_message() -> None:
    async with model_server(say("42")) as model:
        gone = model.url

    async with on_model(gone, Settings(reply_timeout_s=0.2)) as peer:
        end = await peer.outcome("What is 6 x 7?")

    assert (end.state, end.metadata["assay/outcome"], end.metadata["assay/fault"]) == (
        "failed",
        "infra_error",
        "connection",
    )


@pytest.mark.parametrize(
    ("hang_on", "outcome", "kind"), [("Hang", "agent_error", "deadline"), ("", "infra_error", "engine_stalled")]
)
async def test_a_model_that_hangs_is_the_infrastructures_fault_only_when_it_is_silent_to_others_too(
    hang_on: str, outcome: str, kind: str
) -> None:
    async with (
        model_server(say("42"), hang_on=hang_on) as model,
        on_model(model.url, Settings(reply_timeout_s=0.5)) as peer,
    ):
        end = await peer.outcome("Hang on this one.")

    assert (end.state, end.artifacts) == ("failed", {})
    assert (end.metadata["assay/outcome"], end.metadata["assay/fault"]) == (outcome, kind)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (completion(""), "empty"),
        (completion("<think>It is 42.</think>"), "empty"),
        (completion("<think>It is", finish="length"), "empty"),
        (completion(None, refusal="I cannot help with that."), "refused"),
        (completion("", finish="content_filter"), "refused"),
    ],
)
async def test_a_model_that_does_not_answer_is_the_agents_own_fault(answer: Body, kind: str) -> None:
    async with model_server(lambda _body, _number: answer) as model, on_model(model.url) as peer:
        end = await peer.outcome("What is 6 x 7?")

    assert (end.state, end.artifacts) == ("failed", {})
    assert (end.metadata["assay/outcome"], end.metadata["assay/fault"]) == ("agent_error", kind)
    assert end.error["kind"] == "agent"


async def test_a_failed_message_is_forgotten_and_what_it_cost_is_told() -> None:
    def script(_body: Body, number: int) -> Any:
        return http_error(402, "Insufficient credits") if number == 1 else completion("Noted.")

    async with model_server(script) as model, on_model(model.url) as peer:
        conversation = peer.client.conversation()
        await conversation.ask("My number is 7.", deadline())
        with pytest.raises(AgentFailure, match="payment"):
            await conversation.ask("Which is it?", deadline())
        await conversation.ask("Which is it, please?", deadline())

    assert heard(model.asked[2])[1:] == [
        ("user", "My number is 7."),
        ("assistant", "Noted."),
        ("user", "Which is it, please?"),
    ]


async def test_a_failure_after_a_tool_round_reports_the_usage_until_then() -> None:
    def script(_body: Body, number: int) -> Any:
        return http_error(402, "none left") if number else completion(calls=(("pnl_attribution", {}),))

    async with model_server(script) as model, on_model(model.url) as peer:
        end = await peer.outcome("Split it.")

    usage = Usage.model_validate_json(end.metadata["assay/usage"])
    assert (usage.input_tokens, usage.output_tokens, usage.calls) == (100, 10, 2)


async def test_a_key_in_an_error_of_the_engine_does_not_reach_the_peer() -> None:
    key = "sk-" + "a1B2c3D4" * 5

    async with (
        model_server(lambda _body, _number: http_error(401, f"Incorrect API key provided: {key}")) as model,
        on_model(model.url) as peer,
    ):
        end = await peer.outcome("What is 6 x 7?")

    assert key not in end.text


async def test_two_contexts_are_answered_at_once() -> None:
    async with model_server(say("42")) as model, on_model(model.url) as peer:
        model.together = asyncio.Barrier(2)  # one request alone would wait for ever
        first, second = await asyncio.gather(peer.ask("A?"), peer.ask("B?"))

    assert (first.text, second.text) == ("42", "42")


async def test_cancelling_a_message_closes_its_model_request() -> None:
    async with model_server(say("42"), hang_on="Hang") as model, on_model(model.url) as peer:
        state = await begin_and_cancel(peer.url, "Hang on this one.", once=model.waiting)
        await model.abandoned.wait()
        other = await peer.ask("What is 6 x 7?")

    assert (state, other.text) == ("TASK_STATE_CANCELED", "42")


async def test_a_message_without_text_is_rejected() -> None:
    async with model_server(say("42")) as model, on_model(model.url) as peer:
        end = await peer.outcome("  \n")

    assert (end.state, end.text, model.asked) == ("rejected", "the message has no text", [])
