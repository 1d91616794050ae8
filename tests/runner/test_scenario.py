from pathlib import Path

import pytest

from services.runner.failures import ScenarioError
from services.runner.scenario import Scenario, read_scenario

MINIMAL = """
[green_agent]
endpoint = "http://127.0.0.1:9009"
[[participants]]
role = "purple"
endpoint = "http://127.0.0.1:9010"
"""


def read(folder: Path, text: str) -> Scenario:
    path = folder / "scenario.toml"
    path.write_text(text)
    return read_scenario(path)


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        read(folder, text)
    return [fault.removeprefix(f"{folder / 'scenario.toml'}: ") for fault in caught.value.faults]


def test_the_guides_example_is_read_with_its_multi_line_env_comments_and_limits(tmp_path: Path) -> None:
    scenario = read(
        tmp_path,
        """
        [green_agent]
        endpoint = "http://127.0.0.1:9009"
        cmd = "green-agent serve --port 9009" # starts here
        env = {
          EVAL_CONFIG = "offline", # a comment inside
          WORKERS = 4,
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
    assert scenario.green.env == {"EVAL_CONFIG": "offline", "WORKERS": "4", "DEBUG": "true"}
    assert scenario.purple.role == "purple_agent"
    assert scenario.config == {"num_tasks": 10, "options_limit": 5}


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
        "participants[2].image: expected an image reference [host[:port]/]path[:tag][@sha256:digest], got 'a b'",
        "config.num_task: unknown key; did you mean 'num_tasks'?",
    ]


def test_a_syntax_error_is_placed_by_line_and_column(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        read(tmp_path, "[green_agent]\nendpoint = = 3\n")

    assert str(caught.value) == f"{tmp_path / 'scenario.toml'}:2:12: Invalid value"


@pytest.mark.parametrize("role", ["a: b\\n", 'x\\"; rm -rf', "../p", "", "1st", "green", "Results", "a" * 64])
def test_a_role_that_could_leave_its_place_is_refused(tmp_path: Path, role: str) -> None:
    text = MINIMAL.replace('role = "purple"', f'role = "{role}"')

    (fault,) = faults(tmp_path, text)

    assert fault.startswith("participants[1]: role ")


@pytest.mark.parametrize("image", ["agent", "ghcr.io/owner/agent:1.0", "localhost:5000/a/b@sha256:" + "0" * 64])
def test_image_references_are_accepted(tmp_path: Path, image: str) -> None:
    scenario = read(tmp_path, MINIMAL.replace('endpoint = "http://127.0.0.1:9010"', f'image = "{image}"'))

    assert scenario.purple.image == image


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ('cmd = "a"\nimage = "b"', "cmd and image are both given: choose one"),
        ('env = { A = "1" }', "env has no effect on an agent that is already running"),
        ("limits = { cpus = 1 }", "limits has no effect on an agent without image"),
        ('cmd = "a"\na2a_version = "0.3"', "a2a_version has no effect on a participant"),
    ],
)
def test_a_key_without_effect_is_refused(tmp_path: Path, table: str, fault: str) -> None:
    (found,) = faults(tmp_path, MINIMAL + table)

    assert found.startswith(f"participants[1]: {fault}")


@pytest.mark.parametrize(
    ("env", "fault"),
    [
        ('{ A-B = "1" }', "'A-B' is no variable name"),
        ('{ A = "$HOME" }', "A: a lone $"),
    ],
)
def test_names_and_dollars_of_env_are_checked_without_repeating_the_value(tmp_path: Path, env: str, fault: str) -> None:
    (found,) = faults(tmp_path, MINIMAL + f'cmd = "x"\nenv = {env}')

    assert found.startswith(f"participants[1].env: {fault}")
    assert "HOME" not in found


def test_several_participants_need_the_one_under_test_to_be_named(tmp_path: Path) -> None:
    second = '[[participants]]\nname = "other"\nendpoint = "http://127.0.0.1:9011"\n'

    assert faults(tmp_path, MINIMAL + second) == [
        "several participants (purple, other): name one in config.purple_role"
    ]
    chosen = read(tmp_path, MINIMAL + second + '[config]\npurple_role = "other"\n')
    assert chosen.purple.role == "other"


def test_the_runners_own_config_keys_are_not_for_scenarios(tmp_path: Path) -> None:
    assert faults(tmp_path, MINIMAL + "[config]\nplan_only = true\n") == ["config.plan_only: the runner sets it"]


def test_a_stored_scenario_reads_back_equal_but_for_literal_secrets(tmp_path: Path) -> None:
    scenario = read(
        tmp_path, MINIMAL + 'cmd = "purple"\nenv = { A_KEY = "literal-value", B = "${B:-x}" }\n[config]\nseed = 1\n'
    )

    stored = Scenario.model_validate(scenario.storable())

    assert stored.purple.env == {"A_KEY": "${A_KEY}", "B": "${B:-x}"}
    assert stored.green == scenario.green
    assert stored.config == {"seed": 1}


def test_the_scenario_in_the_repository_is_valid() -> None:
    scenario = read_scenario(Path(__file__).parents[2] / "config" / "scenarios" / "quick.toml")

    assert scenario.purple.model_endpoint == "reference"
    assert scenario.config["options_limit"] == 12
