import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runner.support.processes import ASSAY, Stage, make_stage

HEAVY = (
    "pydantic",
    "httpx",
    "aiohttp",
    "a2a",
    "rich",
    "jinja2",
    "docker",
    "numpy",
    "structlog",
    "services.green_agent",
)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["results", "list", "--help"]])
def test_help_documents_itself_without_loading_anything_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
sys.argv = ['assay', *{arguments!r}]
from services.runner.cli import main
try:
    main()
finally:
    print(sorted(sys.modules), file=sys.stderr)
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert done.stdout.startswith("Usage: assay")
    assert [name for name in HEAVY if f"'{name}'" in done.stderr] == []


def test_help_documents_the_exit_codes_and_the_other_services() -> None:
    done = subprocess.run([ASSAY, "--help"], capture_output=True, text=True, check=True)

    assert re.search(r"130\s+interrupted", done.stdout)
    assert re.search(r"^  green +Same as", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("service", ["green", "purple", "inference"])
def test_the_other_services_commands_are_reached_by_their_entry_points(service: str) -> None:
    done = subprocess.run([ASSAY, service, "--help"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: assay {service}")


def test_an_unknown_command_is_a_usage_error() -> None:
    assert subprocess.run([ASSAY, "rnu"], capture_output=True, check=False).returncode == 2


def test_looking_at_results_where_none_are_ends_with_code_1(tmp_path: Path) -> None:
    done = subprocess.run([ASSAY, "results", "list"], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr.startswith("assay: no journal at results/journal.db")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


def test_json_prints_one_object_and_nothing_else(stage: Stage) -> None:
    done = stage.assay("run", "scenario.toml", "--json")

    summary = json.loads(done.stdout)
    assert summary["exit_code"] == 0
    assert summary["error"] is None
    assert summary["overall_score"]["score"] == 100.0
    assert summary["outcomes"] == {"scored": 8}
    assert [section["section"] for section in summary["sections"]] == ["options_trading", "code"]
    assert Path(stage.folder / summary["report_html"]).is_file()
    assert done.stderr == ""


def test_a_pipe_gets_one_line_a_trial_and_the_table_last(stage: Stage) -> None:
    done = stage.assay("run", "scenario.toml")

    lines = done.stderr.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("[")] == [f"[{n}/8]" for n in range(1, 9)]
    assert re.search(r"^overall +100\.0 +\S+ +100\.0 % +100\.0\.\.100\.0 +8/8$", done.stdout, re.MULTILINE)


def test_a_reader_who_leaves_early_does_not_cost_the_run(stage: Stage) -> None:
    with stage.started("run", "scenario.toml", "--show-logs") as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.stderr.close()
        assert process.wait(60) == 0

    assert stage.results_json()["status"] == "completed"


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        (["--dry-run", "--timeout", "5", "out.json"], "--timeout, OUT or -o would have no effect with --dry-run"),
        (["--serve-only", "--dry-run", "--json"], "--dry-run, --json would have no effect with --serve-only"),
    ],
)
def test_an_option_without_an_effect_is_a_usage_error(stage: Stage, options: list[str], idle: str) -> None:
    done = stage.assay("run", "scenario.toml", *options)

    assert done.returncode == 2
    assert idle in " ".join(done.stderr.split())


def test_a_terminal_sees_bars_with_score_coverage_and_faults(stage: Stage) -> None:
    stage.script(tasks=4, outcomes={"beta|beta-1|0": "infra_error"})
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(
        [ASSAY, "run", "scenario.toml"], cwd=stage.folder, stderr=theirs, stdout=subprocess.PIPE, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # the other end is closed
            pass
    os.close(ours)

    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert process.returncode == 1
    assert re.search(r"options trading +━+ +4/4 +100\.0 +100 %", text)
    assert re.search(r"code +━+ +4/4 +100\.0 +75 %", text)
    assert "infra_error/made_up x 1" in text


def test_running_agents_are_examined_by_their_urls(stage: Stage) -> None:
    text = (stage.folder / "scenario.toml").read_text()
    green, purple = re.findall(r"endpoint = \"(.*?)\"", text)
    with stage.started("run", "scenario.toml", "--serve-only") as serving:
        assert serving.stderr is not None
        while "green is at" not in serving.stderr.readline():
            pass

        done = stage.assay(
            "run", "--green-url", green, "--purple-url", purple, "--num-tasks", "8", "--timeout", "300",
            "--conduct-debate", "--model-id", "m-1", "-v", "-o", "out.json",
        )  # fmt: skip
        serving.terminate()
        serving.communicate(timeout=60)

    assert done.returncode == 0, done.stderr
    (result,) = json.loads((stage.folder / "out.json").read_text())["results"]
    assert result["evaluation_metadata"]["model_id"] == "m-1"
    assert result["evaluation_metadata"]["provenance"]["config"] == {
        "num_tasks": 8,
        "conduct_debate": True,
        "model_id": "m-1",
    }
    assert serving.returncode == 130


def test_a_run_is_exported_in_the_guides_form_and_read_again(tmp_path: Path) -> None:
    stage = make_stage(tmp_path)
    stage.assay("run", "scenario.toml")

    done = stage.assay("export", "latest", "--guide", "-o", "guide.json")
    read = stage.assay("results", "read", "guide.json", "--json")

    document = json.loads((tmp_path / "guide.json").read_text())
    assert done.returncode == 0, done.stderr
    assert document["results"]["overall_score"] == 100.0
    assert json.loads(read.stdout)["results"][0]["form"] == "guide"
    assert json.loads(read.stdout)["results"][0]["stored"] == 100.0
