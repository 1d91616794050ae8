import json
from typing import Any

import pytest
from aiohttp import web

from services.contract.documents import Limits
from services.contract.model_call import ToolCall
from services.purple_agent.tools.references import ReferenceFiles
from services.purple_agent.tools.toolbox import Toolbox
from tests.purple_agent.tools.web import serving

TABLE = "region,sales\n" + "\n".join(f"r{n},{n * 10}" for n in range(100))


async def answer(request: web.Request) -> web.StreamResponse:
    match request.path:
        case "/files/t/sales.csv":
            return web.Response(text=TABLE, content_type="text/csv")
        case "/files/t/elsewhere.csv":
            raise web.HTTPFound("/files/t/sales.csv")
        case "/files/t/large.txt":
            return web.Response(body=b"x" * 5_000)
        case "/files/t/broken.pdf":
            return web.Response(body=b"%PDF-1.7 rubbish")
    raise web.HTTPNotFound


async def call(files: ReferenceFiles, tool: str, /, **arguments: object) -> dict[str, Any]:
    box = Toolbox(files.tools)
    said: dict[str, Any] = json.loads(await box.call(ToolCall(id="1", name=tool, arguments=json.dumps(arguments))))
    return said


def test_without_an_offer_there_are_no_tools() -> None:
    files = ReferenceFiles()
    files.saw("What is 6 x 7? See section http of the manual.")

    assert files.tools == ()


async def test_an_offered_file_is_listed_and_read_by_name_or_address() -> None:
    async with serving(answer) as url:
        files = ReferenceFiles()
        files.saw(f"Read sales.csv (csv, 1 kB): {url}/files/t/sales.csv.")

        listed = await call(files, "list_reference_files")
        by_name = await call(files, "fetch_reference_file", name="sales.csv", row_offset=1, row_limit=2)
        by_url = await call(files, "fetch_reference_file", url=f"{url}/files/t/sales.csv")

    assert listed["result"]["files"] == [f"sales.csv {url}/files/t/sales.csv"]
    assert "r0" in by_name["result"]["text"]
    assert "r5" not in by_name["result"]["text"]
    assert "r99" in by_url["result"]["text"]
    assert by_url["result"]["kind"] == "csv"


async def test_an_address_that_was_not_offered_is_never_fetched() -> None:
    asked: list[str] = []

    async def note(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(text="secret")

    async with serving(note) as url:
        files = ReferenceFiles()
        files.saw(f"{url}/files/t/sales.csv")

        said = await call(files, "fetch_reference_file", url=f"{url}/admin")

    assert said["error"]["kind"] == "not_offered"
    assert asked == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("elsewhere.csv", "unavailable"),
        ("missing.csv", "unavailable"),
        ("large.txt", "too_large"),
        ("broken.pdf", "unreadable"),
    ],
)
async def test_what_cannot_be_read_is_named(name: str, kind: str) -> None:
    async with serving(answer) as url:
        files = ReferenceFiles(limits=Limits(file_bytes=4_000))
        files.saw(f"{url}/files/t/{name}")

        said = await call(files, "fetch_reference_file", name=name)

    assert (said["ok"], said["error"]["kind"]) == (False, kind)


async def test_the_addresses_of_cloud_metadata_are_refused() -> None:
    files = ReferenceFiles()
    files.saw("http://169.254.169.254/latest/meta-data")

    said = await call(files, "fetch_reference_file", name="meta-data")

    assert said["error"]["kind"] == "refused"


async def test_a_file_is_named_by_exactly_one_of_name_and_address() -> None:
    files = ReferenceFiles()
    files.saw("http://127.0.0.1:9/a.csv")

    said = await call(files, "fetch_reference_file")

    assert said["error"]["message"] == "give either url or name"


@pytest.mark.parametrize("text", ["see http://[::1]:80/x", "see http://\u2100.example/x", "http://[", "https://]:x"])
def test_text_that_only_looks_like_an_address_offers_nothing_and_breaks_nothing(text: str) -> None:
    files = ReferenceFiles()
    files.saw(text)

    assert files.tools == ()


async def test_a_name_that_two_files_have_is_asked_for_by_address() -> None:
    files = ReferenceFiles()
    files.saw("http://127.0.0.1:9/a/sales.csv and http://127.0.0.1:9/b/sales.csv")

    said = await call(files, "fetch_reference_file", name="sales.csv")

    assert said["error"]["kind"] == "ambiguous"
    assert "http://127.0.0.1:9/b/sales.csv" in said["error"]["message"]
