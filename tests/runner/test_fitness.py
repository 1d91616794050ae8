"""What the runner asks about model endpoints before a run, what stops it, and what it keeps."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from services.contract.env_file import SETTLED
from services.contract.fitness import Examination, Finding, Fitness
from services.runner.failures import EndpointLostError, RunnerError, ScenarioError
from services.runner.fitness import HOSTED, Doctor, stored
from services.runner.scenario import GREEN, AgentSpec, Scenario
from tests.runner.support.processes import ROOT, Stage, make_stage
from tests.runner.support.rows import make_plan
from tests.support.engine import running_engine

DEAD = "http://127.0.0.1:9/v1"
HERE = "http://127.0.0.1:8000/v1"


def stage_with(folder: Path, url: str, model: str = "reference") -> Stage:
    return make_stage(folder, purple_extra=f'env = {{ LLM_MODEL = "{model}", OPENAI_BASE_URL = "{url}" }}')


def fitness_of(stage: Stage) -> Mapping[str, Any]:
    metadata = stage.results_json()["results"][0]["evaluation_metadata"]
    return metadata["provenance"]["fitness"]["purple"]  # type: ignore[no-any-return] # read as a test reads it


def test_a_failed_check_is_said_aloud_kept_with_the_run_and_shown_in_every_report(tmp_path: Path) -> None:
    with running_engine("no-done") as engine:
        stage = stage_with(tmp_path, engine.url)
        done = stage.assay("run", "scenario.toml")

    assert done.returncode == 0, done.stderr
    assert f"doctor: examining reference at {engine.url}" in done.stderr
    assert "doctor: D04 stream failed: the stream has no [DONE]" in done.stderr
    kept = fitness_of(stage)
    (endpoint,) = kept["endpoints"]
    assert (kept["not_asked"], endpoint["url"], endpoint["model"]) == ("", engine.url, "reference")
    assert [one["id"] for one in endpoint["findings"] if one["verdict"] == "fail"] == ["D04"]
    line = "Endpoint of purple failed D04: stream"
    (markdown,), (html,) = stage.results.glob("*/report.md"), stage.results.glob("*/report.html")
    for text in (done.stdout, markdown.read_text(), html.read_text()):
        assert text.count(line) == 1
        assert "talk to the engine itself" in text
    assert f"{engine.url}, reference: fail D04; pass D01" in html.read_text()


def test_a_run_whose_model_cannot_answer_does_not_start(tmp_path: Path) -> None:
    stage = stage_with(tmp_path, DEAD)
    done = stage.assay("run", "scenario.toml")

    assert (done.returncode, "unreachable: ConnectError" in done.stderr) == (3, True), done.stderr
    assert "agent purple: model endpoint http://127.0.0.1:9/v1" in done.stderr
    assert "`--no-doctor` runs without this question" in done.stderr
    assert (stage.ran(), list(stage.results.glob("*/results.json"))) == ([], [])


@pytest.mark.parametrize(
    ("faults", "model", "key", "code", "said"),
    [
        ([], "another", "", 2, "'another' is not served; the server lists reference"),
        (["503"], "reference", "", 3, "alive but not generating"),
        (["401"], "reference", "k", 3, "agents read OPENAI_API_KEY"),
    ],
)
async def test_the_exit_code_tells_a_wrong_name_from_a_server_that_does_not_generate(
    faults: list[str], model: str, key: str, code: int, said: str
) -> None:
    with running_engine(*faults) as engine:
        told = TOLD | {"OPENAI_BASE_URL": engine.url, "LLM_MODEL": model, "OPENAI_API_KEY": key}
        with pytest.raises(RunnerError) as stopped:
            await Doctor().examine(alone(purple()), {"purple": told}, says=lambda _: None)

    assert (stopped.value.exit_code, said in str(stopped.value)) == (code, True), stopped.value


def test_without_the_doctor_nothing_is_asked_that_is_recorded_and_resume_asks(tmp_path: Path) -> None:
    stage = stage_with(tmp_path, DEAD)
    stage.script(tasks=4, outcomes={make_plan(tasks=4).trials[2].key: "infra_error"})

    first = stage.assay("run", "scenario.toml", "--no-doctor")
    kept = fitness_of(stage)
    resumed = stage.assay("resume", "latest")

    assert first.returncode == 1, first.stderr
    assert kept == {"not_asked": "--no-doctor", "only": [], "endpoints": []}
    assert "doctor:" not in first.stderr
    assert (resumed.returncode, "unreachable" in resumed.stderr) == (3, True), resumed.stderr


def test_every_provider_of_the_price_list_is_known_to_cost_money() -> None:
    hosted = yaml.safe_load((ROOT / "config" / "models.yaml").read_text())["hosted"]

    assert {urlsplit(row["base_url"]).hostname for row in hosted.values()} <= HOSTED


class Asked:
    """A doctor that notes how it was called and says what it is told to say."""

    def __init__(self, folder: Path, found: Examination | str) -> None:
        self._folder = folder
        answer = folder / "answer"
        answer.write_text(found if isinstance(found, str) else found.model_dump_json())
        program = folder / "inference"
        program.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$*" >> {folder}/calls\ncat >> {folder}/keys\nenv >> {folder}/env\n'
            f"echo broken >&2\ncat {answer}\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.doctor = Doctor(program=str(program))
        self.heard: list[str] = []

    def read(self, name: str) -> str:
        path = self._folder / name
        return path.read_text() if path.exists() else ""

    async def about(self, spec: AgentSpec, told: Mapping[str, str]) -> dict[str, Any]:
        found = await self.doctor.examine(alone(spec), {spec.role: told}, says=self.heard.append)
        return stored({"fitness": found})[spec.role].model_dump()


def well(url: str = HERE, **changed: Any) -> Fitness:
    finding = Finding(id="D01", title="model", verdict="pass", seen="serves it")
    return Fitness(url=url, model="m", reachable=True, findings=(finding,)).model_copy(update=changed)


def ill(number: str, url: str = HERE, *, reachable: bool = True) -> Fitness:
    finding = Finding(id=number, title="check", verdict="fail", seen="it is ill", cure="mend it")
    return well(url, findings=(finding,), reachable=reachable)


def alone(spec: AgentSpec) -> Scenario:
    green = AgentSpec(role=GREEN, endpoint="http://127.0.0.1:1/")
    return Scenario(name="s", green=green, participants=(spec,))


def purple(words: str = "purple-agent serve", **more: Any) -> AgentSpec:
    return AgentSpec(role="purple", cmd=words, endpoint="http://127.0.0.1:2/", **more)


TOLD = {"LLM_MODEL": "m", "OPENAI_BASE_URL": HERE, SETTLED: "1"}


async def test_all_is_asked_of_ones_own_servers_and_the_key_stays_off_the_command_line(tmp_path: Path) -> None:
    key = "sk" + "-of-this-server-only"
    asked = Asked(tmp_path, Examination(endpoints=(well(),)))

    await asked.about(purple(), TOLD | {"OPENAI_API_KEY": key})

    assert asked.read("calls") == f"doctor {HERE} --model=m --json --api-key-file=-\n"
    assert asked.read("keys") == key
    assert key not in asked.read("env")


@pytest.mark.parametrize(
    ("told", "call"),
    [
        (
            {"OPENAI_API_KEY": "k", "LLM_MODEL": "gpt-4o"},
            "doctor https://api.openai.com/v1 --model=gpt-4o --json --api-key-file=- --only=D01,D03",
        ),
        (
            {"OPENAI_API_KEY": "k", "LLM_MODEL": "gpt-4o", "OPENAI_BASE_URL": "https://eu.api.openai.com/v1"},
            "doctor https://eu.api.openai.com/v1 --model=gpt-4o --json --api-key-file=- --only=D01,D03",
        ),
        (
            {"ANTHROPIC_API_KEY": "k", "LLM_MODEL": "claude"},
            "doctor https://api.anthropic.com --model=claude --json --api-key-file=- --anthropic --only=D01,D03",
        ),
    ],
)
async def test_a_provider_that_is_paid_by_the_token_is_asked_two_things(
    tmp_path: Path, told: dict[str, str], call: str
) -> None:
    asked = Asked(tmp_path, Examination(endpoints=(well(),)))

    found = await asked.about(purple(), told | {SETTLED: "1"})

    assert asked.read("calls").strip() == call
    assert found["only"] == ("D01", "D03")


async def test_a_flag_of_our_agent_beats_the_variable_and_a_base_model_is_asked_for_no_chat(tmp_path: Path) -> None:
    asked = Asked(tmp_path, Examination(endpoints=(well(),)))

    await asked.about(purple("purple-agent serve --model other --strategy=completion"), TOLD)

    assert asked.read("calls").strip() == f"doctor {HERE} --model=other --json --only=D01,D02,D17,D18"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (AgentSpec(role="purple", endpoint="http://127.0.0.1:2/"), "its model is unknown here"),
        (purple("purple-agent serve --baseline constant"), "it answers without a model"),
        (purple("python agent.py"), "no model endpoint is configured for it"),
        (AgentSpec(role="purple", image="agent:1", model_endpoint=HERE), "inside the agent's container"),
    ],
)
async def test_who_has_no_model_or_hides_it_is_not_asked(tmp_path: Path, spec: AgentSpec, reason: str) -> None:
    asked = Asked(tmp_path, Examination(endpoints=(well(),)))

    found = await asked.about(spec, TOLD)

    assert reason in found["not_asked"]
    assert (asked.read("calls"), asked.heard) == ("", [])


async def test_an_endpoint_is_asked_once_a_command(tmp_path: Path) -> None:
    asked = Asked(tmp_path, Examination(endpoints=(well(),)))

    first, second = await asked.about(purple(), TOLD), await asked.about(purple(), TOLD)

    assert first == second
    assert asked.read("calls").count("doctor") == 1


async def test_an_endpoint_is_asked_once_for_each_key(tmp_path: Path) -> None:
    asked = Asked(tmp_path, Examination(endpoints=(well(),)))

    for key in ("first", "second", "first"):
        await asked.about(purple(), TOLD | {"OPENAI_API_KEY": f"{key}-key"})

    assert asked.read("keys") == "first-keysecond-key"


async def test_one_lost_replica_among_others_is_said_and_all_of_them_lost_stops_the_run(tmp_path: Path) -> None:
    lost = ill("D01", DEAD, reachable=False)
    asked = Asked(tmp_path, Examination(endpoints=(well(), lost)))
    await asked.about(purple(), TOLD)
    assert any("D01 check failed: it is ill > mend it" in line for line in asked.heard)

    asked = Asked(tmp_path, Examination(endpoints=(ill("D03"), lost)))
    with pytest.raises(EndpointLostError, match="mend it"):
        await asked.about(purple(), TOLD)


async def test_another_model_behind_one_of_the_replicas_stops_the_run(tmp_path: Path) -> None:
    asked = Asked(tmp_path, Examination(endpoints=(well(), ill("D01"))))

    with pytest.raises(ScenarioError, match="it is ill > mend it"):
        await asked.about(purple(), TOLD)


async def test_a_containers_address_may_be_one_that_only_containers_know(tmp_path: Path) -> None:
    asked = Asked(tmp_path, Examination(endpoints=(ill("D01", reachable=False),)))
    spec = AgentSpec(role="purple", image="agent:1", model_endpoint="http://engine:8000/v1")

    found = await asked.about(spec, {"LLM_MODEL": "m", "OPENAI_BASE_URL": "http://engine:8000/v1"})

    assert found["endpoints"]


async def test_a_doctor_who_breaks_down_or_is_not_there_costs_no_run(tmp_path: Path) -> None:
    asked = Asked(tmp_path, "no JSON")
    broken = await asked.about(purple(), TOLD)
    asked.doctor = Doctor(program=None)
    missing = await asked.about(purple(), TOLD)
    asked.doctor = Doctor(program=str(tmp_path / "answer"))  # which is no program
    lame = await asked.about(purple(), TOLD)

    assert (broken["not_asked"], missing["not_asked"]) == (
        "the doctor failed (exit code 0): broken",
        "`inference` is not installed",
    )
    assert "the doctor cannot be started" in lame["not_asked"]
    assert any("is not examined: `inference` is not installed" in line for line in asked.heard)


def test_the_runners_image_has_the_doctors_script_without_the_doctor(tmp_path: Path) -> None:
    services, programs = tmp_path / "services", tmp_path / "bin"
    services.mkdir()
    programs.mkdir()
    for name in ("__init__.py", "contract", "runner"):
        (services / name).symlink_to(ROOT / "services" / name)
    (programs / "python").symlink_to(sys.executable)
    (programs / "inference").touch()
    path = f"{tmp_path}:{sysconfig.get_path('purelib')}"
    code = "import services.runner.fitness as f; print(f.found_program())"

    def found(**environment: str) -> str:
        done = subprocess.run(
            [programs / "python", "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=True, text=True
        )
        return done.stdout.strip()

    assert found(PYTHONPATH=path, PATH=str(programs)) == "None"
    (services / "inference").symlink_to(ROOT / "services" / "inference")
    assert found(PYTHONPATH=path, PATH="/bin") == str(programs / "inference")


def test_a_record_of_another_time_is_no_reason_to_fail() -> None:
    assert stored({}) == stored({"fitness": {"purple": {"strange": json.loads("1")}}}) == {}
