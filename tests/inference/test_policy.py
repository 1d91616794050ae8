from __future__ import annotations

import json
from dataclasses import replace

import pytest

from services.inference.reference_engine import LABEL
from services.inference.reference_engine.exchange import Call, Message, Schema, Tool
from services.inference.reference_engine.policy import NO_ANSWER, answer
from tests.inference.asking import IMPLIED_VOLATILITY, OPTION_PRICE, OPTION_QUESTION, asked, result, user

GET_QUOTE = Tool(
    name="get_quote",
    parameters={"type": "object", "properties": {"ticker": {"type": "string"}}, "required": ["ticker"]},
)


@pytest.mark.parametrize(
    ("said", "answered"),
    [("ping", "pong"), ("Judge: 2 + 2 = 4", '{"score":4,"verdict":"pass"}'), ("Think: hard", "Done.")],
)
def test_it_knows_the_lessons_of_the_trained_test_model(said: str, answered: str) -> None:
    assert answer(asked(said)).text == answered


def test_the_thinking_lesson_keeps_its_thoughts_out_of_the_text() -> None:
    assert answer(asked("Think: hard")).reasoning == "I think."


def test_the_quote_lesson_calls_the_tool_and_then_says_that_it_is_done() -> None:
    first = answer(asked("Quote ABC", tools=(GET_QUOTE,)))
    second = answer(asked("Quote ABC", result('{"price": 12.5}'), tools=(GET_QUOTE,)))

    assert first.calls == (Call(name="get_quote", arguments='{"ticker": "ABC"}'),)
    assert second.text == "The quote is done."


def test_a_required_tool_is_the_first_whose_parameters_can_be_read() -> None:
    ask = replace(asked(OPTION_QUESTION, tools=(GET_QUOTE, OPTION_PRICE)), must_call=True)

    assert answer(ask).calls[0].name == "calculate_option_price"


def test_a_named_tool_is_called_with_least_values_for_what_the_question_does_not_say() -> None:
    tool = Tool(
        name="book",
        parameters={
            "type": "object",
            "properties": {
                "side": {"enum": ["buy", "sell"]},
                "quantity": {"type": "integer", "minimum": 3},
                "strike": {"type": "number"},
                "urgent": {"type": "boolean"},
                "note": {"type": "string"},
            },
            "required": ["side", "quantity", "strike", "urgent", "note"],
        },
    )

    given = answer(replace(asked("at a strike of 12.5", tools=(tool,)), must_call=True, named_tool="book"))

    assert json.loads(given.calls[0].arguments) == {
        "side": "buy",
        "quantity": 3,
        "strike": 12.5,
        "urgent": False,
        "note": "",
    }
    assert given.finish == "stop"  # as vLLM ends a named call


def test_a_question_that_gives_every_required_parameter_gets_the_tool_called_with_them() -> None:
    given = answer(asked(OPTION_QUESTION, tools=(IMPLIED_VOLATILITY, OPTION_PRICE)))

    assert given.finish == "tool_calls"
    assert given.calls[0].name == "calculate_option_price"
    assert json.loads(given.calls[0].arguments) == {
        "spot_price": 120,
        "strike_price": 125,
        "days_to_expiry": 60,
        "volatility": 0.32,
        "option_type": "put",
        "risk_free_rate": 0.045,
        "dividend_yield": 0.012,
        "style": "european",
    }


def test_a_tool_without_required_parameters_is_never_called_by_itself() -> None:
    tool = Tool(name="list_reference_files", parameters={"type": "object", "properties": {}})

    assert answer(asked("Which files are there?", tools=(tool,))).text == NO_ANSWER


def test_after_a_result_the_asked_keys_are_filled_from_it() -> None:
    output = json.dumps({"ok": True, "result": {"price": 8.696658, "delta": -0.583192}, "units": {"price": "USD"}})

    given = answer(asked(OPTION_QUESTION, result(output), tools=(OPTION_PRICE,)))

    assert given.text == 'FINAL ANSWER: {"put_delta": -0.583192}'


def test_a_fraction_becomes_percent_where_the_key_says_so() -> None:
    question = 'Which volatility? FINAL ANSWER: {"implied_volatility_pct": <number>}'
    output = json.dumps(
        {"ok": True, "result": {"implied_volatility": 0.32}, "units": {"implied_volatility": "fraction"}}
    )

    assert answer(asked(question, result(output))).text == 'FINAL ANSWER: {"implied_volatility_pct": 32.0}'


def test_a_key_that_names_nothing_in_the_result_gets_its_first_number() -> None:
    question = 'FINAL ANSWER: {"breakeven_usd": <number>}'

    assert (
        answer(asked(question, result('{"price": 4.5, "delta": 0.4}'))).text == 'FINAL ANSWER: {"breakeven_usd": 4.5}'
    )


def test_after_an_error_the_next_tool_is_tried() -> None:
    question = OPTION_QUESTION + " The put trades at 8.70 USD."
    failed = Message(role="assistant", text="", calls=(Call(name="calculate_option_price", arguments="{}"),))
    error = result('{"ok": false, "error": {"kind": "invalid", "message": "code 12"}}')

    given = answer(asked(question, failed, error, tools=(OPTION_PRICE, IMPLIED_VOLATILITY)))

    assert [call.name for call in given.calls] == ["implied_volatility"]


def test_when_every_tool_has_failed_it_has_no_answer() -> None:
    failed = Message(role="assistant", text="", calls=(Call(name="calculate_option_price", arguments="{}"),))
    error = result('{"ok": false, "error": {"kind": "invalid", "message": "no"}}')

    assert answer(asked(OPTION_QUESTION, failed, error, tools=(OPTION_PRICE,))).text == NO_ANSWER


def test_results_before_the_last_question_do_not_answer_it() -> None:
    given = answer(asked("first", result('{"price": 4.5}'), "And now?"))

    assert given.text == NO_ANSWER


def test_a_trading_request_gets_a_decision_even_when_tools_are_offered() -> None:
    request = json.dumps(
        {
            "type": "trading_decision",
            "size_unit": "base units",
            "state": {
                "ohlcv": {"close": 100.0},
                "indicators": {"ema_20": 101, "ema_50": 99, "rsi": 55, "atr": 2},
                "account": {"equity": 10_000, "positions": []},
            },
        }
    )

    given = json.loads(answer(asked(request, tools=(OPTION_PRICE,))).text or "")

    assert given == {
        "action": "BUY",
        "size": 10.0,
        "stop_loss": 96.0,
        "take_profit": 106.0,
        "reasoning": LABEL,
        "confidence": 0.5,
    }


def test_a_judge_prompt_gets_a_verdict() -> None:
    prompt = (
        "<<<BEGIN reference ab12>>>The answer is 42.<<<END reference ab12>>>"
        "<<<BEGIN answer cd34>>>I say 42.<<<END answer cd34>>>"
    )

    assert json.loads(answer(asked(prompt)).text or "") == {"correct": True, "reason": LABEL}


def test_a_schema_that_no_judge_asks_for_gets_its_least_instance() -> None:
    schema: Schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 7}}, "required": ["n"]}

    assert answer(replace(asked("anything"), schema=schema)).text == '{"n": 7}'


def test_to_everything_else_it_has_no_answer() -> None:
    assert answer(asked(user("What is the capital of France?"))).text == NO_ANSWER
