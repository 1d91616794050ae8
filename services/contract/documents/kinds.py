"""Which kind of document a file is, told by its name, a hint or its first bytes."""

from __future__ import annotations

import mimetypes
from pathlib import PurePosixPath
from typing import Final

_BY_SUFFIX: Final = {
    ".pdf": "pdf",
    ".docx": "docx",
    ".docm": "docx",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".pptx": "pptx",
    ".pptm": "pptx",
    ".csv": "csv",
    ".tsv": "csv",
    ".htm": "html",
    ".html": "html",
    ".xhtml": "html",
    ".txt": "text",
    ".md": "text",
    ".json": "text",
    ".jsonl": "text",
    ".xml": "text",
    ".yaml": "text",
    ".yml": "text",
    ".log": "text",
}
_LISTED: Final = ("image", "audio", "video")
_BY_MEDIA_TYPE: Final = {
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "text/html": "html",
    "application/json": "text",
}


def suffix_of(name: str) -> str:
    """The lower-case suffix with its dot, or the empty string."""
    return PurePosixPath(name.replace("\\", "/")).suffix.lower()


def media_type_of(name: str) -> str:
    """The media type that the name stands for."""
    suffix = suffix_of(name)
    told = next((media for media, kind in _BY_MEDIA_TYPE.items() if "." + kind == suffix), None)
    return told or mimetypes.guess_type("file" + suffix)[0] or "application/octet-stream"


def kind_of(name: str, *, hint: str = "", media_type: str = "", head: bytes = b"") -> str:
    """The kind, by hint (`pdf`, `.pdf`), by name, by media type, by content, in this order; `unknown` when none tells."""
    hinted = _BY_SUFFIX.get("." + hint.lower().lstrip(".")) or (
        hint.lower() if hint.lower() in {"text", "html"} else ""
    )
    told = hinted or _BY_SUFFIX.get(suffix_of(name), "") or _listed(media_type_of(name))
    media = media_type.lower().partition(";")[0].strip()
    told = told or _BY_MEDIA_TYPE.get(media, "") or _listed(media)
    if told:
        return told
    if head.startswith(b"%PDF-"):
        return "pdf"
    return "text" if media.startswith("text/") or (head and b"\0" not in head) else "unknown"


def _listed(media_type: str) -> str:
    return next((kind for kind in _LISTED if media_type.startswith(kind + "/")), "")
