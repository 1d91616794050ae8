from __future__ import annotations

from typing import Any

import pytest

from services.runner.failures import ScenarioError
from services.runner.scenario.compose.file import ComposeFile, Network
from tests.runner.scenario_compose.scenarios import project, purple

OPEN = Network()
CLOSED = Network(internal=True, driver_opts={"com.docker.network.bridge.inhibit_ipv4": "true"})


def isolated(*participants: dict[str, Any], **more: Any) -> ComposeFile:
    return project(*participants, isolate=True, **more).compose


def members(compose: ComposeFile) -> dict[str, list[str]]:
    """Network to the services on it."""
    return {
        network: [name for name, service in compose.services.items() if network in service.networks]
        for network in compose.networks
    }


def test_each_participant_shares_one_network_with_green_and_one_with_its_model() -> None:
    compose = isolated(
        purple("one", model_endpoint="reference"), purple("two", model_endpoint="https://models.example/v1")
    )

    assert members(compose) == {
        "agent-network": ["green-agent", "agentbeats-client"],
        "arena-one": ["green-agent", "one"],
        "arena-two": ["green-agent", "two"],
        "model-one": ["one", "inference"],
        "model-two": ["two", "egress-two"],
        "egress-network": ["egress-two"],
    }
    assert compose.networks == {
        "agent-network": OPEN,
        "arena-one": CLOSED,
        "arena-two": CLOSED,
        "model-one": CLOSED,
        "model-two": CLOSED,
        "egress-network": OPEN,
    }


def test_green_listens_on_the_clients_network_only() -> None:
    green = isolated(purple("one", model_endpoint="reference")).services["green-agent"]

    assert green.command[:4] == ("--host", "green-agent.agent-network", "--port", "9009")
    assert green.networks["agent-network"].aliases == ("green-agent.agent-network",)
    assert green.networks["arena-one"].aliases is None
    assert green.healthcheck is not None
    assert green.healthcheck.test[-1] == "http://green-agent.agent-network:9009/.well-known/agent-card.json"


def test_our_runner_joins_the_arenas_since_it_reads_every_card() -> None:
    client = isolated(purple("one"), purple("two"), client="assay").services["agentbeats-client"]

    assert list(client.networks) == ["agent-network", "arena-one", "arena-two"]


def test_a_model_behind_tls_is_reached_through_a_proxy_that_knows_its_address_only() -> None:
    services = isolated(purple("one", model_endpoint="https://models.example/v1")).services

    assert services["egress-one"].command[-2:] == ("--tunnel", "models.example:443")
    assert services["egress-one"].networks["model-one"].aliases == ("egress",)
    assert services["one"].environment == {
        "PYTHONUNBUFFERED": "1",
        "OPENAI_BASE_URL": "https://models.example/v1",
        "OPENAI_API_BASE": "https://models.example/v1",
        "HTTPS_PROXY": "http://egress:3128",
    }


@pytest.mark.parametrize(
    ("address", "target", "told"),
    [
        ("http://models.example:8000/v1", "models.example:8000", "http://egress:3128/v1"),
        ("http://models.example", "models.example:80", "http://egress:3128"),
        ("http://[fd12::7]:8000/v1?x=1", "[fd12::7]:8000", "http://egress:3128/v1?x=1"),
    ],
)
def test_a_model_without_tls_is_reached_through_a_forwarder(address: str, target: str, told: str) -> None:
    services = isolated(purple("one", model_endpoint=address)).services

    assert services["egress-one"].command[-2:] == ("--forward", target)
    environment = services["one"].environment or {}
    assert (environment["OPENAI_BASE_URL"], environment["OPENAI_API_BASE"]) == (told, told)
    assert "HTTPS_PROXY" not in environment


def test_the_address_of_the_model_is_also_found_in_the_agents_own_table() -> None:
    table = {"OPENAI_API_BASE": "http://models.example:8000/v1", "LLM_MODEL": "some/model"}

    services = isolated(purple("one", env=table)).services

    assert services["egress-one"].command[-1] == "models.example:8000"
    assert services["one"].environment == {
        "PYTHONUNBUFFERED": "1",
        "OPENAI_BASE_URL": "http://egress:3128/v1",
        "OPENAI_API_BASE": "http://egress:3128/v1",
        "LLM_MODEL": "some/model",
    }


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"env": {"OPENAI_BASE_URL": "${BASE}"}}, "one: env OPENAI_BASE_URL is a variable"),
        (
            {"env": {"OPENAI_BASE_URL": "https://a.example"}, "model_endpoint": "https://b.example"},
            "one: --isolate lets one address through, got https://a.example, https://b.example",
        ),
        ({"env": {"OPENAI_BASE_URL": "reference"}}, "one: the address of its model in env: expected an http"),
        ({"env": {"OPENAI_BASE_URL": "ftp://a.example"}}, "one: the address of its model in env: expected an http"),
        (
            {"env": {"OPENAI_BASE_URL": "https://me@a.example"}},
            "one: the address of its model in env: expected an http",
        ),
        (
            {"env": {"OPENAI_BASE_URL": "https://a.example/\tv1"}},
            "one: the address of its model in env: expected an http",
        ),
        ({"model_endpoint": "https://mod\u00e8le.example"}, "one: the address of its model is not ASCII"),
        (
            {"env": {"https_proxy": "http://p.example"}, "model_endpoint": "https://b.example"},
            "one: env https_proxy: with --isolate the way out is ours",
        ),
        ({"model_endpoint": "http://127.0.0.1:8000/v1"}, "one: its model is at http://127.0.0.1:8000/v1"),
    ],
)
def test_an_address_that_no_proxy_can_be_made_for_is_refused(more: dict[str, Any], fault: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        isolated(purple("one", **more))

    assert caught.value.faults[0].startswith(fault)


def test_a_participant_without_a_model_is_left_with_green_alone_and_the_reader_is_told() -> None:
    made = project(purple("one"), isolate=True)

    assert list(made.compose.services["one"].networks) == ["arena-one"]
    assert made.notes == ("one reaches no model: without model_endpoint --isolate leaves it nothing but green",)


def test_a_foreign_participant_cannot_write_raw_packets_to_green() -> None:
    services = isolated(purple("one"), purple("two", image="assay-purple:1")).services

    assert (services["one"].cap_drop, services["two"].cap_drop) == (("NET_RAW",), ("ALL",))
    assert project(purple("one")).compose.services["one"].cap_drop is None


def test_green_keeps_its_road_to_a_judge_and_its_own_engine() -> None:
    compose = isolated(purple("one"), green={"model_endpoint": "reference"})

    assert members(compose)["agent-network"] == ["green-agent", "inference", "agentbeats-client"]


def test_isolation_needs_green_as_an_image() -> None:
    with pytest.raises(ScenarioError, match="--isolate puts green on a network with each participant"):
        isolated(purple("one"), green={"image": None, "endpoint": "https://green.example"})


def test_a_participant_that_runs_elsewhere_is_told_to_be_out_of_our_hands() -> None:
    made = project(
        purple("one", model_endpoint="reference"), {"role": "far", "endpoint": "https://far.example"}, isolate=True
    )

    assert made.notes == ("far runs at https://far.example: what it reaches is not ours to limit",)


def test_a_participant_called_like_the_proxy_of_another_is_refused() -> None:
    with pytest.raises(ScenarioError, match="egress-one: another service of the compose file has this name"):
        isolated(purple("one", model_endpoint="https://models.example"), purple("egress-one"))
