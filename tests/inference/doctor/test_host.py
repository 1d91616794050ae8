"""What `--host` says of machines as they are found, by programs that answer as the real ones do."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from services.contract.fitness import Finding
from services.inference.doctor.host import Machine, examine_host

SMI = """#!/bin/sh
case "$1" in
  *driver_version*) echo 570.10 ;;
  *compute-apps*) echo "4711, python, 60000 MiB" ;;
  *) echo "0, NVIDIA H100 80GB HBM3, 9.0, 81559, {used}" ;;
esac
"""


def machine(folder: Path, programs: dict[str, str], **environment: str) -> dict[str, Finding]:
    for name, text in programs.items():
        path = folder / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    here = Machine(environment={"HOME": str(folder), **environment}, path=str(folder))
    return {finding.title: finding for finding in examine_host(here)}


def test_an_idle_gpu_machine_passes_by_driver_and_memory(tmp_path: Path) -> None:
    found = machine(tmp_path, {"nvidia-smi": SMI.format(used=100)})

    assert (found["driver"].verdict, found["driver"].seen) == ("pass", "driver 570.10")
    assert found["GPUs"].seen == "0: NVIDIA H100 80GB HBM3, cc 9.0, 100 of 81559 MiB used"


def test_memory_in_use_is_told_with_who_uses_it(tmp_path: Path) -> None:
    found = machine(tmp_path, {"nvidia-smi": SMI.format(used=60000)})

    assert found["GPUs"].verdict == "warn"
    assert "used by 4711, python, 60000 MiB" in found["GPUs"].seen
    assert "--gpu-ids" in found["GPUs"].cure


def test_a_driver_that_does_not_work_fails(tmp_path: Path) -> None:
    found = machine(tmp_path, {"nvidia-smi": "#!/bin/sh\nexit 9\n"})

    assert (found["driver"].verdict, found["GPUs"].verdict) == ("fail", "skip")


def test_what_a_program_says_in_another_alphabet_and_a_folder_that_cannot_be_looked_at_are_no_reason_to_break_down(
    tmp_path: Path,
) -> None:
    found = machine(tmp_path, {"nvidia-smi": "#!/bin/sh\nprintf '\\377\\033[31m'\n"}, HF_HOME=f"{tmp_path}/{'x' * 300}")

    assert (found["driver"].verdict, found["driver"].seen.isprintable()) == ("pass", True)
    assert "GiB free" in found["disk for weights"].seen
    assert found["hub token"].verdict == "warn"


def test_docker_without_the_toolkit_warns(tmp_path: Path) -> None:
    assert machine(tmp_path, {"docker": "#!/bin/sh\n"})["container toolkit"].verdict == "warn"


@pytest.mark.parametrize(
    ("torch", "driver", "verdict"),
    [("0.33.0 2.13.0 13.0", True, "pass"), ("0.32.0 2.13.0 CPU", True, "fail"), ("0.32.0 2.13.0 CPU", False, "pass")],
)
def test_a_vllm_with_a_torch_for_cpus_fails_on_a_gpu_machine(
    tmp_path: Path, torch: str, *, driver: bool, verdict: str
) -> None:
    programs = {"vllm": "#!/bin/sh\n", "python": f"#!/bin/sh\necho {torch}\n"}
    found = machine(tmp_path, programs | ({"nvidia-smi": SMI.format(used=0)} if driver else {}))

    assert (found["vllm"].verdict, torch in found["vllm"].seen) == (verdict, True)


def test_a_vllm_that_was_built_against_another_torch_fails_with_the_way_out(tmp_path: Path) -> None:
    error = "ImportError: vllm/_C.abi3.so: undefined symbol: _ZN3c10ltERKNS_6SymIntEi"
    programs = {"vllm": "#!/bin/sh\n", "python": f"#!/bin/sh\necho '{error}' >&2\nexit 1\n"}
    found = machine(tmp_path, programs)["vllm"]

    assert (found.verdict, "undefined symbol" in found.seen) == ("fail", True)
    assert "built against another torch" in found.cure
    assert "pin neither torch nor numpy" in found.cure


def test_a_hub_token_is_wanted_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")

    assert machine(tmp_path, {}, HF_HOME=str(tmp_path))["hub token"].verdict == "pass"
    assert machine(tmp_path, {}, HF_TOKEN="t" * 9)["hub token"].verdict == "warn"
    assert machine(tmp_path, {}, HF_HOME=str(tmp_path / "none"))["hub token"].verdict == "warn"


def test_this_machine_can_be_examined() -> None:
    assert [finding.id for finding in examine_host()] == [f"H{n:02d}" for n in range(1, 9)]
