"""The shelf serves what was offered, at addresses nobody can guess, until the trial ends; and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from services.contract.a2a.server import ServerSettings
from services.contract.outcomes import Failure
from services.green_agent.files import FileShelf
from tests.support.a2a_server import serving
from tests.support.scripted_agent import Scripted


@asynccontextmanager
async def shelf(settings: ServerSettings | None = None) -> AsyncIterator[tuple[FileShelf, httpx.AsyncClient, str]]:
    files = FileShelf()
    async with serving(Scripted(), settings, mount=files.mount) as url, httpx.AsyncClient() as client:
        yield files, client, url


def book(folder: Path, name: str = "Plan 2026.xlsx", content: bytes = b"figures") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


async def test_an_offered_file_is_served_with_its_type_until_the_trial_ends(tmp_path: Path) -> None:
    async with shelf() as (files, client, url):
        address = files.offer(book(tmp_path), name="Plan 2026.xlsx", trial="t1")
        answer, head = await client.get(address), await client.head(address)
        files.withdraw("t1")
        afterwards = await client.get(address)

    assert address.startswith(url + "files/")
    assert address.endswith("/Plan%202026.xlsx")
    assert (answer.status_code, answer.content) == (200, b"figures")
    assert answer.headers["content-type"] == "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    assert answer.headers["cache-control"] == "no-store"
    assert head.headers["content-length"] == "7"
    assert afterwards.status_code == 404


async def test_withdrawing_one_trial_leaves_the_others(tmp_path: Path) -> None:
    async with shelf() as (files, client, _):
        path = book(tmp_path)
        mine = files.offer(path, name="a.xlsx", trial="t1")
        others = files.offer(path, name="a.xlsx", trial="t2")
        files.withdraw("t1")

        assert [(await client.get(one)).status_code for one in (mine, others)] == [404, 200]
    assert mine != others


async def test_only_the_exact_address_is_an_address(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    async with shelf() as (files, client, url):
        address = files.offer(book(tmp_path, "a.txt"), name="a.txt", trial="t")
        token = urlsplit(address).path.split("/")[2]
        tried = [
            f"{url}files/",
            f"{url}files/{token}",
            f"{url}files/{token}/",
            f"{url}files/{token}/b.txt",
            f"{url}files/{token}/a.txt/",
            f"{url}files/{token}/..%2fsecret.txt",
            f"{url}files/{token}/%2e%2e/secret.txt",
            f"{url}files//etc/passwd",
            f"{url}files/{'x' * 32}/a.txt",
        ]

        answers = [await client.get(one) for one in tried]

        assert [answer.status_code for answer in answers] == [404] * len(tried)
        assert {answer.text for answer in answers} == {"not found"}
        assert (await client.post(address)).status_code == 405


async def test_hostile_names_become_plain_ones(tmp_path: Path) -> None:
    async with shelf() as (files, client, _):
        names = ["../../etc/passwd", "a\r\nx: y.txt", "..", "", "ü.txt", "c:\\dir\\b.txt"]
        addresses = [files.offer(book(tmp_path, "a.txt"), name=name, trial="t") for name in names]
        answers = [await client.get(address) for address in addresses]

    assert [answer.status_code for answer in answers] == [200] * len(names)
    assert [address.rsplit("/", 1)[1] for address in addresses] == [
        "passwd",
        "ax%3A%20y.txt",
        "file",
        "file",
        "%C3%BC.txt",
        "b.txt",
    ]
    assert all("x: y" not in answer.headers.get("x", "") for answer in answers)


async def test_the_agent_needs_no_token_of_greens_for_a_file_and_for_nothing_else(tmp_path: Path) -> None:
    token = "kept" + "-quiet"
    async with shelf(ServerSettings(auth_token=token)) as (files, client, url):
        address = files.offer(book(tmp_path), name="a.xlsx", trial="t")

        assert (await client.get(address)).status_code == 200
        assert (await client.post(url, json={})).status_code == 401


async def test_addresses_carry_the_public_name_of_the_server(tmp_path: Path) -> None:
    async with shelf(ServerSettings(card_url="http://green:9109")) as (files, _, _):
        assert files.offer(book(tmp_path), name="a.xlsx", trial="t").startswith("http://green:9109/files/")


async def test_what_is_not_there_cannot_be_offered_and_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no_shelf"):
        FileShelf().offer(book(tmp_path), name="a.xlsx", trial="t")
    async with shelf() as (files, client, _):
        with pytest.raises(Failure, match="file_gone"):
            files.offer(tmp_path / "gone", name="gone", trial="t")
        path = book(tmp_path)
        address = files.offer(path, name="a.xlsx", trial="t")
        path.unlink()

        assert (await client.get(address)).status_code == 404


async def test_many_readers_at_once_get_whole_files(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    async with shelf() as (files, client, _):
        address = files.offer(book(tmp_path, content=content), name="a.bin", trial="t")
        answers = await asyncio.gather(*(client.get(address) for _ in range(16)))

    assert all(answer.content == content for answer in answers)
