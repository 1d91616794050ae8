"""`assay evaluate` as the guide uses it, with real servers, a real purple and a real green; and rollout files scored again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.runner.journal import FILE_NAME, Journal
from services.runner.rollouts.writing import write_rollouts
from tests.runner.support.processes import await_true
from tests.support.engine import engine_process
from tests.support.peer_files import MIRROR
from tests.support.processes import BIN, service
from tests.support.right_answers import canonical_solutions

needs_imobench = pytest.mark.skipif(
    not (MIRROR / "imobench" / "answerbench_v2.csv").exists(), reason="no imobench/ in the folder ASSAY_DATA_FROM"
)
ENV = {**os.environ, "ASSAY_DATA_FROM": str(MIRROR)}
DEAD = "http://127.0.0.1:9/v1"


def assay(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    line = [str(BIN / "assay"), *arguments]
    return subprocess.run(
        line, cwd=folder, env=ENV | variables, capture_output=True, text=True, check=False, timeout=120
    )


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    line = [str(BIN / "assay"), *arguments]
    with subprocess.Popen(
        line, cwd=folder, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ports_in_a_row(count: int) -> int:
    """The first of some free ports."""
    while True:
        sockets = [socket.socket() for _ in range(count)]
        try:
            sockets[0].bind(("127.0.0.1", 0))
            first = int(sockets[0].getsockname()[1])
            for number, one in enumerate(sockets[1:], 1):
                one.bind(("127.0.0.1", first + number))
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
        return first


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def finished_trials(folder: Path) -> int:
    if not (folder / FILE_NAME).exists():
        return 0
    with closing(Journal.open(folder, create=False)) as journal:
        return sum(run.final for run in journal.runs())


def launched(folder: Path, run: str) -> dict[str, Any]:
    """What the record of a run says about its servers."""
    with closing(Journal.open(folder, create=False)) as journal:
        return journal.run(run).provenance["launched"]  # type: ignore[return-value] # read as a test reads it


def metrics_of(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())["metrics"]  # type: ignore[no-any-return] # read as a test reads it


@needs_imobench
def test_the_guides_whole_flow_is_one_command(tmp_path: Path) -> None:
    port = ports_in_a_row(2)

    done = assay(
        tmp_path, "evaluate", "--model-path", "reference", "--num-services", "2", "--start-port", str(port), "--benchmarks",
        "imobench", "--num-tasks", "2", "--num-samples", "2", "--iterations", "1", "--cleanup", "--output-dir", "out", "--json",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(run["strategy"], run["labels"][0]) for run in told["runs"]] == [
        ("baseline", "Reference engine, no language model"),
        ("self_eval_sequential", "Reference engine, no language model"),
    ]
    assert not listens(port)
    assert not listens(port + 1)
    servers = launched(tmp_path / "out", told["runs"][0]["run"])["servers"]
    assert [(server["url"], server["command"][1:3]) for server in servers] == [
        (f"http://127.0.0.1:{number}/v1", ["up", "reference"]) for number in (port, port + 1)
    ]
    baseline, chain = (json.loads((tmp_path / run["rollouts"][0]).read_text()) for run in told["runs"])
    assert {path.parent.name for path in (tmp_path / "out").glob("*/*_imobench_*.json")} == {"imobench_rollouts"}
    assert (baseline["complete"], len(baseline["results"]), baseline["metrics"]["pass@k"]["2"]["value"]) == (
        True,
        4,
        0.0,
    )
    assert (len(chain["results"]), [len(one["all_solutions"]) for one in chain["results"]]) == (2, [2, 2])
    assert chain["metrics"]["oracle_best_of_trajectory"]["value"] == 0.0
    assert set(chain["tokens"]["by_role"]) >= {"generate", "verify", "decide"}
    assert baseline["config"]["x_evaluate"] == {
        "strategy": "baseline",
        "model": "reference",
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 20,
        "max_tokens": 32768,
        "iterations": None,
    }


@needs_imobench
def test_a_killed_evaluation_leaves_no_server_and_is_resumed_without_repeating_a_trial(tmp_path: Path) -> None:
    port = ports_in_a_row(1)
    line = ["evaluate", "--benchmarks", "imobench", "--strategies", "self_eval_sequential", "--num-tasks", "5"]
    line += ["--iterations", "1", "--concurrency", "1", "--no-doctor", "--output-dir", "out"]
    launching = ["--model-path", "reference", "--num-services", "1", "--start-port", str(port), "--cleanup"]
    with started(tmp_path, *line, *launching) as process:
        await_true(lambda: finished_trials(tmp_path / "out") >= 1, what="a finished trial")
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = finished_trials(tmp_path / "out")
    await_true(lambda: not listens(port), what="the server is gone")

    with engine_process(tmp_path) as (_, url):  # the model is served elsewhere by now
        elsewhere = ["--skip-launch", "--model-name", "reference", "--endpoints", url, "--concurrency", "4"]
        done = assay(tmp_path, *line, *elsewhere, "--resume", "--json")

    assert done.returncode == 0, done.stderr
    with closing(Journal.open(tmp_path / "out", create=False)) as journal:
        (run,) = journal.runs()
        assert (run.final, run.planned, journal.history(run.id)) == (5, 5, [])
    assert 1 <= kept < 5
    (path,) = (tmp_path / "out" / "imobench_rollouts").iterdir()
    assert json.loads(path.read_text())["complete"] is True


@needs_imobench
def test_an_interrupted_evaluation_says_so_and_leaves_no_server(tmp_path: Path) -> None:
    port = ports_in_a_row(1)
    line = ["evaluate", "--model-path", "reference", "--num-services", "1", "--start-port", str(port), "--cleanup"]
    line += ["--benchmarks", "imobench", "--num-tasks", "5", "--concurrency", "1", "--no-doctor", "--output-dir", "out"]
    with started(tmp_path, *line, "--strategies", "baseline,self_eval_sequential") as process:
        await_true(lambda: finished_trials(tmp_path / "out") >= 1, what="a finished trial")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)

    assert process.returncode == 130, said
    assert not listens(port)
    (path,) = (tmp_path / "out" / "imobench_rollouts").iterdir()
    assert json.loads(path.read_text())["complete"] is False


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--model-path", "qwen3-23b", "--benchmarks", "humaneval"], 2, "unknown model 'qwen3-23b'; nearest: qwen3-"),
        (
            ["--model-path", "reference", "--benchmarks", "options", "--num-tasks", "1", "--dry-run"],
            2,
            "code and mathematics",
        ),
    ],
)
def test_the_exit_code_says_what_is_wrong(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    done = assay(tmp_path, "evaluate", *arguments, "--output-dir", "out")

    assert said in done.stderr
    assert done.returncode == code
    assert not (tmp_path / "out" / FILE_NAME).exists()


@needs_imobench
def test_who_does_not_wait_for_a_server_that_is_not_there_ends_with_code_3(tmp_path: Path) -> None:
    line = ["--skip-launch", "--skip-wait", "--model-name", "m", "--endpoints", DEAD, "--benchmarks", "imobench"]

    done = assay(tmp_path, "evaluate", *line, "--strategies", "baseline", "--num-tasks", "1", "--output-dir", "out")

    assert "is not ready" in done.stderr
    assert done.returncode == 3
    assert not (tmp_path / "out" / FILE_NAME).exists()


@needs_imobench
def test_a_dry_run_shows_the_plans_and_starts_no_server(tmp_path: Path) -> None:
    port = ports_in_a_row(1)

    done = assay(
        tmp_path, "evaluate", "--model-path", "reference", "--num-services", "1", "--start-port", str(port), "--benchmarks",
        "imobench", "--num-samples", "5", "--num-tasks", "2", "--dry-run", "--json",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    plans = json.loads(done.stdout)["plans"]
    assert [(plan["strategy"], plan["tasks"], plan["trials"]) for plan in plans] == [
        ("baseline", 2, 10),
        ("self_eval_sequential", 2, 2),
    ]
    assert not listens(port)
    assert not (tmp_path / "logs").exists() or not list((tmp_path / "logs").glob("*servers*"))
    assert not (tmp_path / "results").exists()


def chain_of(*texts: str) -> list[dict[str, Any]]:
    return [{"iteration": number, "solution_content": text} for number, text in enumerate(texts)]


def test_a_file_made_elsewhere_is_scored_and_its_export_is_scored_to_equal_numbers(tmp_path: Path) -> None:
    right = solutions(4)
    wrong = "```python\ndef nothing():\n    return None\n```"
    first, second, third, fourth = right
    results = [
        {"problem_id": first, "all_solutions": chain_of(wrong, right[first])},
        {"problem_id": second, "all_solutions": chain_of(right[second], wrong)},
        {"problem_id": third, "all_solutions": chain_of(wrong, wrong)},
        {"problem_id": fourth, "final_solution": {"content": right[fourth]}},
    ]
    old = tmp_path / "humaneval_rollouts" / "self_eval.json"
    old.parent.mkdir()
    old.write_text(json.dumps({"strategy": "self_eval_sequential", "results": results}))

    with service(["assay", "sandbox", "serve"]) as sandbox:  # one for both, so that it is proved once
        done = assay(tmp_path, "rescore", str(old), "--json", ASSAY_SANDBOX_URL=sandbox.url)
        assert done.returncode == 0, done.stderr
        assert assay(tmp_path, "export", "latest", "--rollouts").returncode == 0
        (path,) = (tmp_path / "results" / "humaneval_rollouts").iterdir()
        again = assay(tmp_path, "rescore", str(path), "--results-dir", "again", "--json", ASSAY_SANDBOX_URL=sandbox.url)

    metrics = metrics_of(path)
    assert metrics["pass@1"]["value"] == 0.5
    assert metrics["oracle_best_of_trajectory"]["value"] == pytest.approx(2 / 3)
    assert [step["accuracy"] for step in metrics["accuracy_by_iteration"]] == [pytest.approx(1 / 3)] * 2
    tokens = json.loads(path.read_text())["tokens"]
    assert (tokens["input"], tokens["output"], tokens["by_role"]) == (None, None, {})

    assert again.returncode == 0, again.stderr
    (copy,) = write_rollouts(tmp_path / "again", json.loads(again.stdout)["run"])
    assert metrics_of(copy) == metrics


@needs_imobench
def test_a_problem_that_nobody_knows_is_named(tmp_path: Path) -> None:
    old = tmp_path / "imobench_rollouts" / "baseline.json"
    old.parent.mkdir()
    old.write_text(json.dumps({"results": [{"problem_id": "imo-bench-algebra-999", "final_solution": "x"}]}))

    done = assay(tmp_path, "rescore", str(old))

    assert done.returncode == 2
    assert "'imo-bench-algebra-999'" in done.stderr


def solutions(count: int) -> dict[str, str]:
    """Right replies to the first tasks, by task id."""
    found = list(canonical_solutions())[:count]
    return {f"HumanEval/{number}": reply for number, (_, reply) in enumerate(found)}
