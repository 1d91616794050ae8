"""Which model judges, where it is, and which key goes there."""

from __future__ import annotations

import pytest

from services.contract.endpoints import Endpoint, EndpointError
from services.green_agent.judge.panel import JudgeUnavailableError, open_judge
from services.green_agent.judge.places import endpoints_of
from services.green_agent.judge.settings import JudgeSettings

LOCAL = "http://127.0.0.1:8000/v1"
OPENAI, ANTHROPIC = "https://api.openai.com/v1", "https://api.anthropic.com"


def place(env: dict[str, str], **settings: object) -> tuple[str, str, str | None]:
    """Model, address and key."""
    [endpoint] = endpoints_of(JudgeSettings.model_validate({"model": "judge-model"} | settings), env)
    return endpoint.model, endpoint.urls[0], key_of(endpoint)


def key_of(endpoint: Endpoint) -> str | None:
    return endpoint.api_key.get_secret_value() if endpoint.api_key else None


def test_an_explicit_address_and_key_win() -> None:
    env = {"OPENAI_EVAL_API_KEY": "eval-key", "OPENAI_API_KEY": "agent-key", "OPENAI_EVAL_API_BASE": "http://eval/v1"}

    assert place(env, api_base=LOCAL, api_key="mine") == ("judge-model", LOCAL, "mine")


def test_the_judges_own_variables_come_before_the_agents() -> None:
    env = {"OPENAI_EVAL_API_KEY": "eval-key", "OPENAI_API_KEY": "agent-key"}

    assert place(env) == ("judge-model", OPENAI, "eval-key")
    assert place({"OPENAI_API_KEY": "agent-key", "OPENAI_BASE_URL": LOCAL}) == ("judge-model", LOCAL, "agent-key")


def test_a_key_of_the_environment_never_goes_to_an_address_that_came_with_the_settings() -> None:
    env = {"OPENAI_EVAL_API_KEY": "eval-key", "OPENAI_API_KEY": "agent-key"}

    assert place(env, api_base="http://elsewhere/v1") == ("judge-model", "http://elsewhere/v1", None)
    assert place(env, api_base=OPENAI) == ("judge-model", OPENAI, "eval-key")


def test_an_explicit_key_without_an_address_does_not_go_to_the_agents_server() -> None:
    assert place({"OPENAI_BASE_URL": LOCAL}, api_key="mine") == ("judge-model", OPENAI, "mine")
    assert place({"OPENAI_EVAL_API_BASE": LOCAL}, api_key="mine") == ("judge-model", LOCAL, "mine")


def test_anthropic_is_used_when_it_is_asked_for_or_the_only_one_with_a_key() -> None:
    both = {"OPENAI_API_KEY": "agent-key", "ANTHROPIC_API_KEY": "other-key", "LLM_PROVIDER": "anthropic"}

    assert place({"ANTHROPIC_API_KEY": "other-key"}) == ("judge-model", ANTHROPIC, "other-key")
    assert place(both, provider="anthropic") == ("judge-model", ANTHROPIC, "other-key")
    assert place(both) == ("judge-model", OPENAI, "agent-key")  # the agent's provider says nothing about the judge
    assert place({}, provider="anthropic", api_key="mine") == ("judge-model", ANTHROPIC, "mine")


def test_the_model_comes_from_the_settings_then_from_the_environment() -> None:
    env = {"OPENAI_API_KEY": "agent-key", "EVAL_LLM_MODEL": "from-env"}

    assert place(env)[0] == "judge-model"
    assert place(env, model=None)[0] == "from-env"
    assert place(env, model=None, api_base=LOCAL)[0] == "from-env"
    with pytest.raises(EndpointError, match="EVAL_LLM_MODEL"):
        place({"OPENAI_API_KEY": "agent-key"}, model=None)


def test_variables_that_name_different_servers_are_an_error_naming_both() -> None:
    env = {"OPENAI_BASE_URL": "http://one/v1", "OPENAI_API_BASE": "http://two/v1", "OPENAI_API_KEY": "k"}

    with pytest.raises(EndpointError, match=r"OPENAI_\w+ and OPENAI_\w+ name different servers"):
        place(env)


def test_members_of_a_panel_take_from_the_judge_what_they_lack() -> None:
    settings = JudgeSettings.model_validate(
        {
            "model": "m",
            "provider": "openai",
            "api_base": LOCAL,
            "api_key": "mine",
            "temperature": 0.2,
            "panel": [
                {"model": "a"},
                {"model": "b", "temperature": 0.7},
                {"model": "c", "api_base": "http://other/v1"},
                {"model": "d", "provider": "anthropic"},
            ],
        }
    )

    found = endpoints_of(settings, {"ANTHROPIC_API_KEY": "other-key"})

    assert [(one.model, one.urls[0], key_of(one), one.temperature) for one in found] == [
        ("a", LOCAL, "mine", 0.2),
        ("b", LOCAL, "mine", 0.7),
        ("c", "http://other/v1", None, 0.2),
        ("d", ANTHROPIC, "other-key", 0.2),
    ]


async def test_without_any_endpoint_opening_says_which_variables_to_set() -> None:
    with pytest.raises(JudgeUnavailableError, match="OPENAI_API_KEY"):
        await open_judge(JudgeSettings(model="m"), env={})


def test_a_member_that_names_the_provider_of_the_address_stays_there() -> None:
    settings = JudgeSettings.model_validate({"api_base": LOCAL, "panel": [{"model": "a", "provider": "openai"}]})

    [found] = endpoints_of(settings, {"OPENAI_API_KEY": "of-the-environment"})

    assert (found.urls, found.api_key) == ((LOCAL,), None)


@pytest.mark.parametrize("base", ["me:hunter2@judge.example/v1", "ftp://me:hunter2@judge.example/v1"])
def test_a_wrong_address_is_shown_without_its_password(base: str) -> None:
    with pytest.raises(EndpointError, match=r"judge\.example/v1") as caught:
        endpoints_of(JudgeSettings(model="m", api_base=base), {})

    assert "hunter2" not in str(caught.value)


def test_that_the_model_behind_a_name_changes_is_a_fact_for_the_record() -> None:
    facts = [
        endpoints_of(JudgeSettings.model_validate({"model": model, "api_base": url}), {})[0].facts.get("alias")
        for model, url in (
            ("deepseek-chat", "https://api.deepseek.com/v1"),
            ("deepseek-chat", LOCAL),
            ("gpt-4o", OPENAI),
        )
    ]

    assert facts == ["moves: the provider changes the model behind this name", None, None]
