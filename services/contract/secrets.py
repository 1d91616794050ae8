"""Redaction: no secret enters a transcript, a log, a result or a generated file.

Two nets: values registered at start-up, such as the key of a model endpoint, and the usual shapes of keys.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

MASK: Final = "[redacted]"
MIN_SECRET_LENGTH: Final = 8
"""Shorter registered values would blank out ordinary words."""

SECRET_NAME: Final = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PAT)$", re.IGNORECASE)
HARMLESS_VALUES: Final = frozenset({"", "dummy", "EMPTY", "none", "None", "null"})

# Marker -> shape: a text without the marker is not searched, and most texts hold none.
_SHAPES: Final = {
    "sk-": re.compile(r"\bsk-(?:ant-|proj-|or-)?[A-Za-z0-9_-]{16,}"),
    "hf_": re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    "gh": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}"),
    "github_pat_": re.compile(r"\bgithub_pat_[A-Za-z0-9_]{40,}"),
    "AKIA": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "AIza": re.compile(r"\bAIza[0-9A-Za-z_-]{30,}"),
    "earer ": re.compile(r"(?<=[Bb]earer )[A-Za-z0-9._~+/-]{16,}=*"),
    "://": re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"),
}
_registered: set[str] = set()


def register_secret(value: str) -> None:
    """Mask this value wherever `redact` is applied from now on, in this process."""
    if value not in HARMLESS_VALUES:
        _registered.update(form for form in _forms(value) if len(form) >= MIN_SECRET_LENGTH)


def _forms(value: str) -> Iterator[str]:
    """How a secret shows: whole, line by line in a log, escaped in JSON, quoted in a URL."""
    for part in (value, *value.splitlines()):
        yield part
        yield json.dumps(part)[1:-1]
        yield json.dumps(part, ensure_ascii=False)[1:-1]
        yield quote(part, safe="", errors="replace")


def register_environment(environment: Mapping[str, str] = os.environ) -> None:
    """Register the value of every variable whose name ends like a secret's."""
    for name, value in environment.items():
        if SECRET_NAME.search(name):
            register_secret(value)


def redact(text: str) -> str:
    """The text with every known secret and everything shaped like one masked."""
    for value in sorted(_registered, key=len, reverse=True):
        text = text.replace(value, MASK)
    for marker, shape in _SHAPES.items():
        if marker in text:
            text = shape.sub(MASK, text)
    return text
