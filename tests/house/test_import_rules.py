"""The rules of the house hold, and a broken one is found: each is broken here in a copy of the services."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.documents import ROOT

LINTER = str(Path(sys.executable).parent / "lint-imports")


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}
    command = [LINTER, "--no-cache", "--config", str(ROOT / ".importlinter")]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The services and the contract type, without anything else."""
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "services", root / "services", ignore=shutil.ignore_patterns("__pycache__", "*.lock"))
    for name in ("tests/__init__.py", "tests/house/__init__.py", "tests/house/import_rules.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    return root


def test_the_services_keep_the_rules() -> None:
    checked = lint_imports(ROOT)

    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("module", "line", "rule"),
    [
        ("purple_agent/stray.py", "import services.green_agent.planning", "A service imports no other service"),
        ("contract/stray.py", "import services.runner", "The contract imports no service"),
        ("contract/values.py", "import services.contract.results", "Encoded values need nothing"),
        ("green_agent/sandbox/stray.py", "import services.green_agent.planning", "The sandbox imports the contract"),
        ("green_agent/benchmarks/stray.py", "import services.green_agent.assessment", "Benchmarks import scoring"),
        (
            "green_agent/benchmarks/stray.py",
            "import services.green_agent.benchmarks.options",
            "A benchmark does not import another",
        ),
        ("green_agent/scoring/stray.py", "import services.green_agent.executor", "Scorers know the shape"),
        ("runner/stray.py", "import a2a", "Agents are spoken to by contract.a2a"),
        ("runner/stray.py", "import tests.house", "The services know neither tests"),
    ],
)
def test_a_broken_rule_is_found(copy: Path, module: str, line: str, rule: str) -> None:
    path = copy / "services" / module
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{line}\n")

    checked = lint_imports(copy)

    path.write_text(before) if before is not None else path.unlink()
    broken = [text for text in checked.stdout.splitlines() if " BROKEN" in text]
    assert checked.returncode == 1
    assert any(text.startswith(rule) for text in broken), checked.stdout


def test_encoded_values_load_where_nothing_is_installed() -> None:
    values = ROOT / "services/contract/values.py"

    loaded = subprocess.run([sys.executable, "-I", "-S", values], capture_output=True, text=True, check=False)

    assert (loaded.returncode, loaded.stderr) == (0, "")
