"""The template's server as a process on a free port, as it stands or in the older dialect only."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TEMPLATES: Final = Path(__file__).resolve().parents[2] / "templates"
PURPLE: Final = TEMPLATES / "purple-agent"
_LISTENING: Final = re.compile(r"running on (http://127\.0\.0\.1:\d+)")
_OLDER: Final = Path(__file__).with_name("older_dialect.py")


@dataclass(frozen=True, kw_only=True, slots=True)
class Purple:
    """The running template."""

    url: str
    process: subprocess.Popen[str]

    def stopped(self) -> int:
        """Exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def purple_template(model: Mapping[str, str], *, older: bool = False) -> Iterator[Purple]:
    """Serve it with the variables of `model`; `older`: its card offers the dialect 0.3 alone."""
    script = _OLDER if older else PURPLE / "server.py"
    env = {**os.environ, "PYTHONPATH": str(PURPLE), "PYTHONDONTWRITEBYTECODE": "1", **model}
    process = subprocess.Popen([sys.executable, script, "--port", "0"], stderr=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stderr is not None
        told = (_LISTENING.search(line) for line in process.stderr)
        url = next((match[1] for match in told if match), None)
        assert url is not None, f"the template ended with {process.wait(10)}"
        yield Purple(url=f"{url}/", process=process)
    finally:
        process.kill()
        process.communicate()
