import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runner.failures import ScenarioError
from services.runner.purples.reading import read_purples, with_purples
from services.runner.scenario import AgentSpec, Scenario
from services.runner.scenario.agents import ROLE

PROGRAM = Path(sys.executable).name


def only(value: str, *settings: str) -> AgentSpec:
    (agent,) = read_purples([value], settings)
    return agent


def faults(*values: str, settings: tuple[str, ...] = ()) -> str:
    with pytest.raises(ScenarioError) as caught:
        read_purples(values, settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "role", "kind"),
    [
        ("http://10.0.0.3:8080/a?b=c", "purple-10-0-0-3-8080", "endpoint"),
        ("https://agent.example/", "agent-example", "endpoint"),
        ("mine=http://h/?a=b", "mine", "endpoint"),
        ("purple-agent serve --baseline constant", "purple-agent", "command"),
        ("python agents/my_agent.py --x=1", "my_agent", "command"),
        ("purple-agent", "purple-agent", "command"),
        (f"v2={sys.executable} a.py", "v2", "command"),
        ("ghcr.io/Org/agent:v1", "", ""),
        ("ghcr.io/org/agent:v1", "agent-v1", "image"),
        ("localhost:5000/agent@sha256:" + "0" * 64, "agent", "image"),
        ("old=org/agent", "old", "image"),
    ],
)
def test_a_value_is_a_url_a_command_or_an_image_by_its_look(value: str, role: str, kind: str) -> None:
    if not role:
        assert "is no URL, no program here and no image" in faults(value)
        return
    agent = only(value)

    assert (agent.role, agent.kind) == (role, kind)


def test_a_command_is_told_a_port_when_it_starts() -> None:
    agent = only("x=purple-agent serve --baseline constant")

    assert agent.cmd == "purple-agent serve --baseline constant"
    assert (agent.endpoint, agent.free_port) == (None, "told")


def test_a_made_name_that_is_taken_gets_a_number() -> None:
    agents = read_purples(["purple-agent serve", "purple-agent=org/x", "purple-agent serve", "gateway.example/gateway"])

    assert [agent.role for agent in agents] == ["purple-agent-2", "purple-agent", "purple-agent-3", "gateway-2"]


def test_all_faults_are_said_at_once_and_values_of_variables_are_not_repeated() -> None:
    said = faults(
        "a=org/x", "A=org/y", "results=org/z", "nosuch thing", "b=./absent --x", "c=http://u:p@h/", "d='",
        settings=("zz:K=1", "=hidden-value"),
    )  # fmt: skip

    assert "--purple: the name a is given twice" in said
    assert "--purple: the name results is reserved" in said
    assert "--purple nosuch: no program nosuch" in said
    assert "--purple b: no program ./absent" in said
    assert "--purple c: expected an http or https URL without user info" in said
    assert '--purple d: "\'" cannot be split into words' in said
    assert "--purple-env zz:K: no --purple is called zz" in said
    assert "--purple-env: expected [NAME:]KEY or [NAME:]KEY=VALUE" in said
    assert "hidden-value" not in said
    assert "u:p" not in said


def test_a_word_that_is_a_file_and_could_be_an_image_is_refused_with_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "mine").write_text("#!/bin/sh\n")
    monkeypatch.chdir(tmp_path)

    said = faults("agents/mine")

    assert "write ./agents/mine for the command, or agents/mine:latest for the image" in said


def test_variables_go_to_all_purples_or_to_one_and_ours_stay_references() -> None:
    one, other = read_purples(["a=org/x", "b=org/y"], ["OPENAI_API_KEY", "b:LLM_MODEL=m-$1", "LANG=C"])

    assert one.env == {"OPENAI_API_KEY": "${OPENAI_API_KEY}", "LANG": "C"}
    assert other.env == {"OPENAI_API_KEY": "${OPENAI_API_KEY}", "LLM_MODEL": "m-$$1", "LANG": "C"}


def test_a_running_agent_cannot_be_given_variables() -> None:
    with pytest.raises(ScenarioError, match="env has no effect on an agent that is already running"):
        read_purples(["a=http://h/"], ["X=1"])


def test_the_agents_take_the_place_of_the_scenarios_and_its_choice_of_one() -> None:
    green = AgentSpec(role="green", endpoint="http://127.0.0.1:9009")
    old = AgentSpec(role="old", endpoint="http://127.0.0.1:9010")
    scenario = Scenario(name="s", green=green, participants=(old,), config={"purple_role": "old", "num_tasks": 3})

    changed = with_purples(scenario, ["n=org/x"], [])

    assert [agent.role for agent in changed.purples] == ["n"]
    assert changed.config == {"num_tasks": 3}


@given(st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=4))
def test_whatever_is_typed_gives_agents_with_unique_names_or_an_error_that_says_so(values: list[str]) -> None:
    try:
        names = [agent.role for agent in read_purples(values)]
    except ScenarioError:
        return  # and nothing else is ever raised
    assert len({name.lower() for name in names}) == len(names) == len(values)
    assert all(ROLE.fullmatch(name) for name in names)
