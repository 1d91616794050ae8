"""The tests of one problem: a zip with `config.yaml`, `testdata/`, and the sources of checker and interactor.

The archives come from the data set: they are trusted with the answer, not with this machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal

import yaml
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from services.green_agent.data.archives import Contents, opened
from services.green_agent.data.store import DataError, Store

TESTS, TESTLIB = "lcb_pro_tests", "testlib"
"""Names in the registry of data sets."""
HEADER: Final = "testlib.h"
MOST_UNPACKED: Final = 4 << 30
HIGHEST_RATIO: Final = 1_100
"""Deflate reaches no more; test data may be a million equal numbers."""
LARGEST_SOURCE: Final = 1 << 20
LARGEST_CASE: Final = 256 << 20
"""Bytes of one file of a case; a program and its checker get it through the memory of this process."""
MOST_CASES: Final = 5_000

_TIME: Final = re.compile(r"\s*([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*(ms|s)?\s*", re.IGNORECASE)
_MEMORY: Final = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([kmg]?)i?b?\s*", re.IGNORECASE)
_INCLUDES_TESTLIB: Final = re.compile(r'^[ \t]*#[ \t]*include[ \t]*["<]testlib\.h[">]', re.MULTILINE)


def _seconds(value: object) -> object:
    """`1s`, `1500ms` or a number of seconds."""
    if not isinstance(value, str):
        return value
    match = _TIME.fullmatch(value)
    if match is None:
        raise ValueError(f"expected a time such as 1s or 1500ms, got {value[:100]!r}")
    return float(match[1]) / (1000 if (match[2] or "s").lower() == "ms" else 1)


def _bytes(value: object) -> object:
    """`256m`, `1g` or a number of bytes."""
    if not isinstance(value, str):
        return value
    match = _MEMORY.fullmatch(value)
    if match is None:
        raise ValueError(f"expected a size such as 256m, got {value[:100]!r}")
    return round(float(match[1]) * 1024 ** " kmg".index(match[2].lower() or " "))


_TIME_KEYS: Final = AliasChoices("time_limit", "time")
_MEMORY_KEYS: Final = AliasChoices("memory_limit", "memory")
Time = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=600)]
# A number without a unit is bytes; no program runs in less than this, so that a smaller one is meant otherwise.
Memory = Annotated[int, BeforeValidator(_bytes), Field(ge=1 << 20, le=64 << 30)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    time_limit: Time | None = Field(default=None, validation_alias=_TIME_KEYS)
    memory_limit: Memory | None = Field(default=None, validation_alias=_MEMORY_KEYS)


class _NamedCase(_Part):
    input: str
    output: str


class _Subtask(_Part):
    n_cases: int | None = Field(default=None, ge=1, le=MOST_CASES)
    cases: tuple[_NamedCase, ...] | None = None


class Config(BaseModel):
    """`config.yaml`; keys beyond these are not used."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["default", "interactive"] = "default"
    time_limit: Time = Field(default=1.0, validation_alias=_TIME_KEYS)
    memory_limit: Memory = Field(default=256 << 20, validation_alias=_MEMORY_KEYS)
    checker: str = "chk.cc"
    interactor: str = "interactor.cc"
    input_prefix: str = ""
    output_prefix: str = ""
    input_suffix: str = ".in"
    output_suffix: str = ".ans"
    subtasks: tuple[_Subtask, ...] = Field(min_length=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseFiles:
    """Where a case lies in the archive, and its limits."""

    input: str
    answer: str
    """Empty where an interactive problem has none."""
    time_limit_s: float
    memory_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """The program of the data set that decides: a checker, or an interactor."""

    source: str
    headers: dict[str, str]
    interactive: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A problem's tests, open."""

    problem_id: str
    config: Config
    cases: Sequence[CaseFiles]
    """At least one, in the order they are run."""
    judge: Judge
    contents: Contents

    def text(self, name: str) -> str:
        """One of the case files. Raises DataError, also when it is not UTF-8: a changed input is another test."""
        try:
            return self.contents.read(name, most_bytes=LARGEST_CASE).decode()
        except UnicodeDecodeError:
            raise DataError(f"{self.contents.file}: {name!r} is not UTF-8") from None


@contextmanager
def problem_archive(store: Store, problem_id: str) -> Iterator[Archive]:
    """The tests of a problem, fetched when they are not here.

    Raises DataError when they cannot be had or used, and when testlib is needed and absent.
    """
    found = store.member(TESTS, f"{problem_id}.zip")
    with opened(found.path, most_bytes=MOST_UNPACKED, highest_ratio=HIGHEST_RATIO) as contents:
        folder = _folder(contents)
        config = _config(contents, f"{folder}config.yaml")
        interactive = config.type == "interactive"
        source = _source(contents, folder + (config.interactor if interactive else config.checker))
        yield Archive(
            problem_id=problem_id,
            config=config,
            cases=[
                _in_archive(case, contents, interactive=interactive) for case in _cases(config, f"{folder}testdata/")
            ],
            judge=Judge(source=source, headers=_headers(store, source), interactive=interactive),
            contents=contents,
        )


def _folder(contents: Contents) -> str:
    """Where the problem begins: at the top of the archive, or in its only folder."""
    found = sorted(name for name in contents.names if PurePosixPath(name).name == "config.yaml")
    shallow = min(found, key=lambda name: name.count("/"), default="config.yaml")
    return shallow.removesuffix("config.yaml")


def _config(contents: Contents, name: str) -> Config:
    try:
        return Config.model_validate(yaml.safe_load(_source(contents, name)))
    except (yaml.YAMLError, RecursionError):
        raise DataError(f"{contents.file}: config.yaml is no YAML") from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise DataError(f"{contents.file}: config.yaml: {where}: {fault['msg']}") from None


def _source(contents: Contents, name: str) -> str:
    return contents.read(name, most_bytes=LARGEST_SOURCE).decode("utf-8-sig", errors="replace")


def _headers(store: Store, source: str) -> dict[str, str]:
    """What the source includes beside the standard library. Raises DataError naming how to get testlib."""
    if not _INCLUDES_TESTLIB.search(source):
        return {}
    return {HEADER: store.member(TESTLIB, HEADER).path.read_text(encoding="utf-8", errors="replace")}


def _cases(config: Config, folder: str) -> list[CaseFiles]:
    """The cases of all subtasks; those of `n_cases` are numbered through from 1."""
    found: list[CaseFiles] = []
    numbered = 0
    for subtask in config.subtasks:
        cases = subtask.cases or ()
        if not cases:
            if subtask.n_cases is None:
                raise DataError("config.yaml has a subtask with neither n_cases nor cases")
            last = numbered + subtask.n_cases
            cases = tuple(_numbered(config, number) for number in range(numbered + 1, last + 1))
            numbered = last
        found += [_case(config, subtask, case, folder) for case in cases]
    if not 0 < len(found) <= MOST_CASES:
        raise DataError(f"config.yaml names {len(found)} cases, expected 1 to {MOST_CASES}")
    return found


def _numbered(config: Config, number: int) -> _NamedCase:
    return _NamedCase(
        input=f"{config.input_prefix}{number}{config.input_suffix}",
        output=f"{config.output_prefix}{number}{config.output_suffix}",
    )


def _case(config: Config, subtask: _Subtask, case: _NamedCase, folder: str) -> CaseFiles:
    return CaseFiles(
        input=folder + case.input,
        answer=folder + case.output,
        time_limit_s=case.time_limit or subtask.time_limit or config.time_limit,
        memory_bytes=case.memory_limit or subtask.memory_limit or config.memory_limit,
    )


def _in_archive(case: CaseFiles, contents: Contents, *, interactive: bool) -> CaseFiles:
    """The case with the answer file that is there: `.ans` and `.out` stand for each other. Raises DataError."""
    stem = case.answer.rsplit(".", 1)[0]
    answer = next((name for name in (case.answer, f"{stem}.ans", f"{stem}.out") if name in contents.names), None)
    if answer is None and interactive:
        answer = ""
    if case.input not in contents.names or answer is None:
        lacking = case.answer if case.input in contents.names else case.input
        raise DataError(f"{contents.file}: config.yaml names {lacking!r}, which is not there")
    return replace(case, answer=answer)
