from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.runner.failures import ScenarioError
from services.runner.scenario import parse_scenario
from services.runner.scenario.compose import ComposeOptions, compose_project
from services.runner.scenario.images import with_known_images
from tests.runner.scenario_compose.scenarios import GREEN_ID, PURPLE_ID, project, purple, scenario

GUIDE_FORM = """
[green_agent]
agentbeats_id = "019b0000-0000-7000-8000-0000000000aa"
env = {
    OPENAI_API_KEY = "${OPENAI_API_KEY}",
    EVAL_CONFIG = "config/eval_medium.yaml",  # a comment inside an inline table
}

[[participants]]
agentbeats_id = "019b0000-0000-7000-8000-0000000000bb"
name = "purple_agent"
env = { OPENAI_API_KEY = "${OPENROUTER_KEY}", LLM_MODEL = "some/model", HINT = "${HINT:-}" }

[config]
num_tasks = 10
conduct_debate = false
"""


def guide_project(**options: Any) -> Any:
    """The guide's form with its ids resolved."""
    read = parse_scenario(tomli.loads(GUIDE_FORM), name="guide")
    images = {"green": "example.org/green:1", "purple_agent": "example.org/purple@sha256:" + "0a" * 32}
    return compose_project(with_known_images(read, images), ComposeOptions(**options))


def test_the_file_of_the_guides_form_is_as_the_platform_writes_it() -> None:
    written = yaml.safe_load(guide_project().compose.text())

    assert list(written["services"]) == ["green-agent", "purple_agent", "agentbeats-client"]
    assert written["services"]["green-agent"] == {
        "image": "example.org/green:1",
        "platform": "linux/amd64",
        "container_name": "green-agent",
        "command": ["--host", "0.0.0.0", "--port", "9009", "--card-url", "http://green-agent:9009"],
        "environment": {
            "PYTHONUNBUFFERED": "1",
            "OPENAI_API_KEY": "${OPENAI_API_KEY:?set OPENAI_API_KEY in .env}",
            "EVAL_CONFIG": "config/eval_medium.yaml",
        },
        "healthcheck": {
            "test": ["CMD", "curl", "-f", "http://localhost:9009/.well-known/agent-card.json"],
            "interval": "5s",
            "timeout": "3s",
            "retries": 10,
            "start_period": "30s",
        },
        "depends_on": {"purple_agent": {"condition": "service_healthy"}},
        "networks": {"agent-network": {}},
        "security_opt": ["no-new-privileges:true"],
    }
    assert written["services"]["purple_agent"]["environment"] == {
        "PYTHONUNBUFFERED": "1",
        "OPENAI_API_KEY": "${OPENROUTER_KEY:?set OPENROUTER_KEY in .env}",
        "LLM_MODEL": "some/model",
        "HINT": "${HINT:-}",
    }
    assert written["services"]["agentbeats-client"] == {
        "image": "ghcr.io/agentbeats/agentbeats-client:v1.0.0",
        "platform": "linux/amd64",
        "container_name": "agentbeats-client",
        "command": ["scenario.toml", "output/results.json"],
        "volumes": ["./a2a-scenario.toml:/app/scenario.toml", "./output:/app/output"],
        "depends_on": {
            "green-agent": {"condition": "service_healthy"},
            "purple_agent": {"condition": "service_healthy"},
        },
        "networks": {"agent-network": {}},
        "security_opt": ["no-new-privileges:true"],
    }
    assert written["networks"] == {"agent-network": {"driver": "bridge"}}


def test_the_client_finds_the_agents_by_service_and_knows_them_by_id() -> None:
    assert tomllib.loads(guide_project().texts()["a2a-scenario.toml"]) == {
        "green_agent": {"endpoint": "http://green-agent:9009", "agentbeats_id": GREEN_ID},
        "participants": [{"role": "purple_agent", "endpoint": "http://purple_agent:9009", "agentbeats_id": PURPLE_ID}],
        "config": {"num_tasks": 10, "conduct_debate": False},
    }


def test_the_example_of_variables_holds_names_only() -> None:
    assert guide_project().texts()[".env.example"] == "HINT=\nOPENAI_API_KEY=\nOPENROUTER_KEY=\n"


def test_the_same_scenario_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        guide_project(client="assay", isolate=True).write(folder)

    first, second = ({path.name: path.read_bytes() for path in folder.glob("*.*")} for folder in folders)
    assert first == second
    assert sorted(first) == [".env.example", "a2a-scenario.toml", "docker-compose.yml"]


def test_the_platforms_client_may_write_into_the_folder_of_results_whoever_it_is(tmp_path: Path) -> None:
    guide_project().write(tmp_path)

    assert stat.S_IMODE((tmp_path / "output").stat().st_mode) == 0o777


def test_our_runner_takes_the_clients_place_under_the_clients_name() -> None:
    client = guide_project(client="assay").compose.services["agentbeats-client"]

    assert client.image == "${ASSAY_REGISTRY:-}assay-runner:${ASSAY_TAG:-latest}"
    assert client.entrypoint == ("as-owner", "/app/output", "assay")
    assert client.command == ("run", "/app/scenario.toml", "/app/output/results.json")
    assert client.volumes == ("./a2a-scenario.toml:/app/scenario.toml:ro", "./output:/app/output")
    assert (client.cap_drop, client.cap_add) == (("ALL",), ("SETUID", "SETGID"))


def test_limits_arguments_and_patience_of_an_agent_are_written() -> None:
    limits = {"cpus": 1.5, "memory": "2g", "pids": 100}
    made = project(purple(limits=limits, args=["--label", "costs $5"], start_timeout=90.0))

    service = made.compose.services["purple_agent"]
    assert (service.cpus, service.mem_limit, service.pids_limit) == (1.5, "2g", 100)
    assert service.command[-2:] == ("--label", "costs $$5")
    assert service.healthcheck is not None
    assert service.healthcheck.start_period == "90000ms"


def test_the_shortest_patience_is_a_duration_that_compose_reads() -> None:
    healthcheck = project(purple(start_timeout=0.001)).compose.services["purple_agent"].healthcheck

    assert healthcheck is not None
    assert healthcheck.start_period == "1ms"


@pytest.mark.parametrize(
    ("image", "dropped"),
    [
        ("assay-purple:test", ("ALL",)),
        ("ghcr.io/someone/assay-purple@sha256:" + "0" * 64, ("ALL",)),
        ("example.org:5000/assay-purple-fork:1", None),
        ("example.org/purple", None),
    ],
)
def test_only_our_own_images_lose_every_capability(image: str, dropped: object) -> None:
    assert project(purple(image=image)).compose.services["purple_agent"].cap_drop == dropped


def test_a_model_is_told_by_the_names_that_agents_know_and_the_agents_own_table_wins() -> None:
    made = project(purple(model_endpoint="https://models.example/v1", env={"OPENAI_API_BASE": "https://mine.example"}))

    assert made.compose.services["purple_agent"].environment == {
        "PYTHONUNBUFFERED": "1",
        "OPENAI_BASE_URL": "https://models.example/v1",
        "OPENAI_API_BASE": "https://mine.example",
    }


def test_the_reference_engine_is_a_service_that_the_agent_waits_for() -> None:
    services = project(purple(model_endpoint="reference")).compose.services

    assert list(services) == ["green-agent", "purple_agent", "inference", "agentbeats-client"]
    purple_agent = services["purple_agent"]
    assert purple_agent.depends_on is not None
    assert purple_agent.depends_on["inference"].condition == "service_healthy"
    assert purple_agent.environment is not None
    assert purple_agent.environment["OPENAI_BASE_URL"] == "http://inference:8000/v1"
    assert purple_agent.environment["LLM_MODEL"] == "reference"


def test_an_agent_that_runs_elsewhere_is_no_service_and_keeps_its_address() -> None:
    made = project(purple("here"), {"role": "far", "endpoint": "https://far.example/agent"})

    assert list(made.compose.services) == ["green-agent", "here", "agentbeats-client"]
    assert made.a2a_scenario["participants"] == [
        {"role": "here", "endpoint": "http://here:9009"},
        {"role": "far", "endpoint": "https://far.example/agent"},
    ]


def test_a_name_of_one_letter_is_left_to_compose_since_the_engine_refuses_it() -> None:
    assert project(purple("p")).compose.services["p"].container_name is None


def test_a_published_port_and_a_missing_sandbox_are_told() -> None:
    made = project(purple("one", endpoint="http://127.0.0.1:9100"), green={"image": "ghcr.io/someone/assay-green:1.0"})

    assert made.notes == (
        "green has no sandbox, so it leaves code benchmarks out of its plan; ASSAY_SANDBOX_URL in its env names one",
        "one is not published at http://127.0.0.1:9100: only the containers of the file reach it",
    )


def test_what_compose_cannot_run_is_refused_all_at_once() -> None:
    started = {"role": "started", "cmd": "agent --serve", "endpoint": "http://127.0.0.1:9100"}
    here = {"role": "here", "endpoint": "http://localhost:9101"}
    model = purple("served", model_endpoint="http://127.0.0.1:8000/v1")
    unresolved = {"role": "unknown", "agentbeats_id": PURPLE_ID}

    with pytest.raises(ScenarioError) as caught:
        project(started, here, model, unresolved)

    assert [fault.split(":")[0] for fault in caught.value.faults] == ["started", "here", "unknown", "served"]
    assert "build an image of it" in caught.value.faults[0]
    assert "http://localhost:9101 is this machine" in caught.value.faults[1]
    assert "its model is at http://127.0.0.1:8000/v1" in caught.value.faults[3]


def test_a_participant_called_like_a_service_of_ours_is_refused() -> None:
    with pytest.raises(ScenarioError) as caught:
        project(purple("Inference", model_endpoint="reference", env={"A_KEY": "plain"}))

    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["Inference"] * 2
    assert "another service of the compose file has this name" in caught.value.faults[1]


def test_what_only_our_runner_heeds_is_refused_for_the_platforms_client() -> None:
    green = {"token_env": "GREEN_TOKEN", "a2a_version": "1.0"}

    with pytest.raises(ScenarioError) as caught:
        project(purple(), green=green)

    assert caught.value.faults == (
        "green: the AgentBeats client knows no a2a_version: leave it out or give --client assay",
        "green: the AgentBeats client knows no token_env: leave it out or give --client assay",
    )


def test_agents_of_ours_get_the_time_they_take_to_stop() -> None:
    services = project(purple(image="assay-purple:1"), purple("other", image="org/agent")).compose.services

    assert (services["purple_agent"].stop_grace_period, services["other"].stop_grace_period) == ("20s", None)


@pytest.mark.parametrize(
    ("client", "table", "config"),
    [("assay", {"a2a_version": "0.3"}, {}), ("agentbeats", {}, {"purple_a2a_version": "0.3"})],
)
def test_either_client_has_green_speak_to_a_participant_as_its_table_says(
    client: str, table: dict[str, str], config: dict[str, str]
) -> None:
    written: Any = project(purple(a2a_version="0.3"), client=client).a2a_scenario

    (participant,) = written["participants"]
    assert {key: value for key, value in participant.items() if key == "a2a_version"} == table
    assert {key: value for key, value in written["config"].items() if key == "purple_a2a_version"} == config


def test_a_participants_token_has_no_place_in_a_compose_file() -> None:
    with pytest.raises(ScenarioError, match="purple_agent: token_env of a participant has no place in a compose file"):
        project(purple(token_env="MY_TOKEN"), client="assay")


def test_greens_token_reaches_green_and_our_runner_by_reference() -> None:
    made = project(purple(), green={"token_env": "GREEN_TOKEN"}, client="assay")

    reference = "${GREEN_TOKEN:?set GREEN_TOKEN in .env}"
    services = made.compose.services
    assert [
        (services[name].environment or {}).get("GREEN_TOKEN")
        for name in ("green-agent", "purple_agent", "agentbeats-client")
    ] == [reference, None, reference]
    assert made.a2a_scenario["green_agent"] == {"endpoint": "http://green-agent:9009", "token_env": "GREEN_TOKEN"}
    assert made.variables == ("GREEN_TOKEN",)


@pytest.mark.parametrize(
    ("green", "end"),
    [
        ({"image": "assay-green:1"}, ("--auth-token-env", "GREEN_TOKEN")),
        ({"image": "assay-green:1", "args": ["--auth-token-env=OTHER"]}, ("--auth-token-env=OTHER",)),
        ({"image": "example.org/green:1"}, ("--card-url", "http://green-agent:9009")),
    ],
)
def test_our_green_is_told_to_ask_for_its_token(green: dict[str, Any], end: tuple[str, ...]) -> None:
    made = project(purple(), green={"token_env": "GREEN_TOKEN", **green}, client="assay")

    assert made.compose.services["green-agent"].command[-len(end) :] == end


def test_our_runner_asks_no_foreign_green() -> None:
    foreign = scenario(config={"their_key": 1}, any_config=True)

    assert compose_project(foreign, ComposeOptions()).a2a_scenario["config"] == {"their_key": 1}
    with pytest.raises(ScenarioError, match="asks Assay's green only"):
        compose_project(foreign, ComposeOptions(client="assay"))


KEY = "sk" + "-abcdefghijklmnop1234"


@pytest.mark.parametrize(
    ("agent", "config", "fault"),
    [
        (purple(env={"OPENAI_API_KEY": "plain"}), {}, "purple_agent: env OPENAI_API_KEY holds a secret"),
        (purple(env={"OPENAI_API_KEY": "${KEY:-plain}"}), {}, "purple_agent: env OPENAI_API_KEY holds a secret"),
        (purple(env={"OPENAI_API_KEY": f"${{A:-{KEY}}}${{B}}"}), {}, "purple_agent: env OPENAI_API_KEY holds a secret"),
        (purple(env={"NOTE": f"${{A:?{KEY}}}"}), {}, "purple_agent: env NOTE holds a secret"),
        (purple(model_endpoint="https://m.example/v1?key=plain"), {}, "purple_agent: model_endpoint holds a secret"),
        ({"role": "far", "endpoint": f"https://far.example/{KEY}"}, {}, "far: endpoint holds a secret"),
        (purple(args=["--with", KEY]), {}, "purple_agent: one of args looks like a secret"),
        (purple(), {"x_judges": [{"api_key": "plain"}]}, r"config.x_judges\[0\].api_key holds a secret"),
        (purple(), {"x_note": KEY}, "config.x_note holds a secret"),
    ],
)
def test_a_literal_secret_is_refused_without_repeating_it(
    agent: dict[str, Any], config: dict[str, Any], fault: str
) -> None:
    given = scenario(agent, config=config)

    with pytest.raises(ScenarioError, match=fault) as caught:
        compose_project(given, ComposeOptions())

    assert "plain" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert compose_project(given, ComposeOptions(allow_literal_secrets=True)).texts()


def test_words_that_stand_for_no_key_are_kept() -> None:
    environment = (
        project(purple(env={"OPENAI_API_KEY": "EMPTY", "TAVILY_API_KEY": "${T:-none}"}))
        .compose.services["purple_agent"]
        .environment
    )

    assert environment == {"PYTHONUNBUFFERED": "1", "OPENAI_API_KEY": "EMPTY", "TAVILY_API_KEY": "${T:-none}"}


def test_a_default_of_several_lines_is_refused_since_compose_cannot_read_it() -> None:
    with pytest.raises(ScenarioError, match="purple_agent: env NOTE has a default or hint of several lines"):
        project(purple(env={"NOTE": "${A:-one\ntwo}"}))


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name != "PYTHONUNBUFFERED")
ROLES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True)
RESERVED = {"green-agent", "agentbeats-client", "gateway", "green", "proxy", "results", "reference-engine", "inference"}


@given(role=ROLES.filter(lambda role: role.lower() not in RESERVED), env=st.dictionaries(NAMES, TEXTS, max_size=4))
def test_every_value_arrives_unchanged_under_every_name(role: str, env: dict[str, str]) -> None:
    templates = {name: text.replace("$", "$$") for name, text in env.items()}

    written = yaml.safe_load(project(purple(role, env=templates), allow_literal_secrets=True).compose.text())

    assert list(written["services"]) == ["green-agent", role, "agentbeats-client"]
    assert written["services"][role]["environment"] == {"PYTHONUNBUFFERED": "1", **templates}


@given(note=TEXTS, numbers=st.lists(st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)))
def test_the_config_reaches_the_client_unchanged(note: str, numbers: list[float]) -> None:
    config = {"x_note": note, "x_numbers": numbers}

    made = compose_project(scenario(config=config), ComposeOptions(allow_literal_secrets=True))

    assert tomllib.loads(made.texts()["a2a-scenario.toml"])["config"] == config


@pytest.mark.parametrize(
    "text", ["1e3", "-1E3", "0x10", "1_000", "yes", "y", "null", "~", ".5e1", "2026-01-01", "=", ""]
)
def test_a_text_that_some_yaml_reads_as_something_else_is_quoted(text: str) -> None:
    line = next(
        line
        for line in project(purple(env={"NOTE": text})).compose.text().splitlines()
        if line.strip().startswith("NOTE:")
    )

    assert line.strip() in {f'NOTE: "{text}"', f"NOTE: '{text}'"}
