"""What is asked of a document and what comes back."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

MB = 1 << 20


class Status(StrEnum):
    """What became of a document."""

    READ = "read"
    LISTED = "listed"
    """An image, sound or film: it is named, nobody reads it."""
    UNREADABLE = "unreadable"


class Window(BaseModel):
    """The part of a document that is wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    page_start: int = Field(default=1, ge=1)
    """First page (pdf) or slide (pptx), counted from 1."""
    page_limit: int | None = Field(default=None, ge=1)
    """Most pages or slides."""
    row_offset: int = Field(default=0, ge=0)
    """Rows passed over: of each sheet (xlsx), of the table (csv), lines of a text."""
    row_limit: int | None = Field(default=None, ge=1)
    """Most rows, of each sheet or in all."""
    extract_tables: bool = False
    """Keep the columns of a pdf in place. Tables of other formats are always given row by row."""


class Limits(BaseModel):
    """What one document may cost (finance specification 8)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    file_bytes: int = Field(default=20 * MB, ge=1)
    task_bytes: int = Field(default=50 * MB, ge=1)
    """All documents of one task together."""
    pages: int = Field(default=200, ge=1)
    cells: int = Field(default=50_000, ge=1)
    characters: int = Field(default=2_000_000, ge=1)
    timeout_s: float = Field(default=30.0, gt=0)
    memory_bytes: int = Field(default=2048 * MB, ge=256 * MB)
    """Address space of the reading process."""


class Document(BaseModel):
    """A document as far as it could be read. Never an exception: an unreadable one is reported, not dropped."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: str
    kind: str
    """`pdf`, `docx`, `xlsx`, `pptx`, `csv`, `html`, `text`, `image`, `audio`, `video` or `unknown`."""
    size: int
    """Bytes."""
    status: Status
    text: str = ""
    pages: int | None = None
    """Pages or slides of the whole document; None where there are none."""
    notes: tuple[str, ...] = ()
    """What was left out or looks odd, for example `pages 201-340 left out`."""
    fault: str = ""
    """Why it is unreadable."""

    @property
    def words(self) -> str:
        """One line on what became of it."""
        if self.status is Status.UNREADABLE:
            return f"unreadable: {self.fault}"
        if self.status is Status.LISTED:
            return f"{self.kind}, not read"
        return "; ".join(["read", *self.notes])


class Extract(BaseModel):
    """What the reading process says."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    text: str = ""
    pages: int | None = None
    notes: list[str] = Field(default_factory=list)
    fault: str = ""
    """Not empty when there is no text to give."""


class Order(BaseModel):
    """What the reading process is told, ahead of the bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    suffix: str
    window: Window
    limits: Limits


class UnreadableError(Exception):
    """Inside the reading process: no text can be given; the message says why."""
