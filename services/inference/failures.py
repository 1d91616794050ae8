"""What can go wrong in `inference`, and the exit code each kind ends with."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """0 done · 1 failed · 2 wrong usage or configuration · 3 does not fit · 4 not ready in time or unreachable."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    DOES_NOT_FIT = 3
    NOT_READY = 4
    INTERRUPTED = 130


class InferenceError(Exception):
    """The text names the thing and the remedy; the command prints it and ends with `exit_code`."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class UsageError(InferenceError):
    """Options or configuration are wrong: an unknown preset, a flag the engine does not have, a path that does not exist."""

    exit_code: ClassVar[ExitCode] = ExitCode.USAGE


class DoesNotFitError(InferenceError):
    """The plan is impossible on these GPUs."""

    exit_code: ClassVar[ExitCode] = ExitCode.DOES_NOT_FIT


class NotReadyError(InferenceError):
    """A server did not become ready in time, or does not answer."""

    exit_code: ClassVar[ExitCode] = ExitCode.NOT_READY


class StartError(InferenceError):
    """A server died at its start, or could not be started."""
