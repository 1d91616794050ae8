"""Runs `inference up`, and ends its servers when the runner is gone. A script, standard library only; see `main`.

Standard input is the life line, as in `contract/guard.py`: it ends when the runner closes it, crashes or is killed. If it ends
while `up` is at work, `up` is interrupted and nothing it has started stays. Servers that have started end with it only where
that is asked.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

_UP_STOPS_S = 90.0
"""`up` gives its servers 30 s to end and GPUs 20 s to be free."""


def main(program: str, registry: str, patience_s: float, keeping: str, options: list[str]) -> int:
    """`up` with these options; once it should end it may go on for `patience_s`. `keeping`: "end" or "leave" what has started.

    Standard output gets the line of `up --json`, and that of `cancel --json` when servers are ended. Returns the exit code of
    `up` when it failed, else that of `cancel`.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # `up` would inherit SIG_IGN
    up = subprocess.Popen([program, "up", *options], stdin=subprocess.DEVNULL, process_group=0)
    line = threading.Thread(target=_end_with_line, args=(up, patience_s), daemon=True)
    line.start()
    code = up.wait()
    if code == 0 and keeping == "leave" and line.is_alive():
        return 0
    if code == 0:
        line.join()
    else:
        _signal_group(up, signal.SIGKILL)
    if not Path(registry).exists() and not Path(f"{registry}.d").exists():
        return code
    cancelled = _cancel(program, registry)
    return code or cancelled


def _end_with_line(up: subprocess.Popen[bytes], patience_s: float) -> None:
    while os.read(0, 64):
        pass
    if _ends(up, patience_s):
        return
    # Not SIGTERM: only SIGINT is a reason to tidy up for every launcher.
    _signal_group(up, signal.SIGINT)
    if not _ends(up, _UP_STOPS_S):
        _signal_group(up, signal.SIGKILL)


def _signal_group(up: subprocess.Popen[bytes], number: int) -> None:
    """Wrappers and helpers of `up` too, as a terminal does."""
    with suppress(ProcessLookupError):
        os.killpg(up.pid, number)


def _ends(up: subprocess.Popen[bytes], within_s: float) -> bool:
    try:
        up.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _cancel(program: str, registry: str) -> int:
    done = subprocess.run(
        [program, "cancel", "--all", "--force", "--json", "--registry", registry],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    for number, said in ((1, done.stdout), (2, done.stderr)):
        with suppress(OSError):  # nobody reads any more
            os.write(number, said)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4], sys.argv[5:]))
