"""What a SLURM launch is told beyond the model: partition, account, limits, and how nodes run the engine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from services.inference.failures import UsageError

OWNED: Final = (
    "array",
    "error",
    "gpus-per-node",
    "hold",
    "job-name",
    "nodes",
    "ntasks",
    "output",
    "parsable",
    "requeue",
    "signal",
    "test-only",
    "wait",
    "wrap",
)
"""Options of sbatch that the launcher sets, or that would change what it reads."""
OWNED_LETTERS: Final = frozenset("HJNWaeno")
"""Their short forms."""
_LONG: Final = re.compile(r"--([a-z][a-z-]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class SlurmOptions:
    """Options of `up --launcher slurm`; None leaves a choice to the site. Equal to `SlurmOptions()` when none was given."""

    gpus_per_node: int | None = None
    """None: as many as the plan's TP; 0: none."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str | None = None
    """Limit as sbatch reads it, such as 4:00:00 or 2-0."""
    cpus_per_task: int | None = None
    mem: str | None = None
    """Of a node, such as 64G."""
    sbatch_args: tuple[str, ...] = ()
    """Further options of sbatch, such as `--constraint=ib`."""
    runtime: str = "native"
    """`native`, or `apptainer:IMAGE`."""
    host_ip: str | None = None
    """Address to register; None: the node's address on the way to the submit host."""
    auth: bool = False
    """Clients need a key, which is written to a file of mode 0600."""

    @property
    def image(self) -> str | None:
        """The image that apptainer runs; None for `native`."""
        return self.runtime.partition(":")[2] or None

    def check(self) -> None:
        """Raises UsageError naming the flag that cannot be right."""
        if self.runtime != "native" and (not self.runtime.startswith("apptainer:") or not self.image):
            raise UsageError(f"--runtime: expected native or apptainer:IMAGE, got {self.runtime!r}")
        for name, value in self._texts():
            if not value.strip() or not value.isprintable():
                raise UsageError(f"{name}: expected one line of text, got {value!r}")
        if self.host_ip is not None:
            _check_address(self.host_ip)
        for argument in self.sbatch_args:
            _check_argument(argument)

    def directives(self, *, default_gpus: int) -> tuple[str, ...]:
        """The options as sbatch takes them, one a line of the script."""
        gpus = default_gpus if self.gpus_per_node is None else self.gpus_per_node
        values = {
            "gpus-per-node": gpus or None,
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "time": self.time,
            "cpus-per-task": self.cpus_per_task,
            "mem": self.mem,
        }
        return tuple(f"--{name}={value}" for name, value in values.items() if value is not None) + self.sbatch_args

    def _texts(self) -> list[tuple[str, str]]:
        named = {
            "--partition": self.partition,
            "--account": self.account,
            "--qos": self.qos,
            "--time": self.time,
            "--mem": self.mem,
            "--runtime": self.runtime,
        }
        return [(name, value) for name, value in named.items() if value is not None] + [
            ("--sbatch-arg", value) for value in self.sbatch_args
        ]


def _check_address(text: str) -> None:
    try:
        ip_address(text)
    except ValueError as error:
        raise UsageError(f"--host-ip: expected an IP address that this machine can reach, got {text!r}") from error


def _check_argument(argument: str) -> None:
    long = _LONG.match(argument)
    if long is None and not re.match(r"-[A-Za-z]", argument):
        raise UsageError(f"--sbatch-arg: expected an option of sbatch such as --constraint=ib, got {argument!r}")
    # sbatch takes any unambiguous beginning of an option's name.
    owned = any(name.startswith(long[1]) for name in OWNED) if long else argument[1] in OWNED_LETTERS
    if owned:
        raise UsageError(f"--sbatch-arg: {argument!r} is set by `inference up` itself; leave it out")
