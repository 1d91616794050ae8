"""Hidden seeds come from a file outside the repository, and no message tells one."""

from pathlib import Path

import pytest

from services.green_agent.data.errors import DataError
from services.green_agent.data.hidden_seeds import hidden_seed

SEED = 5_551_234


def named_file(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    file = folder / "seeds.yaml"
    file.write_text(text)
    monkeypatch.setenv("ASSAY_HIDDEN_SEEDS", str(file))


def test_a_seed_is_found_by_its_name_in_the_named_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named_file(monkeypatch, tmp_path, f"spring: 1\nautumn: {SEED}\n")

    assert hidden_seed("autumn") == SEED


def test_without_a_named_file_the_home_folder_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_HIDDEN_SEEDS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".assay").mkdir()
    (tmp_path / ".assay" / "hidden_seeds.yaml").write_text(f"autumn: {SEED}\n")

    assert hidden_seed("autumn") == SEED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"autumn: {SEED}\n", "no hidden seed is called 'winter'"),
        (f"winter: '{SEED}'\n", "must map names to integers"),
        ("winter: true\n", "must map names to integers"),
        (f"- {SEED}\n", "must map names to integers"),
        (f"winter: [{SEED}\n", "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_said_without_telling_a_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    named_file(monkeypatch, tmp_path, text)

    with pytest.raises(DataError, match=message) as caught:
        hidden_seed("winter")
    assert str(SEED) not in str(caught.value)


def test_a_file_that_is_absent_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_HIDDEN_SEEDS", str(tmp_path / "absent.yaml"))

    with pytest.raises(DataError, match="cannot be read"):
        hidden_seed("autumn")
