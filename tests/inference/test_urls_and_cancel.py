"""`health`, `urls`, `export` and `cancel` on real servers, most of them as real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from services.inference.servers.registry import Registry
from tests.inference.listed import a_free_port, facts, inference, process, service, started
from tests.support.engine import INFERENCE, running_engine


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """An empty registry at the default place of the commands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASSAY_REGISTRY", raising=False)
    return Registry(tmp_path / "services.txt")


# health


def test_health_is_good_only_when_every_server_is_well(registry: Registry) -> None:
    with running_engine() as well, running_engine("500") as ill:
        both = process("health", "--urls", f"{well.url},{ill.root}", "--json")
        one = inference("health", "--urls", well.url)
        registry.put(service(well.url))
        listed = inference("health")

    found = json.loads(both.stdout)
    assert both.returncode == 4
    assert found["healthy"] is False
    assert [server["condition"] for server in found["servers"]] == ["ready", "not_generating"]
    assert [server["max_model_len"] for server in found["servers"]] == [32768, None]
    assert (one.exit_code, listed.exit_code) == (0, 0)


def test_a_server_that_ended_by_itself_is_not_well_until_somebody_has_been_told(
    registry: Registry, tmp_path: Path
) -> None:
    with running_engine() as well:
        with started(tmp_path) as lost:
            registry.put(lost.line, facts(lost.line.job_id))
            registry.put(service(well.url))
        told = inference("health", "--json")
        again = inference("health")

    assert told.exit_code == 4
    assert json.loads(told.stdout)["lost"] == [lost.line.job_id]
    assert again.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["health", "--urls", ""], 2, "names no URL"),
        (["health", "--urls", "ftp://x"], 2, "expected http://host"),
        (["health"], 4, "no living server"),
        (["urls"], 4, "services.txt does not exist: start servers with `inference up`"),
        (["export"], 4, "services.txt does not exist"),
        (["cancel"], 2, "name the servers to end, or pass --all"),
        (["cancel", "1", "--all"], 2, "name the servers to end, or pass --all"),
        (["cancel", "1"], 2, "services.txt does not list 1; it lists nothing"),
        (["cancel", "--all"], 0, "nothing of services.txt had to be ended"),
    ],
)
def test_what_is_missing_is_named(registry: Registry, arguments: list[str], code: int, words: str) -> None:
    result = inference(*arguments)

    assert result.exit_code == code
    assert words in result.output


# urls and export


def test_urls_are_of_the_living_and_with_healthy_of_the_ready(registry: Registry) -> None:
    with running_engine() as well, running_engine("500") as ill:
        for number, url in enumerate((well.url, ill.url)):
            registry.put(service(url, f"theirs-{number}"))
        registry.put(service("http://127.0.0.1:1/v1", "local-1-1"))
        registry.put(service("http://127.0.0.1:2/v1", "theirs-9", status="starting"))

        every = process("urls", "--sep", ",")
        ready = process("urls", "--healthy")

    assert every.stdout == f"{well.url},{ill.url}\n"
    assert ready.stdout == f"{well.url}\n"
    assert "left out: theirs-1" in ready.stderr


def test_a_stale_registry_is_an_error_not_an_empty_list(registry: Registry) -> None:
    registry.put(service(f"http://127.0.0.1:{a_free_port()}/v1"))

    result = inference("urls", "--healthy")

    assert result.exit_code == 4
    assert "services.txt is stale, no server of it answers as it should: theirs-1: running: port" in result.output


NASTY = """/models/it's a "model" $HOME `id` \\ é"""


def _sourced(text: str, *, key: str | None) -> dict[str, str]:
    env = {"PATH": os.environ["PATH"]} | ({"OPENAI_API_KEY": key} if key is not None else {})
    code = "import json, os, sys; json.dump(dict(os.environ), sys.stdout)"
    script = f'set -eu; eval "$1"; exec {sys.executable} -c "$2"'
    done = subprocess.run(["bash", "-c", script, "bash", text, code], env=env, capture_output=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("key", "after"), [(None, "none"), ("", "none"), ("a-real-key", "a-real-key")])
def test_bash_reads_back_what_was_exported(registry: Registry, key: str | None, after: str) -> None:
    with running_engine() as one, running_engine() as two:
        for number, url in enumerate((one.url, two.url)):
            registry.put(service(url, f"theirs-{number}"))
        os.environ["OPENAI_API_KEY"] = "of-the-caller"
        try:
            text = inference("export").output
        finally:
            del os.environ["OPENAI_API_KEY"]

    found = _sourced(text, key=key)

    assert "of-the-caller" not in text
    assert found["OPENAI_API_BASE"] == found["SGLANG_API_BASES"] == f"{one.url},{two.url}"
    assert (found["OPENAI_BASE_URL"], found["LLM_MODEL"]) == (one.url, "reference")
    assert found["OPENAI_API_KEY"] == after


def test_a_model_path_with_spaces_and_quotes_survives_the_shell(registry: Registry, tmp_path: Path) -> None:
    server = _NAMED.format(name=json.dumps(NASTY))
    with subprocess.Popen([sys.executable, "-c", server], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        port = child.stdout.readline().strip()
        registry.put(service(f"http://127.0.0.1:{port}/v1", model=NASTY))
        done = process("export", "-o", "env_vars.sh")
        child.kill()

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert _sourced((tmp_path / "env_vars.sh").read_text(), key=None)["LLM_MODEL"] == NASTY


_NAMED = """
import http.server, json
NAME = {name}
class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({{"data": [{{"id": NAME}}]}})
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer({{"choices": [{{"finish_reason": "length"}}]}})
    def guard(self):
        if self.headers["authorization"] != "Bearer sec" + "ret-of-the-server" and self.path != "/health":
            self.send_error(401)
            raise ConnectionError
    def answer(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
server = http.server.HTTPServer(("127.0.0.1", 0), Server)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def test_single_puts_one_url_everywhere(registry: Registry) -> None:
    with running_engine() as one, running_engine() as two:
        for number, url in enumerate((one.url, two.url)):
            registry.put(service(url, f"theirs-{number}"))
        found = json.loads(inference("export", "--single", "--json").output)

    assert found == dict.fromkeys(("OPENAI_API_BASE", "SGLANG_API_BASES", "OPENAI_BASE_URL"), one.url) | {
        "LLM_MODEL": "reference"
    }


def test_a_router_is_the_one_url_and_the_lists_name_the_replicas(registry: Registry) -> None:
    with running_engine() as replica, running_engine() as router:
        registry.put(service(replica.url, "compose-p-vllm-0"), facts("compose-p-vllm-0"))
        registry.put(service(router.url, "theirs-r"), facts("theirs-r").model_copy(update={"router": True}))
        lines = [replace(line, hostname="elsewhere") for line in registry.lines()]
        for line in lines:
            registry.put(line)
        found = json.loads(inference("export", "--json").output)

    assert (found["OPENAI_BASE_URL"], found["OPENAI_API_BASE"]) == (router.url, replica.url)


def test_a_server_with_a_key_is_asked_with_it_and_the_key_is_never_printed(registry: Registry, tmp_path: Path) -> None:
    key_file = tmp_path / "the key"
    key_file.write_text("sec" + "ret-of-the-server\n")
    server = _NAMED.format(name='"m"').replace("def do_GET(self):", "def do_GET(self):\n        self.guard()")
    with subprocess.Popen([sys.executable, "-c", server], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        url = f"http://127.0.0.1:{child.stdout.readline().strip()}/v1"
        registry.put(service(url, "local-1-1", model="m"), facts("local-1-1", served_name="m"))
        registry.put(replace(registry.lines()[0], hostname="elsewhere"))
        without = inference("export")
        registry.note(facts("local-1-1", served_name="m").model_copy(update={"key_file": str(key_file)}))
        done = inference("export")
        child.kill()

    assert without.exit_code == 4
    assert "it wants a key" in without.output
    assert done.exit_code == 0
    assert f"""export OPENAI_API_KEY="$(cat '{key_file}')\"""" in done.output
    assert "of-the-server" not in done.output


# cancel


def test_cancel_ends_a_server_and_leaves_those_of_others(registry: Registry, tmp_path: Path) -> None:
    with started(tmp_path) as server, running_engine() as other:
        registry.put(server.line, facts(server.line.job_id))
        registry.put(service(other.url, "theirs-1"))

        done = process("cancel", "--all", "--force", "--json")

        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"ended": [server.line.job_id], "left": []}
        assert server.process.wait(timeout=20) == 0
    assert "left alone" in done.stderr
    assert [line.status for line in registry.lines()] == ["stopped", "running"]


def test_cancel_without_anybody_to_ask_is_wrong_usage_and_ends_nothing(registry: Registry, tmp_path: Path) -> None:
    with started(tmp_path) as server:
        registry.put(server.line)
        done = process("cancel", server.line.job_id)

        assert server.process.poll() is None
    assert done.returncode == 2
    assert "pass --force" in done.stderr
    assert server.line.job_id in done.stderr


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0)])
def test_cancel_asks_on_a_terminal(registry: Registry, tmp_path: Path, answer: str, code: int) -> None:
    with started(tmp_path) as server:
        registry.put(server.line)
        control, terminal = os.openpty()
        command = [*INFERENCE, "cancel", server.line.job_id]
        with subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asking:
            os.close(terminal)
            os.write(control, answer.encode())
            _, said = asking.communicate(timeout=60)
        os.close(control)

        assert asking.returncode == code, said
        assert b"End these?" in said
        assert (server.process.poll() is None) == (code == 1)


def test_a_server_of_others_is_never_ended(registry: Registry) -> None:
    registry.put(service("http://127.0.0.1:1/v1", "theirs-1"))

    result = inference("cancel", "theirs-1", "--force")

    assert result.exit_code == 2
    assert "never stopped from here" in result.output


def test_cancelling_what_has_ended_already_is_no_fault(registry: Registry) -> None:
    registry.put(service("http://127.0.0.1:1/v1", "local-1-1"))

    result = inference("cancel", "local-1-1", "--force")

    assert (result.exit_code, result.output) == (0, "nothing of services.txt had to be ended\n")
