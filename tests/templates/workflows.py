"""GitHub workflows, read as data and run step by step as a runner would: bash, its options, and the files for outputs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

_EXPRESSION: Final = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
BASH: Final = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a job."""

    job: str
    name: str
    run: str
    uses: str
    env: Mapping[str, str]
    folder: str


def steps(workflow: Path) -> Iterator[Step]:
    """Every step of every job, in order."""
    for job, table in yaml.safe_load(workflow.read_text())["jobs"].items():
        for raw in table["steps"]:
            yield Step(
                job=job,
                name=raw.get("name", ""),
                run=raw.get("run", ""),
                uses=raw.get("uses", ""),
                env=raw.get("env", {}),
                folder=raw.get("working-directory", "."),
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Runner:
    """A checkout on a machine of GitHub."""

    checkout: Path
    workflow: Path
    env: Mapping[str, str]
    """Of the workflow and the job."""
    values: Mapping[str, str] = field(default_factory=dict)
    """What the expressions in the steps' `env` are."""

    def run(self, job: str, name: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the step of this name, for better or worse. Its outputs are in `outputs`."""
        (step,) = [step for step in steps(self.workflow) if (step.job, step.name) == (job, name)]
        own = {key: _EXPRESSION.sub(lambda match: self.values[match[1]], text) for key, text in step.env.items()}
        files = {name: str(self.checkout / ".git" / name.lower()) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            [*BASH, step.run],
            cwd=self.checkout / step.folder,
            env={**os.environ, **self.env, **files, **own, "PATH": path, **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def right(self, job: str, name: str, **env: str) -> str:
        """Output of a step that succeeds."""
        ran = self.run(job, name, **env)
        assert ran.returncode == 0, f"{name}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def outputs(self) -> dict[str, str]:
        """What the steps have told so far, the last word for each name."""
        lines = (self.checkout / ".git" / "github_output").read_text().splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    def summary(self) -> str:
        """What the steps have written for people."""
        return (self.checkout / ".git" / "github_step_summary").read_text()


def global_env(workflow: Path, **inputs: Any) -> dict[str, str]:
    """`env` of the workflow, `inputs` in the place of expressions."""
    raw: dict[str, Any] = yaml.safe_load(workflow.read_text())["env"]
    return {name: str(inputs.get(name, text)) for name, text in raw.items()}
