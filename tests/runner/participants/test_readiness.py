import pytest

from services.runner.participants import guarded, start_faults
from services.runner.participants.model_roads import road
from services.runner.participants.readiness import token_variables, tokens_of
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
        {"image": "assay-green", "args": ["--auth-token-env=MINE"]},
    ],
)
def test_other_greens_and_those_with_a_token_keep_what_they_have(green: dict[str, object]) -> None:
    before = scenario(green)

    assert guarded(before) == before


def test_a_token_under_a_name_of_ones_own_is_asked_for_by_our_green() -> None:
    safe = guarded(scenario({"image": "assay-green", "token_env": "MINE"})).green

    assert (safe.token_env, safe.args) == ("MINE", ("--auth-token-env", "MINE"))


@pytest.mark.parametrize(
    ("purple", "green", "token"),
    [
        (AgentSpec(role="p", image="assay-purple:1"), {"image": "assay-green"}, "ASSAY_PURPLE_TOKEN"),
        (AgentSpec(role="p", cmd="purple-agent serve", free_port=True), {"image": "g"}, "ASSAY_PURPLE_TOKEN"),
        (AgentSpec(role="p", image="assay-purple:1"), {"endpoint": "http://127.0.0.1:9"}, None),
        (PURPLE, {"image": "assay-green"}, None),
    ],
)
def test_a_purple_of_ours_gets_a_token_when_green_can_be_told_it(
    purple: AgentSpec, green: dict[str, object], token: str | None
) -> None:
    safe = guarded(scenario(green, purple))

    assert safe.purple.token_env == token
    assert safe.asked_config().get("purple_token_env") == token


def test_an_agent_is_told_its_own_token_and_green_that_of_the_purple() -> None:
    purple = AgentSpec(role="p", image="org/purple", token_env="P")
    both = scenario({"image": "assay-green", "token_env": "G"}, purple)
    tokens = tokens_of(both, {"G": "of-green"})

    assert tokens["green"] == "of-green"
    assert len(tokens["p"]) > 40
    assert token_variables(purple, both, tokens) == {"G": "", "P": tokens["p"]}
    assert token_variables(both.green, both, tokens) == {
        "G": "of-green",
        "P": "",
        "ASSAY_PURPLE_TOKEN": tokens["p"],
    }


def test_a_green_that_runs_already_cannot_be_told_a_participants_token() -> None:
    running = scenario({"endpoint": "http://127.0.0.1:9"}, AgentSpec(role="p", image="org/purple", token_env="P"))

    (fault,) = start_faults(running, {}, isolate=False)
    assert fault.startswith(
        "p: a green that runs already cannot be told the token of token_env: set ASSAY_PURPLE_TOKEN"
    )


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
