"""The batch script of one launch: what sbatch is asked for, what is to be served, and `slurm_job.sh`, which every job runs.

Pure: nothing is submitted here. Whatever a user typed stands in it quoted, so a name can hold anything but control characters.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from shlex import quote
from typing import Final

from services.inference.engines.base import Command, Engine, Place
from services.inference.failures import UsageError
from services.inference.launchers.base import Launch
from services.inference.launchers.slurm_options import SlurmOptions

JOB_NAME: Final = "assay-inference"
"""By which a job is known as ours: ids come out of a file and are used again by SLURM."""
ENGINES: Final = ("vllm", "sglang", "transformers", "reference")
ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - the servers are for other machines; --auth guards them
_BODY: Final = Path(__file__).with_name("slurm_job.sh")
_SPECIAL: Final = frozenset(" \t#\"'\\")
_PORTS: Final = (61_937, 61_938)
"""Stand-ins: where two command lines differ, the job's own port belongs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What one `sbatch` submits."""

    launch: Launch
    options: SlurmOptions
    engine: Engine
    forced: bool = False
    """The plan was impossible."""
    key_file: Path | None = None
    """Gets the key that clients need; None: they need none."""

    @property
    def model(self) -> str:
        """Path or id, for the registry."""
        return self.launch.plan.request.preset.id

    def log(self, job: str, ending: str) -> str:
        """File of a job's output; `%N` in it is the node's name, known when the job runs."""
        name = f"{self.launch.engine}_{job}_%N.{ending}"
        return str(Path(str(self.launch.log_folder.absolute()).replace("%", "%%")) / name)

    def script(self) -> str:
        """The whole script. Raises UsageError naming what cannot be submitted."""
        self._check()
        return "\n".join(
            [
                "#!/bin/bash",
                *(f"#SBATCH {_directive(option)}" for option in self._sbatch()),
                "",
                *(f"{name}={quote(str(value))}" for name, value in self._variables().items()),
                "",
                *self._commands(),
                "",
                _BODY.read_text(encoding="utf-8"),
            ]
        )

    def command(self, index: int, port: int) -> Command:
        """What the server of this number runs when it gets this port."""
        place = Place(
            index=index,
            host=self._host,
            port=port,
            program=self.launch.program,
            templates=self.engine.image_templates if self.options.image else None,
            key_file=str(self.key_file) if self.key_file else None,
        )
        return self.engine.command(self.launch.plan, self.launch.serving, place)

    @property
    def _host(self) -> str:
        """Servers that only their own node can reach would be of no use, so the default does not stand here."""
        host = self.launch.host
        if host != "localhost" and not (_is_address(host) and ip_address(host).is_loopback):
            return host
        return "::" if ":" in (self.options.host_ip or "") else ANY_ADDRESS

    def _check(self) -> None:
        self.options.check()
        if self.launch.engine not in ENGINES:
            raise UsageError(
                f"{self.launch.engine} is not launched on SLURM, {', '.join(ENGINES)} are: use --launcher compose on the node"
            )
        if self.options.auth and not self.engine.takes_key:
            raise UsageError(
                f"--auth: {self.launch.engine} cannot demand a key without showing it to others; leave it out"
            )
        if not 1 <= self.launch.start_port <= 65_536 - self.launch.count:
            raise UsageError(f"--start-port: {self.launch.count} ports from {self.launch.start_port} on do not exist")
        for name, value in (("--registry", self.launch.registry), ("--log-dir", self.launch.log_folder)):
            if not str(value).isprintable() or "\\" in str(value):
                raise UsageError(
                    f"{name}: SLURM takes no path with control characters or backslashes, got {str(value)!r}"
                )
        if not self.model.isprintable() or "|" in self.model:
            raise UsageError(f"services.txt cannot hold {self.model!r}: a field has no `|` and no line break")

    def _sbatch(self) -> Iterator[str]:
        several = self.launch.count > 1
        yield from (f"--job-name={JOB_NAME}", "--nodes=1", "--ntasks=1", "--no-requeue", "--signal=B:TERM@60")
        if several:
            yield f"--array=0-{self.launch.count - 1}"
        for option, ending in (("output", "out"), ("error", "err")):
            yield f"--{option}={self.log('%A_%a' if several else '%j', ending)}"
        gpus = 0 if self.launch.engine == "reference" else self.launch.plan.tp
        yield from self.options.directives(default_gpus=gpus)

    def _variables(self) -> Mapping[str, object]:
        registry = self.launch.registry.absolute()
        return {
            # A registry may be a link; its lock lies where everybody looks for it, the rename where the file is.
            "registry": registry.resolve(),
            "lock": f"{registry}.lock",
            "model": self.model,
            "first_port": self.launch.start_port,
            "servers": self.launch.count,
            "health_path": self.engine.health_path,
            "probe_host": "127.0.0.1" if self._host in {ANY_ADDRESS, "::"} else self._host,
            "ready_within_s": max(1, round(self.launch.server_timeout_s)),
            "given_ip": self.options.host_ip or "",
        }

    def _commands(self) -> Iterator[str]:
        yield "engine_command() {"
        yield "  case $task in"
        for index in range(self.launch.count):
            one, other = (self.command(index, port) for port in _PORTS)
            yield f"  {index})"
            yield from (f"    {line}" for line in _assignments(one))
            yield f"    argv=({' '.join(_words(self._wrapped(one), self._wrapped(other)))})"
            yield "    ;;"
        yield "  esac"
        yield "}"

    def _wrapped(self, command: Command) -> Command:
        image = self.options.image
        if image is None:
            return command
        # Homes are there by default; what else the engine reads must be named. A GPU is brought in by --nv.
        folders = [self.model, *(str(adapter.path) for adapter in self.launch.serving.adapters)]
        shared = [folder for folder in folders if folder.startswith("/")] + (
            [str(self.key_file)] if self.key_file else []
        )
        binds = [word for folder in shared for word in ("--bind", folder)]
        files = ["--bind", "{folder}"] if command.files else []
        return replace(command, argv=("apptainer", "exec", "--nv", *binds, *files, image, *command.argv))


def log_files(named: str) -> Sequence[Path]:
    """The files of a log as SLURM and `Submission.log` name it, the newest last: a job may have run on several nodes."""
    folder, _, name = named.replace("%%", "%").rpartition("/")
    files = Path(folder).glob(glob.escape(name).replace("%N", "*"))
    return sorted(files, key=lambda file: file.stat().st_mtime)


def _assignments(command: Command) -> Iterator[str]:
    for name, content in command.files.items():
        yield f'printf %s {quote(content)} >"$folder"/{quote(name)} || exit'
    for name, value in command.env.items():
        yield f"export {name}={quote(value)}"
    for name, file in command.secrets.items():
        yield f"{name}=$(cat {quote(file)}) || exit; export {name}"


def _words(one: Command, other: Command) -> Iterator[str]:
    """A command line as bash reads it, with the job's port and folder in it; `other` is the same for another port."""
    for word, again in zip(one.argv, other.argv, strict=True):
        parts = [word] if word == again else word.split(str(_PORTS[0]))
        if str(_PORTS[1]).join(parts) != again and word != again:
            raise UsageError(f"the port cannot be found in {word!r} of the engine's command line")
        # Without files of its own a command means the letters, such as those of a model's name.
        folders = [part.split("{folder}") if one.files else [part] for part in parts]
        yield '"$port"'.join('"$folder"'.join(map(_quoted, pieces)) for pieces in folders) or "''"


def _quoted(text: str) -> str:
    return quote(text) if text else ""


def _directive(option: str) -> str:
    """An option as sbatch reads it in a script: with a quoting of its own, in which `#` begins a comment."""
    if not _SPECIAL & set(option):
        return option
    return '"' + option.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
