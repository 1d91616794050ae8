"""Compose projects of `assay scenario compose`: one runs to its results, one keeps its participants apart."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from services.runner.cli import main
from tests.containers.engine import TAG, run

GREEN_ID = "019b0000-0000-7000-8000-0000000000aa"
PURPLE_ID = "019b0000-0000-7000-8000-0000000000bb"
GUIDE_FORM = f"""
[green_agent]
agentbeats_id = "{GREEN_ID}"
env = {{
    OPENAI_API_KEY = "${{OPENAI_API_KEY}}",
    EVAL_CONFIG = "offline",  # any suite
    EVAL_DATA_REPO = "${{EVAL_DATA_REPO:-}}"
}}

[[participants]]
agentbeats_id = "{PURPLE_ID}"
name = "purple_agent"
model_endpoint = "reference"

[config]
num_tasks = 4
conduct_debate = false
datasets = ["synthetic", "options", "crypto"]
sampling_strategy = "stratified"
synthetic_limit = 2
options_limit = 1
crypto_limit = 1
"""
ISOLATED = f"""
[green_agent]
image = "assay-green:{TAG}"

[[participants]]
name = "one"
image = "assay-purple:{TAG}"
model_endpoint = "http://model.test:8000/v1"
env = {{ LLM_MODEL = "reference", OPENAI_API_KEY = "EMPTY" }}

[[participants]]
name = "two"
image = "assay-purple:{TAG}"
model_endpoint = "https://model.test:8000/v1"
env = {{ LLM_MODEL = "reference", OPENAI_API_KEY = "EMPTY" }}

[config]
purple_role = "one"
datasets = ["options"]
num_tasks = 2
"""
UP = ("up", "--timestamps", "--no-color", "--exit-code-from", "agentbeats-client", "--abort-on-container-exit")
OUTSIDE = "assay-test-outside"
"""The network that stands for the internet: `model.test` is the participants' model, `elsewhere.test` is not."""


def assay(*arguments: str) -> str:
    """Output of a command of ours that succeeds."""
    ran = CliRunner().invoke(main, arguments)
    assert ran.exit_code == 0, ran.output
    return ran.output


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """A folder with a project that `assay scenario compose` wrote, under a name of its own."""

    name: str
    folder: Path

    @classmethod
    def written(cls, name: str, folder: Path, scenario: str, *options: str, **networks: Any) -> Project:
        """Writes it, and beside it an override: container names are the same in every project, and tests run beside others."""
        (folder / "scenario.toml").write_text(scenario)
        assay("scenario", "compose", str(folder / "scenario.toml"), "-o", str(folder), "--offline", *options)
        services = yaml.safe_load((folder / "docker-compose.yml").read_text())["services"]
        lines = ["services:", *(f"  {json.dumps(service)}: {{container_name: !reset null}}" for service in services)]
        (folder / "names.yml").write_text("\n".join([*lines, f"networks: {json.dumps(networks)}\n"]))
        return cls(name=name, folder=folder)

    def compose(self, *arguments: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `docker compose` in the folder, with the test's images."""
        files = ("--project-directory", str(self.folder), "-f", str(self.folder / "docker-compose.yml"))
        override = ("-f", str(self.folder / "names.yml"))
        env = {"ASSAY_TAG": TAG, **variables}
        return run("docker", "compose", "-p", self.name, *files, *override, *arguments, env=env, check=check)

    def results(self) -> dict[str, Any]:
        """What the client has written."""
        written: dict[str, Any] = json.loads((self.folder / "output" / "results.json").read_text())
        return written

    def statuses(self, service: str, *urls: str, options: Sequence[str] = (), shown: str = "http_code") -> list[str]:
        """The HTTP status that a service of the project gets from each address, 000 for no answer. All at once."""
        asked = [part for url in urls for part in ("-o", "/dev/null", url)]
        fixed = ("curl", "-s", "--parallel", "--max-time", "2", "-w", f"%{{urlnum}} %{{{shown}}}\\n")
        printed = self.compose("exec", "--no-TTY", service, *fixed, *options, *asked, check=False).stdout
        found = dict(line.split() for line in printed.splitlines())
        return [found[str(number)] for number in range(len(urls))]

    def addresses(self, service: str) -> Mapping[str, str]:
        """Network, without the project's name, to the service's address there."""
        container = self.compose("ps", "--quiet", service).stdout.strip()
        (found,) = json.loads(run("docker", "inspect", container).stdout)
        networks = found["NetworkSettings"]["Networks"]
        return {name.removeprefix(f"{self.name}_"): str(at["IPAddress"]) for name, at in networks.items()}


@pytest.fixture(scope="module")
def guide(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The guide's form with our images, run to its end."""
    folder = tmp_path_factory.mktemp("guide")
    table = {GREEN_ID: f"assay-green:{TAG}", PURPLE_ID: f"assay-purple:{TAG}"}
    (folder / "images.json").write_text(json.dumps(table))
    options = ("--resolve", str(folder / "images.json"), "--client", "assay")
    made = Project.written("assay-test-guide", folder, GUIDE_FORM, *options)
    (folder / ".env").write_text("OPENAI_API_KEY=dummy\n")
    try:
        made.compose(*UP, "--timeout", "2")
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "2")


def test_the_guides_form_runs_to_a_results_file_with_the_participants_ids(guide: Project) -> None:
    results = guide.results()

    assert results["status"] == "completed"
    assert results["participants"] == {"purple_agent": PURPLE_ID}
    (result,) = results["results"]
    assert sorted((row["benchmark"], row["outcome"]) for row in result["results"]) == [
        ("crypto", "scored"),
        ("options", "scored"),
        ("synthetic", "scored"),
        ("synthetic", "scored"),
    ]
    assert result["overall_score"]["coverage"] == 1.0


def test_what_the_client_wrote_belongs_to_the_owner_of_the_folder(guide: Project) -> None:
    owner = guide.folder.stat().st_uid

    assert {path.stat().st_uid for path in (guide.folder / "output").rglob("*")} == {owner}


def test_the_provenance_names_the_image_of_every_service(
    guide: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_TAG", TAG)
    monkeypatch.delenv("ASSAY_REGISTRY", raising=False)
    expected = {
        service: run("docker", "image", "inspect", "--format", "{{.Id}}", f"{image}:{TAG}").stdout.strip()
        for service, image in {
            "green-agent": "assay-green",
            "purple_agent": "assay-purple",
            "inference": "assay-inference",
            "agentbeats-client": "assay-runner",
        }.items()
    }

    compose = str(guide.folder / "docker-compose.yml")
    printed = assay("provenance", "--compose", compose, "--output", str(tmp_path / "p.json"), "--json")

    recorded = json.loads((tmp_path / "p.json").read_text())
    assert json.loads(printed) == recorded
    assert recorded["image_digests"] == expected
    assert recorded["assay"]["images"]["green-agent"] == {
        "name": f"assay-green:{TAG}",
        "id": expected["green-agent"],
    }


def test_the_provenance_of_an_image_that_is_not_here_ends_with_its_name(images: None, tmp_path: Path) -> None:
    compose = {"services": {"a": {"image": "example.org/not-here:1"}, "b": {"image": "example.org/neither:2"}}}
    (tmp_path / "c.yml").write_text(yaml.safe_dump(compose))

    ran = CliRunner().invoke(
        main, ["provenance", "--compose", str(tmp_path / "c.yml"), "--output", str(tmp_path / "p.json")]
    )

    assert ran.exit_code == 1
    assert "image example.org/not-here:1 of service a is not here" in ran.output
    assert "image example.org/neither:2 of service b is not here" in ran.output
    assert not (tmp_path / "p.json").exists()


HOSTILE = {
    "QUOTES": "'\"` # {} - : \\ \\n %s {{.Name}}",
    "LINES": "one\ntwo\r\n\tthree\n",
    "DOLLARS": "$$HOME $${HOME} $$$$ $$(id)",
    "NUMBER": "1e3",
    "WORD": "y",
    "BLANKS": "  both  ",
    "STRANGE": "\x01\x7f\u0085\u2028\ufeffé\U0001d4b3",
    "EMPTY_ONE": "",
    "DEFAULT": "${NO_SUCH_THING:-a $$5 'b' \"c\" :-d}",
    "TEXT": "<${ASSAY_TEST_GIVEN}>",
}
"""As the scenario says them."""


def test_hostile_values_and_names_reach_the_container_exactly(images: None, tmp_path: Path) -> None:
    import tomli_w  # noqa: PLC0415

    names = ["null", "on", "Yes", "n", "A-_9"]
    participants = [{"role": name, "image": f"assay-purple:{TAG}", "env": HOSTILE} for name in names]
    text = tomli_w.dumps({"green_agent": {"image": f"assay-green:{TAG}"}, "participants": participants})
    made = Project.written("assay-test-hostile", tmp_path, text)
    printing = "import json, os; print(json.dumps(dict(os.environ)))"
    # Run from compose's own reading: what `docker compose config` accepts is what reaches the process.
    alone = ("run", "--rm", "--no-deps", "--no-TTY", "--entrypoint", "python")

    try:
        services = made.compose("config", "--services", ASSAY_TEST_GIVEN="given").stdout.split()
        got = json.loads(made.compose(*alone, "null", "-c", printing, ASSAY_TEST_GIVEN="given").stdout)
        refused = made.compose("config", "--quiet", check=False)
    finally:
        made.compose("down", "--timeout", "2", ASSAY_TEST_GIVEN="given")

    assert sorted(services) == sorted([*names, "green-agent", "agentbeats-client"])
    expected = {name: text.replace("$$", "$") for name, text in HOSTILE.items()}
    expected |= {"DEFAULT": "a $5 'b' \"c\" :-d", "TEXT": "<given>"}
    assert {name: got[name] for name in HOSTILE} == expected
    assert refused.returncode != 0
    assert "set ASSAY_TEST_GIVEN in .env" in refused.stderr


@pytest.fixture(scope="module")
def outside(images: None) -> Iterator[str]:
    """A network with two model servers on it."""
    run("docker", "network", "create", OUTSIDE)
    started: list[str] = []
    try:
        for name in ("model.test", "elsewhere.test"):
            alias = ("--network", OUTSIDE, "--network-alias", name)
            started.append(run("docker", "run", "--detach", "--rm", *alias, f"assay-inference:{TAG}").stdout.strip())
        yield OUTSIDE
    finally:
        run("docker", "rm", "--force", "--volumes", *started)
        run("docker", "network", "rm", OUTSIDE)


@pytest.fixture(scope="module")
def isolated(outside: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Two participants with models on the internet, kept apart, and a judge on green's network; all but the client run."""
    networks = {"egress-network": {"name": outside, "external": True}}
    options = ("--client", "assay", "--isolate")
    made = Project.written("assay-test-isolated", tmp_path_factory.mktemp("isolated"), ISOLATED, *options, **networks)
    judge = ""
    try:
        made.compose("up", "--detach", "--wait", "green-agent")
        at = ("--network", f"{made.name}_agent-network", "--network-alias", "judge.test")
        judge = run("docker", "run", "--detach", "--rm", *at, f"assay-inference:{TAG}").stdout.strip()
        yield made
    finally:
        if judge:
            run("docker", "rm", "--force", "--volumes", judge)
        made.compose("down", "--volumes", "--timeout", "2")


CARD = "9009/.well-known/agent-card.json"
TUNNEL = ("--proxytunnel", "--proxy", "http://egress:3128")


def test_what_an_isolated_participant_must_reach_is_reached(isolated: Project) -> None:
    assert isolated.statuses("one", "http://egress:3128/health") == ["200"]
    assert isolated.statuses("two", "http://model.test:8000/health", options=TUNNEL) == ["200"]
    assert isolated.statuses("green-agent", f"http://one:{CARD}", f"http://two:{CARD}") == ["200", "200"]


def everywhere(project: Project, service: str, port: int) -> list[str]:
    """Every address of a service, by number: a name alone might only be unknown."""
    return [f"http://{address}:{port}/" for address in project.addresses(service).values()]


def test_an_isolated_participant_reaches_no_other_and_no_port_of_green(isolated: Project) -> None:
    two, green, proxy = (
        everywhere(isolated, service, port)
        for service, port in (("two", 9009), ("green-agent", 9009), ("egress-two", 3128))
    )

    assert (len(two), len(green), len(proxy)) == (2, 3, 2)
    assert isolated.statuses("one", *two, *green, *proxy, "http://green-agent:9009/") == ["000"] * 8


def address_of(host: str, project: Project, *, seen_from: str) -> str:
    """Where a host is, for a service that knows its name."""
    return project.compose("exec", "--no-TTY", seen_from, "getent", "hosts", host).stdout.split()[0]


def test_an_isolated_participant_reaches_no_judge_though_green_does(isolated: Project) -> None:
    judge = f"http://{address_of('judge.test', isolated, seen_from='green-agent')}:8000/health"
    patience = ("--retry", "20", "--retry-connrefused", "--retry-delay", "1")

    assert isolated.statuses("green-agent", judge, options=patience) == ["200"]
    assert isolated.statuses("one", judge, "http://judge.test:8000/health") == ["000", "000"]


def test_an_isolated_participant_reaches_nothing_outside_but_its_model(isolated: Project) -> None:
    elsewhere, model = (
        f"http://{address_of(host, isolated, seen_from='egress-one')}:8000/health"
        for host in ("elsewhere.test", "model.test")
    )
    named = "http://elsewhere.test:8000/health"

    assert isolated.statuses("egress-one", elsewhere) == ["200"]
    assert isolated.statuses("one", elsewhere, model) == ["000", "000"]
    assert isolated.statuses("two", elsewhere, model) == ["000", "000"]
    refused = isolated.statuses(
        "two", named, elsewhere, "http://model.test:8001/", model, options=TUNNEL, shown="http_connect"
    )
    assert refused == ["403"] * 4
    assert isolated.statuses("two", named, options=("--proxy", "http://egress:3128")) == ["405"]


def test_an_assessment_of_an_isolated_participant_ends_complete(isolated: Project) -> None:
    isolated.compose("up", "--timeout", "2", "--exit-code-from", "agentbeats-client", "agentbeats-client")

    (result,) = isolated.results()["results"]
    assert [(row["benchmark"], row["outcome"]) for row in result["results"]] == [("options", "scored")] * 2
    assert "reference" in json.dumps(result["evaluation_metadata"]["models"])
