"""The flags of `up --launcher slurm`, as one decorator.

The command gets them as one argument, `slurm: SlurmOptions`. `slurm != SlurmOptions()` says that at least one was given, which
makes no sense with another launcher. `SlurmLauncher(slurm).start(launch)` submits, `.script(launch)` is the text for `--dry-run`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce, wraps
from typing import Any, Final, TypeVar

import click

from services.inference.launchers.slurm_options import SlurmOptions

__all__ = ["SlurmOptions", "slurm_options"]

R = TypeVar("R")

_FLAGS: Final = (
    click.option(
        "--gpus-per-node", type=click.IntRange(0), help="SLURM: GPUs of a server's job. Default: the plan's TP."
    ),
    click.option("--partition", help="SLURM: partition."),
    click.option("--account", help="SLURM: account that pays."),
    click.option("--qos", help="SLURM: quality of service."),
    click.option("--time", help="SLURM: limit of a job, such as 4:00:00; servers are stopped 60 s before."),
    click.option("--cpus-per-task", type=click.IntRange(1), help="SLURM: CPUs of a server's job."),
    click.option("--mem", help="SLURM: memory of a server's job, such as 64G."),
    click.option(
        "--sbatch-arg",
        "sbatch_args",
        multiple=True,
        metavar="OPTION",
        help="SLURM: further option of sbatch, such as --constraint=ib; repeatable.",
    ),
    click.option(
        "--runtime",
        default="native",
        show_default=True,
        metavar="native|apptainer:IMAGE",
        help="SLURM: how nodes run the engine.",
    ),
    click.option("--host-ip", help="SLURM: address to register. Default: the node's, on the way to the submit host."),
    click.option("--auth", is_flag=True, help="SLURM: clients need a key, written to a file that only you can read."),
)
_FIELDS: Final = frozenset(SlurmOptions.__dataclass_fields__)


def slurm_options(command: Callable[..., R]) -> Callable[..., R]:
    """Adds the flags; the command gets them together as the keyword argument `slurm`."""

    @wraps(command)
    def with_slurm(*args: Any, **values: Any) -> R:
        ours = {name: values.pop(name) for name in _FIELDS}
        return command(*args, slurm=SlurmOptions(**ours), **values)

    return reduce(lambda inner, flag: flag(inner), reversed(_FLAGS), with_slurm)
