"""What the documents say is true: links lead somewhere, commands print what is shown, lists match the tree."""

from __future__ import annotations

import os
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from services.runner.scenario import read_scenario
from tests.house.documents import (
    ROOT,
    Block,
    blocks,
    broken_links,
    commands,
    documents,
    layout,
    missing_lines,
    tracked,
)


def run(*command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    assert broken_links(document) == []


@pytest.mark.parametrize("block", blocks("console run"), ids=lambda block: block.where)
def test_a_documented_command_prints_what_is_shown(block: Block) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    for command in commands(block):
        ran = run("bash", "-c", command.line, env=environment)
        assert ran.returncode == 0, f"{command.line}: {ran.stderr}"
        assert missing_lines(command.expected, ran.stdout) == [], ran.stdout


@pytest.mark.parametrize("block", blocks("python run"), ids=lambda block: block.where)
def test_a_documented_program_runs(block: Block) -> None:
    ran = run(sys.executable, "-W", "error", "-c", block.body)

    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("block", blocks("toml scenario"), ids=lambda block: block.where)
def test_a_documented_scenario_is_accepted(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text(block.body)

    assert read_scenario(file).participants


@pytest.mark.parametrize("block", blocks("layout"), ids=lambda block: block.where)
def test_a_layout_list_names_only_what_is_there(block: Block) -> None:
    folder = ROOT / block.info.removeprefix("layout").strip()

    assert [path for path in layout(block) if not any(folder.glob(path))] == []


def test_the_architecture_page_lists_every_visible_entry_of_the_repository() -> None:
    top = next(block for block in blocks("layout") if block.where.startswith("docs/architecture.md"))
    entries = {path.relative_to(ROOT).parts[0] for path in tracked("*")}

    assert {name for name in entries if not name.startswith(".")} - {"results"} <= set(layout(top))


def test_the_architecture_page_lists_every_module_of_the_contract() -> None:
    (contract,) = [block for block in blocks("layout services/contract") if block.where.startswith("docs/")]
    names = {path.relative_to(ROOT / "services/contract").parts[0] for path in tracked("services/contract/*.py")}

    unlisted = [name for name in names - {"__init__.py"} if not any(fnmatch(name, path) for path in layout(contract))]
    assert unlisted == []


@pytest.mark.parametrize("folder", ["scripts", "compose", "docs/guides", "docs/decisions"])
def test_the_readme_of_a_folder_names_every_file_in_it(folder: str) -> None:
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    names = {path.name for path in tracked(f"{folder}/*")} - {"README.md"}

    assert sorted(name for name in names if name not in text) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("[a](there.md) [b](gone.md#part) [c](https://example.org) `[d](code.md)`\n")
    (tmp_path / "there.md").touch()

    assert broken_links(document) == ["gone.md"]


def test_shown_output_must_come_in_order_and_dots_stand_for_anything() -> None:
    output = "score 61.2\ncoverage 1\ndone\n"

    assert missing_lines(("score ...", "done"), output) == []
    assert missing_lines(("done", "score ..."), output) == ["score ..."]
    assert missing_lines(("score",), output) == ["score"]


def test_a_comment_behind_a_shown_command_is_not_run() -> None:
    block = Block(where="x", info="console run", body="$ echo one  # says one\none\n$ true\n")

    assert [command.line for command in commands(block)] == ["echo one", "true"]
    assert commands(block)[0].expected == ("one",)
