"""Shards of one plan through real agents: merged, they are the unsharded run; a surplus shard is complete and empty."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from services.contract.results import AssessmentResult
from services.runner.cli import main
from tests.support.engine import running_engine
from tests.support.processes import BIN, service

SUITE = """
name: small
datasets:
  - {type: synthetic}
  - {type: options}
  - {type: crypto, on_missing: generate, max_steps: 4, generator: {count: 4, bars: 20}}
"""
SCENARIO = """
[green_agent]
endpoint = "%s"
[[participants]]
role = "purple_agent"
endpoint = "%s"
agentbeats_id = "019b0000-0000-7000-8000-000000000001"
[config]
num_tasks = 99
num_instances = "7"
num_trials = "2"
crypto_limit = "3"
model_id = "reference"
shard_index = "0"
num_shards = "1"
"""
OWN = {"transcript_id", "latency", "model_calls"}
"""Of a row: what is never the same twice."""
PARTS = ("part-0.json", "part-1.json", "part-2.json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the results of the whole plan, of its three shards, and of a shard more than another plan has tasks."""
    folder = tmp_path_factory.mktemp("shards")
    (folder / "suite.yaml").write_text(SUITE)
    with running_engine() as engine:
        model = {"LLM_PROVIDER": "openai", "LLM_MODEL": "reference", "OPENAI_API_KEY": "EMPTY"}
        purple = ("purple-agent", "serve")
        green = ("green-agent", "serve", "--eval-config", str(folder / "suite.yaml"))
        with service(purple, env=model | {"OPENAI_API_BASE": engine.url}) as examined, service(green) as examiner:
            scenario = SCENARIO % (examiner.url, examined.url)
            (folder / "scenario.toml").write_text(scenario)
            (folder / "small.toml").write_text(scenario.replace('"7"', '"2"'))
            run_side_by_side(
                folder,
                ("scenario.toml", "whole.json"),
                *(("scenario.toml", name, "--shard", f"{index}/3") for index, name in enumerate(PARTS)),
            )
            run_side_by_side(folder, ("small.toml", "surplus.json", "--shard", "2/3"))
    return folder


def run_side_by_side(folder: Path, *runs: tuple[str, ...]) -> None:
    """`assay run` with each of these arguments; green takes four requests at once."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [BIN / "assay", "run", *arguments],
                    cwd=folder,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for arguments in runs
        ]
        for process in started:
            _, said = process.communicate(timeout=120)
            assert process.returncode == 0, said


def merge(folder: Path, names: Sequence[str], to: str, *options: str) -> Any:
    """The merged document."""
    arguments = ["merge", *(str(folder / name) for name in names), "-o", str(folder / to), *options]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "! Reference engine, no language model." in done.output
    return read(folder, to)


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def same_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in OWN} for row in rows]


def test_shards_merged_are_the_unsharded_run_row_for_row(folder: Path) -> None:
    whole, merged = read(folder, "whole.json"), merge(folder, PARTS[::-1], "merged.json")

    assert (merged["status"], merged["participants"]) == (whole["status"], whole["participants"])
    (mine,), (theirs,) = merged["results"], whole["results"]
    assert len(theirs["results"]) == 14
    assert same_rows(mine["results"]) == same_rows(theirs["results"])
    numbers = set(AssessmentResult.model_fields) - {"results", "evaluation_metadata"}
    assert {name: mine[name] for name in numbers} == {name: theirs[name] for name in numbers}
    told, known = mine["evaluation_metadata"], theirs["evaluation_metadata"]
    own = {"run_id", "started_at", "duration_s", "provenance"}
    assert {name: told.get(name) for name in known.keys() - own} == {name: known[name] for name in known.keys() - own}
    assert [shard["shard_index"] for shard in told["shards"]] == [0, 1, 2]


def test_every_shard_has_whole_tasks_in_the_order_of_the_plan(folder: Path) -> None:
    order = [(row["task_id"], row["trial"]) for row in read(folder, "whole.json")["results"][0]["results"]]
    shards = [read(folder, name)["results"][0] for name in PARTS]

    for shard in shards:
        mine = [(row["task_id"], row["trial"]) for row in shard["results"]]
        assert mine == [key for key in order if key in mine]
        assert sorted(mine) == sorted((task, trial) for task in {task for task, _ in mine} for trial in (0, 1))
        options = shard["section_scores"]["options_trading"]
        names = {"pnl_accuracy", "greeks_accuracy", "strategy_quality", "risk_management"}
        assert options is None or set(options["sub_scores"]) == names
    assert sorted(len(shard["results"]) for shard in shards) == [4, 4, 6]
    assert len({shard["evaluation_metadata"]["plan_digest"] for shard in shards}) == 1


def test_a_lost_shard_leaves_its_trials_open_in_the_bounds(folder: Path) -> None:
    lost, whole = merge(folder, PARTS[:2], "lost.json", "--partial"), read(folder, "whole.json")

    (mine,), (theirs,) = lost["results"], whole["results"]
    assert mine["evaluation_metadata"]["complete"] is False
    assert mine["evaluation_metadata"]["shards_missing"] == [2]
    assert mine["overall_score"]["lower"] <= theirs["overall_score"]["score"] <= mine["overall_score"]["upper"]
    assert sum(section["planned"] for section in mine["sections"]) == 14
    assert sum(section["counted"] for section in mine["sections"]) == 10
    assert {s["section"]: s["planned"] for s in mine["sections"]} == {
        s["section"]: s["planned"] for s in theirs["sections"]
    }


def test_a_shard_more_than_there_are_tasks_is_complete_and_empty(folder: Path) -> None:
    document = read(folder, "surplus.json")

    (result,) = document["results"]
    assert (document["status"], result["results"], result["sections"]) == ("completed", [], [])
    assert result["evaluation_metadata"]["complete"] is True
    assert set(result["section_scores"].values()) == {None}
    assert result["overall_score"]["coverage"] == 1.0


def test_a_field_has_one_json_type_in_every_file(folder: Path) -> None:
    merged = [merge(folder, PARTS, "typed.json"), merge(folder, PARTS[1:], "partly.json", "--partial")]
    documents = [*(read(folder, name) for name in ("whole.json", *PARTS)), *merged]

    types = types_of(documents)

    assert {path: found for path, found in types.items() if len(found) > 1} == {}
    scores = [
        path for path in types if path.endswith(("score", "score_native", "score_sum", ".lower", ".upper", ".weight"))
    ]
    assert len(scores) > 12
    assert {kind for path in scores for kind in types[path]} <= {"dict", "float"}


def types_of(documents: list[Any]) -> dict[str, set[str]]:
    """JSON types of each field but null; the items of a list are one field."""
    found: dict[str, set[str]] = defaultdict(set)

    def look(value: Any, path: str) -> None:
        if value is not None:
            found[path].add(type(value).__name__)
        items = value.items() if isinstance(value, dict) else []
        for name, item in items:
            look(item, f"{path}.{name}")
        for item in value if isinstance(value, list) else []:
            look(item, f"{path}[]")

    for document in documents:
        look(document, "")
    return found
