"""Reads the project's Markdown: fenced blocks, relative links, commands with their expected output, layout lists."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FENCE: Final = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK: Final = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One fenced block: `info` is the text behind the opening fence."""

    where: str
    info: str
    body: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A line behind `$ ` and the lines that must come out, in order; `...` stands for anything."""

    line: str
    expected: tuple[str, ...]


def tracked(pattern: str) -> list[Path]:
    """Files that git tracks or would track, as absolute paths; those deleted in the working tree left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", pattern]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.splitlines()
    return sorted(path for path in {ROOT / name for name in names} if path.is_file())


def documents() -> list[Path]:
    """Every Markdown file of the project."""
    return tracked("*.md")


def blocks(info: str) -> list[Block]:
    """All fenced blocks of all documents whose info string begins with these words."""
    wanted = info.split()
    return [block for path in documents() for block in _blocks_of(path) if block.info.split()[: len(wanted)] == wanted]


def _blocks_of(path: Path) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        where = f"{path.relative_to(ROOT).as_posix()}:{line}"
        yield Block(where=where, info=match["info"].strip(), body=match["body"])


def broken_links(path: Path) -> list[str]:
    """Relative links of a document that lead nowhere, code left out; other hosts are not asked."""
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", path.read_text(encoding="utf-8")))
    targets = [match["target"].partition("#")[0] for match in LINK.finditer(text)]
    local = [target for target in targets if target and "://" not in target and not target.startswith("mailto:")]
    return [target for target in local if not (path.parent / target).exists()]


def commands(block: Block) -> list[Command]:
    """The commands of a `console` block, a `#` comment behind a command cut off."""
    found: list[Command] = []
    for line in block.body.splitlines():
        if line.startswith("$ "):
            found.append(Command(line=line[2:].split("  #")[0].strip(), expected=()))
        elif line.strip():
            last = found.pop()
            found.append(Command(line=last.line, expected=(*last.expected, line)))
    return found


def missing_lines(expected: tuple[str, ...], output: str) -> list[str]:
    """Expected lines that do not come out in this order."""
    lines = iter(line.strip() for line in output.splitlines())
    return [want for want in expected if want.strip() != "..." and not any(_fits(want, line) for line in lines)]


def _fits(wanted: str, line: str) -> bool:
    pattern = ".*".join(re.escape(part.strip()) for part in wanted.split("..."))
    return re.fullmatch(rf"\s*{pattern}\s*", line) is not None


def layout(block: Block) -> list[str]:
    """The paths a layout list names, relative to its folder; two spaces of indentation lead one folder down.

    A name may be a pattern (`model_*.py`).
    """
    above: list[str] = []
    paths: list[str] = []
    for line in block.body.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], name.rstrip("/")]
        paths.append("/".join(above))
    return paths
