import json
import subprocess
import sys
from pathlib import Path

from services.runner.scenario.amber import read_amber

ASSAY = str(Path(sys.executable).parent / "assay")
SCENARIO = """
[green_agent]
agentbeats_id = "0b53e1e6-6e37-44cd-8a5a-2e0d2c5c9a11"
env = { OPENAI_API_KEY = "${OPENAI_API_KEY}" }
[[participants]]
name = "trader"
image = "team/trader:1"
env = {
  OPENAI_API_KEY = "${OPENAI_API_KEY}",
}
[config]
num_tasks = 2
"""


def amber(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "scenario.toml").write_text(SCENARIO)
    (folder / "images.json").write_text(json.dumps({"0b53e1e6-6e37-44cd-8a5a-2e0d2c5c9a11": "team/assay-green:3"}))
    command = [ASSAY, "scenario", "amber", "scenario.toml", "--offline", "--allow-image", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def test_the_files_are_written_listed_and_right(tmp_path: Path) -> None:
    ran = amber(tmp_path, "-o", "out", "--resolve", "images.json", "--entrypoint", "trader=trade serve")

    assert (ran.returncode, ran.stdout) == (0, "out/scenario.json5\nout/green.json5\nout/trader.json5\n"), ran.stderr
    assert "fill it in" in ran.stderr
    read = read_amber(tmp_path / "out/scenario.json5")
    assert [agent.image for agent in read.agents] == ["team/assay-green:3", "team/trader:1"]


def test_the_same_scenario_gives_the_same_bytes_and_json_lists_files_and_notes(tmp_path: Path) -> None:
    first = amber(tmp_path, "-o", "one", "--resolve", "images.json")
    second = amber(tmp_path, "-o", "two", "--resolve", "images.json", "--json")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert json.loads(second.stdout)["files"] == ["two/scenario.json5", "two/green.json5", "two/trader.json5"]
    for name in ("scenario", "green", "trader"):
        assert (tmp_path / f"one/{name}.json5").read_bytes() == (tmp_path / f"two/{name}.json5").read_bytes()


def test_an_agent_whose_image_is_unknown_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    ran = amber(tmp_path, "-o", "out")

    assert ran.returncode == 2
    assert "green: no image for agentbeats_id 0b53e1e6-6e37-44cd-8a5a-2e0d2c5c9a11" in ran.stderr
    assert not (tmp_path / "out").exists()


def test_a_command_without_role_is_refused(tmp_path: Path) -> None:
    ran = amber(tmp_path, "-o", "out", "--entrypoint", "trade serve")

    assert ran.returncode == 2
    assert "expected ROLE=COMMAND, got 'trade serve'" in ran.stderr


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    ran = amber(tmp_path, "-o", "file/out", "--resolve", "images.json")

    assert ran.returncode == 1
    assert "file/out: the manifests cannot be written" in ran.stderr
