"""Reads documents in a process of their own: a parser that hangs, swells or dies costs that document and nothing else.

The process gets the bytes, no environment and no file of ours. Blocking; call it in a worker thread.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from services.contract.documents.kinds import kind_of, suffix_of
from services.contract.documents.model import Document, Extract, Limits, Order, Status, Window

DEFAULTS: Final = Limits()
WHOLE: Final = Window()
_ROOT: Final = Path(__file__).resolve().parents[3]


def read_files(files: Iterable[tuple[str, Path]], *, limits: Limits = DEFAULTS) -> list[Document]:
    """The documents (name, path) of one task, all of them in order; past `task_bytes` they are reported as unreadable."""
    read: list[Document] = []
    room = limits.task_bytes
    for name, path in files:
        size = _size(path)
        if size > room:
            fault = f"the files before it leave {room} of {limits.task_bytes} bytes"
            read.append(_unreadable(name, kind_of(name), size, fault))
            continue
        room -= size
        read.append(read_file(path, name=name, limits=limits))
    return read


def read_file(
    path: Path, *, name: str = "", window: Window = WHOLE, limits: Limits = DEFAULTS, format_hint: str = ""
) -> Document:
    """The text of a file. `name` is what it is called when the path does not say. Raises nothing."""
    called = name or path.name
    size = _size(path)
    if size > limits.file_bytes:
        return _too_large(called, size, limits)
    try:
        content = path.read_bytes()
    except OSError as error:
        return _unreadable(called, kind_of(called), size, f"cannot be opened ({error.strerror})")
    return read_bytes(content, name=called, window=window, limits=limits, format_hint=format_hint)


def read_bytes(
    content: bytes,
    *,
    name: str,
    media_type: str = "",
    window: Window = WHOLE,
    limits: Limits = DEFAULTS,
    format_hint: str = "",
) -> Document:
    """The text of a document that is in memory. Raises nothing."""
    if len(content) > limits.file_bytes:
        return _too_large(name, len(content), limits)
    kind = kind_of(name, hint=format_hint, media_type=media_type, head=content[:4096])
    if kind in {"image", "audio", "video"}:
        return Document(name=name, kind=kind, size=len(content), status=Status.LISTED)
    if not content:
        return _unreadable(name, kind, 0, "it is empty")
    if kind == "unknown":
        return _unreadable(name, kind, len(content), f"no reader for {suffix_of(name) or 'files without a suffix'}")
    told = _told(Order(kind=kind, suffix=suffix_of(name), window=window, limits=limits), content)
    if told.fault:
        return _unreadable(name, kind, len(content), told.fault)
    return Document(
        name=name,
        kind=kind,
        size=len(content),
        status=Status.READ,
        text=told.text,
        pages=told.pages,
        notes=tuple(told.notes),
    )


def _told(order: Order, content: bytes) -> Extract:
    """What the process says of the document, or why it says nothing."""
    command = [sys.executable, "-P", "-B", "-m", "services.contract.documents.worker"]
    environment = {"PYTHONPATH": str(_ROOT), "PYTHONUTF8": "1"}
    try:
        done = subprocess.run(
            command,
            input=order.model_dump_json().encode() + b"\n" + content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=order.limits.timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Extract(fault=f"not read within {order.limits.timeout_s:g} s")
    if done.returncode != 0:
        return Extract(fault=f"its reader ended with status {done.returncode}")
    try:
        return Extract.model_validate_json(done.stdout)
    except ValidationError:
        return Extract(fault="its reader gave no readable answer")


def _too_large(name: str, size: int, limits: Limits) -> Document:
    return _unreadable(name, kind_of(name), size, f"{size} bytes, at most {limits.file_bytes} are read")


def _unreadable(name: str, kind: str, size: int, fault: str) -> Document:
    return Document(name=name, kind=kind, size=size, status=Status.UNREADABLE, fault=fault)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
