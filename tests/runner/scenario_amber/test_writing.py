import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.runner.failures import ScenarioError
from services.runner.scenario import Scenario, parse_scenario
from services.runner.scenario.amber import AmberScenario, amber_files, read_amber
from services.runner.scenario.amber.names import SecretNames
from tests.runner.scenario_amber.manifests import GATEWAY


def scenario(
    *, green: dict[str, Any] | None = None, config: dict[str, Any] | None = None, **purples: dict[str, Any]
) -> Scenario:
    participants = [
        {"name": name, "image": "team/agent:1", **table} for name, table in (purples or {"trader": {}}).items()
    ]
    tables = {
        "green_agent": {"image": "team/assay-green:1", **(green or {})},
        "participants": participants,
        "config": config or {},
    }
    return parse_scenario(tables, name="scenario")


def documents(of: Scenario, **options: Any) -> dict[str, Any]:
    return {name: json.loads(text) for name, text in amber_files(of, **options).texts.items()}


def faults(of: Scenario, **options: Any) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        amber_files(of, **options)
    return list(caught.value.faults)


def read_back(folder: Path, of: Scenario, **options: Any) -> AmberScenario:
    for name, text in amber_files(of, **options).texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return read_amber(folder / "scenario.json5")


def test_a_variable_becomes_a_property_that_is_passed_from_the_root_to_the_program(tmp_path: Path) -> None:
    written = documents(scenario(trader={"env": {"OPENAI_API_KEY": "${OPENROUTER_API_KEY}", "MODE": "a $$ b"}}))

    assert written["scenario.json5"]["config_schema"] == {
        "type": "object",
        "properties": {"openrouter_api_key": {"type": "string", "secret": True}},
        "required": ["openrouter_api_key"],
        "additionalProperties": False,
    }
    assert written["scenario.json5"]["components"]["trader"] == {
        "manifest": "./trader.json5",
        "config": {"openrouter_api_key": "${config.openrouter_api_key}"},
    }
    assert written["trader.json5"]["config_schema"] == written["scenario.json5"]["config_schema"]
    assert written["trader.json5"]["program"]["env"] == {
        "OPENAI_API_KEY": "${config.openrouter_api_key}",
        "MODE": "a $ b",
    }


def test_names_of_quick_submit_are_one_set_for_each_role() -> None:
    of = scenario(green={"env": {"KEY": "${OPENAI_API_KEY}"}}, fast_one={"env": {"KEY": "${OPENAI_API_KEY}"}})

    written = documents(of, secret_names="per-role")

    root = written["scenario.json5"]
    assert list(root["config_schema"]["properties"]) == ["green_openai_api_key", "fast_one_openai_api_key"]
    assert root["components"]["fast_one"]["config"] == {"openai_api_key": "${config.fast_one_openai_api_key}"}
    assert list(written["fast_one.json5"]["config_schema"]["properties"]) == ["openai_api_key"]


def test_a_default_and_a_hint_reach_the_schema_and_what_has_a_default_is_not_required() -> None:
    env = {"LLM_MODEL": "${MODEL:-tiny}", "URL": "http://${HOST:?the model's host}/v1"}

    root = documents(scenario(trader={"env": env}))["scenario.json5"]["config_schema"]

    assert root["properties"] == {
        "model": {"type": "string", "default": "tiny"},
        "host": {"type": "string", "description": "the model's host"},
    }
    assert root["required"] == ["host"]


def test_the_gateway_is_pinned_and_told_the_roles_the_config_and_the_ids() -> None:
    config = {"num_tasks": 3, "purple_role": "trader"}
    identifier = "0b53e1e6-6e37-44cd-8a5a-2e0d2c5c9a11"
    of = scenario(config=config, trader={}, rival={})
    known = of.green.model_copy(update={"agentbeats_id": identifier})

    root = documents(of.model_copy(update={"green": known}))["scenario.json5"]

    assert root["components"]["gateway"] == {
        "manifest": GATEWAY,
        "config": {
            "assessment_config": config,
            "participant_roles": {"green": "green", "purple1": "trader", "purple2": "rival"},
        },
    }
    assert root["bindings"] == [
        {"to": "#gateway.green", "from": "#green.a2a"},
        {"to": "#gateway.purple1", "from": "#trader.a2a"},
        {"to": "#gateway.purple2", "from": "#rival.a2a"},
        {"to": "#green.proxy", "from": "#gateway.proxy", "weak": True},
    ]
    assert root["exports"] == {"results": "#gateway.results"}
    assert root["metadata"]["agentbeats_ids"] == {"green": identifier, "trader": "", "rival": ""}


def test_a_program_listens_where_its_endpoint_is_and_green_names_the_proxy_so_that_amber_connects_it() -> None:
    entrypoints = {"trader": "python '/app/my agent.py'"}

    written = documents(scenario(trader={"args": ["--depth", "3 4"]}), entrypoints=entrypoints)

    assert written["trader.json5"]["program"] == {
        "image": "team/agent:1",
        "entrypoint": "python '/app/my agent.py' --host 0.0.0.0 --port 9009 --depth '3 4'",
        "env": {},
        "network": {"endpoints": [{"name": "endpoint", "port": 9009}]},
    }
    assert written["green.json5"]["program"]["entrypoint"] == "green-agent serve --host 0.0.0.0 --port 9009"
    assert written["green.json5"]["program"]["env"] == {"PROXY_URL": "${slots.proxy.url}"}
    assert written["green.json5"]["slots"] == {"proxy": {"kind": "a2a", "optional": True}}


def test_what_was_assumed_or_has_no_place_is_noted() -> None:
    of = scenario(trader={"limits": {"cpus": 2}})

    assert amber_files(of).notes == (
        "green: has no agentbeats_id: fill it in in metadata.agentbeats_ids",
        "trader: Amber replaces the command of team/agent:1: assumed 'purple-agent serve'; another: --entrypoint trader=COMMAND",
        "trader: limits left out: Amber has no place for it",
        "trader: has no agentbeats_id: fill it in in metadata.agentbeats_ids",
    )


def test_six_participants_are_too_many() -> None:
    of = scenario(config={"purple_role": "a"}, **{name: {} for name in "abcdef"})

    assert faults(of) == ["6 participants: the gateway of AgentBeats takes at most 5"]


SECRET = "sk-" + "b2" * 12


@pytest.mark.parametrize(
    ("agents", "fault"),
    [
        ({"trader": {}, "rival": {}}, "several participants (trader, rival) are one request: name the examined one in"),
        ({"trader": {"env": {"API_KEY": "plain text"}}}, "trader: env API_KEY holds a secret"),
        ({"trader": {"env": {"LABEL": SECRET}}}, "trader: env LABEL holds a secret"),
        ({"trader": {"args": ["--key", SECRET]}}, "trader: one of args looks like a secret"),
        ({"trader": {"env": {"LABEL": "${API_KEY:-plain text}"}}}, "trader: the default of ${API_KEY} is a secret"),
        ({"trader": {"env": {"API_KEY": "${A}${B:-plain text}"}}}, "trader: the default of ${B} is a secret"),
        ({"trader": {"env": {"A": "$${B}"}}}, "trader: env A: Amber would read '${' as a reference"),
        ({"trader": {"args": ["${B}"]}}, "trader: args: Amber would read '${' as a reference"),
        ({"scenario": {}}, "scenario: its manifest would be scenario.json5, which is the scenario itself"),
        ({"trader": {"model_endpoint": "reference"}}, "trader: model_endpoint 'reference' is started by `assay run`"),
        (
            {
                "trader": {"env": {"X": "${A-B:-c}".replace("-B", "_B")}, "args": []},
                "rival": {"env": {"X": "${a_b:-c}"}},
            },
            "variables A_B of trader and a_b of rival would both be 'a_b' in Amber: rename one",
        ),
        (
            {"trader": {"env": {"X": "${A:-1}"}}, "rival": {"env": {"X": "${A:-2}"}}},
            "${A} has different defaults in trader and rival: give one, or write with --secret-names per-role",
        ),
        ({"trader": {"env": {"X": "${A:-1}", "Y": "${A}"}}}, "trader: ${A} has different defaults: give one"),
        ({"trader": {"env": {"X": "${_1}"}}}, "trader: variable _1: Amber has no name for it; begin it with a letter"),
    ],
)
def test_what_amber_cannot_say_is_refused(agents: dict[str, dict[str, Any]], fault: str) -> None:
    found = faults(scenario(**agents))

    assert any(text.startswith(fault) for text in found), found
    assert SECRET not in str(found)
    assert "plain text" not in str(found)


def test_agents_without_image_and_wrong_commands_are_refused() -> None:
    tables = {
        "green_agent": {"endpoint": "http://127.0.0.1:9009"},
        "participants": [{"name": "trader", "image": "team/agent"}],
    }

    assert faults(parse_scenario(tables, name="s"), entrypoints={"trader": "run 'x", "other": "y"}) == [
        "--entrypoint other: no such agent; agents: green, trader",
        "green: an image or an agentbeats_id is needed: Amber runs containers",
        "trader: --entrypoint: No closing quotation",
    ]


def test_a_secret_in_a_command_is_refused_and_not_repeated() -> None:
    found = faults(scenario(), entrypoints={"trader": f"run --key {SECRET}"})

    assert found == ["trader: --entrypoint holds a secret: pass it in env, as ${NAME}"]


def test_roles_that_amber_cannot_tell_apart_never_share_a_secret_of_their_own() -> None:
    table = {"env": {"KEY": "${KEY}"}}
    of = scenario(config={"purple_role": "a_b"}, **{"a-b": table, "a_b": table})

    assert faults(of, secret_names="per-role") == [
        "variables KEY of a-b and KEY of a_b would both be 'a_b_key' in Amber: rename one"
    ]
    assert list(documents(of)["scenario.json5"]["config_schema"]["properties"]) == ["key"]


def test_a_literal_secret_is_written_when_this_is_allowed() -> None:
    written = documents(scenario(trader={"env": {"API_KEY": "plain text"}}), allow_literal_secrets=True)

    assert written["trader.json5"]["program"]["env"] == {"API_KEY": "plain text"}


names = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(exclude_characters="${}\0", exclude_categories=["Cs"]), max_size=12)
values = st.one_of(
    texts,
    st.builds("{0}${{{1}}}{2}".format, texts, names, texts),
    st.builds("${{{0}:-{1}}}".format, names, texts),
    st.just("1$$2"),
)
tables = st.fixed_dictionaries({"env": st.dictionaries(names, values, max_size=3)})
roles = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True)


@settings(max_examples=50, deadline=None)
@given(
    green=tables,
    purples=st.dictionaries(roles, tables, min_size=1, max_size=3),
    style=st.sampled_from(["flat", "per-role"]),
)
def test_what_is_written_is_read_back_right_or_refused(
    tmp_path_factory: pytest.TempPathFactory, green: dict[str, Any], purples: dict[str, Any], style: SecretNames
) -> None:
    try:
        of = scenario(green=green, config={"purple_role": next(iter(purples))}, **purples)
        amber_files(of, secret_names=style)
    except ScenarioError:
        return

    written = read_back(tmp_path_factory.mktemp("amber"), of, secret_names=style)

    assert [agent.role for agent in written.agents] == ["green", *purples]
