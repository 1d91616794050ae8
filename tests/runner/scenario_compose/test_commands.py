from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from services.runner.cli import main
from services.runner.image_provenance import github_actions, images_of, repository

SCENARIO = """
[green_agent]
agentbeats_id = "019b0000-0000-7000-8000-0000000000aa"

[[participants]]
agentbeats_id = "019b0000-0000-7000-8000-0000000000bb"
name = "purple_agent"
env = { OPENAI_API_KEY = "${OPENAI_API_KEY}" }
"""
IMAGES = {
    "019b0000-0000-7000-8000-0000000000aa": "example.org/green:1",
    "019b0000-0000-7000-8000-0000000000bb": "example.org/purple:1",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a scenario and a table of its images; no variable of ours is set."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    (tmp_path / "images.json").write_text(json.dumps(IMAGES))
    return tmp_path


def compose(folder: Path, *more: str) -> tuple[int, str]:
    fixed = ["scenario", "compose", str(folder / "scenario.toml"), "-o", str(folder / "out"), "--offline"]
    ran = CliRunner().invoke(main, [*fixed, *more])
    return ran.exit_code, ran.output


def test_the_command_writes_three_files_and_names_what_is_not_set(folder: Path) -> None:
    code, printed = compose(folder, "--resolve", str(folder / "images.json"))

    assert code == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        ".env.example",
        "a2a-scenario.toml",
        "docker-compose.yml",
        "output",
    ]
    assert f"to be set in {folder / 'out' / '.env'}: OPENAI_API_KEY\n" in printed
    assert "docker compose up --timestamps --no-color --exit-code-from agentbeats-client" in printed


def test_the_json_form_names_files_images_and_variables(folder: Path) -> None:
    (folder / "vars.env").write_text("OPENAI_API_KEY=secret-value\n")

    code, printed = compose(
        folder, "--resolve", str(folder / "images.json"), "--env-file", str(folder / "vars.env"), "--json"
    )

    assert code == 0
    assert json.loads(printed) == {
        "files": [str(folder / "out" / name) for name in ("docker-compose.yml", "a2a-scenario.toml", ".env.example")],
        "images": {
            "green-agent": "example.org/green:1",
            "purple_agent": "example.org/purple:1",
            "agentbeats-client": "ghcr.io/agentbeats/agentbeats-client:v1.0.0",
        },
        "variables": ["OPENAI_API_KEY"],
        "missing": [],
        "notes": [],
    }
    assert not [path for path in (folder / "out").glob("*.*") if "secret-value" in path.read_text()]


def test_the_token_of_green_is_named_when_it_is_not_set(folder: Path) -> None:
    text = SCENARIO.replace("[green_agent]", '[green_agent]\ntoken_env = "GREEN_TOKEN_OF_TEST"')
    (folder / "scenario.toml").write_text(text)

    code, printed = compose(folder, "--resolve", str(folder / "images.json"), "--client", "assay", "--json")

    assert code == 0
    assert json.loads(printed)["missing"] == ["GREEN_TOKEN_OF_TEST", "OPENAI_API_KEY"]


def test_keys_of_a_foreign_green_are_refused_with_the_way_out(folder: Path) -> None:
    (folder / "scenario.toml").write_text(f"{SCENARIO}\n[config]\ntheir_key = 1\n")

    code, printed = compose(folder, "--resolve", str(folder / "images.json"))

    assert code == 2
    assert "--any-config passes [config] on as it is" in printed


def test_an_id_without_image_ends_with_code_2_and_writes_nothing(folder: Path) -> None:
    code, printed = compose(folder)

    assert code == 2
    assert "green: no image for agentbeats_id 019b0000-0000-7000-8000-0000000000aa" in printed
    assert "purple_agent: no image for agentbeats_id 019b0000-0000-7000-8000-0000000000bb" in printed
    assert not (folder / "out").exists()


@pytest.mark.parametrize("name", ["a: b\\n", 'x\\"; rm -rf', "../p", "green-agent", "-p", "p" * 64])
def test_a_hostile_name_ends_with_code_2_and_writes_nothing(folder: Path, name: str) -> None:
    (folder / "scenario.toml").write_text(SCENARIO.replace('"purple_agent"', f'"{name}"'))

    code, printed = compose(folder, "--resolve", str(folder / "images.json"))

    assert code == 2
    assert "participants[1]: role" in printed
    assert not (folder / "out").exists()


def test_a_folder_that_cannot_be_written_ends_with_its_name(folder: Path) -> None:
    (folder / "out").write_text("in the way")

    code, printed = compose(folder, "--resolve", str(folder / "images.json"))

    assert code == 2
    assert str(folder / "out") in printed


def test_images_of_a_compose_file_have_their_variables_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGE_TAG", "7")
    monkeypatch.delenv("IMAGE_HOST", raising=False)
    (tmp_path / ".env").write_text("IMAGE_TAG=6\nIMAGE_HOST=example.org/\n")
    services = {"a": {"image": "${IMAGE_HOST:-}a:${IMAGE_TAG:-5}"}, "b": {"image": "b:${NO_SUCH_THING:-latest}"}}
    (tmp_path / "c.yml").write_text(yaml.safe_dump({"services": services}))

    assert images_of(tmp_path / "c.yml") == {"a": "example.org/a:7", "b": "b:latest"}


def test_aliases_that_unfold_without_end_are_not_unfolded(tmp_path: Path) -> None:
    levels = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 12))
    (tmp_path / "c.yml").write_text(f"x0: &x0 []\n{levels}services: {{a: {{image: 'a:1', build: *x11}}}}\n")

    assert images_of(tmp_path / "c.yml") == {"a": "a:1"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("services: {a: {build: .}}", "service a names no image"),
        ("services: {a: {extends: {file: x, service: y}}}", "docker compose config"),
        ("include: [b.yml]\nservices: {}", "include is not followed"),
        ("services: {a: {image: 'a:${NO_SUCH_THING}'}}", "variable NO_SUCH_THING is not set"),
        ("services: [", "cannot be read as a compose file"),
        ("[]", "no compose file"),
        ("services: {a: 3}", "no compose file"),
    ],
)
def test_a_compose_file_whose_images_are_not_known_ends_with_code_2(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "c.yml").write_text(text)

    ran = CliRunner().invoke(
        main, ["provenance", "--compose", str(tmp_path / "c.yml"), "--output", str(tmp_path / "p.json")]
    )

    assert ran.exit_code == 2
    assert fault in ran.output
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("example.org:5000/team/purple:1.2", "example.org:5000/team/purple"),
        ("example.org/purple@sha256:" + "0" * 64, "example.org/purple"),
        ("docker.io/library/python:3.12", "python"),
        ("assay-green", "assay-green"),
    ],
)
def test_an_images_repository_is_named_as_in_digests(name: str, expected: str) -> None:
    assert repository(name) == expected


def test_a_workflow_is_recorded_in_the_platforms_fields() -> None:
    environment = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_REPOSITORY": "someone/board",
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_API_URL": "https://api.github.example",
        "GITHUB_RUN_ID": "17",
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_SHA": "0" * 40,
        "GITHUB_TOKEN": "never",
    }

    assert github_actions(environment) == {
        "ref": "refs/heads/main",
        "repository_url": "https://github.example/someone/board",
        "run_logs_url": "https://api.github.example/repos/someone/board/actions/runs/17/logs",
        "run_url": "https://github.example/someone/board/actions/runs/17",
        "sha": "0" * 40,
    }
    assert github_actions({}) == {}
