import asyncio
import os
import sys
from pathlib import Path

from services.contract.env_file import SETTLED
from services.runner.participants import StartOptions
from services.runner.participants.logs import AgentLog
from services.runner.participants.process import agent_environment, start_process
from services.runner.scenario import AgentSpec

BIN = str(Path(sys.executable).parent)


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
