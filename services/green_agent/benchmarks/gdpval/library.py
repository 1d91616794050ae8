"""The rows of GDPval and the files that belong to them, from the published data set or from a folder of one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from services.green_agent.benchmarks.gdpval.materials import TaskFile
from services.green_agent.data.cache import file_sha256, safe_member
from services.green_agent.data.dataset import members_of
from services.green_agent.data.rows import read_rows
from services.green_agent.data.store import DataError, Instead, Located, Store

TABLES: Final = ("*train*.parquet", "*.parquet", "*.jsonl")
"""Where the rows may stand; the first that exists holds them."""
DELIVERABLES: Final = "deliverables"


def _listed(value: object) -> object:
    return () if value is None else value


def _text(value: object) -> object:
    return "" if value is None else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Text = Annotated[str, BeforeValidator(_text)]


class GDPvalRow(BaseModel):
    """One published row. Columns beyond these are kept and shown to nobody."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    task_id: str = Field(pattern=r"^[\w-]{1,100}$")
    sector: str = Field(min_length=1, max_length=200)
    occupation: str = Field(min_length=1, max_length=200)
    prompt: str = Field(min_length=1)
    reference_files: Names = ()
    """Paths inside the data set."""
    deliverable_text: Text = ""
    deliverable_files: Names = ()
    """The work of the professional, in revisions that carry it."""


class Shelves(Protocol):
    """Where files lie."""

    @property
    def origin(self) -> str:
        """For records; no path of this machine."""
        ...

    def tables(self) -> Sequence[Located]:
        """The files with the rows. Raises DataError."""
        ...

    def file(self, member: str) -> Located:
        """One file. Raises DataError."""
        ...

    def below(self, folder: str) -> Sequence[tuple[str, Located]]:
        """All files below a folder, by name; none when there is no such folder."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """The registered data set, or another repository in its place."""

    name: str
    store: Store
    instead: Instead

    @property
    def origin(self) -> str:
        """The rows say which revision it is."""
        return ", ".join(located.origin for located in self.tables())

    def tables(self) -> Sequence[Located]:
        """The rows of the split `train`."""
        return self.store.members(self.name, TABLES[0], instead=self.instead)

    def file(self, member: str) -> Located:
        """Downloaded when it is not here."""
        return self.store.member(self.name, member, instead=self.instead)

    def below(self, folder: str) -> Sequence[tuple[str, Located]]:
        """The published data set holds no such folders; one beside the suite may."""
        try:
            found = self.store.path(folder)
        except DataError:
            return []
        return _files_below(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """A folder that somebody laid out like the data set."""

    located: Located

    @property
    def origin(self) -> str:
        """As the suite names it."""
        return self.located.origin

    def tables(self) -> Sequence[Located]:
        """The rows, in the first form that is there."""
        names = members_of(self.located.path)
        for pattern in TABLES:
            if found := [name for name in names if Path(name).match(pattern)]:
                return [self.file(name) for name in found]
        raise DataError(f"{self.located.origin}: no file {' or '.join(TABLES)}")

    def file(self, member: str) -> Located:
        """As it is called in the rows."""
        path = self.located.path / safe_member(member)
        if not path.is_file():
            raise DataError(f"{self.located.origin}: no file {member!r}")
        return Located(path=path, origin=f"{self.located.origin}/{member}")

    def below(self, folder: str) -> Sequence[tuple[str, Located]]:
        """Its own folders."""
        path = self.located.path / folder
        return _files_below(Located(path=path, origin=f"{self.located.origin}/{folder}"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """The data set with its files."""

    shelves: Shelves

    @property
    def origin(self) -> str:
        """For records."""
        return self.shelves.origin

    def rows(self) -> list[GDPvalRow]:
        """All rows in published order. Raises DataError naming file and row."""
        rows = [row for table in self.shelves.tables() for row in _rows(table.path)]
        counts = Counter(row.task_id for row in rows)
        if twice := sorted(task_id for task_id, count in counts.items() if count > 1):
            raise DataError(f"{self.origin}: task ids stand there twice: {', '.join(twice[:5])}")
        return rows

    def file(self, member: str, *, owner: str) -> TaskFile:
        """A file that a row names, on this machine. Raises DataError naming the row."""
        try:
            located = self.shelves.file(member)
        except DataError as error:
            raise DataError(f"task {owner}: {error}") from error
        return _task_file(Path(member).name, located.path)

    def deliverable(self, row: GDPvalRow) -> tuple[str, tuple[TaskFile, ...]]:
        """The work of the professional: text and files, from `deliverables/<task_id>/` or else from the row."""
        beside = self.shelves.below(f"{DELIVERABLES}/{row.task_id}")
        if beside:
            return "", tuple(_task_file(name, located.path) for name, located in beside)
        files = tuple(self.file(member, owner=row.task_id) for member in row.deliverable_files)
        return row.deliverable_text.strip(), files


def open_library(name: str, store: Store, *, path: str | None, instead: Instead) -> Library:
    """The data set in a folder, or the published one. Raises DataError."""
    if path is None:
        return Library(shelves=Published(name=name, store=store, instead=instead))
    located = store.path(path)
    if not located.path.is_dir():
        raise DataError(f"{path}: expected a folder with the rows and the files they name")
    return Library(shelves=Folder(located=located))


def _rows(table: Path) -> list[GDPvalRow]:
    rows: list[GDPvalRow] = []
    for row in read_rows(table):
        try:
            rows.append(GDPvalRow.model_validate(row.values))
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_url=False)
            )
            raise DataError(f"{table.name} row {row.number}: {faults}") from None
    return rows


def _files_below(folder: Located) -> list[tuple[str, Located]]:
    names = members_of(folder.path)
    return [(name, Located(path=folder.path / name, origin=f"{folder.origin}/{name}")) for name in names]


def _task_file(name: str, path: Path) -> TaskFile:
    return TaskFile(name=name, path=path, size=path.stat().st_size, sha256=file_sha256(path))
