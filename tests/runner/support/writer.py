"""A process that writes rows to a journal until it is stopped: `python -m tests.runner.support.writer FOLDER [FILE_LIMIT]`.

Prints each key after its row was acknowledged, and the error that ended it.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from services.runner.failures import JournalError
from services.runner.journal import Journal
from tests.runner.support.rows import make_plan, make_row, make_run


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(folder: Path, file_limit: int | None) -> int:
    plan = make_plan(tasks=2_000)
    journal = Journal.open(folder)
    run = make_run(plan)
    journal.create_run(run)
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    try:
        for trial in plan.trials:
            journal.record(run.id, make_row(trial, said=f"{trial.key} " * 50))
            say(trial.key)
    except JournalError as error:
        say(f"JournalError: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None))
