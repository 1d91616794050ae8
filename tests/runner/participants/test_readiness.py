import pytest

from services.runner.participants import guarded, start_faults
from services.runner.participants.model_roads import road
from services.runner.scenario import AgentSpec, Scenario

PURPLE = AgentSpec(role="purple", image="org/purple")


def scenario(green: dict[str, object], purple: AgentSpec = PURPLE) -> Scenario:
    return Scenario(name="s", green=AgentSpec.model_validate({"role": "green", **green}), participants=(purple,))


@pytest.mark.parametrize(
    "green",
    [
        {"cmd": "green-agent serve --port 9009", "endpoint": "http://127.0.0.1:9009"},
        {"cmd": "/opt/assay/bin/assay green serve", "free_port": True},
        {"image": "registry.example:5000/assay-green:1.2"},
    ],
)
def test_our_own_green_gets_a_token_for_the_run_by_its_flag(green: dict[str, object]) -> None:
    safe = guarded(scenario(green)).green

    assert safe.token_env is not None
    assert safe.args[-2:] == ("--auth-token-env", safe.token_env)


@pytest.mark.parametrize(
    "green",
    [
        {"endpoint": "http://127.0.0.1:9009"},
        {"cmd": "python their_green.py", "endpoint": "http://127.0.0.1:9009"},
        {"image": "org/green"},
        {"image": "assay-green", "args": ["--auth-token-env", "MINE"]},
        {"image": "assay-green", "token_env": "MINE"},
    ],
)
def test_other_greens_and_those_with_a_token_keep_what_they_have(green: dict[str, object]) -> None:
    before = scenario(green)

    assert guarded(before) == before


def test_isolation_wants_images_and_a_model_that_it_can_lead_to() -> None:
    inside = AgentSpec(
        role="purple", image="p", endpoint="http://127.0.0.1:9010", model_endpoint="http://127.0.0.1:8000/v1",
        env={"OPENAI_BASE_URL": "http://x/v1"},
    )  # fmt: skip
    plain = scenario({"cmd": "green-agent serve", "free_port": True}, inside)

    assert start_faults(plain, {}, isolate=False) == []
    bare, published, here, fixed = start_faults(plain, {}, isolate=True)
    assert bare == "--isolate needs containers: give green an image"
    assert published.startswith("purple: endpoint publishes its port on this machine")
    assert here.startswith("purple: model_endpoint http://127.0.0.1:8000/v1 means the container itself")
    assert fixed.startswith(
        "purple: env OPENAI_BASE_URL: with --isolate the model's address is given as model_endpoint"
    )


def test_an_id_whose_image_nobody_looked_up_is_named() -> None:
    unknown = AgentSpec(role="purple", agentbeats_id="17")

    assert start_faults(scenario({"image": "g"}, unknown), {}, isolate=False) == [
        "purple: the image of agentbeats_id 17 is not known"
    ]


@pytest.mark.parametrize(
    ("endpoint", "told", "command"),
    [
        ("http://gpu.example:8000/v1", "http://egress:3128/v1", ("--forward", "gpu.example:8000")),
        ("http://gpu.example/v1", "http://egress:3128/v1", ("--forward", "gpu.example:80")),
        ("https://api.example/v1", "https://api.example/v1", ("--tunnel", "api.example:443")),
        ("https://[2001:db8::1]:8443/v1", "https://[2001:db8::1]:8443/v1", ("--tunnel", "[2001:db8::1]:8443")),
    ],
)
def test_an_isolated_agent_reaches_the_address_of_its_model_through_the_proxy(
    endpoint: str, told: str, command: tuple[str, str]
) -> None:
    way = road(PURPLE.model_copy(update={"model_endpoint": endpoint}), isolated=True)

    assert way.told["OPENAI_BASE_URL"] == way.told["OPENAI_API_BASE"] == told
    assert way.told.get("HTTPS_PROXY") == ("http://egress:3128" if endpoint.startswith("https") else None)
    assert way.helper is not None
    assert way.helper.command[-2:] == command
    assert way.helper.way_out


def test_the_reference_engine_of_a_container_is_a_container_without_a_way_out() -> None:
    way = road(PURPLE.model_copy(update={"model_endpoint": "reference"}), isolated=True)

    assert way.told["OPENAI_BASE_URL"] == "http://inference:8000/v1"
    assert way.helper is not None
    assert not way.helper.way_out


def test_an_agent_that_is_not_isolated_is_told_the_address_as_it_is() -> None:
    way = road(PURPLE.model_copy(update={"model_endpoint": "http://gpu.example:8000/v1"}), isolated=False)

    assert (way.told["OPENAI_BASE_URL"], way.helper) == ("http://gpu.example:8000/v1", None)
