"""Fences around untrusted text, which nothing inside can close.

The mark of a fence is fresh for every call and made with a secret of the run; what looks like a fence or like a control token
of a chat template is replaced inside and counted. Pure.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from services.green_agent.judge.asking import Material

LONGEST_NAME: Final = 200
"""Characters of a name that are shown. A name is never cut to fit, so it may not fill the context."""
_MARKS: Final = re.compile(r"<{3,}")
# Servers render chat templates to text and read special tokens wherever they stand in it.
_TOKENS: Final = re.compile(
    r"<\||\|>|<\uff5c|\uff5c>|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>|</?SYS>|"
    r"\[/?INST\]|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]|\[\||\|\]",
    re.IGNORECASE,
)
_PLAIN_NAME: Final = re.compile(r"(?:question|reference|answer)(?:[ _][0-9]{1,3})?")
_SUBSTITUTES: Final = str.maketrans(
    {"<": "\u2039", ">": "\u203a", "[": "\u2045", "]": "\u2046", "|": "\u00a6", "\uff5c": "\u00a6"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Neutral:
    """A text that is safe between fences."""

    text: str
    fences: int
    """Fence marks that were replaced."""
    tokens: int
    """Control tokens of chat templates that were replaced."""


def mark_of(salt: bytes, call_id: str) -> str:
    """The mark of one call: 16 hex digits."""
    return hmac.new(salt, call_id.encode(errors="replace"), hashlib.sha256).hexdigest()[:16]


def neutral(text: str) -> Neutral:
    """The text with fence marks and control tokens replaced by look-alikes that mean nothing."""
    text, fences = _MARKS.subn("\u2039\u2039\u2039", text.encode(errors="replace").decode())
    if not any(sign in text for sign in "<>["):  # most texts; each token has one of these
        return Neutral(text=text, fences=fences, tokens=0)
    text, tokens = _TOKENS.subn(lambda found: found[0].translate(_SUBSTITUTES), text)
    return Neutral(text=text, fences=fences, tokens=tokens)


def labels(materials: tuple[Material, ...]) -> tuple[str, ...]:
    """The word by which each fence goes: a plain name, else the role with a number. A file's name may be an instruction too."""
    plain = [material.name.replace(" ", "_") for material in materials if _is_plain(material)]
    if len(plain) == len(materials) == len(set(plain)):
        return tuple(plain)
    counts: dict[str, int] = {}
    found = []
    for material in materials:
        counts[material.role] = number = counts.get(material.role, 0) + 1
        found.append(material.role if number == 1 else f"{material.role}_{number}")
    return tuple(found)


def _is_plain(material: Material) -> bool:
    return _PLAIN_NAME.fullmatch(material.name) is not None and material.name.startswith(material.role)


def fence(label: str, material: Material, text: str, mark: str) -> str:
    """The text between its fences; a name that is more than a label stands inside, as data."""
    named = "" if _is_plain(material) else f"name: {neutral(material.name[:LONGEST_NAME]).text}\n"
    return f"<<<BEGIN {label} {mark}>>>\n{named}{text}\n<<<END {label} {mark}>>>"
