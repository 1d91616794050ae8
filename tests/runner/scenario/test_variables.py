from pathlib import Path

from services.runner.scenario import read_scenario
from services.runner.scenario.variables import Variable, missing_variables, secrets_in, variables_of
from tests.runner.scenario.files import LEADERBOARD, MINIMAL, read

IMAGE = MINIMAL.replace('endpoint = "http://127.0.0.1:9010"', 'image = "agent:1"')


def test_the_variables_of_all_agents_are_listed_by_name() -> None:
    found = variables_of(read_scenario(LEADERBOARD))

    assert found == (
        Variable(name="EVAL_DATA_PAT", needed=True, secret=True, used_by=("green",)),
        Variable(name="EVAL_DATA_REPO", needed=True, secret=False, used_by=("green",)),
        Variable(name="OPENAI_API_KEY", needed=True, secret=True, used_by=("green",)),
        Variable(name="OPENROUTER_API_KEY", needed=True, secret=True, used_by=("purple_agent",)),
        Variable(name="TAVILY_API_KEY", needed=False, secret=True, used_by=("purple_agent",)),
    )


def test_one_place_without_a_default_makes_a_variable_needed_and_a_secrets_name_makes_it_secret(tmp_path: Path) -> None:
    env = '{ MY_TOKEN = "${PLAIN}", A = "${B:-x} ${C:?say it} $${D}", E = "${B}" }'

    found = variables_of(read(tmp_path, IMAGE + f"env = {env}"))

    assert [(one.name, one.needed, one.secret) for one in found] == [
        ("B", True, False),
        ("C", True, False),
        ("PLAIN", True, True),
    ]


def test_the_token_of_a_green_that_runs_already_is_a_variable_and_that_of_a_started_one_is_made_up(
    tmp_path: Path,
) -> None:
    running = MINIMAL.replace("[green_agent]", '[green_agent]\ntoken_env = "GREEN_TOKEN"')
    started = running.replace("[green_agent]", '[green_agent]\ncmd = "green-agent serve"')

    assert variables_of(read(tmp_path, running)) == (
        Variable(name="GREEN_TOKEN", needed=True, secret=True, used_by=("green",)),
    )
    assert variables_of(read(tmp_path, started)) == ()


def test_missing_is_what_is_needed_and_absent_or_empty() -> None:
    given = {"EVAL_DATA_PAT": "x", "EVAL_DATA_REPO": "", "OPENAI_API_KEY": "y"}

    missing = missing_variables(read_scenario(LEADERBOARD), given)

    assert [one.name for one in missing] == ["EVAL_DATA_REPO", "OPENROUTER_API_KEY"]


def test_secrets_that_stand_in_the_file_are_found_and_not_repeated(tmp_path: Path) -> None:
    shaped = "sk-" + "a1b2c3d4" * 4
    env = f"""
    env = {{
        OPENAI_API_KEY = "literal-value", HF_TOKEN = "${{HF_TOKEN}}", MODEL_KEY = "EMPTY", A_KEY = "${{A_KEY:-dummy}}",
        B_KEY = "${{B_KEY:-a-default-that-is-a-key}}", NOTE = "{shaped}", MODE = "fast", GITHUB_PAT = "none", C_PASSWORD = "",
        URL = "https://${{HOST}}/{shaped}",
    }}
    """

    found = tuple(secrets_in(read(tmp_path, IMAGE + env)))

    assert found == (
        "purple: env OPENAI_API_KEY holds a secret: write ${OPENAI_API_KEY} and set OPENAI_API_KEY in .env",
        "purple: env B_KEY holds a secret: write ${B_KEY} and set B_KEY in .env",
        "purple: env NOTE holds a secret: write ${NOTE} and set NOTE in .env",
        "purple: env URL holds a secret: write ${URL} and set URL in .env",
    )
