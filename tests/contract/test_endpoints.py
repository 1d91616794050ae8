from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.contract.endpoints import Endpoint, EndpointError, endpoint_from_environment

LOCAL = "http://127.0.0.1:8000/v1"
LOCAL_ENV = {"OPENAI_BASE_URL": LOCAL, "LLM_MODEL": "reference"}


def key(endpoint: Endpoint) -> str | None:
    return endpoint.api_key.get_secret_value() if endpoint.api_key else None


def test_a_local_server_needs_an_address_and_a_model_and_no_key() -> None:
    endpoint = endpoint_from_environment(LOCAL_ENV)

    assert (endpoint.provider, endpoint.model, endpoint.urls, endpoint.api_key) == (
        "openai",
        "reference",
        (LOCAL,),
        None,
    )
    assert (endpoint.temperature, endpoint.max_tokens, endpoint.max_model_len, endpoint.price) == (
        0.0,
        4096,
        None,
        None,
    )
    assert endpoint.facts == {"provider": "openai", "url": "OPENAI_BASE_URL"}


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://gpu:8000", "http://gpu:8000/v1"),
        ("http://gpu:8000/", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1/", "http://gpu:8000/v1"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1"),
    ],
)
def test_an_address_is_used_in_one_spelling(given: str, used: str) -> None:
    assert endpoint_from_environment(LOCAL_ENV | {"OPENAI_BASE_URL": given}).urls == (used,)


def test_a_list_of_replicas_may_stand_beside_one_of_them() -> None:
    env = {"SGLANG_API_BASES": "http://a:1/v1, http://b:2/v1", "OPENAI_BASE_URL": "http://b:2/v1/", "LLM_MODEL": "m"}

    endpoint = endpoint_from_environment(env)

    assert endpoint.urls == ("http://a:1/v1", "http://b:2/v1")
    assert endpoint.facts["url"] == "SGLANG_API_BASES"


def test_variables_that_disagree_are_an_error_that_names_both() -> None:
    env = {"OPENAI_API_BASE": "http://a:1/v1", "OPENAI_BASE_URL": "http://b:2/v1", "LLM_MODEL": "m"}

    with pytest.raises(EndpointError, match=r"OPENAI_API_BASE and OPENAI_BASE_URL .* http://a:1/v1 and http://b:2/v1"):
        endpoint_from_environment(env)


CONFIG_FILE = """{
  "org/m": [{"ip_addr": "10.0.0.1", "port": "8000"}, {"ip_addr": "10.0.0.2", "port": 8001}],
  "j": [{"ip_addr": "10.0.0.9", "port": 1}]
}"""


def endpoint_file(folder: Path, text: str = CONFIG_FILE) -> dict[str, str]:
    path = folder / "servers"
    path.write_text(text)
    return {"LLM_ENDPOINT_FILE": str(path), "LLM_MODEL": "org/m"}


def test_a_file_names_the_servers_of_the_model_and_variables_that_name_some_of_them_agree(tmp_path: Path) -> None:
    env = endpoint_file(tmp_path) | {"OPENAI_BASE_URL": "http://10.0.0.2:8001/v1/"}

    endpoint = endpoint_from_environment(env)

    assert endpoint.urls == ("http://10.0.0.1:8000/v1", "http://10.0.0.2:8001/v1")
    assert endpoint.facts["url"] == "LLM_ENDPOINT_FILE"


def test_of_the_services_of_a_registry_those_that_run_count(tmp_path: Path) -> None:
    lines = "1|n1|10.0.0.1|8000|org/m|1|running\n2|n2|10.0.0.2|8000|org/m|1|stopped|2|0\n"

    assert endpoint_from_environment(endpoint_file(tmp_path, lines)).urls == ("http://10.0.0.1:8000/v1",)


@pytest.mark.parametrize("name", ["SGLANG_API_BASES", "OPENAI_API_BASE", "OPENAI_BASE_URL"])
def test_a_variable_that_names_a_server_beyond_the_file_is_an_error_that_names_both(tmp_path: Path, name: str) -> None:
    env = endpoint_file(tmp_path) | {name: "http://10.0.0.1:8000/v1,http://10.0.0.3:8000/v1"}

    with pytest.raises(
        EndpointError, match=f"LLM_ENDPOINT_FILE and {name} name different servers: .*10.0.0.2.*10.0.0.3"
    ):
        endpoint_from_environment(env)


def test_a_file_that_names_no_such_server_is_an_error_that_names_variable_and_file(tmp_path: Path) -> None:
    stopped = "1|n1|10.0.0.1|8000|org/m|1|stopped|2|0\n"
    with pytest.raises(EndpointError, match=r"LLM_ENDPOINT_FILE: .*servers: names no running server"):
        endpoint_from_environment(endpoint_file(tmp_path, stopped))
    with pytest.raises(EndpointError, match=r"LLM_ENDPOINT_FILE: .*absent: No such file"):
        endpoint_from_environment({"LLM_ENDPOINT_FILE": str(tmp_path / "absent"), "LLM_MODEL": "m"})
    with pytest.raises(EndpointError, match=r"LLM_ENDPOINT_FILE: .*'other'.*'j', 'org/m'"):
        endpoint_from_environment(endpoint_file(tmp_path) | {"LLM_MODEL": "other"})


def test_the_judge_is_looked_for_in_the_file_by_its_own_model(tmp_path: Path) -> None:
    endpoint = endpoint_from_environment(endpoint_file(tmp_path) | {"EVAL_LLM_MODEL": "j"}, role="judge")

    assert (endpoint.model, endpoint.urls) == ("j", ("http://10.0.0.9:1/v1",))


def test_the_judge_may_have_several_servers() -> None:
    env = {"OPENAI_EVAL_API_BASE": "http://a:1/v1,http://b:2/v1", "EVAL_LLM_MODEL": "j"}

    assert endpoint_from_environment(env, role="judge").urls == ("http://a:1/v1", "http://b:2/v1")


def test_a_list_in_the_place_of_one_address_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected one address, got a list"):
        Endpoint(name="judge", model="m", urls=("http://a:1/v1,http://b:2/v1",))


def test_a_key_alone_means_the_hosted_api() -> None:
    endpoint = endpoint_from_environment({"OPENAI_API_KEY": "sk-real", "LLM_MODEL": "gpt-4o"})

    assert (endpoint.urls, key(endpoint)) == (("https://api.openai.com/v1",), "sk-real")


@pytest.mark.parametrize("word", ["None", "none", "EMPTY", "dummy", " ", ""])
def test_a_key_that_says_none_is_none(word: str) -> None:
    assert endpoint_from_environment(LOCAL_ENV | {"OPENAI_API_KEY": word}).api_key is None
    with pytest.raises(EndpointError, match="inference up reference"):
        endpoint_from_environment({"OPENAI_API_KEY": word, "LLM_MODEL": "m"})


def test_nothing_configured_is_an_error_that_mentions_the_reference_engine() -> None:
    with pytest.raises(EndpointError, match="inference up reference"):
        endpoint_from_environment({"LLM_MODEL": "gpt-4o"})


@pytest.mark.parametrize(
    ("env", "provider"),
    [
        ({"ANTHROPIC_API_KEY": "a-key"}, "anthropic"),
        ({"ANTHROPIC_API_KEY": "a-key", "OPENAI_API_KEY": "o-key"}, "openai"),
        ({"ANTHROPIC_API_KEY": "a-key", "OPENAI_API_KEY": "o-key", "LLM_PROVIDER": "Anthropic"}, "anthropic"),
        ({"ANTHROPIC_API_KEY": "a-key", "OPENAI_BASE_URL": LOCAL}, "openai"),
    ],
)
def test_the_provider_is_openai_where_it_is_configured_unless_another_is_asked_for(
    env: Mapping[str, str], provider: str
) -> None:
    endpoint = endpoint_from_environment({"LLM_MODEL": "m", **env})

    assert endpoint.provider == provider
    assert key(endpoint) != ("o-key" if provider == "anthropic" else "a-key")


def test_anthropic_has_its_own_address() -> None:
    endpoint = endpoint_from_environment({"ANTHROPIC_API_KEY": "a-key", "LLM_MODEL": "claude-sonnet-4-20250514"})

    assert (endpoint.urls, key(endpoint)) == (("https://api.anthropic.com",), "a-key")


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"LLM_PROVIDER": "gemini", **LOCAL_ENV}, "LLM_PROVIDER"),
        ({"LLM_PROVIDER": "anthropic", **LOCAL_ENV}, "ANTHROPIC_API_KEY"),
        ({"LLM_PROVIDER": "openai", "ANTHROPIC_API_KEY": "k", "LLM_MODEL": "m"}, "OPENAI_BASE_URL"),
        ({"OPENAI_BASE_URL": LOCAL}, "LLM_MODEL"),
        ({"OPENAI_BASE_URL": "localhost:8000", "LLM_MODEL": "m"}, "OPENAI_BASE_URL"),
        ({"OPENAI_BASE_URL": "http://user:secret@host/v1", "LLM_MODEL": "m"}, "OPENAI_BASE_URL"),
        (LOCAL_ENV | {"PURPLE_LLM_TEMPERATURE": "warm"}, "PURPLE_LLM_TEMPERATURE"),
        (LOCAL_ENV | {"PURPLE_LLM_TEMPERATURE": "-1"}, "temperature"),
        (LOCAL_ENV | {"PURPLE_MAX_TOKENS": "0"}, "max_tokens"),
        (LOCAL_ENV | {"OPENAI_API_KEY": "secret-\u2026"}, "api_key: .*printable ASCII"),
        (LOCAL_ENV | {"OPENAI_API_KEY": "secret\nsecret"}, "api_key: .*printable ASCII"),
    ],
)
def test_a_mistake_is_an_error_that_names_the_variable(env: Mapping[str, str], named: str) -> None:
    with pytest.raises(EndpointError, match=named) as raised:
        endpoint_from_environment(env)

    assert "secret" not in str(raised.value)


def test_the_agent_samples_as_its_variables_say() -> None:
    told = {"PURPLE_LLM_TEMPERATURE": "0.7", "PURPLE_TOP_P": "0.95", "PURPLE_TOP_K": "20", "PURPLE_MAX_TOKENS": "512"}

    endpoint = endpoint_from_environment(LOCAL_ENV | told)

    assert (endpoint.temperature, endpoint.top_p, endpoint.top_k, endpoint.max_tokens) == (0.7, 0.95, 20, 512)


def test_the_judge_has_an_endpoint_of_its_own_first() -> None:
    env = LOCAL_ENV | {
        "OPENAI_API_KEY": "agent-key",
        "OPENAI_EVAL_API_BASE": "http://judge:9/v1",
        "OPENAI_EVAL_API_KEY": "judge-key",
        "EVAL_LLM_MODEL": "judge-model",
        "PURPLE_LLM_TEMPERATURE": "0.7",
    }

    judge, agent = endpoint_from_environment(env, role="judge"), endpoint_from_environment(env)

    assert (judge.urls, key(judge), judge.model, judge.temperature) == (
        ("http://judge:9/v1",),
        "judge-key",
        "judge-model",
        0.0,
    )
    assert (agent.urls, key(agent), agent.model) == ((LOCAL,), "agent-key", "reference")


def test_the_agents_key_never_goes_to_the_judges_address() -> None:
    env = LOCAL_ENV | {"OPENAI_API_KEY": "agent-key", "OPENAI_EVAL_API_BASE": "http://judge:9/v1"}

    assert endpoint_from_environment(env, role="judge").api_key is None


def test_the_judges_key_never_goes_to_the_agents_address() -> None:
    judge = endpoint_from_environment(LOCAL_ENV | {"OPENAI_EVAL_API_KEY": "judge-key"}, role="judge")

    assert (judge.urls, key(judge)) == (("https://api.openai.com/v1",), "judge-key")


def test_without_an_endpoint_of_its_own_the_judge_uses_the_agents() -> None:
    judge = endpoint_from_environment(LOCAL_ENV, role="judge")

    assert (judge.name, judge.urls, judge.model) == ("judge", (LOCAL,), "reference")


def test_the_judges_model_has_no_default() -> None:
    with pytest.raises(EndpointError, match="EVAL_LLM_MODEL or LLM_MODEL"):
        endpoint_from_environment({"OPENAI_EVAL_API_KEY": "judge-key"}, role="judge")


def test_a_key_is_not_printed() -> None:
    assert "judge-key" not in repr(endpoint_from_environment({"OPENAI_API_KEY": "judge-key", "LLM_MODEL": "m"}))


@pytest.mark.parametrize("wrong", [{"urls": ()}, {"urls": ("ftp://x",)}, {"top_p": 0}, {"modle": "m"}, {"model": ""}])
def test_an_endpoint_record_refuses_nonsense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Endpoint.model_validate({"name": "n", "model": "m", "urls": (LOCAL,)} | wrong)


def test_the_record_names_no_key_where_none_was_given() -> None:
    env = {"LLM_PROVIDER": "anthropic", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "LLM_MODEL": "m"}

    assert endpoint_from_environment(env).facts == {"provider": "anthropic", "url": "ANTHROPIC_BASE_URL"}
