import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from services.inference.machine import ports
from services.inference.machine.leases import Lease, holder

FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


@contextmanager
def bound(family: socket.AddressFamily, host: str, *, listening: bool) -> Iterator[int]:
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((host, 0))
        if listening:
            one.listen()
        yield one.getsockname()[1]


@pytest.mark.parametrize(("family", "host"), FAMILIES)
def test_a_port_is_taken_on_either_family_and_its_owner_is_named(family: socket.AddressFamily, host: str) -> None:
    with bound(family, host, listening=True) as port:
        assert not ports.is_free(port)
        assert ports.listens(port)
        assert [owner.pid for owner in ports.owners(port)] == [os.getpid()]
        assert f"process {os.getpid()} (" in ports.named_owner(port)
        assert port in ports.ports_of_group(os.getpgid(0))
        assert ports.group_listens(port, os.getpgid(0))
        assert not ports.group_listens(port, 1)

    assert ports.is_free(port)


def test_a_port_that_an_engine_has_bound_while_it_loads_is_taken() -> None:
    with bound(socket.AF_INET, "127.0.0.1", listening=False) as port:
        assert not ports.is_free(port)
        assert not ports.listens(port)
        assert ports.named_owner(port) == "a process that has bound it and does not listen yet"


def test_a_port_with_nothing_but_a_connection_that_waits_out_its_time_is_free() -> None:
    with bound(socket.AF_INET, "127.0.0.1", listening=False) as port:
        pass
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = listener.accept()
            accepted.close()  # who closes first is left with TIME_WAIT
            assert client.recv(1) == b""
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind(("127.0.0.1", port))

    assert ports.is_free(port)


def test_a_process_is_told_from_a_later_one_with_its_number_by_its_start_time() -> None:
    ticks = ports.start_ticks(os.getpid())
    assert ticks is not None
    assert ticks > 0

    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        child.wait()
    assert ports.start_ticks(child.pid) is None


def test_a_lease_is_held_by_the_process_that_inherited_it_and_ends_with_it(
    tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lease = Lease.take("GPU-1", "the first")
    assert lease is not None
    keeper = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[lease.handle])
    lease.note("server 1")
    lease.close()

    assert Lease.take("GPU-1", "the second") is None
    assert holder("GPU-1") == "server 1"
    keeper.communicate()

    again = Lease.take("GPU-1", "the second")
    assert again is not None
    again.close()
    assert holder("GPU-1") == ""
    assert holder("GPU-2") == ""
