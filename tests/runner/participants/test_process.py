import asyncio
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services.contract.env_file import SETTLED
from services.contract.secrets import register_secret
from services.runner.failures import AgentStartError
from services.runner.participants import StartOptions, start_agents
from services.runner.participants.logs import AgentLog
from services.runner.participants.process import agent_environment, lost_its_port, start_process
from services.runner.scenario import AgentSpec, Scenario

BIN = str(Path(sys.executable).parent)
CARD_OF_NAMES = """
import http.server, json, os, sys
class Agent(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        names = " ".join(name for name, value in os.environ.items() if value)
        self.wfile.write(json.dumps({"name": "names", "description": names}).encode())
    def log_message(self, *_):
        pass
print("agent starts", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Agent).serve_forever()
"""


def spec(**values: object) -> AgentSpec:
    return AgentSpec.model_validate({"role": "purple", "endpoint": "http://127.0.0.1:1/", "cmd": "x", **values})


def test_an_agent_without_a_table_inherits_everything_with_our_programs_first() -> None:
    found = agent_environment(spec(), {"PATH": "/bin", "ANY": "1"}, {})

    assert found == {"PATH": f"{BIN}{os.pathsep}/bin", "ANY": "1", "PYTHONUNBUFFERED": "1"}


def test_a_table_replaces_what_is_inherited_and_beats_what_the_runner_adds() -> None:
    found = agent_environment(
        spec(env={"OPENAI_BASE_URL": "${HERE}"}),
        {"PATH": "/bin", "ANY": "1", "LC_ALL": "C", "HERE": "http://mine/"},
        {"OPENAI_BASE_URL": "http://theirs/", "OPENAI_API_BASE": "http://theirs/"},
    )

    assert found == {
        "PATH": f"{BIN}{os.pathsep}/bin",
        "LC_ALL": "C",
        "PYTHONUNBUFFERED": "1",
        SETTLED: "1",
        "OPENAI_BASE_URL": "http://mine/",
        "OPENAI_API_BASE": "http://theirs/",
    }


def test_inherit_env_overrides_both_ways() -> None:
    ours = {"PATH": "/bin", "ANY": "1", "ONE": "2"}

    assert "ANY" in agent_environment(spec(env={}, inherit_env=True), ours, {})
    assert "ANY" not in agent_environment(spec(inherit_env=False), ours, {})
    assert {"ONE"} == set(agent_environment(spec(inherit_env=["ONE"]), ours, {})) - {
        "PATH",
        "PYTHONUNBUFFERED",
        SETTLED,
    }


async def test_what_an_agent_writes_is_kept_whole_and_its_end_in_memory(tmp_path: Path) -> None:
    code = "import sys\nfor n in range(50): print('line', n)\nprint('last', end='', file=sys.stderr)"
    (tmp_path / "a.py").write_text(code)
    heard: list[tuple[str, str]] = []
    options = StartOptions(
        run_id="r",
        log_folder=tmp_path / "logs",
        state_folder=tmp_path,
        variables=dict(os.environ),
        echo=lambda role, line: heard.append((role, line)),
    )

    agent = await start_process(spec(cmd=f"{sys.executable} {tmp_path}/a.py"), options, {})
    how = await agent.gone()
    await agent.stop()

    assert how == "ended with exit code 0"
    assert (tmp_path / "logs" / "purple.log").read_text().splitlines() == [f"line {n}" for n in range(50)] + ["last"]
    assert agent.tail().splitlines() == [f"line {n}" for n in range(11, 50)] + ["last"]
    assert heard[-1] == ("purple", "last")


async def test_a_log_that_cannot_be_written_does_not_stop_the_agent(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    log = AgentLog("purple", tmp_path / "logs" / "purple.log")
    stream = asyncio.StreamReader()
    stream.feed_data(b"one\r\ntwo\xff\n\nthree")
    stream.feed_eof()

    await log.pump(stream)

    assert log.tail() == "one\ntwo\ufffd\n\nthree"


def test_a_log_that_nobody_reads_any_more_is_still_kept(tmp_path: Path) -> None:
    def closed(_role: str, _line: str) -> None:
        raise BrokenPipeError

    log = AgentLog("purple", tmp_path / "purple.log", closed)
    log.feed(b"one\ntwo\n")

    assert log.tail() == "one\ntwo"
    assert (tmp_path / "purple.log").read_text() == "one\ntwo\n"


def test_a_log_without_end_is_kept_up_to_its_bound_and_its_end_is_still_known(tmp_path: Path) -> None:
    log = AgentLog("purple", tmp_path / "purple.log", largest=30)

    for number in range(100):
        log.feed(f"line {number:04}\n".encode())

    kept = (tmp_path / "purple.log").read_text().splitlines()
    assert kept == ["line 0000", "line 0001", "line 0002", "[the log is full: the rest is not kept]"]
    assert log.tail().splitlines() == [f"line {number:04}" for number in range(60, 100)]


def test_the_end_of_a_log_shows_no_secret_and_no_endless_line(tmp_path: Path) -> None:
    register_secret("planted-in-a-log")
    log = AgentLog("purple", tmp_path / "purple.log")

    log.feed(b"planted-in-a-log\n" + b"x" * 500_000 + b"\n")

    assert log.tail() == "[redacted]\n" + "x" * 2_000
    assert "planted" not in (tmp_path / "purple.log").read_text()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("{me} --on 127.0.0.1:{{port}}", ["--on", "127.0.0.1:{port}"]),
        ("{me}", ["--host", "127.0.0.1", "--port", "{port}"]),
    ],
)
async def test_a_command_is_told_a_free_port_in_its_place_or_by_flags(
    tmp_path: Path, command: str, expected: list[str]
) -> None:
    (tmp_path / "a.py").write_text("import sys\nprint(*sys.argv[1:])")
    told = spec(cmd=command.format(me=f"{sys.executable} {tmp_path}/a.py"), endpoint=None, free_port="told")
    options = StartOptions(run_id="r", log_folder=tmp_path, state_folder=tmp_path, variables=dict(os.environ))

    agent = await start_process(told, options, {})
    await agent.gone()
    await agent.stop()

    port = str(urlsplit(agent.url).port)
    assert agent.url == f"http://127.0.0.1:{port}/"
    assert agent.tail().split() == [word.format(port=port) for word in expected]
    assert not lost_its_port(agent)


async def test_agents_with_a_table_see_their_own_variables_only_and_nobody_inherits_greens_token(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.py").write_text(CARD_OF_NAMES)
    agents = [
        {"role": role, "cmd": f"{sys.executable} {tmp_path}/a.py {{port}}", "free_port": "told", "env": {own: "1"}}
        for role, own in (("one", "KEY_OF_ONE"), ("other", "KEY_OF_OTHER"))
    ]
    agents.append({"role": "third", "cmd": agents[0]["cmd"], "free_port": "told"})
    green = {"role": "green", "cmd": agents[0]["cmd"], "free_port": "told", "env": {}, "token_env": "KEY_OF_GREEN"}
    scenario = Scenario.model_validate({"name": "s", "green": green, "participants": agents})
    variables = {**os.environ, "KEY_OF_OURS": "1", "KEY_OF_GREEN": "1"}
    options = StartOptions(run_id="r", log_folder=tmp_path / "logs", state_folder=tmp_path, variables=variables)

    async with start_agents(scenario, options) as running:
        seen = {role: card.description.split() for role, card in running.cards.items()}

    keys = {role: [name for name in names if name.startswith("KEY_OF_")] for role, names in seen.items()}
    assert keys == {
        "one": ["KEY_OF_ONE"],
        "other": ["KEY_OF_OTHER"],
        "third": ["KEY_OF_OURS"],
        "green": ["KEY_OF_GREEN"],
    }
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {f"{role}.log" for role in seen}


def with_agent(folder: Path, code: str) -> tuple[Scenario, StartOptions]:
    """A scenario of one command and a green, and how to start them."""
    (folder / "a.py").write_text(CARD_OF_NAMES)
    (folder / "odd.py").write_text(code)
    agents = [
        {"role": role, "cmd": f"{sys.executable} {folder}/{file}.py {{port}}", "free_port": "told"}
        for role, file in (("odd", "odd"), ("green", "a"))
    ]
    scenario = Scenario.model_validate({"name": "s", "green": agents[1], "participants": agents[:1]})
    variables = {**os.environ, "HERE": str(folder)}
    return scenario, StartOptions(
        run_id="r", log_folder=folder / "logs", state_folder=folder, variables=variables, start_timeout_s=30
    )


async def test_a_command_that_loses_its_port_to_another_is_started_on_the_next(tmp_path: Path) -> None:
    loses = (
        "import os, runpy, socket, sys\nfrom pathlib import Path\n"
        "ports, mine = Path(os.environ['HERE'], 'ports'), sys.argv[1]\nfirst = not ports.exists()\n"
        "ports.open('a').write(mine + ' ')\n"
        "if first:\n    other = socket.create_server(('127.0.0.1', int(mine)))\n"
        "    socket.create_server(('127.0.0.1', int(mine)))\n"
        "runpy.run_path(os.environ['HERE'] + '/a.py')\n"
    )
    scenario, options = with_agent(tmp_path, loses)

    async with start_agents(scenario, options) as agents:
        urls = dict(agents.participant_urls)

    one, other = (tmp_path / "ports").read_text().split()
    assert one != other
    assert urls == {"odd": f"http://127.0.0.1:{other}/"}


async def test_a_command_that_never_gets_a_port_is_given_up(tmp_path: Path) -> None:
    scenario, options = with_agent(tmp_path, "import sys\nprint('[Errno 98] Address already in use')\nsys.exit(1)\n")

    with pytest.raises(AgentStartError, match="agent odd ended with exit code 1 before it answered"):
        async with start_agents(scenario, options):
            pass

    assert (tmp_path / "logs" / "odd.log").read_text().count("Address already in use") == 3
