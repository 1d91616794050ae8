"""HumanEval: complete a Python function from its signature and docstring; 164 tasks, judged by their published tests.

Source: "Evaluating Large Language Models Trained on Code", arXiv:2107.03374; docs/benchmarks/humaneval.md.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from services.contract.seeds import derive
from services.green_agent.benchmarks.base import DatasetConfig, DatasetError, digest
from services.green_agent.data.loading import load_jsonl
from services.green_agent.data.registry import known_issues, source
from services.green_agent.data.store import DataError
from services.green_agent.scoring.code import programs, questions, verdicts
from services.green_agent.scoring.code.assertions import NotPairs, Pairs, take_apart
from services.green_agent.scoring.code.benchmark import CodeBenchmark, CodeTask, FunctionConfig
from services.green_agent.scoring.code.examples import Example, examples, without, without_examples
from services.green_agent.scoring.code.extraction import Program, extract_continuation, extract_python
from services.green_agent.scoring.code.selfcheck import checked
from services.green_agent.scoring.code.verdicts import Cells, Verdict, verdict_by_pairs, verdict_by_split

NAME: Final = "humaneval"
MEMBER: Final = "HumanEval.jsonl.gz"
CANDIDATE: Final = "candidate"
"""What the published tests call the function under test."""

STOPS: Final = ("class", "def", "#", "if", "print")
"""What begins the line after a function when a base model goes on writing. Source: the paper, section 2.3."""


class HumanEvalConfig(FunctionConfig):
    """Suite entry of HumanEval."""

    visible_tests: Literal["examples", "none"] = "examples"
    """examples: the prompt with the examples of its docstring. none: without them."""
    protocol: Literal["chat", "completion"] = "chat"
    """completion: the raw prompt for base models, whose reply goes on with it."""


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
    shown: str
    """The published prompt as far as the agent sees it."""
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
            rows = load_jsonl(source(NAME), self.setting.store.member(NAME, MEMBER).path)
            tasks = [self._task(HumanEvalRow.model_validate(row), row) for row in rows]
        except (DataError, ValidationError) as error:
            raise DatasetError(f"{NAME}: {error}") from error
        return checked(NAME, tasks)

    def program(self, task: HumanEvalTask, reply: str) -> Program | None:
        """See CodeBenchmark."""
        if self.config.protocol == "completion":
            return extract_continuation(reply, prompt=task.shown, stops=STOPS)
        return extract_python(reply, prompt=task.shown, entry_point=task.entry_point)

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

    def _task(self, row: HumanEvalRow, published: dict[str, JsonValue]) -> HumanEvalTask:
        pairs = _pairs(row)
        shown = shown_prompt(row, visible=self.config.visible_tests)
        chat = questions.FUNCTION.format(entry_point=row.entry_point, prompt=shown.strip("\n"))
        question = shown if self.config.protocol == "completion" else chat
        return HumanEvalTask(
            id=row.task_id,
            stratum=NAME,
            prompt=question,
            digest=digest(question, published, *self.judging),
            row=row,
            shown=shown,
            pairs=pairs,
            entry_point=row.entry_point,
            reference=row.prompt + row.canonical_solution,
            units=len(pairs.assertions) if pairs is not None else 1,
            issues=tuple(issue.kind for issue in known_issues(NAME) if row.task_id in issue.rows),
            hidden=(row.canonical_solution, row.test),
        )


def shown_prompt(row: HumanEvalRow, *, visible: Literal["examples", "none"]) -> str:
    """The published prompt without its examples, or with them.

    Of the rows known for a wrong example, those that the published test contradicts are left out in either case.
    """
    if visible == "none":
        return without_examples(row.prompt, row.entry_point)
    if row.task_id not in _rows_with("wrong_example"):
        return row.prompt
    wrong = [example for example in examples(row.prompt, row.entry_point) if _contradicted(example, row)]
    return without(row.prompt, wrong)


def _contradicted(example: Example, row: HumanEvalRow) -> bool:
    """True when the test asserts another value for the same call."""
    call = ast.parse(example.call, mode="eval").body
    value = ast.parse(example.value, mode="eval").body
    for node in ast.walk(ast.parse(row.test)):
        match node:
            case ast.Compare(left=ast.Call(func=ast.Name(id=name)) as called, ops=[ast.Eq()], comparators=[expected]):
                if name == CANDIDATE and isinstance(call, ast.Call) and _same(called.args, call.args):
                    return not _same([expected], [value])
    return False


def _same(ours: Sequence[ast.expr], theirs: Sequence[ast.expr]) -> bool:
    return list(map(ast.dump, ours)) == list(map(ast.dump, theirs))


def _rows_with(kind: str) -> set[str]:
    return {row for issue in known_issues(NAME) if issue.kind == kind for row in issue.rows}


def _pairs(row: HumanEvalRow) -> Pairs | None:
    tree = ast.parse(row.test)
    checks = [part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name == "check"]
    if len(checks) != 1:
        raise DatasetError(f"{row.task_id}: expected one function `check` in the test, got {len(checks)}")
    try:
        return take_apart(checks[0].body, callee=CANDIDATE)
    except NotPairs:
        return None
