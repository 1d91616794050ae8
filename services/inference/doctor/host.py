"""The machine the doctor runs on: driver, GPUs, containers, disk, token, engine, clock (`--host`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from services.contract.fitness import Finding
from services.inference.doctor.examination import one_line
from services.inference.doctor.subject import Result, failed, passed, skipped, warned

_PATIENCE_S: Final = 15.0
_TAIL: Final = 400
_GIB: Final = 1 << 30
_BUSY: Final = 0.05
"""Part of a GPU's memory beyond which it counts as used."""
_SHM_GIB: Final = 1.0
_DISK_GIB: Final = 70.0
"""Room for one model of 32 billion parameters in 16 bits."""
_EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC)
_TORCH: Final = (
    "import importlib.metadata as m, torch, vllm._C;"
    " print(m.version('vllm'), torch.__version__, torch.version.cuda or 'CPU')"
)
_MISMATCHES: Final = ("undefined symbol", "cannot open shared object", "libtorch", "NumPy")
_MISMATCH_CURE: Final = (
    "this vLLM was built against another torch: use the pinned image, or a fresh environment installed in one step; pin neither"
    " torch nor numpy beside it"
)
_NO_DRIVER: Final = (
    "on a GPU machine install the NVIDIA driver, in a container pass the GPUs in; without, the reference engine and CPU"
    " builds run"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What the checks look at."""

    environment: Mapping[str, str]
    path: str
    """Where programs are found."""

    def program(self, name: str) -> str | None:
        """Its file."""
        return shutil.which(name, path=self.path)

    def says(self, program: str, *arguments: str) -> str | None:
        """Standard output of a program that ended well; None otherwise."""
        well, said = self.tried(program, *arguments)
        return said if well else None

    def tried(self, program: str, *arguments: str) -> tuple[bool, str]:
        """Whether a program ended well, and its standard output; else why not, the end of its errors."""
        found = self.program(program)
        if found is None:
            return False, f"no {program}"
        try:
            done = subprocess.run(
                [found, *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_PATIENCE_S,
                check=False,
                env=self._env(),
            )
        except (OSError, subprocess.SubprocessError) as error:
            return False, str(error)
        well = done.returncode == 0
        return well, done.stdout.strip() if well else done.stderr.strip()[-_TAIL:]

    @property
    def cache(self) -> Path:
        """Where weights are kept."""
        home = self.environment.get("HF_HOME")
        return Path(home) if home else Path(self.environment.get("HOME", "/")) / ".cache" / "huggingface"

    def _env(self) -> dict[str, str]:
        return {**self.environment, "PATH": self.path}


def examine_host(machine: Machine | None = None) -> tuple[Finding, ...]:
    """Every check of the machine; by default of this one."""
    own = dict(os.environ)
    here = machine or Machine(environment=own, path=own.get("PATH", os.defpath))
    return tuple(_finding(number, title, check(here)) for number, (title, check) in enumerate(_CHECKS.items(), 1))


def _finding(number: int, title: str, result: Result) -> Finding:
    return Finding(
        id=f"H{number:02d}",
        title=title,
        verdict=result.verdict,
        seen=one_line(result.seen),
        cure=one_line(result.cure, most=600),
    )


def _driver(machine: Machine) -> Result:
    if machine.program("nvidia-smi") is None:
        return warned("no nvidia-smi", _NO_DRIVER)
    version = machine.says("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    if not version:
        return failed("nvidia-smi does not work", "reload or update the driver; `nvidia-smi` itself says what is wrong")
    return passed(f"driver {version.splitlines()[0]}")


def _gpus(machine: Machine) -> Result:
    columns = "index,name,compute_cap,memory.total,memory.used"
    listed = machine.says("nvidia-smi", f"--query-gpu={columns}", "--format=csv,noheader,nounits")
    if not listed:
        return skipped("no GPU")
    rows = [[cell.strip() for cell in line.split(",")] for line in listed.splitlines()]
    seen = "; ".join(f"{row[0]}: {row[1]}, cc {row[2]}, {row[4]} of {row[3]} MiB used" for row in rows if len(row) == 5)
    busy = [row[0] for row in rows if len(row) == 5 and _is_busy(row[4], row[3])]
    if busy:
        return warned(
            f"{seen}; used by {_users(machine)}",
            f"choose other GPUs with --gpu-ids, or end what uses {', '.join(busy)}",
        )
    return passed(seen)


def _is_busy(used: str, total: str) -> bool:
    return used.isdecimal() and total.isdecimal() and int(total) > 0 and int(used) / int(total) > _BUSY


def _users(machine: Machine) -> str:
    columns = "pid,process_name,used_memory"
    listed = machine.says("nvidia-smi", f"--query-compute-apps={columns}", "--format=csv,noheader")
    return "; ".join((listed or "").splitlines()) or "processes that cannot be seen from here"


def _toolkit(machine: Machine) -> Result:
    if machine.program("docker") is None:
        return skipped("no docker")
    if machine.program("nvidia-ctk") is None and machine.program("nvidia-container-runtime") is None:
        return warned(
            "docker without the NVIDIA container toolkit",
            "containers get no GPU: install nvidia-container-toolkit and restart docker",
        )
    return passed(machine.says("nvidia-ctk", "--version") or "the container toolkit is there")


def _shared_memory(machine: Machine) -> Result:  # noqa: ARG001 - of this machine always
    try:
        free = shutil.disk_usage("/dev/shm").free / _GIB  # noqa: S108 - its size is asked, nothing is written
    except OSError:
        return skipped("no /dev/shm")
    if free < _SHM_GIB:
        return warned(
            f"{free:.2f} GiB free in /dev/shm",
            "several GPUs exchange data there: give containers shm_size 16gb, as `inference compose` does",
        )
    return passed(f"{free:.1f} GiB free in /dev/shm")


def _disk(machine: Machine) -> Result:
    folder = machine.cache
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if _is_there(place))
    free = shutil.disk_usage(existing).free / _GIB
    if free < _DISK_GIB:
        return warned(f"{free:.0f} GiB free for {folder}", "weights of 32B need 61 GiB: set HF_HOME to a larger disk")
    return passed(f"{free:.0f} GiB free for {folder}")


def _is_there(path: Path) -> bool:
    """Not for us, when we may not look."""
    try:
        return path.exists()
    except OSError:
        return False


def _hub_token(machine: Machine) -> Result:
    named = machine.environment.get("HF_TOKEN_PATH")
    file = Path(named) if named else machine.cache / "token"
    if machine.environment.get("HF_TOKEN"):
        return warned("HF_TOKEN is set: child processes and crash reports show it", "keep it in a file: HF_TOKEN_PATH")
    if _is_there(file):
        return passed(f"a token is in {file}")
    return warned(f"no token in {file}", "gated models such as Llama need one: `hf auth login`, or HF_TOKEN_PATH")


def _vllm(machine: Machine) -> Result:
    program = machine.program("vllm")
    if program is None:
        return warned(
            "no `vllm` on PATH", "`inference up --launcher compose` runs its image; or put its environment on PATH"
        )
    beside = Path(program).resolve().with_name("python")
    well, versions = machine.tried(str(beside), "-c", _TORCH)
    if not well and any(word in versions for word in _MISMATCHES):
        return failed(f"{program}: {versions}", _MISMATCH_CURE)
    if not well:
        return warned(f"{program}; its torch cannot be asked: {versions}", f"`{beside} -c 'import vllm._C'` says why")
    seen = f"{program}: vllm, torch, CUDA: {versions}"
    if versions.endswith("CPU") and machine.program("nvidia-smi") is not None:
        return failed(f"{seen}: a torch without CUDA on a GPU machine", "install the CUDA build of torch beside vllm")
    return passed(seen)


def _clock(machine: Machine) -> Result:
    now = datetime.fromtimestamp(time.time(), UTC)
    synchronised = machine.says("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if now < _EARLIEST:
        return failed(f"the clock says {now:%Y-%m-%d}", "set the clock: TLS, prices and records go by it")
    if synchronised == "no":
        return warned(f"{now:%Y-%m-%d %H:%M:%S} UTC, not synchronised", "switch NTP on: `timedatectl set-ntp true`")
    return passed(f"{now:%Y-%m-%d %H:%M:%S} UTC{', synchronised' if synchronised == 'yes' else ''}")


_CHECKS: Final[Mapping[str, Callable[[Machine], Result]]] = {
    "driver": _driver,
    "GPUs": _gpus,
    "container toolkit": _toolkit,
    "shared memory": _shared_memory,
    "disk for weights": _disk,
    "hub token": _hub_token,
    "vllm": _vllm,
    "clock": _clock,
}
