"""Scenarios from a manifest over HTTP: digests, hosts, the token, archives, the cache."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.crypto.config import CryptoConfig
from services.green_agent.benchmarks.crypto.manifest import Depot, Place, read_manifest
from services.green_agent.benchmarks.crypto.sources import Loaded, load
from services.green_agent.data.store import Store
from tests.green_agent.benchmarks.crypto.scenario_writing import market_data, zipped

MARKET = json.dumps(market_data()).encode()


@dataclass
class Site:
    """A web server with files; keeps what was asked and with which authorization."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def entry(self, name: str, content: bytes, *, path: str | None = None, **keys: str) -> dict[str, str]:
        """Serve a file and describe it as an entry of a manifest."""
        path = path or f"{name}.json"
        self.files[f"/{path}"] = content
        return {"id": name, "url": path, "sha256": hashlib.sha256(content).hexdigest()} | keys

    def manifest(self, *entries: dict[str, str], at: str = "/manifest.json", **keys: Any) -> str:
        """Serve a manifest; its address."""
        self.files[at] = json.dumps({"scenarios": list(entries)} | keys).encode()
        return f"{self.url}{at}"


@contextmanager
def site() -> Iterator[Site]:
    served = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append((self.path, self.headers.get("Authorization")))
            if (target := served.moved.get(self.path)) is not None:
                self.send_response(302)
                self.send_header("Location", target)
                self.end_headers()
                return
            content = served.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVAL_DATA_REPO", "EVAL_DATA_PAT", "ASSAY_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def web() -> Iterator[Site]:
    with site() as served:
        yield served


def fetched(cache: Path, **keys: Any) -> Loaded:
    config = CryptoConfig.model_validate(
        {"type": "crypto", "download_on_missing": True, "cache_dir": str(cache / "cache")} | keys
    )
    return load(config, 7, Store(folders=(cache,), mirror=None))


def ids(found: Loaded) -> list[str]:
    return [scenario.id for scenario in found.scenarios]


def test_json_and_zip_artifacts_are_fetched_in_the_order_of_the_manifest(web: Site, tmp_path: Path) -> None:
    packed = zipped({"window/market_data.json": MARKET, "window/metadata.json": b"{}"})
    url = web.manifest(web.entry("zebra", packed, path="zebra.zip"), web.entry("ape", MARKET))

    found = fetched(tmp_path, remote_manifest=url)

    assert ids(found) == ["zebra", "ape"]
    assert len(found.scenarios[0].bars) == 12
    assert found.notes == {"source": f"manifest {web.url}/.../manifest.json"}


def test_older_names_of_the_keys_are_read(web: Site, tmp_path: Path) -> None:
    old = web.entry("old", MARKET)
    entry = {"scenario_id": old["id"], "artifact": old["url"], "sha256": old["sha256"].upper(), "name": "x"}
    web.files["/m.json"] = json.dumps({"data": [entry]}).encode()

    assert ids(fetched(tmp_path, remote_manifest=f"{web.url}/m.json")) == ["old"]


def test_a_base_url_says_where_relative_artifacts_lie(web: Site, tmp_path: Path) -> None:
    web.entry("one", MARKET, path="data/one.json")
    entry = {"id": "one", "url": "one.json", "sha256": hashlib.sha256(MARKET).hexdigest()}

    assert ids(fetched(tmp_path, remote_manifest=web.manifest(entry, base_url=f"{web.url}/data"))) == ["one"]


def test_only_the_wanted_scenarios_are_fetched(web: Site, tmp_path: Path) -> None:
    url = web.manifest(web.entry("a", MARKET), web.entry("b", MARKET + b" "))

    assert ids(fetched(tmp_path, remote_manifest=url, scenarios=["b"])) == ["b"]
    assert [path for path, _ in web.asked] == ["/manifest.json", "/b.json"]


def test_a_wrong_digest_is_refused_with_both(web: Site, tmp_path: Path) -> None:
    url = web.manifest(web.entry("one", MARKET, sha256="0" * 64))

    with pytest.raises(DatasetError, match=f"crypto scenario one: sha256 of one.json is {'[0-9a-f]' * 64}, the manif"):
        fetched(tmp_path, remote_manifest=url)
    with pytest.raises(DatasetError):
        fetched(tmp_path, remote_manifest=url)


def test_an_archive_that_climbs_out_is_refused_and_writes_nothing(web: Site, tmp_path: Path) -> None:
    packed = zipped({"market_data.json": MARKET, "../../climbed.txt": b"x"})
    url = web.manifest(web.entry("one", packed, path="one.zip"))

    with pytest.raises(DatasetError, match=r"crypto scenario one: .*climbed.txt' is no name of a file"):
        fetched(tmp_path, remote_manifest=url)
    assert list(tmp_path.rglob("climbed.txt")) == []


def test_an_archive_of_more_than_200_mb_is_refused(web: Site, tmp_path: Path) -> None:
    packed = zipped({"market_data.json": bytes((200 << 20) + 1)})
    url = web.manifest(web.entry("one", packed, path="one.zip"))

    with pytest.raises(DatasetError, match=r"crypto scenario one: .* bytes unpacked, at most 209715200 are accepted"):
        fetched(tmp_path, remote_manifest=url)


@pytest.mark.parametrize("files", [{"other.json": b"{}"}, {"a/market_data.json": MARKET, "b/market_data.json": MARKET}])
def test_an_archive_holds_exactly_one_market(web: Site, tmp_path: Path, files: dict[str, bytes]) -> None:
    url = web.manifest(web.entry("one", zipped(files), path="one.zip"))

    with pytest.raises(DatasetError, match=r"files market_data.json, expected one"):
        fetched(tmp_path, remote_manifest=url)


def test_an_artifact_on_another_host_is_refused_and_not_asked_for(web: Site, tmp_path: Path) -> None:
    with site() as other:
        entry = other.entry("one", MARKET) | {"url": f"{other.url}/one.json"}

        with pytest.raises(DatasetError, match="lies on another host than the base"):
            fetched(tmp_path, remote_manifest=web.manifest(entry))

        assert other.asked == []


def test_a_redirect_is_not_followed(web: Site, tmp_path: Path) -> None:
    with site() as other:
        url = web.manifest(web.entry("one", MARKET))
        web.moved["/one.json"] = f"{other.url}/one.json"

        with pytest.raises(DatasetError, match="answered 302"):
            fetched(tmp_path, remote_manifest=url)

        assert other.asked == []


@pytest.mark.parametrize("path", ["../one.json", "a/../../one.json", "..\\one.json", "/one.json"])
def test_a_path_that_climbs_out_of_the_base_is_refused(web: Site, tmp_path: Path, path: str) -> None:
    url = web.manifest(web.entry("one", MARKET, url=path), at="/base/manifest.json")

    with pytest.raises(DatasetError, match="is no name of a file inside a data set"):
        fetched(tmp_path, remote_manifest=url)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"id": "one", "url": "one.json"}, "scenarios.0.sha256: Field required"),
        ({"id": "../one", "url": "one.json", "sha256": "0" * 64}, "scenarios.0.id"),
        ({"url": "one.json", "sha256": "0" * 64}, "scenarios.0.id: Field required"),
        ({"id": "one", "sha256": "0" * 64}, "scenarios.0.url: Field required"),
    ],
)
def test_an_entry_that_lacks_something_is_refused_by_place(
    web: Site, tmp_path: Path, entry: dict[str, str], told: str
) -> None:
    with pytest.raises(DatasetError, match=f"crypto manifest: {told}"):
        fetched(tmp_path, remote_manifest=web.manifest(entry))


def test_an_id_listed_twice_is_refused(web: Site, tmp_path: Path) -> None:
    one = web.entry("one", MARKET)

    with pytest.raises(DatasetError, match="lists one more than once"):
        fetched(tmp_path, remote_manifest=web.manifest(one, one))


def test_artifacts_are_kept_by_digest_and_a_damaged_copy_is_fetched_again(web: Site, tmp_path: Path) -> None:
    url = web.manifest(web.entry("one", MARKET))
    fetched(tmp_path, remote_manifest=url)
    (kept,) = (tmp_path / "cache" / "artifacts").iterdir()

    fetched(tmp_path, remote_manifest=url)
    assert [path for path, _ in web.asked] == ["/manifest.json", "/one.json"]

    kept.write_bytes(b"damaged")
    assert ids(fetched(tmp_path, remote_manifest=url)) == ["one"]
    assert [path for path, _ in web.asked] == ["/manifest.json", "/one.json", "/one.json"]


def test_a_manifest_is_asked_for_again_after_its_time(web: Site, tmp_path: Path) -> None:
    place = Place(reference=web.manifest(web.entry("one", MARKET)))
    now = [0.0]
    depot = Depot(folder=tmp_path, ttl_hours=24, clock=lambda: now[0])
    read_manifest(place, depot)
    (kept,) = (tmp_path / "manifests").iterdir()
    fetched_at = kept.stat().st_mtime

    now[0] = fetched_at + 24 * 3600 - 1
    read_manifest(place, depot)
    assert len(web.asked) == 1

    now[0] = fetched_at + 24 * 3600 + 1
    read_manifest(place, depot)
    assert len(web.asked) == 2


def test_the_token_goes_to_the_host_of_the_repository_alone(
    web: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "github_pat_" + "A" * 40
    monkeypatch.setenv("EVAL_DATA_PAT", token)
    with site() as private:
        monkeypatch.setenv("EVAL_DATA_REPO", f"{private.url}/repo")
        private.manifest(
            private.entry("one", MARKET, path="repo/crypto/eval_hidden/one.json") | {"url": "one.json"},
            at="/repo/crypto/eval_hidden/manifest.json",
        )

        assert ids(fetched(tmp_path)) == ["one"]
        fetched(tmp_path, remote_manifest=web.manifest(web.entry("two", MARKET)))

        assert {authorization for _, authorization in private.asked} == {f"Bearer {token}"}
        assert [path for path, _ in private.asked] == [
            "/repo/crypto/eval_hidden/manifest.json",
            "/repo/crypto/eval_hidden/one.json",
        ]
    assert {authorization for _, authorization in web.asked} == {None}


def test_a_repository_that_answers_404_names_the_token(
    web: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVAL_DATA_REPO", web.url)

    with pytest.raises(DatasetError, match="answered 404; a private EVAL_DATA_REPO needs a token in EVAL_DATA_PAT"):
        fetched(tmp_path)


def test_a_repository_by_another_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVAL_DATA_REPO", "somewhere over the rainbow")

    with pytest.raises(DatasetError, match="expected owner/name"):
        fetched(tmp_path)


def test_offline_nothing_is_asked_for(web: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_OFFLINE", "1")
    url = web.manifest(web.entry("one", MARKET))

    with pytest.raises(DatasetError, match="offline"):
        fetched(tmp_path, remote_manifest=url)

    assert web.asked == []


@pytest.mark.parametrize("answer", ["found", "missing", "unreachable"])
def test_a_signature_in_an_address_is_neither_recorded_nor_told(web: Site, tmp_path: Path, answer: str) -> None:
    signature = "signature=" + "c2VjcmV0" * 4
    url = web.manifest(web.entry("one", MARKET), at=f"/manifest.json?{signature}")
    told = ""
    if answer != "found":
        host = "http://user:pass@127.0.0.1:1" if answer == "unreachable" else web.url
        url = f"{host}/other.json?{signature}"
    try:
        told = str(fetched(tmp_path, remote_manifest=url).notes)
    except DatasetError as error:
        told = str(error)

    assert ".json" in told
    assert signature not in told
    assert "pass" not in told


def test_an_unreachable_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be reached"):
        fetched(tmp_path, remote_manifest="http://127.0.0.1:1/manifest.json")


def test_a_manifest_on_this_machine_names_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_bytes(MARKET)
    entry = {"id": "one", "url": "one.json", "sha256": hashlib.sha256(MARKET).hexdigest()}
    (tmp_path / "manifest.json").write_text(json.dumps({"scenarios": [entry]}))

    assert ids(fetched(tmp_path, remote_manifest="manifest.json")) == ["one"]


def test_a_manifest_on_this_machine_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_bytes(MARKET)
    folder = tmp_path / "data"
    folder.mkdir()
    entry = {"id": "one", "url": "../secret.json", "sha256": hashlib.sha256(MARKET).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"scenarios": [entry]}))

    with pytest.raises(DatasetError, match="is no name of a file inside a data set"):
        fetched(tmp_path, remote_manifest="data/manifest.json")
