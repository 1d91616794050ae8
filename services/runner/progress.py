"""What a person sees while trials run: bars on a terminal, one line a trial elsewhere, nothing when JSON is wanted.

Writes to standard error; standard output belongs to the result.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TextIO

from services.contract.aggregation import tally
from services.contract.outcomes import POLICY
from services.contract.results import Section, TaskResult
from services.runner.journal import RunRecord

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

MIN_FOR_ETA = 3
Clock = Callable[[], float]


class Listener(Protocol):
    """Who watches a run."""

    def began(self, run: RunRecord, rows: Sequence[TaskResult]) -> None:
        """Trials are about to run; `rows` were finished before."""
        ...

    def finished(self, row: TaskResult) -> None:
        """A trial is in the journal."""
        ...

    def says(self, text: str) -> None:
        """Something a person waits for, such as the start of an agent."""
        ...

    def ended(self) -> None:
        """No more trials come."""
        ...


class Standing:
    """Where a run stands, from its plan and the rows so far."""

    def __init__(self, run: RunRecord, rows: Sequence[TaskResult], clock: Clock = time.monotonic) -> None:
        self.run = run
        self.planned = len(run.plan.trials)
        self.sections = [s for s in Section if any(trial.section is s for trial in run.plan.trials)]
        self._trials = {s: [trial for trial in run.plan.trials if trial.section is s] for s in self.sections}
        self._rows = {row.key: row for row in rows}
        self._before = len(self._rows)
        self._clock = clock
        self._began = clock()

    def add(self, row: TaskResult) -> None:
        """A trial finished."""
        self._rows[row.key] = row

    @property
    def done(self) -> int:
        """Trials with a row."""
        return len(self._rows)

    def section(self, section: Section) -> tuple[int, int, float | None, float]:
        """Finished, planned, running score of 0..100, coverage of 0..1."""
        rows = dict(self._rows)
        trials = self._trials[section]
        count = tally(trials, rows)
        finished = sum(trial.key in rows for trial in trials)
        return finished, len(trials), None if count.mean is None else 100 * count.mean, count.coverage

    def faults(self) -> list[tuple[str, int]]:
        """`outcome/kind` and how often, most frequent first."""
        kinds = Counter(f"{row.outcome}/{row.error.kind}" for row in dict(self._rows).values() if row.error)
        return kinds.most_common()

    def eta_s(self) -> float | None:
        """Seconds until the last trial at the pace so far; None before three trials."""
        fresh = self.done - self._before
        if fresh < MIN_FOR_ETA:
            return None
        return (self._clock() - self._began) / fresh * (self.planned - self.done)


class Silent:
    """Says nothing."""

    def began(self, run: RunRecord, rows: Sequence[TaskResult]) -> None:
        """Nothing to show."""

    def finished(self, row: TaskResult) -> None:
        """Nothing to show."""

    def says(self, text: str) -> None:
        """Nothing to show."""

    def ended(self) -> None:
        """Nothing to show."""


class PlainLines:
    """One line a trial, for logs and pipes."""

    def __init__(self, out: TextIO | None = None, *, label: str = "") -> None:
        self._out = out or sys.stderr
        self._label = f"{label}: " if label else ""
        self._standing: Standing | None = None

    def began(self, run: RunRecord, rows: Sequence[TaskResult]) -> None:
        """Say what begins."""
        self._standing = Standing(run, rows)
        kept = f", {len(rows)} kept from before" if rows else ""
        self.says(f"run {run.id}: {len(run.plan.trials)} trials, plan {run.plan.digest[:19]}{kept}")
        for shortfall in run.plan.shortfalls:
            self.says(f"short: {shortfall.reason}")

    def finished(self, row: TaskResult) -> None:
        """Say how a trial ended."""
        standing = self._standing
        if standing is None:
            return
        standing.add(row)
        how = f"{100 * row.score:.1f}" if POLICY[row.outcome].counts and row.score is not None else "not scored"
        kind = f" {row.outcome}/{row.error.kind}" if row.error else ""
        where = f"[{standing.done}/{standing.planned}]"
        self.says(f"{where} {row.benchmark} {row.task_id} trial {row.trial}: {how}{kind} ({row.latency.total_s:.1f} s)")

    def says(self, text: str) -> None:
        """Print a line. Nobody may be reading any more, as in `2>&1 | head`: that must not cost the run."""
        with suppress(OSError):
            print(f"{self._label}{text}", file=self._out, flush=True)

    def ended(self) -> None:
        """The summary follows elsewhere."""


class LiveBars:
    """Bars that move, for a terminal."""

    def __init__(self) -> None:
        self._standing: Standing | None = None
        self._live: Live | None = None

    def began(self, run: RunRecord, rows: Sequence[TaskResult]) -> None:
        """Show the bars."""
        from rich.console import Console  # noqa: PLC0415 - slow, and only terminals need it
        from rich.live import Live  # noqa: PLC0415

        self._standing = Standing(run, rows)
        for shortfall in run.plan.shortfalls:
            self.says(f"short: {shortfall.reason}")
        self._live = Live(
            get_renderable=self._picture, console=Console(stderr=True), refresh_per_second=4, transient=False
        )
        self._live.start()

    def finished(self, row: TaskResult) -> None:
        """Move a bar."""
        if self._standing is not None:
            self._standing.add(row)

    def says(self, text: str) -> None:
        """Print a line above the bars."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            sys.stderr.write(f"{text}\n")

    def ended(self) -> None:
        """Leave the last picture where it is."""
        if self._live is not None:
            self._live.refresh()
            self._live.stop()
            self._live = None

    def _picture(self) -> RenderableType:
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        standing = self._standing
        if standing is None:
            return Text("")
        table = Table(box=None, padding=(0, 2, 0, 0), title=standing.run.id, title_justify="left", title_style="bold")
        for column in ("section", "", "done", "score", "coverage"):
            table.add_column(column, justify="left" if column in {"section", ""} else "right", header_style="dim")
        for section in standing.sections:
            finished, planned, score, coverage = standing.section(section)
            bar = ProgressBar(total=planned, completed=finished, width=36)
            points = "-" if score is None else f"{score:.1f}"
            table.add_row(section.replace("_", " "), bar, f"{finished}/{planned}", points, f"{100 * coverage:.0f} %")
        eta = standing.eta_s()
        rest = "" if eta is None or standing.done == standing.planned else f"{eta:.0f} s to go"
        table.add_row(Text("all", style="dim"), Text(rest, style="dim"), f"{standing.done}/{standing.planned}", "", "")
        for kind, count in standing.faults()[:6]:
            table.add_row("", Text(f"{kind} x {count}", style="red"), "", "", "")
        return table


def listener_for(*, quiet: bool) -> Silent | PlainLines | LiveBars:
    """Bars on a terminal, lines elsewhere; nothing for `--json`."""
    if quiet:
        return Silent()
    return LiveBars() if sys.stderr.isatty() else PlainLines()


def listener_of(listener: Listener, label: str) -> Listener:
    """For one of several runs at once: lines that begin with its name; silence stays silence."""
    return listener if isinstance(listener, Silent) else PlainLines(label=label)
