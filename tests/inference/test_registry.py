from __future__ import annotations

import ctypes
import multiprocessing
import os
import platform
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.contract.endpoint_files import ServiceLine
from services.inference.failures import UsageError
from services.inference.servers.registry import (
    Registry,
    RegistryError,
    RegistryPlaceError,
    ServerFacts,
    moment,
    stamp,
)

FORK = multiprocessing.get_context("fork")
FOREIGN = "# kept\nshort|line\n77|node|10.0.0.1|8000|/m|2026-01-01 00:00:00|running|later|0|more\n"
BASH_WRITER = """
for i in 1 2 3 4 5; do
  exec 9>>"$1.lock"; flock -w 30 9 || exit 75
  { cat "$1"; echo "9000$i|node|10.0.0.1|800$i|/m|now|running"; } >"$1.bash.tmp" && mv "$1.bash.tmp" "$1"
  exec 9>&-
done
"""
"""The protocol of the SLURM script."""


def line(job_id: str = "local-1-2", *, port: int = 8000, status: str = "running") -> ServiceLine:
    return ServiceLine(
        job_id=job_id,
        hostname="here",
        host_ip="127.0.0.1",
        port=port,
        model_path="/m",
        start_time="2026-01-01 00:00:00",
        status=status,
    )


def test_a_registry_without_a_file_has_no_lines_and_begins_with_the_first(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "services.txt")

    assert list(registry.lines()) == []
    registry.put(line())
    assert list(registry.lines()) == [line()]


def test_a_line_takes_the_place_of_the_one_with_its_id_and_port(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "services.txt")
    for one in (line("1"), line("2"), line("2", port=8001)):
        registry.put(one)

    registry.put(line("2", status="stopped"))

    assert list(registry.lines()) == [line("1"), line("2", status="stopped"), line("2", port=8001)]


def test_what_others_wrote_stays_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "services.txt"
    path.write_bytes(FOREIGN.encode() + b"caf\xe9 without an end")
    registry = Registry(path)

    registry.put(line("1"))
    registry.ended("1", exit_code="3", at="2026-01-01 00:01:00")

    mine = b"1|here|127.0.0.1|8000|/m|2026-01-01 00:00:00|stopped|2026-01-01 00:01:00|3\n"
    assert path.read_bytes() == FOREIGN.encode() + b"caf\xe9 without an end\n" + mine


def test_what_has_ended_keeps_its_end(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "services.txt")
    registry.put(line("1"))
    registry.put(line("1", port=8001))

    registry.ended("1", exit_code="0", at="2026-01-01 00:01:00")
    registry.ended("1", exit_code="lost", at="")

    assert [(one.status, one.exit_code) for one in registry.lines()] == [("stopped", "0")] * 2


def test_an_exit_code_is_better_than_lost(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "services.txt")
    registry.put(line("1"))
    registry.put(line("2"))

    registry.lost(frozenset({"1", "2"}))
    registry.ended("1", exit_code="1", at="9")
    registry.ended("2", exit_code="", at="9")

    assert [(one.end_time, one.exit_code) for one in registry.lines()] == [("9", "1"), ("", "lost")]


def test_a_lost_server_is_written_without_an_end(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "services.txt")
    registry.put(line("1"))

    registry.ended("1", exit_code="lost", at="")

    assert registry.path.read_text().endswith("|stopped||lost\n")


def test_a_field_that_would_break_the_line_is_wrong_usage_and_changes_nothing(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "services.txt")

    with pytest.raises(UsageError, match=r"cannot hold 'a\|b'"):
        registry.put(line("a|b"))

    assert list(tmp_path.iterdir()) == []


def test_twenty_processes_write_at_once_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "services.txt"
    path.write_text(FOREIGN)
    writers = [FORK.Process(target=_put_five, args=(path, number)) for number in range(20)]
    bash = subprocess.Popen(["bash", "-c", BASH_WRITER, "bash", str(path)])

    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    assert bash.wait(60) == 0
    assert [writer.exitcode for writer in writers] == [0] * 20
    ids = {one.job_id for one in Registry(path).lines()}
    assert ids == {f"local-{number}-{i}" for number in range(20) for i in range(5)} | {f"9000{i}" for i in range(1, 6)}
    assert path.read_text().startswith(FOREIGN)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["services.txt", "services.txt.lock"]


def test_a_killed_writer_leaves_a_whole_file_and_no_lock(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "services.txt")
    registry.put(line("kept"))

    for rounds in range(1, 9):
        reading, writing = os.pipe()
        writer = FORK.Process(target=_put_for_ever, args=(registry.path, writing))
        writer.start()
        os.close(writing)
        for _ in range(rounds):
            assert os.read(reading, 1) == b"."
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(30)
        os.close(reading)
        text = registry.path.read_text()
        assert text.endswith("\n")
        assert {one.job_id for one in registry.lines()} >= {"kept"}
        assert len(registry.lines()) == text.count("\n")

    registry.put(line("after"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["services.txt", "services.txt.lock"]


def test_only_copies_of_killed_writers_are_cleared_away(tmp_path: Path) -> None:
    strangers = {
        ".services.txt.swp",
        ".services.txt.bak",
        "services.txt.old.tmp",
        "services.txt.bak",
        ".services.txt.1",
    }
    copies = {".services.txt.0123456789ab", "services.txt.77.tmp", "services.txt.77_3.tmp"}
    for name in strangers | copies:
        (tmp_path / name).touch()
    (tmp_path / "services.txt.78.tmp").mkdir()

    Registry(tmp_path / "services.txt").put(line())

    left = {file.name for file in tmp_path.iterdir()}
    assert left == strangers | {"services.txt", "services.txt.lock", "services.txt.78.tmp"}


def test_a_lock_that_is_held_too_long_is_an_error_that_names_its_holder(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "services.txt", lock_timeout_s=0.1)
    registry.put(line("1"))

    with _locked(tmp_path / "services.txt.lock") as holder, pytest.raises(RegistryError) as caught:
        registry.put(line("2"))

    assert f"process {holder} ({sys.executable} -c" in str(caught.value)
    assert [one.job_id for one in registry.lines()] == ["1"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the system call's number is that of x86_64")
def test_a_file_system_without_locks_is_refused(tmp_path: Path) -> None:
    worker = FORK.Process(target=_put_without_flock, args=(tmp_path / "services.txt",))
    worker.start()
    worker.join(30)

    assert worker.exitcode == 7
    assert "has no file locks" in (tmp_path / "said").read_text()
    assert not (tmp_path / "services.txt").exists()


def test_a_registry_in_a_folder_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(RegistryPlaceError, match="choose another place with --registry"):
        Registry(tmp_path / "nowhere" / "services.txt").put(line())


def test_facts_are_kept_beside_the_file(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "services.txt")
    facts = ServerFacts(id="123_0", engine="vllm", served_name="m", gpus=("GPU-1",), kv_planned_tokens=(1, 2))

    registry.put(line("123_0"), facts)

    assert registry.facts("123_0") == facts
    assert registry.noted() == ["123_0"]
    assert (tmp_path / "services.txt.d" / "123_0.json").exists()
    registry.forget("123_0")
    assert registry.facts("123_0") is None
    assert list(registry.lines()) == [line("123_0")]


@pytest.mark.parametrize("job_id", ["../../secret", "a/b", "", ".hidden", "x" * 300])
def test_an_id_never_leads_out_of_the_folder_of_facts(tmp_path: Path, job_id: str) -> None:
    (tmp_path / "secret.json").write_text('{"id": "x", "engine": "vllm", "served_name": "m"}')
    registry = Registry(tmp_path / "a" / "services.txt")

    assert registry.facts(job_id) is None
    with pytest.raises(UsageError, match="no id of a server"):
        registry.note(ServerFacts(id=job_id, engine="vllm", served_name="m"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to somebody else")
def test_facts_of_another_user_name_no_files(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "services.txt")
    facts = ServerFacts(id="1", engine="vllm", served_name="m", log="/l.err", output="/l.out", key_file="/k")
    registry.note(facts)
    os.chown(tmp_path / "services.txt.d" / "1.json", 54321, -1)

    assert registry.facts("1") == ServerFacts(id="1", engine="vllm", served_name="m")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as somebody else")
def test_what_another_user_may_not_change_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "services.txt")
    registry.put(line("1"), ServerFacts(id="1", engine="vllm", served_name="m"))
    worker = FORK.Process(target=_forget_as_somebody_else, args=(registry,))
    worker.start()
    worker.join(30)

    assert worker.exitcode == 7
    assert registry.facts("1") is not None


def test_broken_facts_are_as_good_as_none(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "services.txt")
    (tmp_path / "services.txt.d").mkdir()
    (tmp_path / "services.txt.d" / "1.json").write_text("{")

    assert registry.facts("1") is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1770112800", 1770112800),
        ("1770112800.5", 1770112800.5),
        ("2026-02-03T10:00:00+00:00", 1770112800),
        ("yesterday", None),
        ("", None),
        ("9" * 12, None),
    ],
)
def test_times_are_read_whichever_tool_wrote_them(text: str, seconds: float | None) -> None:
    found = moment(text)

    assert (found.timestamp() if found else None) == seconds


def test_a_time_is_read_as_it_was_written() -> None:
    now = datetime.now(UTC).replace(microsecond=0)

    assert moment(stamp(now)) == now


def _put_five(path: Path, number: int) -> None:
    for i in range(5):
        Registry(path).put(line(f"local-{number}-{i}", port=8000 + i))


def _put_for_ever(path: Path, writing: int) -> None:
    number = 0
    while True:
        number += 1
        Registry(path).put(line(f"local-{os.getpid()}-{number % 3}", status="running" if number % 2 else "starting"))
        os.write(writing, b".")


def _forget_as_somebody_else(registry: Registry) -> None:
    os.chdir(registry.path.parent)  # by which no folder above must be open to others
    registry.path.parent.chmod(0o755)
    os.seteuid(54_321)
    try:
        Registry(Path("services.txt")).forget("1")
    except RegistryPlaceError as error:
        os._exit(7 if "1.json: Permission denied" in str(error) else 8)
    os._exit(0)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The lock in the hands of another process."""
    code = "import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX); print(); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield child.pid
        finally:
            child.kill()


def _put_without_flock(path: Path) -> None:
    _forbid_flock()
    try:
        Registry(path).put(line())
    except RegistryPlaceError as error:
        (path.parent / "said").write_text(str(error))
        os._exit(7)
    os._exit(0)


def _forbid_flock() -> None:
    """A real kernel that answers ENOSYS to flock, as Lustre without that mount option does."""
    flock, enosys = 73, 38
    allow, fail = 0x7FFF0000, 0x00050000 | enosys
    program = b"".join(
        struct.pack("HBBI", *step)
        for step in ((0x20, 0, 0, 0), (0x15, 0, 1, flock), (0x06, 0, 0, fail), (0x06, 0, 0, allow))
    )
    steps = ctypes.create_string_buffer(program)
    filters = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(steps)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, filters, 0, 0) == 0, os.strerror(ctypes.get_errno())
    assert sys.platform == "linux"
