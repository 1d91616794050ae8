"""Files attached to GitHub releases: fetched by tag, held as they came first, and refused when they are others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.green_agent.data import origins
from services.green_agent.data.copies import check, pull
from services.green_agent.data.dataset import Dataset, dataset
from services.green_agent.data.errors import DataError
from services.green_agent.data.registry import ReleaseOrigin
from services.green_agent.data.store import Instead, Store
from tests.support.hub import Hub, serving_hub

REPO = "owner/name_release"
FILE = "Rows.jsonl.gz"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    for name in ("ASSAY_OFFLINE", "HF_HUB_OFFLINE", "ASSAY_DATA_FROM"):
        monkeypatch.delenv(name, raising=False)
    with serving_hub() as hub:
        yield hub


def released(hub: Hub, *, digest: str | None = None) -> Dataset:
    """A data set of the registry whose release is on the hub of the test."""
    wanted = dataset("mbpp_plus")
    origin = ReleaseOrigin(kind="release", repo=REPO, revision="v0.2.0", base=hub.url)
    sha256 = {} if digest is None else {FILE: digest}
    entry = wanted.entry.model_copy(update={"origin": origin, "members": (FILE,), "sha256": sha256})
    return Dataset(name="mbpp_plus", entry=entry, revision="v0.2.0", published=True)


def publish(hub: Hub, content: bytes, *, tag: str = "v0.2.0") -> None:
    hub.publish(REPO, "releases", {f"download/{tag}/{FILE}": content})


def test_a_file_of_a_release_comes_from_its_tag_once(hub: Hub) -> None:
    publish(hub, b"rows")

    first, second = (released(hub).file(FILE, None) for _ in range(2))

    assert first.path.read_bytes() == b"rows"
    assert first.origin == f"release {REPO}@v0.2.0 {FILE}"
    assert second == first
    assert hub.requests == [f"/{REPO}/releases/download/v0.2.0/{FILE}"]


def test_a_release_that_moves_its_file_elsewhere_is_followed(hub: Hub, tmp_path: Path) -> None:
    hub.publish(REPO, "elsewhere", {FILE: b"rows"})
    hub.moved[f"/{REPO}/releases/download/v0.2.0/{FILE}"] = f"/{REPO}/elsewhere/{FILE}"
    origin = ReleaseOrigin(kind="release", repo=REPO, revision="v0.2.0", base=hub.url)

    assert origins.release_file(origin, FILE, folder=tmp_path).read_bytes() == b"rows"


def test_what_came_first_is_held_when_the_release_is_changed(hub: Hub) -> None:
    publish(hub, b"old")
    released(hub).file(FILE, None)

    publish(hub, b"new")

    assert released(hub).file(FILE, None).path.read_bytes() == b"old"


def test_a_file_with_another_digest_than_the_registry_names_is_refused_and_not_kept(hub: Hub) -> None:
    publish(hub, b"other")

    with pytest.raises(DataError, match=r"^MBPP\+: mbpp_plus: sha256 of Rows\.jsonl\.gz is d9298a10"):
        released(hub, digest="0" * 64).file(FILE, None)
    assert released(hub).here(FILE, None) is None


def test_a_file_that_the_release_does_not_have_is_named_with_the_remedy(hub: Hub) -> None:
    with pytest.raises(DataError, match=r"/v0\.2\.0/Rows\.jsonl\.gz answered 404; `assay data pull mbpp_plus`"):
        released(hub).file(FILE, None)


def test_offline_nothing_is_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_OFFLINE", "1")

    with pytest.raises(DataError, match="downloads are off; `assay data pull mbpp_plus`"):
        released(hub).file(FILE, None)
    assert hub.requests == []


def test_a_folder_takes_the_place_of_the_release(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "from" / "humaneval_plus").mkdir(parents=True)
    (tmp_path / "from" / "humaneval_plus" / "HumanEvalPlus.jsonl.gz").write_bytes(b"rows")

    pulled = pull("humaneval_plus", folder=tmp_path / "from", revision=None, update=False)
    located = Store(folders=(), mirror=None).member("humaneval_plus", "HumanEvalPlus.jsonl.gz")

    assert (pulled.files, pulled.fetched, pulled.revision[:6]) == (1, 1, "local-")
    assert located.path.read_bytes() == b"rows"
    assert [(one.files, one.faults) for one in check("humaneval_plus", None)] == [(1, ())]
    assert hub.requests == []


def test_a_damaged_copy_of_a_release_is_found(hub: Hub) -> None:
    publish(hub, b"rows")
    wanted = released(hub)
    wanted.file(FILE, None).path.write_bytes(b"rotten")

    with pytest.raises(DataError, match=r"Rows\.jsonl\.gz in the cache is damaged"):
        wanted.file(FILE, None)
    (found,) = check("mbpp_plus", None)
    assert found.where == "cache v0.2.0"
    assert len(found.faults) == 1


@pytest.mark.parametrize("tag", ["", "..", "../v1", "v1/../..", ".assay", "-v1", "v1 0", "v" * 101])
def test_a_tag_that_is_no_name_of_a_folder_is_refused(tag: str) -> None:
    with pytest.raises(ValidationError):
        ReleaseOrigin(kind="release", repo=REPO, revision=tag)


def test_another_tag_may_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    monkeypatch.setenv("ASSAY_OFFLINE", "1")

    other = dataset("mbpp_plus", Instead(revision="v0.1.0"))

    assert (other.revision, other.published) == ("v0.1.0", False)
    with pytest.raises(DataError, match=r"revision '\.\.': expected the tag of a release"):
        dataset("mbpp_plus", Instead(revision=".."))
