from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.model_http import http_client
from services.runner.egress import LARGEST_HEAD, Address, Gate

HERE = "127.0.0.1"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A model server that says back what it got, once its peer has said everything."""
    writer.write(b"got " + await reader.read())
    await writer.drain()
    writer.close()


@asynccontextmanager
async def model(talk: Talk = echo) -> AsyncIterator[Address]:
    server = await asyncio.start_server(talk, HERE, 0)
    async with server:
        yield Address(host=HERE, port=server.sockets[0].getsockname()[1])


async def asked(allowed: Address, sent: bytes, *, tunnel: bool) -> bytes:
    """Everything a fresh gate answers to these bytes."""
    server = await Gate(allowed=allowed, tunnel=tunnel).serve(HERE, 0)
    async with server:
        reader, writer = await asyncio.open_connection(HERE, server.sockets[0].getsockname()[1])
        writer.write(sent)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer


def connect(target: str) -> bytes:
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


async def test_a_tunnel_to_the_allowed_address_carries_bytes_both_ways() -> None:
    async with model() as allowed:
        answer = await asked(allowed, connect(f"{HERE}:{allowed.port}") + b"hello", tunnel=True)

    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\ngot hello"


async def test_a_forwarder_carries_bytes_both_ways_without_being_asked() -> None:
    async with model() as allowed:
        answer = await asked(allowed, b"GET /v1/models HTTP/1.1\r\n\r\n", tunnel=False)

    assert answer == b"got GET /v1/models HTTP/1.1\r\n\r\n"


async def test_many_megabytes_pass_whole() -> None:
    async with model() as allowed:
        answer = await asked(allowed, b"x" * 8_000_000, tunnel=False)

    assert len(answer) == 8_000_004


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (connect("127.0.0.1:1"), b"403"),
        (connect("127.0.0.2:{port}"), b"403"),
        (connect("localhost:{port}"), b"403"),
        (connect("127.0.0.1.evil.example:{port}"), b"403"),
        (connect("evil.example:443") + connect("127.0.0.1:{port}") + b"hello", b"403"),
        (connect("127.0.0.1:{port}@evil.example:443"), b"400"),
        (connect("evil.example:443 127.0.0.1:{port}"), b"405"),
        (connect("127.0.0.1"), b"400"),
        (b"GET http://127.0.0.1:{port}/ HTTP/1.1\r\n\r\n", b"405"),
        (b"connect 127.0.0.1:{port} HTTP/1.1\r\n\r\n", b"405"),
        (b"CONNECT 127.0.0.1:{port}\r\n\r\n", b"405"),
        (b"\r\n\r\n", b"405"),
        (b"CONNECT x:1 HTTP/1.1\r\nA: " + b"a" * LARGEST_HEAD, b"431"),
    ],
)
async def test_what_is_not_the_allowed_address_by_connect_is_refused(sent: bytes, status: bytes) -> None:
    async with model() as allowed:
        answer = await asked(allowed, sent.replace(b"{port}", str(allowed.port).encode()), tunnel=True)

    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"got" not in answer


async def test_the_client_by_which_our_agents_ask_models_takes_the_way_out_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said.append(await reader.readexactly(3))
        writer.close()

    async with model(listen) as allowed:
        gate = await Gate(allowed=allowed, tunnel=True).serve(HERE, 0)
        async with gate:
            monkeypatch.setenv("HTTPS_PROXY", f"http://{HERE}:{gate.sockets[0].getsockname()[1]}")
            async with http_client("https://models.example/v1", 1) as client:
                with pytest.raises(httpx2.TransportError):  # The model speaks no TLS.
                    await client.get(f"https://{HERE}:{allowed.port}/v1/models")
                with pytest.raises(httpx2.ProxyError, match="403"):
                    await client.get("https://elsewhere.example/v1/models")

    assert said == [b"\x16\x03\x01"]  # the beginning of a TLS handshake


@pytest.mark.parametrize("host", [HERE, "a..b"])
async def test_a_model_that_is_gone_or_has_no_name_is_told_by_502(host: str) -> None:
    gone = Address(host=host, port=1)

    assert (await asked(gone, connect(f"{host}:{gone.port}"), tunnel=True)).startswith(b"HTTP/1.1 502")
    assert await asked(gone, b"hello", tunnel=False) == b""


async def test_a_peer_that_leaves_in_the_middle_of_its_request_leaves_nothing_open() -> None:
    async with model() as allowed:
        assert await asked(allowed, b"CONNECT 127.0.0.1:", tunnel=True) == b""


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("Models.Example.:443", "models.example", 443),
        ("[FD12::7]:8000", "fd12::7", 8000),
        ("10.0.0.5:65535", "10.0.0.5", 65535),
    ],
)
def test_an_address_is_read_without_regard_to_case_brackets_and_the_final_dot(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host=host, port=port)


@pytest.mark.parametrize("text", ["", "host", "host:", ":443", "host:0", "host:65536", "fd12::7:80", "host:²", "h:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Address.parse(text)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = Address.parse(text)
    except ValueError:
        return
    assert 0 < address.port < 65536


def test_the_command_serves_until_it_is_told_to_stop() -> None:
    command = [
        sys.executable,
        "-m",
        "services.runner.egress",
        "--host",
        HERE,
        "--port",
        "0",
        "--tunnel",
        "a.example:443",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
        code = process.wait(timeout=10)

    assert line.startswith("tunnel to a.example:443 at port ")
    assert code == 0


def test_the_command_needs_one_way_to_one_address() -> None:
    command = [sys.executable, "-m", "services.runner.egress", "--forward", "nowhere"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)

    assert ran.returncode == 2
    assert "expected HOST:PORT, got 'nowhere'" in ran.stderr
