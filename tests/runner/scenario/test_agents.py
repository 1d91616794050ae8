from pathlib import Path

import pytest

from services.runner.scenario import AgentSpec
from tests.runner.scenario.files import BY_ID, MINIMAL, faults, read

IMAGE = MINIMAL.replace('endpoint = "http://127.0.0.1:9010"', 'image = "agent:1"')
COMMAND = MINIMAL + 'cmd = "agent --port 9010"\n'


def green_of(text: str, line: str) -> str:
    return text.replace("[green_agent]\n", f"[green_agent]\n{line}\n")


@pytest.mark.parametrize(
    "image",
    [
        "agent",
        "ghcr.io/owner/agent:1.0",
        "localhost:5000/a/b@sha256:" + "0" * 64,
        "host.example/a__b.c-d/e:TAG_1.2-x@sha256:" + "f" * 64,
        "a" * 255,
    ],
)
def test_image_references_are_accepted(tmp_path: Path, image: str) -> None:
    scenario = read(tmp_path, IMAGE.replace("agent:1", image))

    assert scenario.purple.image == image


@pytest.mark.parametrize(
    "image",
    [
        "a b",
        "a\\n",
        "Agent",
        "a/",
        "/a",
        "a//b",
        "a:",
        "a@sha256:00",
        "a:b:c",
        "$(id)",
        "a;b",
        "-a",
        "--privileged/a",
        ".../a",
        "a-/b",
        "a..b/c",
        "a" * 256,
        "é",
        "host:port/a",
        "a:" + "t" * 129,
        "http://ghcr.io/a",
        "a@sha256:" + "G" * 64,
        "${IMAGE}",
    ],
)
def test_what_is_no_image_reference_is_refused(tmp_path: Path, image: str) -> None:
    (fault,) = faults(tmp_path, IMAGE.replace("agent:1", image))

    assert fault.startswith("participants[1].image: expected an image reference")


@pytest.mark.parametrize("agent_id", ["agent-one", "0a1b2c3d", "-5", "1.5", "../../etc", "1" * 20, "a b"])
def test_an_id_is_a_uuid_or_a_whole_number(tmp_path: Path, agent_id: str) -> None:
    (fault,) = faults(tmp_path, BY_ID.replace("0a1b2c3d-0000-7000-8000-00000000bbbb", agent_id))

    assert fault == f"participants[1].agentbeats_id: expected a UUID or a whole number, got {agent_id!r}"


@pytest.mark.parametrize(
    "endpoint",
    [
        "ftp://host/",
        "host:9010",
        "http://",
        "http://user:word@host/",
        "http://@host/",
        "http://host/#part",
        "http://host:0/",
        "http://host:99999/",
        "http://host/a b",
        "http://host/\\n",
        "http://ho\\u0000st/",
    ],
)
def test_an_endpoint_is_a_plain_address(tmp_path: Path, endpoint: str) -> None:
    (fault,) = faults(tmp_path, MINIMAL.replace("http://127.0.0.1:9010", endpoint))

    assert fault.startswith("participants[1].endpoint: ")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (COMMAND + 'image = "b"', "cmd and image are both given: choose one"),
        (MINIMAL + 'env = { A = "1" }', "env has no effect on an agent that is already running"),
        (MINIMAL + 'args = ["-x"]', "args has no effect on an agent that is already running"),
        (MINIMAL + 'model_endpoint = "reference"', "model_endpoint has no effect on an agent that is already running"),
        (MINIMAL + "limits = { cpus = 1 }", "limits has no effect on an agent without image"),
        (COMMAND + "limits = { cpus = 1 }", "limits has no effect on an agent without image"),
        (IMAGE + 'cwd = "work"', "cwd has no effect on an agent without cmd"),
        (BY_ID + "inherit_env = true", "inherit_env has no effect on an agent without cmd"),
        (
            IMAGE + 'endpoint = "http://elsewhere:80"',
            "endpoint of an image is where its port is published: http://127.0.0.1:PORT",
        ),
    ],
)
def test_a_key_without_effect_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    (found,) = faults(tmp_path, text)

    assert found.startswith(f"participants[1]: {fault}")


def test_an_agent_from_an_image_takes_what_an_image_can_take(tmp_path: Path) -> None:
    keys = """
    args = ["--baseline", "toy_solver"]
    env = { A = "1" }
    limits = { cpus = 1.5, memory = "2g", pids = 64 }
    start_timeout = 90
    model_endpoint = "https://models.example/v1"
    """

    for text in (IMAGE, BY_ID):
        agent = read(tmp_path, text + keys).purple
        assert agent.args == ("--baseline", "toy_solver")
        assert agent.start_timeout == 90
        assert agent.limits is not None
        assert (agent.limits.cpus, agent.limits.memory, agent.limits.pids) == (1.5, "2g", 64)


def test_green_takes_dialect_card_and_token(tmp_path: Path) -> None:
    lines = 'a2a_version = "0.3"\ncard_url = "follow"\ntoken_env = "GREEN_TOKEN"'

    green = read(tmp_path, green_of(MINIMAL, lines)).green

    assert (green.a2a_version, green.card_url, green.token_env) == ("0.3", "follow", "GREEN_TOKEN")


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('a2a_version = "0.2"', "a2a_version"),
        ("a2a_version = 1.0", "a2a_version"),
        ('card_url = "http://card/"', "card_url"),
        ('token_env = "MY-TOKEN"', "token_env"),
        ("start_timeout = 0", "start_timeout"),
        ("start_timeout = inf", "start_timeout"),
        ("start_timeout = 1e-5", "start_timeout"),
        ("start_timeout = 1e20", "start_timeout"),
        ("start_timeout = true", "start_timeout"),
        ('start_timeout = "30"', "start_timeout"),
        ('cmd = ""', "cmd"),
        ('cmd = "an \'open quote"', "cmd"),
        ('cmd = "a\\u0000b"', "cmd"),
        ('cmd = ["a", "b"]', "cmd"),
        ('cmd = "x"\nargs = "--all"', "args"),
        ('cmd = "x"\nargs = ["a\\u0000"]', "args"),
        ('cmd = "x"\ncwd = 3', "cwd"),
        ('cmd = "x"\ninherit_env = "yes"', "inherit_env"),
        ('cmd = "x"\ninherit_env = ["A B"]', "inherit_env"),
        ('cmd = "x"\nmodel_endpoint = "models"', "model_endpoint"),
        ('cmd = "x"\nenv = "A=1"', "env"),
        ('cmd = "x"\nenv = { A = 2026-01-01 }', "env"),
        ('cmd = "x"\nenv = { A = ["b"] }', "env"),
        ('cmd = "x"\nlimits = { cpu = 1 }', "limits"),
        ('cmd = "x"\nlimits = { cpus = 0 }', "limits"),
        ('cmd = "x"\nlimits = { memory = "2 GB" }', "limits"),
        ('cmd = "x"\nlimits = { pids = 1.5 }', "limits"),
    ],
)
def test_a_wrong_value_is_named_by_its_key(tmp_path: Path, line: str, key: str) -> None:
    found = faults(tmp_path, green_of(MINIMAL, line))

    assert found
    assert all(fault.startswith(f"green_agent.{key}") for fault in found)


@pytest.mark.parametrize(
    ("env", "fault"),
    [
        ('{ A-B = "1" }', "'A-B' is no variable name"),
        ('{ "1A" = "1" }', "'1A' is no variable name"),
        ('{ "A\\n" = "1" }', "'A\\n' is no variable name"),
        ('{ "ÄÖ" = "1" }', "'ÄÖ' is no variable name"),
        ('{ A = "$HOME" }', "A: a lone $"),
        ('{ A = "${HOME" }', "A: a lone $"),
        ('{ A = "${B-HOME}" }', "A: a lone $"),
        ('{ A = "${B:-$HOME}" }', "A: a lone $"),
        ('{ A = "HOME\\u0000" }', "A: a NUL character cannot be passed"),
    ],
)
def test_names_and_dollars_of_env_are_checked_without_repeating_the_value(tmp_path: Path, env: str, fault: str) -> None:
    (found,) = faults(tmp_path, COMMAND + f"env = {env}")

    assert found.startswith(f"participants[1].env: {fault}")
    assert "HOME" not in found


def test_a_spec_of_our_own_may_have_its_port_chosen() -> None:
    assert AgentSpec(role="purple", cmd="purple-agent serve", free_port=True).kind == "command"


def test_how_to_speak_to_a_participant_reaches_green_in_the_config(tmp_path: Path) -> None:
    told = 'a2a_version = "0.3"\ncard_url = "follow"\ntoken_env = "MY_TOKEN"'

    found = read(tmp_path, COMMAND + told + "\n[config]\nnum_tasks = 3")

    assert found.config == {"num_tasks": 3}
    assert found.asked_config() == {
        "num_tasks": 3,
        "purple_a2a_version": "0.3",
        "purple_card_url": "follow",
        "purple_token_env": "ASSAY_PURPLE_TOKEN",
    }
