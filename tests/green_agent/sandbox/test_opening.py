"""Which backend is chosen, what is refused, and the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from services.contract.execution import Program, SandboxError
from services.green_agent.sandbox import open_sandbox
from services.green_agent.sandbox.backends import BWRAP_WARM
from services.green_agent.sandbox.cli import main
from tests.green_agent.sandbox.conftest import lacking


@pytest.fixture
def no_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


async def test_auto_takes_the_warm_pool_where_it_works_and_keeps_the_proof() -> None:
    if reason := await lacking(BWRAP_WARM):
        pytest.skip(reason)

    sandbox = await open_sandbox()
    await sandbox.aclose()

    assert (sandbox.info.backend, sandbox.info.isolated) == ("bwrap-warm", True)
    assert list(sandbox.info.probes.values()) == [True] * 15


@pytest.mark.usefixtures("no_bubblewrap")
async def test_without_a_sandbox_the_error_names_each_reason_and_the_remedies() -> None:
    with pytest.raises(SandboxError) as caught:
        await open_sandbox()

    text = str(caught.value)
    assert "bwrap-warm: bwrap is not installed" in text
    assert "unsafe-subprocess: refused without --allow-unsafe-sandbox" in text
    assert "scripts/install" in text


@pytest.mark.usefixtures("no_bubblewrap")
async def test_the_unsafe_backend_is_taken_when_allowed_and_says_what_it_is() -> None:
    sandbox = await open_sandbox(allow_unsafe=True, workers=1)
    try:
        result = await sandbox.run(Program(source="print(1)"))
    finally:
        await sandbox.aclose()

    assert (result.stdout, result.backend) == ("1\n", "unsafe-subprocess")
    assert sandbox.info.isolated is False
    assert sandbox.info.probes["9 reading"] is False
    assert sandbox.info.facts["not bwrap-warm"] == "bwrap is not installed"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"backend": "chroot"}, "no sandbox backend 'chroot'; there are auto, bwrap-warm, bwrap-cold"),
        ({"backend": "unsafe-subprocess"}, "refused without --allow-unsafe-sandbox"),
        ({"backend": "container"}, "needs the URL of a sandbox service"),
        ({"url": "http://127.0.0.1:9"}, "cannot be reached"),
    ],
)
async def test_what_cannot_be_opened_says_why(options: dict[str, str], text: str) -> None:
    with pytest.raises(SandboxError, match=text):
        await open_sandbox(**options)  # type: ignore[arg-type]


def test_check_prints_backend_probes_and_facts_and_fails_when_nothing_isolates() -> None:
    told = CliRunner().invoke(main, ["check", "--backend", "unsafe-subprocess", "--allow-unsafe-sandbox"])

    assert told.exit_code == 1
    assert "backend   unsafe-subprocess (NOT isolated)\n" in told.output
    assert "  ok   1 equal to everything\n" in told.output
    assert "  FAIL 8 network\n" in told.output
    assert f"python           {sys.version.split()[0]}\n" in told.output


def test_check_without_any_backend_prints_the_remedy(no_bubblewrap: None) -> None:
    told = CliRunner().invoke(main, ["check"])

    assert (told.exit_code, "no sandbox on this machine" in told.output) == (1, True)


def test_the_command_line_starts_without_the_heavy_imports() -> None:
    program = "import sys; from services.green_agent.sandbox import cli; print('pydantic' in sys.modules)"

    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)

    assert told.stdout == "False\n"
