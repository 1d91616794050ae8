from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from services.contract.assessment import RequestError, parse_config
from services.green_agent.precedence import Flags, Settled, settle
from services.green_agent.suite import load_suite

SUITE = """
name: t
datasets:
  - {type: options, limit: 20, categories: [greeks-analysis]}
  - {type: options, limit: 10}
  - {type: synthetic, limit: 7}
sampling: {total_limit: 30, seed: 1}
llm_eval: {enabled: false, model: suite-judge, api_key: of-the-suite, api_base: "https://judge.example/v1"}
timeout_seconds: 50
"""


def settled(
    folder: Path,
    config: dict[str, object],
    *,
    suite: str = SUITE,
    flags: Flags | None = None,
    variables: dict[str, str] | None = None,
) -> Settled:
    path = folder / "eval.yaml"
    path.write_text(suite)
    return settle(parse_config(config), load_suite(path), flags=flags, variables=variables or {})


def refused(folder: Path, config: dict[str, object], **given: Any) -> str:
    with pytest.raises(RequestError) as caught:
        settled(folder, config, **given)
    return str(caught.value)


def test_request_beats_suite_beats_environment_beats_default(tmp_path: Path) -> None:
    variables = {"EVAL_NUM_TASKS": "3", "EVAL_CONDUCT_DEBATE": "true", "EVAL_SCENARIO_SEED": "5"}

    found = settled(tmp_path, {"num_tasks": 12}, variables=variables)

    assert (found.total, found.suite.sampling.seed, found.suite.debate) == (12, 1, True)
    assert found.suite.timeout_seconds == 50
    recorded: dict[str, JsonValue] = {
        name: found.recorded[name] for name in ("num_tasks", "seed", "conduct_debate", "timeout_seconds", "num_trials")
    }
    assert recorded == {
        "num_tasks": {"value": 12, "source": "request"},
        "seed": {"value": 1, "source": "suite"},
        "conduct_debate": {"value": True, "source": "environment"},
        "timeout_seconds": {"value": 50.0, "source": "suite"},
        "num_trials": {"value": 1, "source": "default"},
    }


def test_a_variable_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    suite = "name: t\ndatasets: [{type: options}]\n"
    variables = {"EVAL_NUM_TASKS": "-1", "EVAL_CONDUCT_DEBATE": "perhaps"}

    text = refused(tmp_path, {}, suite=suite, variables=variables)

    assert "EVAL_NUM_TASKS: expected a count of at least 1, got -1" in text
    assert "EVAL_CONDUCT_DEBATE: expected true or false, got 'perhaps'" in text


def test_the_limit_of_a_type_replaces_those_of_its_entries(tmp_path: Path) -> None:
    found = settled(tmp_path, {"options_limit": 40})

    assert found.type_limits == {"options": 40}
    assert [(entry.name, entry.limit) for entry in found.entries] == [
        ("options", 40),
        ("options#2", 40),
        ("synthetic", 7),
    ]


def test_a_limit_of_zero_leaves_a_type_out(tmp_path: Path) -> None:
    assert settled(tmp_path, {"options_limit": 0}).types == {"synthetic"}


def test_a_generator_without_a_limit_is_asked_for_as_many_as_the_plan_could_take(tmp_path: Path) -> None:
    found = settled(tmp_path, {"num_tasks": 200}, suite="name: t\ndatasets: [{type: options}, {type: humaneval}]\n")

    assert [entry.limit for entry in found.entries] == [200, None]
    assert found.stated["options"].limit is None


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"max_steps": 5}, "config.max_steps: no data set of the selection has this key"),
        ({"split": "test"}, "config.split: no data set of the selection has this key"),
        ({"fill": "generate", "datasets": ["humaneval"]}, "suite 't' has no data set 'humaneval'"),
        ({"humaneval_limit": 3}, "config.humaneval_limit: suite 't' has no data set 'humaneval'"),
        ({"option_limit": 3}, "config.option_limit: unknown data set 'option'; did you mean 'options'?"),
        ({"datasets": ["synthetic"], "options_limit": 3}, "config.options_limit: left out by config.datasets"),
        ({"judge": {"modle": "x"}}, "config.judge.modle: unknown key; did you mean 'model'?"),
        ({"judge": {"panel": [{"model": "x", "key": "y"}]}}, "config.judge.panel.0.key: unknown key"),
        ({"options_limit": 0, "synthetic_limit": 0}, "the selection is empty"),
    ],
)
def test_a_key_that_nothing_accepts_is_an_error(tmp_path: Path, config: dict[str, object], fault: str) -> None:
    assert fault in refused(tmp_path, config)


def test_fill_reaches_every_data_set_that_has_a_generator_and_no_other(tmp_path: Path) -> None:
    suite = "name: t\ndatasets: [{type: options}, {type: synthetic}, {type: humaneval}]\n"

    found = settled(tmp_path, {"fill": "generate"}, suite=suite)

    assert {entry.type for entry in found.entries if getattr(entry, "fill", "") == "generate"} == {
        "options",
        "synthetic",
    }
    text = refused(tmp_path, {"fill": "generate"}, suite="name: t\ndatasets: [{type: humaneval}]\n")
    assert "config.fill: no data set of the selection has this key" in text


def test_max_steps_reaches_the_markets_and_is_checked_like_theirs(tmp_path: Path) -> None:
    suite = "name: t\ndatasets: [{type: crypto, on_missing: generate}]\n"

    assert settled(tmp_path, {"max_steps": 9}, suite=suite).entries[0].model_dump()["max_steps"] == 9
    assert "config.max_steps" in refused(tmp_path, {"max_steps": 1}, suite=suite)


def test_a_key_of_entries_reaches_each_that_has_it_and_is_recorded_as_the_requests(tmp_path: Path) -> None:
    suite = "name: t\ndatasets: [{type: humaneval, sanitize: 'off'}, {type: options}]\n"

    found = settled(tmp_path, {"sanitize": "entry_closure", "score_intermediates": False, "k": "4, 2"}, suite=suite)

    code, options = found.entries
    assert (code.model_dump()["sanitize"], code.model_dump()["score_intermediates"]) == ("entry_closure", False)
    assert "sanitize" not in options.model_dump()
    assert found.recorded["datasets.humaneval.sanitize"] == {"value": "entry_closure", "source": "request"}
    assert found.recorded["k"] == {"value": [4, 2], "source": "request"}
    assert "config.sanitize" in refused(tmp_path, {"sanitize": "wash"}, suite=suite)


def test_a_green_without_a_suite_of_its_own_takes_any_data_set_with_default_keys(tmp_path: Path) -> None:
    found = settled(tmp_path, {"datasets": ["humaneval", "options"]}, flags=Flags(names_suite=False))

    assert [(entry.type, entry.name) for entry in found.entries] == [
        ("options", "options"),
        ("options", "options#2"),
        ("humaneval", "humaneval"),
    ]
    text = refused(tmp_path, {"datasets": ["public_csv"]}, flags=Flags(names_suite=False))
    assert "public_csv has no default for path" in text


def test_the_judge_is_merged_key_by_key_and_flags_have_the_last_word(tmp_path: Path) -> None:
    flags = Flags(eval_llm=True, eval_llm_temperature=0.5)

    found = settled(tmp_path, {"judge": {"model": "asked", "temperature": 0.1}}, flags=flags)

    assert found.judge is not None
    assert (found.judge.enabled, found.judge.model, found.judge.temperature) == (True, "asked", 0.5)
    assert found.judge.api_key is not None
    assert found.judge.api_key.get_secret_value() == "of-the-suite"
    assert found.recorded["judge.model"] == {"value": "asked", "source": "request"}
    assert found.recorded["judge.enabled"] == {"value": True, "source": "command line"}
    assert found.recorded["judge.fallback"] == {"value": "none", "source": "default"}


def test_no_secret_stands_in_the_record(tmp_path: Path) -> None:
    suite = (
        "name: t\ndatasets: [{type: crypto, on_missing: generate, pg_password: hunter2, remote_manifest: 'https://me:hunter2@data.example/m.json'}]\n"
        "llm_eval: {enabled: true, model: m, api_key: hunter2, panel: [{model: n, api_key: hunter2}],"
        " api_base: 'https://me:hunter2@judge.example/v1'}\n"
    )

    assert "hunter2" not in repr(settled(tmp_path, {"judge": {"api_key": "hunter2"}}, suite=suite).recorded)


@pytest.mark.parametrize(
    "judge",
    [{"api_base": "https://elsewhere.example/v1"}, {"panel": [{"model": "m", "api_base": "http://10.0.0.1/"}]}],
)
def test_a_request_never_sends_greens_own_key_to_another_address(tmp_path: Path, judge: dict[str, object]) -> None:
    assert "is not this evaluator's own judge; name judge" in refused(tmp_path, {"judge": judge})
    assert settled(tmp_path, {"judge": judge | {"api_key": "of-the-request"}}).judge is not None


def test_a_request_may_name_a_judge_on_this_machine_or_the_suites_own(tmp_path: Path) -> None:
    for base in ("http://127.0.0.1:8000/v1", "http://localhost:1/", "https://judge.example/v1"):
        assert settled(tmp_path, {"judge": {"api_base": base}}).judge is not None


def test_an_enabled_judge_needs_a_model_from_somewhere(tmp_path: Path) -> None:
    suite = "name: t\ndatasets: [{type: options}]\nllm_eval: {enabled: true}\n"

    assert "the judge is enabled and has no model" in refused(tmp_path, {}, suite=suite)
    found = settled(tmp_path, {}, suite=suite, variables={"EVAL_LLM_MODEL": "small", "EVAL_LLM_TEMPERATURE": "0.2"})
    assert found.judge is not None
    assert (found.judge.model, found.judge.temperature) == ("small", 0.2)


def test_the_environment_can_switch_a_judge_on_where_the_suite_is_silent(tmp_path: Path) -> None:
    variables = {"EVAL_USE_LLM": "true", "EVAL_LLM_MODEL": "small"}

    silent = settled(tmp_path, {}, suite="name: t\ndatasets: [{type: options}]\n", variables=variables)
    stated = settled(tmp_path, {}, variables=variables)

    assert (silent.wants_judge, stated.wants_judge) == (True, False)


OWN = '{model: m, api_key: suite-key, api_base: "https://judge.example/v1", panel: [{model: a, api_key: member-key}]}'


@pytest.mark.parametrize(
    "judge",
    [
        {"api_base": "http://127.0.0.1:8000/v1"},
        {"api_base": "https://elsewhere.example/v1", "api_key": "of-the-request"},
        {"provider": "anthropic"},
    ],
)
def test_no_key_of_the_suite_goes_where_a_request_points_the_judge(tmp_path: Path, judge: dict[str, object]) -> None:
    found = settled(tmp_path, {"judge": judge}, suite=f"name: t\ndatasets: [{{type: options}}]\nllm_eval: {OWN}\n")

    assert found.judge is not None
    asked = judge.get("api_key")
    assert (found.judge.api_key and found.judge.api_key.get_secret_value()) == asked
    assert [member.api_key for member in found.judge.panel] == [None]


def test_a_request_that_stays_with_the_suites_judge_uses_its_keys(tmp_path: Path) -> None:
    suite = f"name: t\ndatasets: [{{type: options}}]\nllm_eval: {OWN}\n"
    judge = {"provider": "openai", "api_base": "https://judge.example/v1", "temperature": 0.5}

    found = settled(tmp_path, {"judge": judge}, suite=suite).judge

    assert found is not None
    assert found.api_key is not None
    assert found.api_key.get_secret_value() == "suite-key"
    assert [member.api_key and member.api_key.get_secret_value() for member in found.panel] == ["member-key"]


def test_a_null_of_the_suite_is_silence(tmp_path: Path) -> None:
    suite = "name: t\ndatasets: [{type: options}]\nllm_eval: {enabled: true, model: null, temperature: 0.5}\n"

    found = settled(tmp_path, {}, suite=suite, variables={"EVAL_LLM_MODEL": "small"})

    assert found.judge is not None
    assert found.judge.model == "small"
    assert found.recorded["judge.model"] == {"value": "small", "source": "environment"}


def test_what_a_request_puts_in_place_of_the_suites_keys_is_recorded_as_its_own(tmp_path: Path) -> None:
    suite = "name: t\ndatasets: [{type: crypto, on_missing: generate, max_steps: 24, limit: 3}, {type: options, limit: 4}]\n"
    config: dict[str, object] = {"max_steps": 9, "crypto_limit": 2, "eval_config": "t", "x_token": "sk-" + "a" * 24}

    recorded = settled(tmp_path, config, suite=suite).recorded

    assert recorded["datasets.crypto"] == {
        "value": {"type": "crypto", "name": "crypto", "on_missing": "generate"},
        "source": "suite",
    }
    assert recorded["datasets.crypto.max_steps"] == {"value": 9, "source": "request"}
    assert recorded["datasets.crypto.limit"] == {"value": 2, "source": "request"}
    assert recorded["datasets.options"] == {
        "value": {"type": "options", "name": "options", "limit": 4},
        "source": "suite",
    }
    assert recorded["eval_config"] == {"value": "t", "source": "request"}
    assert recorded["x_token"] == {"value": "[redacted]", "source": "request"}


def test_data_sets_that_only_the_request_names_stand_with_their_defaults(tmp_path: Path) -> None:
    found = settled(tmp_path, {"datasets": ["humaneval", "synthetic"]}, flags=Flags(names_suite=False))

    assert found.recorded["datasets.humaneval"] == {
        "value": {"type": "humaneval", "name": "humaneval"},
        "source": "default",
    }


def test_an_address_with_a_password_is_not_recorded_even_in_a_panel(tmp_path: Path) -> None:
    suite = (
        "name: t\ndatasets: [{type: options}]\n"
        "llm_eval: {panel: [{model: n, api_base: 'https://me:hunter2hunter2@judge.example/v1'}]}\n"
    )

    assert "hunter2" not in repr(settled(tmp_path, {}, suite=suite).recorded)


@pytest.mark.parametrize("config", [{"options_limit": 10**9}, {"num_tasks": 10**6}])
def test_a_request_cannot_have_a_generator_fill_the_memory(tmp_path: Path, config: dict[str, object]) -> None:
    found = settled(tmp_path, config, suite="name: t\ndatasets: [{type: options}]\n")

    assert [entry.limit for entry in found.entries] == [5_000]


@pytest.mark.parametrize("flags", [None, Flags(eval_llm_model="another")])
def test_who_names_one_judge_does_not_get_the_panel_of_the_suite(tmp_path: Path, flags: Flags | None) -> None:
    suite = "name: t\ndatasets: [{type: options}]\nllm_eval: {panel: [{model: a}, {model: b}]}\n"

    found = settled(tmp_path, {} if flags else {"judge": {"model": "another"}}, suite=suite, flags=flags).judge

    assert found is not None
    assert (found.model, found.panel) == ("another", ())


def test_the_query_of_an_address_is_not_recorded(tmp_path: Path) -> None:
    suite = "name: t\ndatasets: [{type: crypto, remote_manifest: 'https://data.example/m.json?signature=hunter2'}]\n"

    recorded = settled(tmp_path, {}, suite=suite).recorded["datasets.crypto"]

    assert "https://data.example/m.json?[redacted]" in repr(recorded)
    assert "hunter2" not in repr(recorded)
