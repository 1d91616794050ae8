"""What the agent is told and what the judge reads: the request, the text of the files, the answer with its own files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue, TypeAdapter

from services.contract.conversation import ReplyFile
from services.contract.documents import Document, Limits, Status, read_bytes, read_files
from services.contract.outcomes import Failure, Outcome
from services.contract.secrets import redact
from services.green_agent.benchmarks.base import Task

RETURNED: Final = "returned_files"
"""Note of the transcript: what the agent's files say, since the files themselves are not stored."""
LIMITS: Final = Limits(characters=200_000)
MOST_RETURNED: Final = 20
RETURNED_CHARACTERS: Final = 100_000
"""Of one file; the text of all of them stands in the transcript."""
READING_S: Final = 60.0
"""For all files of one answer together."""
_DOCUMENTS: Final = TypeAdapter(list[Document])

FILES_HEAD: Final = "Reference files:"
CLOSING: Final = (
    "Answer with the finished deliverable itself, not with a description of it: as text, or as files attached to your "
    "message (file parts), 2.5 MB together at most. Attached pdf, docx, xlsx, pptx, csv, html and text files are read; images "
    "and audio are not."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFile:
    """A file of a task, on this machine."""

    name: str
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Deliverable:
    """The work of the professional."""

    text: str
    files: tuple[TaskFile, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class GDPvalTask(Task):
    """One piece of work."""

    request: str
    """The published prompt with how to answer, without the list of files."""
    sector: str
    occupation: str
    references: tuple[TaskFile, ...]
    deliverable: Deliverable | None
    """None in rubric mode."""


def request(prompt: str) -> str:
    """The published prompt and in what form to answer."""
    return f"{prompt.strip()}\n\n{CLOSING}"


def listed(request: str, files: Sequence[TaskFile]) -> str:
    """The request as the plan shows it: names and sizes; addresses exist only while a trial lasts."""
    if not files:
        return request
    lines = [f"{number}. {file.name} ({file.size:,} bytes)" for number, file in enumerate(files, 1)]
    return "\n".join([request, "", FILES_HEAD, *lines])


def question(request: str, documents: Sequence[Document], addresses: Sequence[str]) -> str:
    """What the agent is sent: the request, and where each file is and whether its text could be read here."""
    if not documents:
        return request
    lines = [
        f"{number}. {document.name} ({document.kind}, {document.size:,} bytes): {address}{_remark(document)}"
        for number, (document, address) in enumerate(zip(documents, addresses, strict=True), 1)
    ]
    how = "Read each with an HTTP GET; these addresses work until you have answered, and for you alone."
    return "\n".join([request, "", FILES_HEAD, *lines, how])


def documents(files: tuple[TaskFile, ...]) -> tuple[Document, ...]:
    """The text of files of a task; an unreadable one says so. Blocking."""
    return tuple(read_files([(file.name, file.path) for file in files], limits=LIMITS))


def returned(files: Sequence[ReplyFile]) -> list[Document]:
    """The text of files the agent returned, within the limits of a task and a minute."""
    end = time.monotonic() + READING_S
    room = LIMITS.task_bytes
    read: list[Document] = []
    for number, file in enumerate(files, 1):
        name = redact(file.name) or f"file {number}"
        left_s = end - time.monotonic()
        if fault := _refusal(number, len(file.content), room, left_s):
            refused = Document(name=name, kind="file", size=len(file.content), status=Status.UNREADABLE, fault=fault)
            read.append(refused)
            continue
        room -= len(file.content)
        limits = LIMITS.model_copy(
            update={"timeout_s": min(LIMITS.timeout_s, left_s), "characters": RETURNED_CHARACTERS}
        )
        document = read_bytes(file.content, name=name, media_type=file.media_type, limits=limits)
        read.append(document.model_copy(update={"text": redact(document.text), "fault": redact(document.fault)}))
    return read


def answer(said: str, notes: Mapping[str, JsonValue]) -> str:
    """What is judged: the words of the reply, then the text of its files under their names. Empty when there is nothing."""
    read = _DOCUMENTS.validate_python(notes.get(RETURNED) or [])
    files = [_labelled(number, document, said) for number, document in enumerate(read, 1)]
    return "\n\n".join(part for part in (said, *files) if part)


def deliverable_text(deliverable: Deliverable, read: Sequence[Document]) -> str:
    """What the answer is compared with. `read`: its files. Raises Failure(judge_error) when nothing of it can be read."""
    if not deliverable.text and not any(document.text for document in read):
        told = "; ".join(f"{document.name} {document.words}" for document in read)
        raise Failure(Outcome.JUDGE_ERROR, "deliverable_unreadable", f"no text to compare the answer with: {told}")
    files = [_labelled(number, document, deliverable.text) for number, document in enumerate(read, 1)]
    return "\n\n".join(part for part in (deliverable.text, *files) if part)


def _refusal(number: int, size: int, room: int, left_s: float) -> str:
    if number > MOST_RETURNED:
        return f"more than {MOST_RETURNED} files"
    if size > room:
        return f"the files before it leave {room} of {LIMITS.task_bytes} bytes"
    return f"{READING_S:g} s for reading the files of one answer are spent" if left_s < 1 else ""


def _labelled(number: int, document: Document, said: str) -> str:
    head = f"=== file {number}: {document.name} ({document.kind}, {document.size} bytes; {document.words}) ==="
    # The A2A client makes text files part of what was said; a judge should not read them twice.
    stands_above = bool(document.text.strip()) and document.text.strip() in said
    return f"{head}\n{'(its text stands above)' if stands_above else document.text}".strip()


def _remark(document: Document) -> str:
    return "" if document.status is Status.READ else f" ({document.words} on our side)"
