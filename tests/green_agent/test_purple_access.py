"""How a request says that an agent is to be spoken to: a dialect, a foreign address in its card, a token green holds."""

import pytest

from services.contract.a2a.server import ServerSettings
from tests.support.greens import assess, green
from tests.support.purples import purple, replay

ONE_TASK = {"datasets": ["options"], "num_tasks": 1}
TOKEN = "purple-" + "token-" + "0123456789"


@pytest.mark.parametrize(("asked", "spoken"), [("0.3", "0.3"), ("1.0", "1.0"), (1.0, "1.0"), ("", "1.0")])
async def test_a_request_may_force_the_dialect_of_the_agent(asked: object, spoken: str) -> None:
    async with green() as url, purple(replay({})) as agent:
        seen = await assess(url, agent.url, ONE_TASK | {"purple_a2a_version": asked})

    assert seen.result.evaluation_metadata["purple_agent"]["dialect"] == spoken  # type: ignore[index,call-overload]
    assert [row.outcome for row in seen.rows] == ["scored"]


async def test_the_address_in_a_card_is_used_only_when_the_request_says_so() -> None:
    async with green() as url, purple(replay({})) as real:
        settings = ServerSettings(heartbeat_s=10.0, drain_s=0.0, card_url=real.url)
        async with purple(replay({}), settings=settings) as announcing:
            await assess(url, announcing.url, ONE_TASK)
            asked_before = len(announcing.asked)
            foreign_before = len(real.asked)
            await assess(url, announcing.url, ONE_TASK | {"purple_card_url": "follow"})

    assert asked_before > 0
    assert (foreign_before, len(real.asked)) == (0, asked_before)
    assert len(announcing.asked) == asked_before


async def test_an_agent_with_a_token_gets_the_one_that_green_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_PURPLE_TOKEN_A", TOKEN)
    settings = ServerSettings(heartbeat_s=10.0, drain_s=0.0, auth_token=TOKEN)
    async with green() as url, purple(replay({}), settings=settings) as agent:
        without = await assess(url, agent.url, ONE_TASK)
        with_it = await assess(url, agent.url, ONE_TASK | {"purple_token_env": "ASSAY_PURPLE_TOKEN_A"})

    assert [(row.outcome, row.error and row.error.kind) for row in without.rows] == [("infra_error", "auth")]
    assert [row.outcome for row in with_it.rows] == ["scored"]
    assert TOKEN not in with_it.artifacts["evaluation_result"][0]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ASSAY_PURPLE_TOKEN_NOT_SET", "ASSAY_PURPLE_TOKEN_NOT_SET is not set at green"),
        ("OPENAI_API_KEY", "config.purple_token_env"),
        ("ASSAY_PURPLE_TOKEN\nX", "config.purple_token_env"),
    ],
)
async def test_a_request_gets_no_other_secret_of_green_sent_anywhere(
    name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", TOKEN)
    async with green() as url, purple(replay({})) as agent:
        seen = await assess(url, agent.url, ONE_TASK | {"purple_token_env": name})

    assert (seen.state, agent.asked) == ("rejected", [])
    assert reason in seen.text
