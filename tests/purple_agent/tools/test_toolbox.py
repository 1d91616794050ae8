"""What the model reads whatever a tool does, and what is kept of it."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.model_call import ToolCall
from services.contract.outcomes import AgentFailure, Outcome
from services.purple_agent.tools.base import Arguments, Result, Tool, Unit, formula
from services.purple_agent.tools.registry import FORMULAS
from services.purple_agent.tools.toolbox import OUTPUT_LIMIT, Toolbox, cut

PRICE = {
    "spot_price": 120,
    "strike_price": 125,
    "days_to_expiry": 60,
    "volatility": 0.32,
    "option_type": "call",
    "risk_free_rate": 0.045,
    "dividend_yield": 0.012,
}


async def ask(name: str, arguments: object, *, tools: tuple[Tool[Any], ...] = FORMULAS) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    answer = json.loads(await Toolbox(tools).call(ToolCall(id="1", name=name, arguments=text)))
    assert isinstance(answer, dict)
    return answer


async def test_a_price_comes_with_its_greeks_and_units() -> None:
    answer = await ask("calculate_option_price", PRICE)

    assert answer["ok"] is True
    assert answer["result"] == {
        "price": pytest.approx(4.381425, abs=5e-7),
        "delta": pytest.approx(0.416808, abs=5e-7),
        "gamma": pytest.approx(0.025027, abs=5e-7),
        "theta_per_day": pytest.approx(-0.054534, abs=5e-7),
        "vega_per_point": pytest.approx(0.189571, abs=5e-7),
        "rho_per_point": pytest.approx(0.075017, abs=5e-7),
    }
    assert answer["units"].keys() == answer["result"].keys()
    assert answer["units"]["theta_per_day"] == "currency per share and calendar day"


async def test_an_american_put_is_worth_its_right_of_early_exercise() -> None:
    answer = await ask("calculate_option_price", PRICE | {"option_type": "put", "style": "american"})

    assert answer["result"]["price"] == pytest.approx(8.78040, rel=1e-3)


async def test_the_implied_volatility_gives_the_price_back() -> None:
    terms = {name: value for name, value in PRICE.items() if name != "volatility"}

    answer = await ask("implied_volatility", terms | {"price": 4.381425})

    assert answer["result"]["implied_volatility"] == pytest.approx(0.32, abs=1e-6)


async def test_a_price_no_volatility_can_explain_is_an_error_not_a_number() -> None:
    terms = {name: value for name, value in PRICE.items() if name != "volatility"}

    answer = await ask("implied_volatility", terms | {"price": 130})

    assert (answer["ok"], answer["error"]["kind"]) == (False, "cannot_compute")
    assert "no arbitrage" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("not json", "Invalid JSON"),
        ("[1]", "Input should be an object"),
        ("", "spot_price: Field required"),
        (PRICE | {"spot": 1}, "spot: Extra inputs are not permitted"),
        (PRICE | {"volatility": 32}, "volatility: Input should be less than or equal to 10, got '32'"),
        (PRICE | {"volatility": 0}, "volatility: Input should be greater than 0"),
        (PRICE | {"option_type": "straddle"}, "option_type: Input should be 'call' or 'put', got 'straddle'"),
        ('{"spot_price": NaN}', "spot_price: Input should be a finite number"),
    ],
)
async def test_wrong_arguments_are_named_so_that_the_model_can_mend_them(arguments: object, message: str) -> None:
    answer = await ask("calculate_option_price", arguments)

    assert (answer["ok"], answer["error"]["kind"]) == (False, "invalid_arguments")
    assert message in answer["error"]["message"]


async def test_an_unknown_tool_is_answered_with_the_nearest_name() -> None:
    answer = await ask("calculate_optionprice", {})

    assert answer["error"] == {
        "kind": "unknown_tool",
        "message": "there is no tool 'calculate_optionprice'; did you mean 'calculate_option_price'?",
    }


class Nothing(Arguments):
    """No arguments."""


class Text(Result):
    """Some text."""

    text: Annotated[str, Unit("text")]


async def test_a_tool_that_takes_too_long_is_reported_as_a_timeout() -> None:
    async def wait(_: Nothing) -> Text:
        await asyncio.Event().wait()
        raise AssertionError

    slow = Tool(name="slow", description="", arguments=Nothing, result=Text, run=wait, time_limit_s=0.01)

    answer = await ask("slow", {}, tools=(slow,))

    assert answer["error"] == {"kind": "timeout", "message": "slow took longer than 0.01 s"}


async def test_a_defect_of_a_tool_reaches_the_model_without_its_text() -> None:
    async def fail(_: Nothing) -> Text:
        raise KeyError("sk-secret")

    broken = Tool(name="broken", description="", arguments=Nothing, result=Text, run=fail)

    answer = await ask("broken", {}, tools=(broken,))

    assert answer["error"] == {"kind": "internal", "message": "broken failed on these arguments"}


async def test_what_broke_below_a_tool_is_not_the_models_to_mend() -> None:
    async def fail(_: Nothing) -> Text:
        raise AgentFailure(Outcome.INFRA_ERROR, "sandbox", "gone")

    with pytest.raises(AgentFailure, match="sandbox: gone"):
        await ask("t", {}, tools=(Tool(name="t", description="", arguments=Nothing, result=Text, run=fail),))


async def test_a_long_result_is_cut_visibly_and_stays_json() -> None:
    def write(_: Nothing) -> Text:
        return Text(text='"quoted"\n' * 5_000)

    long = formula(name="long", description="", arguments=Nothing, result=Text, compute=write)
    toolbox = Toolbox([long])

    text = await toolbox.call(ToolCall(id="1", name="long", arguments="{}"))

    assert len(text) <= OUTPUT_LIMIT
    assert "characters are shown" in json.loads(text)["note"]


@given(st.text(max_size=400))
def test_cutting_keeps_json_within_the_limit_and_short_texts_as_they_are(text: str) -> None:
    shown = cut(text, limit=200)

    assert shown == text if len(text) <= 200 else len(shown) <= 200 and json.loads(shown)["ok"] is True


async def test_every_call_is_logged_as_the_model_wrote_it() -> None:
    toolbox = Toolbox(FORMULAS)
    call = ToolCall(id="1", name="pnl_attribution", arguments='{"delta": 0.5, "spot_move": 2}')

    output = await toolbox.call(call)
    refused = toolbox.refuse(call, kind="budget_spent", message="no more")

    assert [(record.name, record.arguments, record.output, record.ok) for record in toolbox.records] == [
        (call.name, call.arguments, output, True),
        (call.name, call.arguments, refused, False),
    ]
    assert json.loads(refused) == {"ok": False, "error": {"kind": "budget_spent", "message": "no more"}}


@pytest.mark.parametrize("tool", FORMULAS, ids=lambda tool: tool.name)
def test_every_schema_stands_alone_and_says_what_it_is_for(tool: Tool[Any]) -> None:
    schema = json.dumps(tool.parameters)

    assert "$ref" not in schema
    assert "$defs" not in schema
    assert tool.parameters["additionalProperties"] is False
    assert tool.description.endswith(".")
    assert set(tool.result.units()) == set(tool.result.model_fields)
