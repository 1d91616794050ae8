from pathlib import Path
from typing import Any

import pytest

from services.runner.failures import ScenarioError
from services.runner.scenario.amber import read_amber
from tests.runner.scenario_amber.manifests import AGENT, GATEWAY, GONE, ROOT, changed, faults, read, write

TOKEN = "sk-" + "a1" * 12


def test_a_scenario_is_described_by_its_agents_images_config_and_variables(tmp_path: Path) -> None:
    scenario = read(tmp_path)

    assert [(a.role, a.slot, a.image, a.agentbeats_id) for a in scenario.agents] == [
        ("examiner", "green", None, "77"),
        ("trader", "purple1", "registry.example:5000/team/trader:1.2", "0b53e1e6-6e37-44cd-8a5a-2e0d2c5c9a11"),
    ]
    assert scenario.config == {"num_tasks": 3, "options_limit": 2}
    assert [(p.variable, p.secret, p.required) for p in scenario.properties] == [
        ("AMBER_CONFIG_OPENAI_API_KEY", True, True)
    ]


def test_a_manifest_elsewhere_is_not_fetched_and_this_is_said(tmp_path: Path) -> None:
    (warning,) = read(tmp_path).warnings

    assert warning.endswith(
        "components.examiner: the manifest https://example.org/examiner/v1/amber-manifest.json5 was not fetched and not checked"
    )


def test_json5_with_comments_bare_keys_and_trailing_commas_is_read_as_people_write_it(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "agent.json5").write_text("""{
      manifest_version: '0.1.0', // as the platform has it
      program: {
        image: "team/trader",
        entrypoint: ["trade", "--host=0.0.0.0", "--port=9010", ],
        env: { KEY: "${config.openai_api_key}" },
        network: { endpoints: [ { name: "main", port: 9010 } ] },
      },
      config_schema: { type: "object", properties: { openai_api_key: { type: "string", secret: true } } },
      provides: { a2a: { kind: "a2a", endpoint: "main" } },
      exports: { a2a: "provides.a2a" },
    }""")

    assert read_amber(tmp_path / "scenario.json5").agents[1].image == "team/trader"


def test_two_roles_may_share_a_manifest_and_a_green_that_is_not_ours_has_a_config_of_its_own(tmp_path: Path) -> None:
    root = changed(ROOT, "components/gateway/config/participant_roles/purple2", "rival")
    root = changed(root, "components/rival", ROOT["components"]["trader"])
    root = changed(root, "bindings/3", {"to": "#gateway", "slot": "purple2", "from": "#rival", "capability": "a2a"})
    root = changed(root, "metadata/agentbeats_ids/rival", "")
    root = changed(root, "components/gateway/config/assessment_config", {"topic": "bonds", "rounds": 2})

    scenario = read(tmp_path, root, any_config=True)

    assert [agent.slot for agent in scenario.agents] == ["green", "purple1", "purple2"]
    assert any(warning.endswith("metadata.agentbeats_ids.rival: not filled in") for warning in scenario.warnings)
    assert [fault.partition(";")[0] for fault in faults(tmp_path, root)] == [
        "scenario.json5: assessment_config.topic: unknown key",
        "scenario.json5: assessment_config.rounds: unknown key",
        "scenario.json5: assessment_config: several participants (trader, rival): name one in purple_role",
    ]


@pytest.mark.parametrize(
    ("url", "warning"),
    [
        ("https://raw.githubusercontent.com/RDI-Foundation/agentbeats-gateway/refs/tags/v0.3.1/a.json5", None),
        ("https://raw.githubusercontent.com/RDI-Foundation/agentbeats-gateway/v0.3/a.json5", None),
        ("https://github.com/RDI-Foundation/agentbeats-gateway/raw/refs/tags/v0.3/a.json5", None),
        (f"https://raw.githubusercontent.com/RDI-Foundation/agentbeats-gateway/{'0a' * 20}/a.json5", None),
        (
            "https://raw.githubusercontent.com/RDI-Foundation/agentbeats-gateway/refs/heads/main/a.json5",
            "the gateway's manifest is taken from the branch 'main', which may change",
        ),
        (
            "https://raw.githubusercontent.com/RDI-Foundation/agentbeats-gateway/refs/tags/v0.1/a.json5",
            "the gateway's manifest is taken from 'v0.1'",
        ),
        ("../gateway.json5", "the gateway's manifest '../gateway.json5' is a local file and was not read"),
        (
            "https://example.org/gateway.json5",
            "the gateway's manifest 'https://example.org/gateway.json5': cannot tell whether its text is fixed",
        ),
    ],
)
def test_a_gateway_that_is_not_pinned_to_its_known_tag_is_warned_of(
    tmp_path: Path, url: str, warning: str | None
) -> None:
    scenario = read(tmp_path, changed(ROOT, "components/gateway/manifest", url))

    found = [text.partition(": ")[2].partition("; ")[0] for text in scenario.warnings if "the gateway" in text]
    assert found == ([] if warning is None else [warning])


def test_a_gateway_pinned_by_its_digest_may_lie_anywhere(tmp_path: Path) -> None:
    pinned = {
        "url": "https://example.org/gateway.json5",
        "digest": "sha256:5Ub0uXR5xZYFKKlTsOKvC43pM5gdAN1JRStAebbJ45U=",
    }

    assert len(read(tmp_path, changed(ROOT, "components/gateway/manifest", pinned)).warnings) == 1


ROOT_FAULTS: list[tuple[str, object, str]] = [
    ("manifest_version", "1.0.0", "manifest_version: expected a version from 0.1.0 to below 1.0.0, got '1.0.0'"),
    ("manifest_version", GONE, "manifest_version: Field required"),
    ("components/gateway", GONE, "components.gateway: the gateway is missing"),
    (
        "components/a.b",
        {"manifest": "./agent.json5"},
        "components.a.b: 'a.b': a name of Amber is not empty and holds no dot",
    ),
    ("exports/results", "#gateway.proxy", "exports.results: expected '#gateway.results', got '#gateway.proxy'"),
    (
        "components/gateway/config/participant_roles",
        GONE,
        "components.gateway.config.participant_roles: Field required",
    ),
    (
        "components/gateway/config/participant_roles/purple1",
        "examiner",
        "components.gateway.config.participant_roles: role 'examiner' is given 2 times",
    ),
    (
        "components/gateway/config/participant_roles/purple1",
        "../x",
        "components.gateway.config.participant_roles.purple1: role '../x': letters, digits, _ and - only",
    ),
    (
        "components/gateway/config/participant_roles/purple1",
        GONE,
        "gateway slot 'purple1' is bound to 'trader', and participant_roles has no role for it",
    ),
    (
        "components/gateway/config/participant_roles/purple6",
        "sixth",
        "gateway slot 'purple6': the gateway has green, purple1, purple2, purple3, purple4, purple5: at most five participants",
    ),
    (
        "components/gateway/config/participant_roles/purple2",
        "rival",
        "gateway slot 'purple2' has the role 'rival', and nothing is bound to it",
    ),
    ("bindings/1", GONE, "gateway slot 'purple1' is not bound"),
    (
        "bindings/0/from",
        "#judge.a2a",
        "bindings[0]: from '#judge.a2a': no component 'judge'; components: gateway",
    ),
    (
        "bindings/2/weak",
        False,
        "bindings[2]: from '#gateway.proxy': has to be weak, because the gateway waits for the agents",
    ),
    ("bindings/3", {"to": "#gateway.green", "from": "#trader.a2a"}, "bindings: #gateway.green is filled 2 times"),
    ("bindings/1/from", "#trader.mcp", "bindings: trader does not export 'mcp'"),
    (
        "bindings/3",
        {"to": "#trader.proxy", "from": "#gateway.proxy", "weak": True},
        "bindings: trader has no slot 'proxy'",
    ),
    ("metadata/agentbeats_ids/trader", GONE, "metadata.agentbeats_ids: role 'trader' has no entry"),
    (
        "metadata/agentbeats_ids/tarder",
        "5",
        "metadata.agentbeats_ids.tarder: neither a role nor a component; roles: examiner, trader",
    ),
    (
        "config_schema/properties/openai_api_key",
        GONE,
        "components.trader.config: ${config.openai_api_key} is not in the config_schema of the scenario",
    ),
    (
        "config_schema/properties/OPENAI_KEY",
        {"type": "string"},
        "config_schema.OPENAI_KEY: a property begins with a-z and holds a-z, 0-9 and single _ only",
    ),
    ("config_schema/anyOf", [], "config_schema: Amber does not know the keyword anyOf"),
    (
        "components/trader/config/openai_api_key",
        "${OPENAI_API_KEY}",
        "${OPENAI_API_KEY} is no reference of Amber here; did you mean ${config.openai_api_key}?",
    ),
    (
        "components/trader/config",
        {},
        "components.trader: ./agent.json5: ${config.openai_api_key}: not passed down in the config of the component",
    ),
    (
        "components/trader/config/model",
        "tiny",
        "components.trader: ./agent.json5: config 'model' is passed down and not in its config_schema",
    ),
    (
        "components/gateway/config/assessment_config/num_task",
        5,
        "assessment_config.num_task: unknown key",
    ),
    (
        "components/gateway/config/assessment_config/num_tasks",
        0,
        "assessment_config.num_tasks: Input should be greater",
    ),
    ("components/trader/manifest", "./gone.json5", "gone.json5: cannot be read"),
    (
        "components/trader/config/openai_api_key",
        "plain text",
        "components.trader.config.openai_api_key: holds a secret: take it from ${config.x}",
    ),
    (
        "components/gateway/config/assessment_config/judge",
        {"note": TOKEN},
        "components.gateway.config.assessment_config.judge.note: holds a secret: take it from ${config.x}",
    ),
    (
        "config_schema/properties/openai_api_key/default",
        "plain text",
        "config_schema: the default of openai_api_key is a secret",
    ),
]


@pytest.mark.parametrize(("path", "value", "fault"), ROOT_FAULTS)
def test_a_fault_of_the_scenario_is_named(tmp_path: Path, path: str, value: object, fault: str) -> None:
    found = faults(tmp_path, changed(ROOT, path, value))

    assert any(fault in text for text in found), found
    assert TOKEN not in str(found)
    assert "plain text" not in str(found)


AGENT_FAULTS: list[tuple[str, object, str]] = [
    ("program", GONE, "agent.json5: program.image: an image is needed"),
    ("program/image", "a b", "agent.json5: program.image: expected an image reference"),
    (
        "program/entrypoint",
        GONE,
        "agent.json5: program.entrypoint: a command is needed, because Amber replaces the image's",
    ),
    ("program/entrypoint", "trade 'open", "agent.json5: program.entrypoint: No closing quotation"),
    (
        "program/entrypoint",
        "trade --host 127.0.0.1 --port 9010",
        "agent.json5: program.entrypoint: --host 0.0.0.0 is missing: the agent would not be reached from outside its container",
    ),
    (
        "program/network/endpoints/0/port",
        9011,
        "agent.json5: program.entrypoint: does not name the port 9011 of the endpoint 'main'",
    ),
    (
        "program/network/endpoints/0/port",
        "9010",
        "program.network.endpoints.0.port: Input should be a valid integer, got str",
    ),
    ("provides/a2a/endpoint", "side", "agent.json5: provides.a2a.endpoint: program.network has no endpoint 'side'"),
    ("provides/a2a/kind", "http", "agent.json5: provides.a2a.kind: expected 'a2a', got 'http'"),
    ("provides", GONE, "agent.json5: provides.a2a: missing"),
    ("exports", {}, "agent.json5: exports.a2a: expected 'provides.a2a', got None"),
    (
        "program/env/OPENAI_API_KEY",
        TOKEN,
        "agent.json5: program.env.OPENAI_API_KEY: holds a secret: take it from ${config.x}",
    ),
    ("program/env/LABEL", TOKEN, "agent.json5: program.env.LABEL: holds a secret: take it from ${config.x}"),
    (
        "program/env/MODE",
        "${config.mode}",
        "components.trader: ./agent.json5: ${config.mode}: not in its config_schema",
    ),
    ("program/env/MODE", "${slots.", "program.env.MODE: a reference is not closed by a brace"),
    ("slots", {"tools": {"kind": "mcp"}}, "scenario.json5: components.trader: slot 'tools' is not bound"),
    ("config_schema/required", ["gone"], "config_schema: 'gone' is required but no property"),
]


@pytest.mark.parametrize(("path", "value", "fault"), AGENT_FAULTS)
def test_a_fault_of_a_component_is_named(tmp_path: Path, path: str, value: object, fault: str) -> None:
    found = faults(tmp_path, agent=changed(AGENT, path, value))

    assert any(fault in text for text in found), found
    assert TOKEN not in str(found)


def test_all_faults_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    root = changed(ROOT, "exports/results", GONE)
    root = changed(root, "bindings/2", {"to": "#examiner.proxy", "from": "#gateway.proxy"})

    found = faults(tmp_path, root, changed(AGENT, "exports", {}))

    assert [fault.partition(": ")[2].partition(":")[0] for fault in found] == [
        "exports.results",
        "bindings[2]",
        "exports.a2a",
        "bindings",
    ]


def test_secrets_are_kept_when_this_is_allowed(tmp_path: Path) -> None:
    agent = changed(AGENT, "program/env/OPENAI_API_KEY", TOKEN)

    assert read(tmp_path, agent=agent, allow_literal_secrets=True).agents[1].role == "trader"


def test_what_the_platform_ignores_is_warned_of(tmp_path: Path) -> None:
    root = changed(ROOT, "biindings", [])
    root = changed(root, "config_schema/properties/unused", {"type": "string"})
    root = changed(root, "bindings/2", GONE)

    warnings = [warning.rpartition("scenario.json5: ")[2] for warning in read(tmp_path, root).warnings]

    assert warnings == [
        "biindings: Amber ignores this key; did you mean 'bindings'?",
        "components.examiner: the manifest https://example.org/examiner/v1/amber-manifest.json5 was not fetched and not checked",
        "no binding from #gateway.proxy to #examiner.proxy: green may not reach the participants",
        "config_schema.unused: not passed to any component",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{\n a: 1,, }", 'scenario.json5:2:8: Unexpected " "'),
        ("{a: 1, a: 2}", 'scenario.json5: Duplicate key "a" found in object'),
        ("[]", "scenario.json5: expected an object, got list"),
        ("", "scenario.json5: Empty strings are not legal JSON5"),
        ("{a: Infinity}", "scenario.json5: Infinity is no value of a manifest"),
        ("[" * 300, "scenario.json5: nested too deeply"),
        ("1" * 5000, "scenario.json5: Exceeds the limit"),
        ('{a: "\\ud800"}', "scenario.json5: 'utf-8' codec can't encode"),
        ("{" + " " * 200_000 + "}", "scenario.json5: more than 128 KiB, no manifest is that large"),
    ],
    ids=["comma", "duplicate", "list", "empty", "infinity", "deep", "number", "surrogate", "large"],
)
def test_a_file_that_is_no_manifest_is_refused_by_name_and_place(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "scenario.json5"
    path.write_text(text)

    with pytest.raises(ScenarioError) as caught:
        read_amber(path)

    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(fault), caught.value


@pytest.mark.parametrize("value", [None, 5, [], {}, "text", True])
@pytest.mark.parametrize("key", sorted(ROOT))
def test_a_part_of_another_type_is_a_fault_and_no_crash(tmp_path: Path, key: str, value: Any) -> None:
    assert faults(tmp_path, changed(ROOT, key, value))[0].startswith("scenario.json5: ")


def test_a_secret_never_goes_to_the_gateway_whose_config_stands_in_the_results(tmp_path: Path) -> None:
    path = "components/gateway/config/assessment_config/x_note"

    (fault,) = faults(tmp_path, changed(ROOT, path, "${config.openai_api_key}"))

    assert fault.startswith("scenario.json5: components.gateway.config: ${config.openai_api_key} is a secret, and this")


def test_a_gateway_of_another_repository_is_told(tmp_path: Path) -> None:
    other = GATEWAY.replace("RDI-Foundation", "someone")

    warnings = read(tmp_path, changed(ROOT, "components/gateway/manifest", other)).warnings

    told = "the gateway's manifest is taken from the repository 'someone/agentbeats-gateway'; known here is"
    assert sum(told in warning for warning in warnings) == 1
