from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from services.inference.cli import main
from services.inference.reference_engine import LABEL
from tests.support.engine import INFERENCE, engine_process


def test_the_engine_answers_once_its_ready_file_is_there(tmp_path: Path) -> None:
    with engine_process(tmp_path, "--max-model-len", "77") as (_, url):
        models = httpx.get(f"{url}/models").json()

    assert models["data"][0]["max_model_len"] == 77
    assert [path.name for path in tmp_path.iterdir()] == ["engine.url"]


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_stops_it_with_its_exit_code_and_frees_the_port(tmp_path: Path, signum: int, code: int) -> None:
    with engine_process(tmp_path) as (child, url):
        child.send_signal(signum)
        child.wait(timeout=20)

        assert child.returncode == code
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/models")


def test_it_stops_while_a_request_hangs(tmp_path: Path) -> None:
    with engine_process(tmp_path, "--fault", "hang") as (child, url):
        body = {"messages": [{"role": "user", "content": "ping"}]}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/chat/completions", json=body, timeout=0.3)
        child.terminate()

        assert child.wait(timeout=20) == 0


def test_the_announcement_names_address_model_and_label(tmp_path: Path) -> None:
    ready = tmp_path / "url"
    command = [*INFERENCE, "up", "reference", "--port", "0", "--json", "--ready-file", str(ready)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        facts = json.loads(child.stdout.readline())
        child.terminate()

    assert facts == {"url": f"{ready.read_text(encoding='utf-8')}v1", "model": "reference", "label": LABEL}


def test_a_taken_port_is_a_failure_that_names_the_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        result = CliRunner().invoke(main, ["up", "reference", "--port", str(port)])

    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in result.output


@pytest.mark.parametrize(
    "options", [["--fault", "418"], ["--port", "70000"], ["--latency", "-1"], ["--max-model-len", "0"]]
)
def test_wrong_options_are_wrong_usage(options: list[str]) -> None:
    assert CliRunner().invoke(main, ["up", "reference", *options]).exit_code == 2


def test_help_names_every_fault() -> None:
    text = CliRunner().invoke(main, ["up", "reference", "--help"], terminal_width=200).output

    for kind in ("429", "refuse", "hang", "slow-stream", "truncated", "empty-content", "wrong-usage", "no-done"):
        assert kind in text
