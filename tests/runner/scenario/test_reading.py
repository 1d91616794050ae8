from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.runner.environment import resolve
from services.runner.failures import ScenarioError
from services.runner.scenario import Scenario, parse_scenario, read_scenario
from tests.runner.scenario.files import (
    BY_ID,
    GREEN,
    GREEN_ID,
    IMAGE_FAULT,
    LEADERBOARD,
    MINIMAL,
    PURPLE_ID,
    faults,
    read,
)

ROOT = Path(__file__).parents[3]


def test_the_guides_example_is_read_with_its_multi_line_env_comments_and_limits() -> None:
    scenario = read_scenario(LEADERBOARD)

    assert [(agent.role, agent.kind, agent.agentbeats_id) for agent in scenario.agents()] == [
        ("green", "id", GREEN_ID),
        ("purple_agent", "id", PURPLE_ID),
    ]
    assert scenario.green.env == {
        "OPENAI_API_KEY": "${OPENAI_API_KEY}",
        "EVAL_CONFIG": "config/eval_medium.yaml",
        "EVAL_DATA_REPO": "${EVAL_DATA_REPO}",
        "EVAL_DATA_PAT": "${EVAL_DATA_PAT}",
    }
    assert scenario.purple.env is not None
    assert scenario.purple.env["LLM_MODEL"] == "maker/model-70b-instruct"
    assert scenario.config["timeout_seconds"] == 600
    assert scenario.config["gdpval_limit"] == 18


def test_a_local_example_is_read_with_commands_and_values_that_are_no_texts(tmp_path: Path) -> None:
    scenario = read(
        tmp_path,
        """
        [green_agent]
        endpoint = "http://127.0.0.1:9009"
        cmd = "green-agent serve --port 9009" # starts here
        env = {
          EVAL_CONFIG = "offline", # a comment inside
          WORKERS = 4,
          SHARE = 0.25,
          DEBUG = true,
        }
        [[participants]]
        role = "purple_agent"
        endpoint = "http://127.0.0.1:9010"
        [config]
        num_tasks = 10
        options_limit = 5
        """,
    )

    assert scenario.name == "scenario"
    assert scenario.green.kind == "command"
    assert scenario.green.env == {"EVAL_CONFIG": "offline", "WORKERS": "4", "SHARE": "0.25", "DEBUG": "true"}
    assert scenario.purple.role == "purple_agent"
    assert scenario.purple.kind == "endpoint"
    assert scenario.config == {"num_tasks": 10, "options_limit": 5}


def test_kinds_mix_and_role_and_name_are_the_same_key(tmp_path: Path) -> None:
    scenario = read(
        tmp_path,
        f"""
        [green_agent]
        image = "ghcr.io/maker/green:1"
        [[participants]]
        name = "running"
        endpoint = "https://agents.example/one"
        [[participants]]
        role = "known"
        name = "known"
        agentbeats_id = 77
        [[participants]]
        role = "numbered"
        agentbeats_id = "{PURPLE_ID.upper()}"
        """,
    )

    assert [(agent.role, agent.kind) for agent in scenario.agents()] == [
        ("green", "image"),
        ("running", "endpoint"),
        ("known", "id"),
        ("numbered", "id"),
    ]
    assert scenario.participants[1].agentbeats_id == "77"


def test_every_fault_of_a_file_is_reported_at_once_with_the_nearest_name(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """
        [green_agent]
        endpoint = "http://127.0.0.1:9009"
        comand = "green-agent serve"
        [[participants]]
        role = "purple"
        endpoint = "ftp://host/"
        [[participants]]
        role = "Purple"
        image = "a b"
        agentbeats_id = 5
        [config]
        num_task = 3
        [configuration]
        """,
    )

    assert found == [
        "configuration: unknown table; did you mean 'config'?",
        "green_agent.comand: unknown key; did you mean 'cmd'?",
        "participants[1].endpoint: expected an http or https URL without user info, got 'ftp://host/'",
        "participants[2]: role 'Purple' is there already (upper and lower case are the same)",
        f"participants[2].image: {IMAGE_FAULT}, got 'a b'",
        "config.num_task: unknown key; did you mean 'num_tasks'?",
        "participants[2]: agentbeats_id and image are both given: choose one",
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[green_agent]\nendpoint = = 3\n", "2:12"),
        ('[green_agent]\nenv = { A = "1"\n', "3:1"),
        ("[green_agent]\n[green_agent]\n", "2:13"),
        ('a = "\rb"', "1:6"),
    ],
)
def test_a_syntax_error_is_placed_by_line_and_column(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        read(tmp_path, text)

    assert str(caught.value).startswith(f"{tmp_path / 'scenario.toml'}:{place}: ")


def test_a_file_nested_without_end_or_in_no_known_encoding_is_named(tmp_path: Path) -> None:
    assert faults(tmp_path, "a = " + "[" * 100_000) == ["nested too deeply"]
    (fault,) = faults(tmp_path, f"{MINIMAL}\n[config]\n{'.'.join('a' * 300)} = 1", any_config=True)
    assert fault.startswith("config.a.a.a.")
    assert fault.endswith("...: nested too deeply")
    (fault,) = faults(tmp_path, "a = " + "9" * 5000)
    assert fault.startswith("Exceeds the limit (4300 digits)")
    (tmp_path / "latin.toml").write_bytes(b'a = "\xe9"')
    with pytest.raises(ScenarioError, match=r"latin\.toml: cannot be read"):
        read_scenario(tmp_path / "latin.toml")
    with pytest.raises(ScenarioError, match=r"absent\.toml: cannot be read"):
        read_scenario(tmp_path / "absent.toml")


def test_the_mark_that_editors_put_before_a_text_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())

    assert read_scenario(tmp_path / "s.toml").purple.role == "purple"


@pytest.mark.parametrize(
    "role",
    [
        "a: b\\n",
        'x\\"; rm -rf',
        "../p",
        "",
        "1st",
        "a" * 64,
        "gr\\u00fcn",
        "a\\u0000",
        "green",
        "Results",
        "green-agent",
        "Egress",
        "localhost",
        "AgentBeats-Client",
        "gateway",
        "proxy",
        "reference-engine",
    ],
)
@pytest.mark.parametrize("key", ["role", "name"])
def test_a_role_that_could_leave_its_place_is_refused(tmp_path: Path, role: str, key: str) -> None:
    text = MINIMAL.replace('role = "purple"', f'{key} = "{role}"')

    (fault,) = faults(tmp_path, text)

    assert fault.startswith("participants[1]: role ")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "green_agent: a table with endpoint, image or agentbeats_id is needed"),
        ("[green_agent]", "green_agent: an endpoint, an image or an agentbeats_id is needed"),
        ('[green_agent]\ncmd = "x"', "green_agent: cmd needs an endpoint: the address where the command will listen"),
        ('[green_agent]\nname = "x"', "green_agent.name: green has no name but green; remove the line"),
        (GREEN, "participants: at least one [[participants]] table is needed"),
        (GREEN + "[participants]", "participants: at least one [[participants]] table is needed"),
        (GREEN + "[[participants]]\nimage = 'a'", "participants[1]: role is needed"),
        (
            GREEN + "[[participants]]\nrole = 3",
            "participants[1]: role 3: a letter, then at most 62 letters, digits, _ or -",
        ),
        (
            GREEN + "[[participants]]\nrole = 'a'\nname = 'b'",
            "participants[1]: role 'a' and name 'b' differ: give one",
        ),
        (
            GREEN + "[[participants]]\nrole = 'a'",
            "participants[1]: an endpoint, an image or an agentbeats_id is needed",
        ),
        ("participants = [3]\n" + GREEN, "participants[1]: expected a table, got 3"),
        ("config = 3\n" + MINIMAL, "config: expected a table, got 3"),
    ],
)
def test_what_is_lacking_is_named(tmp_path: Path, text: str, fault: str) -> None:
    assert fault in faults(tmp_path, text)


def test_an_agent_by_id_and_image_at_once_is_refused_in_a_file_and_accepted_when_it_was_resolved(
    tmp_path: Path,
) -> None:
    text = BY_ID.replace('name = "purple"', 'name = "purple"\nimage = "agent:1"')

    assert faults(tmp_path, text) == ["participants[1]: agentbeats_id and image are both given: choose one"]
    tables = {
        "green_agent": {"agentbeats_id": GREEN_ID, "image": "green:1"},
        "participants": [{"role": "purple", "agentbeats_id": PURPLE_ID, "image": "agent:1"}],
    }
    assert parse_scenario(tables, name="resolved").purple.kind == "image"


def test_placeholders_of_a_template_are_said_to_be_filled_in(tmp_path: Path) -> None:
    text = '[green_agent]\nagentbeats_id = ""\n[[participants]]\nname = "purple"\nimage = ""\nenv = {}\n'

    assert [fault.removesuffix(", got ''") for fault in faults(tmp_path, text)] == [
        "green_agent.agentbeats_id: it is empty: fill in the agent's id on agentbeats.dev, or name an image or an endpoint",
        "participants[1].image: it is empty: fill it in, or remove the line and name an agentbeats_id or an endpoint",
    ]


def test_in_a_workflow_of_github_an_image_needs_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MINIMAL.replace('endpoint = "http://127.0.0.1:9010"', 'image = "agent:1"')
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    assert faults(tmp_path, text) == [
        "participants[1].image: in a GitHub workflow name the agent by agentbeats_id, or give --allow-image"
    ]
    assert read(tmp_path, text, allow_image=True).purple.image == "agent:1"
    monkeypatch.delenv("GITHUB_ACTIONS")
    assert read(tmp_path, text).purple.image == "agent:1"


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9009/", "http://localhost:9009", "http://[::1]:9009"])
def test_green_is_not_its_own_participant_by_address(tmp_path: Path, endpoint: str) -> None:
    text = MINIMAL.replace("http://127.0.0.1:9010", endpoint)

    assert faults(tmp_path, text) == ["purple: its endpoint is that of green; an agent cannot examine itself"]


def test_green_is_not_its_own_participant_by_id(tmp_path: Path) -> None:
    assert faults(tmp_path, BY_ID.replace(PURPLE_ID, GREEN_ID)) == [
        "purple: its agentbeats_id is that of green; an agent cannot examine itself"
    ]


def test_agents_behind_one_gateway_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    text = MINIMAL.replace("http://127.0.0.1:9009", "https://host/green").replace(
        "http://127.0.0.1:9010", "https://host/purple"
    )

    assert read(tmp_path, text).purple.endpoint == "https://host/purple"


def test_agents_that_are_started_at_the_same_time_do_not_share_a_port(tmp_path: Path) -> None:
    second = '[[participants]]\nrole = "other"\nendpoint = "http://localhost:9010/"\n'
    started = MINIMAL + 'cmd = "one"\n' + second + 'cmd = "two"\n'
    with_green = started.replace("localhost:9010/", "localhost:9009/two").replace(
        "[green_agent]", "[green_agent]\ncmd = 'g'"
    )

    one_after_the_other = read(tmp_path, started)
    both_running = read(tmp_path, MINIMAL + second + '[config]\npurple_role = "other"\n')

    assert len(one_after_the_other.purples) == 2
    assert both_running.purple.role == "other"
    assert faults(tmp_path, started + '[config]\npurple_role = "other"\n') == [
        "other: it would listen where purple does; give each its own port"
    ]
    assert faults(tmp_path, with_green) == ["other: it would listen where green does; give each its own port"]


def test_of_several_participants_all_are_examined_unless_one_is_named(tmp_path: Path) -> None:
    text = MINIMAL + '[[participants]]\nname = "other"\nendpoint = "http://127.0.0.1:9011"\n'

    every, one = read(tmp_path, text), read(tmp_path, text + '[config]\npurple_role = "other"\n')

    assert [agent.role for agent in every.purples] == ["purple", "other"]
    assert [agent.role for agent in one.purples] == ["other"]
    assert one.purple.role == "other"
    assert every.only("other").participants == (every.participants[1],)
    assert every.only("other").config == {}
    assert one.only("purple").config == {"purple_role": "purple"}
    assert faults(tmp_path, text + '[config]\npurple_role = "others"\n') == [
        "config.purple_role 'others' is no participant; roles: purple, other"
    ]


def test_the_config_of_another_green_is_passed_on_when_that_is_asked(tmp_path: Path) -> None:
    text = MINIMAL + '[config]\ntopic = "regulation"\nnum_rounds = 3\n'

    assert [fault.partition(";")[0] for fault in faults(tmp_path, text)] == [
        "config.topic: unknown key",
        "config.num_rounds: unknown key",
    ]
    scenario = read(tmp_path, text, any_config=True)
    assert scenario.config == {"topic": "regulation", "num_rounds": 3}
    assert scenario.with_config(shard_index=1).config["shard_index"] == 1


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("x_day = 2026-01-31", "config.x_day: a date or time travels as text: write it in quotes"),
        ("x_times = [ { at = 10:00:00 } ]", "config.x_times[0].at: a date or time travels as text: write it in quotes"),
        ("x_share = nan", "config.x_share: nan is no number that JSON knows"),
        ("x_share = -inf", "config.x_share: -inf is no number that JSON knows"),
    ],
)
def test_config_holds_what_json_can_say(tmp_path: Path, line: str, fault: str) -> None:
    assert faults(tmp_path, f"{MINIMAL}[config]\n{line}\n") == [fault]
    with pytest.raises(ScenarioError):
        read(tmp_path, f"{MINIMAL}[config]\n{line}\n", any_config=True)


def test_the_runners_own_config_keys_are_not_for_scenarios(tmp_path: Path) -> None:
    assert faults(tmp_path, MINIMAL + "[config]\nplan_only = true\n") == ["config.plan_only: the runner sets it"]


def test_a_stored_scenario_reads_back_equal_but_for_literal_secrets(tmp_path: Path) -> None:
    env = '{ A_KEY = "literal-value", B = "${B:-x}", OPENAI_API_KEY = "${OPENAI_API_KEY:-EMPTY}" }'
    scenario = read(tmp_path, MINIMAL + f'cmd = "purple"\nenv = {env}\n[config]\nseed = 1\n')

    stored = Scenario.model_validate(scenario.storable())

    assert stored.purple.env == {
        "A_KEY": "${A_KEY}",
        "B": "${B:-x}",
        "OPENAI_API_KEY": "${OPENAI_API_KEY:-EMPTY}",
    }
    assert stored.green == scenario.green
    assert stored.config == {"seed": 1}


def _without_nul() -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_characters="\0", codec="utf-8"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.one_of(st.sampled_from(["a\nb\r\n\"c\" 'd' # {e} \\ \t", "$", "${", "'''", '"""']), _without_nul()))
def test_a_value_of_env_comes_through_toml_and_references_unchanged(tmp_path: Path, value: str) -> None:
    agent = {"role": "purple", "image": "agent:1", "env": {"A": value.replace("$", "$$")}}
    tables = {"green_agent": {"endpoint": "http://127.0.0.1:9009"}, "participants": [agent]}

    once = read(tmp_path, tomli_w.dumps(tables))
    again = Scenario.model_validate(once.storable())

    for scenario in (once, again):
        assert resolve((scenario.purple.env or {})["A"], {}) == value


@pytest.mark.parametrize("file", sorted((ROOT / "config" / "scenarios").glob("*.toml")), ids=lambda path: path.stem)
def test_the_scenarios_in_the_repository_are_valid(file: Path) -> None:
    assert read_scenario(file, allow_image=True).purples
