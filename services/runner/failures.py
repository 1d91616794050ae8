"""How a command ends: the exit codes of interop specification 5.3 and the errors that lead to them."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process tells its caller."""

    COMPLETE = 0
    INCOMPLETE = 1
    USAGE = 2
    LOST = 3
    INTERRUPTED = 130


EXIT_CODES_HELP = """\b
Exit codes:
  0    complete: every planned trial was scored
  1    ran, but incomplete or failed, or results could not be written
  2    scenario or usage wrong, or green rejected the request
  3    an agent did not start or was lost; `assay resume` continues
  130  interrupted: agents stopped, journal kept; `assay resume` continues
"""


class RunnerError(Exception):
    """Ends the command with `exit_code`; the text says what was expected, what came and what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.INCOMPLETE


class ScenarioError(RunnerError):
    """The scenario, an option or the environment is wrong; `faults` lists everything found."""

    exit_code = ExitCode.USAGE

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class RejectedError(RunnerError):
    """Green rejected the request."""

    exit_code = ExitCode.USAGE


class AgentStartError(RunnerError):
    """An agent did not start; the text ends with the last lines of its log."""

    exit_code = ExitCode.LOST


class EndpointLostError(RunnerError):
    """The model endpoint of an agent does not answer, or does not generate. Names the cure."""

    exit_code = ExitCode.LOST


class AgentLostError(RunnerError):
    """An agent that had started is gone. What was finished is in the journal."""

    exit_code = ExitCode.LOST


class InterruptedRunError(RunnerError):
    """A signal ended the run. The agents are stopped, the journal is kept."""

    exit_code = ExitCode.INTERRUPTED


class RunTimeoutError(RunnerError):
    """The time given to the run has passed. Green was told to stop, the journal is kept."""


class PlanChangedError(RunnerError):
    """The plan of a resumed run is not the plan it began with."""

    exit_code = ExitCode.USAGE


class JournalError(RunnerError):
    """The journal cannot be read or written. Names the path and the remedy; everything committed is kept."""


class ReportError(RunnerError):
    """Results could not be written. The journal is whole; `assay report RUN` writes them later."""
