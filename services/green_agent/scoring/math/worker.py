"""The process that runs the algebra system: `python -m services.green_agent.scoring.math.worker`.

Reads a pair of answers a line as JSON and writes a verdict a line. It never evaluates text as a program, has little memory,
may write no file, and ends with its parent. What takes too long is ended from outside, see `pool`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import resource
import sys
from typing import IO, Any, Final

MEMORY_BYTES: Final = 1 << 30
"""Address space. A tower of powers fills any machine."""
CPU_S: Final = 15
"""Processor time of one comparison: ends a worker whose parent was killed while it computes."""
RECURSION: Final = 1_500
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_REFUSED: Final = (
    "subprocess.",
    "socket.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.system",
    "os.kill",
    "os.remove",
    "pty.",
)
_HARMLESS: Final = re.compile(
    r"from sympy import \*|\s*(?:Integer|Float)\s*\(\s*'?[0-9.]+'?\s*\)\s*|def monomial_[a-z]+\([ABk, ]*\):\n[^'\"_.]*",
    re.DOTALL,
)
"""What sympy compiles on the way: numbers go through its reader of text, and it writes the arithmetic of polynomials itself."""
WARM_UP: Final = (
    ("\\frac{1}{2}", "0.50"),
    ("\\sqrt{2}x", "x\\sqrt{2}+0"),
    ("n^{2}+1", "(n+1)^{2}-2n"),
    ("\\{1,2\\}", "3,4"),
)


def main() -> None:
    """Answer until the input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _limit()
    _answer("1", "1")
    for gold, answer in WARM_UP:
        _answer(gold, answer)
    _forbid_programs()
    _say(replies, "ready")
    for line in sys.stdin:
        _allow_cpu()
        gold, answer = json.loads(line)
        _say(replies, _answer(gold, answer))


def _say(replies: IO[str], word: str) -> None:
    replies.write(word + "\n")
    replies.flush()


def _answer(gold: str, answer: str) -> str:
    from services.green_agent.scoring.math.comparison import Verdict, compare  # noqa: PLC0415 - inside the limits
    from services.green_agent.scoring.math.kinds import form_of  # noqa: PLC0415
    from services.green_agent.scoring.math.normalise import normalise  # noqa: PLC0415

    try:
        return compare(form_of(normalise(gold)), form_of(normalise(answer)))
    except MemoryError:
        # What is left of it may not be trusted with the next pair.
        os._exit(1)
    except Exception:  # noqa: BLE001 - whatever an algebra system raises, it has not decided
        return Verdict.UNDECIDED


def _limit() -> None:
    logging.disable(logging.CRITICAL)
    sys.setrecursionlimit(RECURSION)
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (most, most))


def _allow_cpu() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + CPU_S, hard))


def _forbid_programs() -> None:
    """Refuse what no comparison needs: compiling text, as sympy does for strings, starting processes, sockets, writing files."""
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:  # events have arguments of their own kinds
    is_text = event == "compile" and arguments[1] == "<string>" and not _HARMLESS.fullmatch(_text(arguments[0]))
    is_write = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & _WRITING)
    if is_text or is_write or event.startswith(_REFUSED):
        raise PermissionError(f"{event} is refused here")


def _text(source: object) -> str:
    return source.decode(errors="replace") if isinstance(source, bytes) else str(source)


if __name__ == "__main__":
    main()
