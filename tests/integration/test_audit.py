"""`assay audit` as a user runs it: every known exploit, every benchmark, the real path."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from services.green_agent.benchmarks.registry import BENCHMARKS
from services.runner.audit.exploits import exploits
from tests.support.peer_files import MIRROR, needs_peer_files
from tests.support.processes import BIN

PUBLISHED_ALONE = {"imobench", "mbpp"}
"""Played by the suite audit-sets, where their published files are; every other one by the suite audit."""
NOT_PLAYED = {"lcb_pro"}
"""Its tests are zip archives with C++ checkers; tests/green_agent/benchmarks/lcb_pro plays what is special to them."""

needs_sets = pytest.mark.skipif(
    not ((MIRROR / "mbpp" / "mbpp.jsonl").exists() and (MIRROR / "imobench" / "answerbench_v2.csv").exists()),
    reason="no mbpp/ and imobench/ in the folder ASSAY_DATA_FROM",
)


def audit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [str(BIN / "assay"), "audit", "--json", "--results-dir", str(folder / "results"), *arguments]
    environment = {**os.environ, "ASSAY_DATA_FROM": str(MIRROR)}
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_no_known_exploit_is_over_its_limit_in_any_benchmark(tmp_path: Path) -> None:
    done = audit(tmp_path, "--suite", "audit")

    found = json.loads(done.stdout)
    assert [finding for finding in found["findings"] if not finding["held"]] == []
    assert done.returncode == 0, done.stderr
    played = {(finding["exploit"], finding["benchmark"]) for finding in found["findings"]}
    examined = {benchmark for _, benchmark in played}
    assert examined == BENCHMARKS.keys() - PUBLISHED_ALONE - NOT_PLAYED
    for exploit in exploits():
        assert {name for played_by, name in played if played_by == exploit.name} == (
            examined if exploit.benchmarks is None else examined & set(exploit.benchmarks)
        )


@needs_sets
def test_programs_and_answers_of_published_sets_do_not_pay_either(tmp_path: Path) -> None:
    only = ["echo", "number listing", "cheating program (patch the interpreter)", "every number in the box"]

    done = audit(tmp_path, "--suite", "audit-sets", *(word for name in only for word in ("--only", name)))

    found = json.loads(done.stdout)
    assert {finding["benchmark"] for finding in found["findings"]} == PUBLISHED_ALONE
    assert done.returncode == 0, done.stdout


@needs_peer_files
def test_the_published_question_files_do_not_pay_either(tmp_path: Path) -> None:
    done = audit(
        tmp_path, "--suite", "audit-files", "--only", "echo", "--only", "number listing", "--only", "keyword soup"
    )

    found = json.loads(done.stdout)
    assert {finding["benchmark"] for finding in found["findings"]} == {"options-file", "synthetic-file"}
    assert done.returncode == 0, done.stdout


def test_a_suite_that_cannot_be_played_is_named_and_the_exit_code_says_so(tmp_path: Path) -> None:
    (tmp_path / "gone.yaml").write_text("name: gone\ndatasets:\n  - {type: options, path: nowhere.json}\n")

    done = audit(tmp_path, "--suite", "gone.yaml", "--only", "echo")

    assert done.returncode == 1
    assert "nowhere.json" in json.loads(done.stdout)["skipped"]["gone.yaml"]


def test_an_unknown_exploit_is_a_usage_error(tmp_path: Path) -> None:
    done = audit(tmp_path, "--only", "ecko")

    assert done.returncode == 2
    assert "did you mean 'echo'" in done.stderr
