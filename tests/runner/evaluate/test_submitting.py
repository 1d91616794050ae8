"""`--submit` hands the typed command to SLURM, whatever its words hold."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from services.runner.evaluate.submitting import require_sbatch, submission
from services.runner.failures import ScenarioError
from tests.runner.evaluate.test_asked import asked


def test_the_job_runs_the_typed_command_without_what_concerns_the_submission(tmp_path: Path) -> None:
    words = ["--up-options", "--partition 'a b'", "--model-name", "it's $HOME", "--output-dir", "x\ny"]
    sbatch_args = ("--gpus=8", "--time=1:00:00")
    argv = [
        "/bin/echo",
        "evaluate",
        "--submit",
        "--dry-run",
        *words,
        "--sbatch-arg",
        "--gpus=8",
        "--sbatch-arg=--time=1:00:00",
    ]

    made = submission(asked(output_dir=tmp_path / "50%", submit=True, sbatch_args=sbatch_args), argv)

    assert made.command == (
        "sbatch",
        "--parsable",
        "--job-name=assay-evaluate",
        f"--output={tmp_path}/50%%/evaluate_%j.out",
        f"--chdir={Path.cwd()}",
        "--no-requeue",
        "--ntasks=1",
        "--signal=B:TERM@120",
        "--gpus=8",
        "--time=1:00:00",
    )
    ran = subprocess.run(["bash"], input=made.script, capture_output=True, text=True, check=True)
    assert ran.stdout == f"{' '.join(['evaluate', *words])}\n"


def test_without_slurm_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(ScenarioError, match="sbatch is not on PATH"):
        require_sbatch()
