import json
from pathlib import Path

import pytest

from services.runner.failures import ScenarioError
from services.runner.scenario import Scenario
from services.runner.scenario.images import ImageSource, read_images, with_images
from tests.runner.scenario.files import BY_ID, GREEN_ID, IMAGE_FAULT, MINIMAL, PURPLE_ID, read
from tests.support.raw_http import RawServer, Seen, raw_server, response

DIGEST = "sha256:" + "a" * 64
GREEN_PATH, PURPLE_PATH = f"/api/agents/{GREEN_ID}", f"/api/agents/{PURPLE_ID}"
REMEDY = "correct agentbeats_id, or name its image in the file of --resolve"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


def platform(server: RawServer) -> str:
    return server.url.removesuffix("/v1")


async def resolved(folder: Path, answer: bytes | None, *, timeout_s: float = 20) -> Scenario:
    """A scenario whose purple is known by id alone, after the platform has answered."""
    text = MINIMAL.replace('endpoint = "http://127.0.0.1:9010"', f'agentbeats_id = "{PURPLE_ID}"')
    async with raw_server([answer], paths=(PURPLE_PATH,)) as server:
        source = ImageSource(platform=platform(server), timeout_s=timeout_s)
        return await with_images(read(folder, text), source)


async def fault_of(folder: Path, answer: bytes | None, *, timeout_s: float = 20) -> str:
    with pytest.raises(ScenarioError) as caught:
        await resolved(folder, answer, timeout_s=timeout_s)
    (fault,) = caught.value.faults
    assert fault.startswith(f"purple: no image for agentbeats_id {PURPLE_ID}: ")
    assert fault.endswith(REMEDY)
    return fault


async def test_the_platform_is_asked_for_every_id_and_the_ids_stay(tmp_path: Path) -> None:
    def answer(seen: Seen) -> bytes:
        name = "green" if seen.path == GREEN_PATH else "purple"
        return response({"id": "x", "docker_image": f"ghcr.io/maker/{name}@{DIGEST}", "more": [1]})

    async with raw_server(answer, paths=(GREEN_PATH, PURPLE_PATH)) as server:
        scenario = await with_images(read(tmp_path, BY_ID), ImageSource(platform=platform(server) + "/"))

    assert scenario.green.image == f"ghcr.io/maker/green@{DIGEST}"
    assert scenario.green.agentbeats_id == GREEN_ID
    assert scenario.purple.image == f"ghcr.io/maker/purple@{DIGEST}"
    assert [agent.kind for agent in scenario.agents()] == ["image", "image"]
    assert {(seen.method, seen.path) for seen in server.seen} == {("GET", GREEN_PATH), ("GET", PURPLE_PATH)}
    assert Scenario.model_validate(scenario.storable()) == scenario


async def test_the_table_of_the_user_comes_first_and_agents_with_an_image_or_address_are_left_alone(
    tmp_path: Path,
) -> None:
    async with raw_server([response({"docker_image": "asked:1"})], paths=(GREEN_PATH,)) as server:
        source = ImageSource(table={PURPLE_ID: "mine:1"}, platform=platform(server))
        scenario = await with_images(read(tmp_path, BY_ID), source)
        plain = read(tmp_path, MINIMAL)
        assert await with_images(plain, source) == plain

    assert (scenario.green.image, scenario.purple.image) == ("asked:1", "mine:1")
    assert len(server.seen) == 1
    assert server.others == []


async def test_offline_every_agent_without_an_image_is_named_at_once_and_nobody_is_asked(tmp_path: Path) -> None:
    async with raw_server([response({"docker_image": "asked:1"})], paths=(GREEN_PATH,)) as server:
        with pytest.raises(ScenarioError) as caught:
            await with_images(read(tmp_path, BY_ID), ImageSource(online=False, platform=platform(server)))

    why = "the table of --resolve has none, and --offline forbids to ask"
    assert caught.value.faults == (
        f"green: no image for agentbeats_id {GREEN_ID}: {why}; {REMEDY}",
        f"purple: no image for agentbeats_id {PURPLE_ID}: {why}; {REMEDY}",
    )
    assert server.seen == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (response({"detail": "no such agent"}, status=404), "answered HTTP 404"),
        (response("oops", status=500), "answered HTTP 500"),
        (response("no json"), "names no docker_image"),
        (response([]), "names no docker_image"),
        (response({"image": "a:1"}), "names no docker_image"),
        (response({"docker_image": None}), "names no docker_image"),
        (response({"docker_image": "a b"}), f"{IMAGE_FAULT}, got 'a b'"),
        (response({"docker_image": "a\nimage: evil"}), f"{IMAGE_FAULT}, got 'a\\nimage: evil'"),
        (response({"docker_image": "a" * 256}), IMAGE_FAULT),
        (response({"docker_image": "a:1", "more": "x" * 1_100_000}), "the answer is longer than 1048576 bytes"),
        (response("", status=302, headers={"location": "http://elsewhere.example/"}), "is not followed"),
        (response("", status=302, headers={"location": "http://["}), "Invalid"),
        (response("", status=302, headers={"location": PURPLE_PATH}), "redirects without end"),
        (b"", "Server disconnected without sending a response."),
        (b"garbage\r\n\r\n", "illegal status line"),
    ],
)
async def test_an_answer_that_names_no_image_is_explained(tmp_path: Path, answer: bytes, why: str) -> None:
    assert why in await fault_of(tmp_path, answer)


async def test_a_platform_that_is_silent_or_absent_is_not_waited_for_without_end(tmp_path: Path) -> None:
    assert "did not answer within 0.2 s" in await fault_of(tmp_path, None, timeout_s=0.2)
    async with raw_server([]) as server:
        gone = platform(server)
    with pytest.raises(ScenarioError, match="connection attempts failed"):
        await with_images(read(tmp_path, BY_ID), ImageSource(platform=gone))


async def test_a_redirect_inside_the_platform_is_followed(tmp_path: Path) -> None:
    moved = f"{PURPLE_PATH}/"

    def answer(seen: Seen) -> bytes:
        if seen.path == moved:
            return response({"docker_image": "moved:1"})
        return response("", status=308, headers={"location": moved})

    text = MINIMAL.replace('endpoint = "http://127.0.0.1:9010"', f'agentbeats_id = "{PURPLE_ID}"')
    async with raw_server(answer, paths=(PURPLE_PATH, moved)) as server:
        scenario = await with_images(read(tmp_path, text), ImageSource(platform=platform(server)))

    assert scenario.purple.image == "moved:1"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("images.json", json.dumps({GREEN_ID.upper(): "green:1", "77": "purple:1"})),
        ("images.toml", f'"{GREEN_ID}" = "green:1"\n77 = "purple:1" # a whole number\n'),
        ("images", '\n {"77": "purple:1",' + f'"{GREEN_ID}": "green:1"}}'),
    ],
)
def test_a_table_of_images_is_read_from_json_and_toml(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)

    source = ImageSource.of(tmp_path / name, offline=True)

    assert source.table == {GREEN_ID: "green:1", "77": "purple:1"}
    assert not source.online


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ('{"7": }', (":1:7: Expecting value",)),
        ("7 = = 1", (":1:5: Invalid value",)),
        (
            '{"7": "a b", "8": 3, "9": "fine:1"}',
            (f": 7: {IMAGE_FAULT}, got 'a b'", f": 8: {IMAGE_FAULT}, got 3"),
        ),
        ('{"7": "a:1", "7": "b:1"}', (": '7' is there twice",)),
        (
            f'"{GREEN_ID}" = "a:1"\n"{GREEN_ID.upper()}" = "b:1"',
            (": an id is there twice (upper and lower case are the same)",),
        ),
    ],
)
def test_faults_of_a_table_are_named(tmp_path: Path, text: str, faults: tuple[str, ...]) -> None:
    path = tmp_path / "images"
    path.write_text(text)

    with pytest.raises(ScenarioError) as caught:
        read_images(path)

    assert caught.value.faults == tuple(f"{path}{fault}" for fault in faults)
