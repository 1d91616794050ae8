"""MBPP: short Python functions from one sentence and three asserts; 974 tasks, or the 427 that were edited by hand.

Source: "Program Synthesis with Large Language Models", arXiv:2108.07732; docs/benchmarks/mbpp.md.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from services.contract.seeds import derive
from services.green_agent.benchmarks.base import DatasetConfig, DatasetError, Setting, digest
from services.green_agent.data.loading import Row, load_json, load_jsonl
from services.green_agent.data.registry import known_issues, source
from services.green_agent.data.store import DataError
from services.green_agent.scoring.code import programs, questions, verdicts
from services.green_agent.scoring.code.assertions import NotPairs, Pairs, take_apart
from services.green_agent.scoring.code.benchmark import CodeBenchmark, CodeTask, FunctionConfig
from services.green_agent.scoring.code.extraction import Program, extract_continuation, extract_python
from services.green_agent.scoring.code.fences import with_line_feeds
from services.green_agent.scoring.code.guarded import Guarded, take_apart_beside, verdict_by_guard
from services.green_agent.scoring.code.selfcheck import checked
from services.green_agent.scoring.code.verdicts import Cells, Verdict, verdict_by_pairs, verdict_by_split

NAME: Final = "mbpp"
SANITIZED: Final = "mbpp_sanitized"
"""Names in the registry of data sets."""
Split = Literal["test", "train", "validation", "prompt", "all"]
Subset = Literal["full", "sanitized"]
VisibleTests = Literal["none", "first", "all"]

SPLITS: Final[Mapping[Split, range]] = {
    "prompt": range(1, 11),
    "test": range(11, 511),
    "validation": range(511, 601),
    "train": range(601, 975),
    "all": range(1, 975),
}
"""Published numbers of the tasks of each split, in both subsets."""
FULL_SIZE: Final = 974
SHOTS: Final = (2, 3, 4)
"""Tasks of the prompt split that serve as worked examples, as in the paper."""
STOPS: Final = ("class", "def", "#", "if", "print", "assert", '"""', "'''", "```")
"""What begins the line after a function when a base model goes on writing."""

CLASSES: Final = "The tests build objects of {classes}, which your program defines as well.\n"
WORKED: Final = """\
Here are tasks of the same kind with their answers.

{shots}

Now your task.

"""
ANSWER: Final = """\
```python
{code}
```
"""


class MbppConfig(FunctionConfig):
    """Suite entry of MBPP."""

    subset: Subset = "full"
    """full: all 974 tasks. sanitized: the 427 with edited texts and tests."""
    split: Split = "test"
    """Tasks of the published split: prompt 1-10, test 11-510, validation 511-600, train 601-974."""
    visible_tests: VisibleTests = "all"
    """Which of the three scoring asserts the agent is shown; all is the published convention."""
    shots: Annotated[int, Field(ge=0, le=len(SHOTS))] = 0
    """Worked examples before the task: tasks 2, 3 and 4 of the prompt split."""
    protocol: Literal["chat", "completion"] = "chat"
    """completion: raw text for base models, up to the name of the function, whose reply goes on with it."""

    @model_validator(mode="after")
    def _shots_are_not_asked(self) -> MbppConfig:
        if self.shots and self.split in {"prompt", "all"}:
            raise ValueError(f"shots: the split {self.split!r} holds the worked examples themselves; ask another split")
        return self


class FullRow(BaseModel):
    """One published row; fields beyond these are kept in the digest and otherwise unused."""

    model_config = ConfigDict(frozen=True, extra="allow")

    task_id: int = Field(ge=1, le=FULL_SIZE)
    text: str = Field(min_length=1)
    code: str = Field(min_length=1)
    test_setup_code: str
    test_list: list[Annotated[str, Field(min_length=1)]] = Field(min_length=3, max_length=3)
    challenge_test_list: list[str]

    @property
    def question(self) -> str:
        """What is asked."""
        return self.text

    @property
    def set_up(self) -> str:
        """Code before the asserts."""
        return self.test_setup_code


class SanitizedRow(BaseModel):
    """One row of the sanitized subset; likewise."""

    model_config = ConfigDict(frozen=True, extra="allow")

    task_id: int = Field(ge=1, le=FULL_SIZE)
    prompt: str = Field(min_length=1)
    code: str = Field(min_length=1)
    test_imports: list[str]
    test_list: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    source_file: str

    @property
    def question(self) -> str:
        """What is asked."""
        return self.prompt

    @property
    def set_up(self) -> str:
        """Code before the asserts."""
        return "\n".join(self.test_imports)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A row of either subset, line ends normalised: the published strings hold carriage returns."""

    number: int
    text: str
    code: str
    set_up: str
    """Code that runs before the asserts: imports, or objects that they use; often empty."""
    tests: tuple[str, ...]
    entry_point: str
    """The function that the reference defines and every assert calls."""
    classes: tuple[str, ...]
    """Classes of the reference that the test builds objects of."""
    imports: tuple[str, ...]
    """Of the reference: asserts may use the names."""
    published: Row


@dataclass(frozen=True, kw_only=True, slots=True)
class MbppTask(CodeTask):
    """One function to write."""

    item: Item
    test: Pairs | Guarded | None
    """The test taken apart; None when it is judged by `split`."""


class Mbpp(CodeBenchmark[MbppConfig, MbppTask]):
    """The benchmark. A trial passes when every assert of the task holds."""

    name: ClassVar[str] = NAME
    config_model: ClassVar[type[DatasetConfig]] = MbppConfig
    scorer_version: ClassVar[str] = f"mbpp-1+code-{verdicts.SCORER_VERSION}"

    def __init__(self, config: MbppConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self._origin = ""
        self._verified = False
        self._left_out: list[int] = []

    def tasks(self) -> Sequence[MbppTask]:
        """The tasks of the split in published order. Raises DatasetError."""
        try:
            rows = self._rows()
        except (DataError, ValidationError) as error:
            raise DatasetError(f"{NAME}: {error}") from error
        by_number = {row.task_id: row for row in rows}
        if absent := [number for number in SHOTS[: self.config.shots] if number not in by_number]:
            raise DatasetError(f"{NAME}: the worked examples {absent} are not in the data")
        shots = [_item(by_number[number]) for number in SHOTS[: self.config.shots]]
        asked = sorted(by_number.keys() & set(SPLITS[self.config.split]))
        items = [_item(by_number[number]) for number in asked]
        if self.config.protocol == "completion":
            # What goes on with a function cannot define the class that the test needs beside it.
            self._left_out = [item.number for item in items if item.classes]
        return checked(NAME, [self._task(item, shots) for item in items if item.number not in self._left_out])

    def notes(self) -> Mapping[str, JsonValue]:
        """Where the data came from, whether their digest is a known one, and the tasks that a base model is not asked."""
        return {"source": self._origin, "dataset_verified": self._verified, "left_out": list(self._left_out)}

    def program(self, task: MbppTask, reply: str) -> Program | None:
        """See CodeBenchmark."""
        if self.config.protocol == "completion":
            return extract_continuation(reply, prompt=f"def {task.entry_point}(", stops=STOPS)
        return extract_python(reply, prompt="", entry_point=task.entry_point)

    async def verdict(self, task: MbppTask, trial: int, program: Program, cells: Cells) -> Verdict:
        """Assert by assert where the test can be taken apart, else as a whole. Raises SandboxError."""
        if isinstance(task.test, Guarded):
            return await verdict_by_guard(cells, task.test, source=program.source)
        if task.test is not None:
            return await verdict_by_pairs(cells, task.test, source=program.source, entry_point=task.entry_point)
        return await verdict_by_split(
            cells,
            source=program.source,
            entry_point=task.entry_point,
            test_source=source_of_test(task.item),
            seed=derive(self.seed, NAME, task.id, trial, "test"),
        )

    def _rows(self) -> Sequence[FullRow | SanitizedRow]:
        if self.config.subset == "sanitized":
            located = self.setting.store.member(SANITIZED, "sanitized-mbpp.json")
            self._origin, self._verified = located.origin, located.verified
            return [SanitizedRow.model_validate(row) for row in load_json(source(SANITIZED), located.path)]
        located = self.setting.store.member(NAME, "mbpp.jsonl")
        self._origin, self._verified = located.origin, located.verified
        return [FullRow.model_validate(row) for row in load_jsonl(source(NAME), located.path)]

    def _task(self, item: Item, shots: Sequence[Item]) -> MbppTask:
        config = self.config
        test = _taken_apart(item)
        ask = _completion if config.protocol == "completion" else _chat
        prompt = ask(item, shots, config.visible_tests)
        prefix = "MBPP" if config.subset == "full" else "MBPP-sanitized"
        shown = _shown(item, config.visible_tests)
        return MbppTask(
            id=f"{prefix}/{item.number}",
            stratum=NAME,
            prompt=prompt,
            digest=digest(prompt, item.published, *self.judging),
            item=item,
            test=test,
            entry_point=item.entry_point,
            beside=item.classes,
            reference=item.code,
            units=len(test.assertions) if isinstance(test, Pairs) else 1,
            issues=tuple(issue.kind for issue in known_issues(NAME) if f"MBPP/{item.number}" in issue.rows),
            hidden=(item.code, *(test for test in item.tests if test not in shown)),
        )


def source_of_test(item: Item) -> str:
    """The test as a program."""
    return "\n".join([*item.imports, item.set_up, *item.tests]) + "\n"


def _item(row: FullRow | SanitizedRow) -> Item:
    """A row as it is asked and judged. Raises DatasetError unless reference and asserts agree on one function."""
    code = with_line_feeds(row.code)
    set_up = with_line_feeds(row.set_up)
    tests = tuple(with_line_feeds(test).strip() for test in row.test_list)
    tree = programs.parse(code) or ast.Module([], [])
    try:
        called = [_called(ast.parse(test)) for test in tests]
        used = _called(ast.parse(set_up)).union(*called)
    except SyntaxError as error:
        raise DatasetError(f"{NAME} task {row.task_id}: a test is no Python ({error})") from None
    functions = {part.name for part in tree.body if isinstance(part, ast.FunctionDef)}.intersection(*called)
    if len(functions) != 1:
        raise DatasetError(f"{NAME} task {row.task_id}: expected one function in every assert, got {sorted(functions)}")
    return Item(
        number=row.task_id,
        text=with_line_feeds(row.question).strip(),
        code=code,
        set_up="\n".join(map(str.rstrip, set_up.split("\n"))),
        tests=tests,
        entry_point=functions.pop(),
        classes=tuple(part.name for part in tree.body if isinstance(part, ast.ClassDef) and part.name in used),
        imports=tuple(ast.unparse(part) for part in tree.body if isinstance(part, ast.Import | ast.ImportFrom)),
        published=row.model_dump(mode="json"),
    )


def _called(tree: ast.Module) -> set[str]:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {function.id for function in calls if isinstance(function, ast.Name)}


def _taken_apart(item: Item) -> Pairs | Guarded | None:
    asserts = ast.parse("\n".join(item.tests)).body
    if item.classes:
        return take_apart_beside(asserts, set_up=item.set_up, callee=item.entry_point)
    try:
        return take_apart(asserts, callee=item.entry_point)
    except NotPairs:
        return None


def _shown(item: Item, visible: VisibleTests) -> tuple[str, ...]:
    return {"none": (), "first": item.tests[:1], "all": item.tests}[visible]


def _chat(item: Item, shots: Sequence[Item], visible: VisibleTests) -> str:
    worked = "\n".join(f"{_question(shot, visible)}\n{ANSWER.format(code=shot.code.strip())}" for shot in shots)
    return (WORKED.format(shots=worked.strip()) if shots else "") + _question(item, visible)


def _question(item: Item, visible: VisibleTests) -> str:
    shown = _shown(item, visible)
    question = questions.TEXT.format(text=item.text, entry_point=item.entry_point) + _told_classes(item)
    if not shown:
        return question
    # The objects of the asserts are no tests: without them nobody could know how the class is built.
    lines = [item.set_up.strip(), *shown] if item.classes else shown
    these = "this test" if len(shown) == 1 else "these tests"
    return question + questions.TESTS.format(these=these, tests="\n".join(filter(None, lines)))


def _told_classes(item: Item) -> str:
    classes = " and ".join(f"the class `{name}`" for name in item.classes)
    return CLASSES.format(classes=classes) if classes else ""


def _completion(item: Item, shots: Sequence[Item], visible: VisibleTests) -> str:
    worked = "".join(f"{_docstring(shot, visible)}{shot.code.strip()}\n\n" for shot in shots)
    return f"{worked}{_docstring(item, visible)}def {item.entry_point}("


def _docstring(item: Item, visible: VisibleTests) -> str:
    return "\n".join(['"""', item.text, *_shown(item, visible), '"""', ""])
