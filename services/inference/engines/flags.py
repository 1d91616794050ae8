"""Command lines as lists of flags, and the place of `--engine-arg` among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Flag = tuple[str, ...]
"""The flag's name with its dashes, then its values."""


def named(key: str) -> str:
    """One spelling of a flag's name: no dashes before it, hyphens inside."""
    return key.lstrip("-").replace("_", "-")


def fraction(part: float) -> str:
    """A part of the memory, with two digits or as many as it has: what is sent is what was planned."""
    short = f"{part:.2f}"
    return short if float(short) == part else str(part)


def tokens(flags: Iterable[Flag], extra: Sequence[tuple[str, str | None]]) -> tuple[str, ...]:
    """The flags with those of `--engine-arg`: in the place of one of the same name, else at the end."""
    asked: dict[str, list[Flag]] = {}
    for key, value in extra:
        flag = f"--{key.lstrip('-')}"
        asked.setdefault(named(key), []).append((flag,) if value is None else (flag, value))
    words: list[str] = []
    for own in flags:
        words.extend(word for one in asked.pop(named(own[0]), [own]) for word in one)
    for remaining in asked.values():
        words.extend(word for one in remaining for word in one)
    return tuple(words)


def misplaced(extra: Sequence[tuple[str, str | None]], own: Mapping[str, str]) -> list[str]:
    """Engine arguments that have an option of their own here, which planning and recording read; `own`: name -> option.

    Also by the beginning of the name, which most engines take for the whole, and with a part of it after a dot.
    """
    found = []
    for key, _ in extra:
        name = named(key).partition(".")[0]
        option = own.get(name) or next((own[flag] for flag in own if flag.startswith(name)), None)
        if option is not None:
            found.append(f"--engine-arg {key}: use {option}, which the plan and the record read")
    return found
