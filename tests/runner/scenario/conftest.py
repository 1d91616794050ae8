import pytest


@pytest.fixture(autouse=True)
def _no_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own tests may run in a workflow of GitHub, where images in files need leave."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
