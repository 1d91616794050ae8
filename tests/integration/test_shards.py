"""Shards of one plan through real agents: merged, they are the unsharded run; a surplus shard is complete and empty."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.contract.results import AssessmentResult
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
num_instances = "10"
num_trials = "2"
crypto_limit = "3"
model_id = "reference"
shard_index = "0"
num_shards = "1"
"""
OWN = {"transcript_id", "latency", "model_calls"}
"""Of a row: what is never the same twice."""


@dataclass(frozen=True)
class Field:
    """Agents that are running, and a folder in which they are examined."""

    folder: Path

    def assay(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "assay", *arguments], cwd=self.folder, capture_output=True, text=True, check=False, timeout=120
        )

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.assay("run", "scenario.toml", name, *arguments)

    def document(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    folder = tmp_path_factory.mktemp("shards")
    (folder / "suite.yaml").write_text(SUITE)
    with running_engine() as engine:
        model = {"LLM_PROVIDER": "openai", "LLM_MODEL": "reference", "OPENAI_API_KEY": "EMPTY"}
        purple = ("purple-agent", "serve")
        green = ("green-agent", "serve", "--eval-config", str(folder / "suite.yaml"))
        with service(purple, env=model | {"OPENAI_API_BASE": engine.url}) as examined, service(green) as examiner:
            (folder / "scenario.toml").write_text(SCENARIO % (examiner.url, examined.url))
            yield Field(folder)


@pytest.fixture(scope="module")
def whole(field: Field) -> Any:
    done = field.run("whole.json")
    assert done.returncode == 0, done.stderr
    return field.document("whole.json")


@pytest.fixture(scope="module")
def parts(field: Field) -> list[str]:
    names = [f"part-{index}.json" for index in range(4)]
    for index, name in enumerate(names):
        done = field.run(name, "--shard", f"{index}/4")
        assert done.returncode == 0, done.stderr
    return names


def same_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in OWN} for row in rows]


def test_four_shards_merged_are_the_unsharded_run_row_for_row(field: Field, whole: Any, parts: list[str]) -> None:
    done = field.assay("merge", *reversed(parts), "-o", "merged.json", "--json")

    assert done.returncode == 0, done.stderr
    merged = field.document("merged.json")
    assert (merged["status"], merged["participants"]) == (whole["status"], whole["participants"])
    (mine,), (theirs,) = merged["results"], whole["results"]
    assert len(theirs["results"]) == 20
    assert same_rows(mine["results"]) == same_rows(theirs["results"])
    numbers = set(AssessmentResult.model_fields) - {"results", "evaluation_metadata"}
    assert {name: mine[name] for name in numbers} == {name: theirs[name] for name in numbers}
    facts = ("complete", "plan", "plan_digest", "num_shards", "shard_index", "outcomes", "effective_config", "model_id")
    assert all(mine["evaluation_metadata"][name] == theirs["evaluation_metadata"][name] for name in facts)
    assert mine["evaluation_metadata"]["models"] == theirs["evaluation_metadata"]["models"]
    assert [shard["shard_index"] for shard in mine["evaluation_metadata"]["shards"]] == [0, 1, 2, 3]
    assert "Reference engine, no language model" in json.loads(done.stdout)["labels"]


def test_every_shard_has_whole_tasks_in_the_order_of_the_plan(field: Field, whole: Any, parts: list[str]) -> None:
    order = [(row["task_id"], row["trial"]) for row in whole["results"][0]["results"]]
    shards = [field.document(name)["results"][0] for name in parts]

    for shard in shards:
        mine = [(row["task_id"], row["trial"]) for row in shard["results"]]
        assert mine == [key for key in order if key in mine]
        assert sorted(mine) == sorted((task, trial) for task in {task for task, _ in mine} for trial in (0, 1))
        options = shard["section_scores"]["options_trading"]
        names = {"pnl_accuracy", "greeks_accuracy", "strategy_quality", "risk_management"}
        assert options is None or set(options["sub_scores"]) == names
    assert sorted(len(shard["results"]) for shard in shards) == [4, 4, 6, 6]
    assert len({shard["evaluation_metadata"]["plan_digest"] for shard in shards}) == 1


def test_a_lost_shard_leaves_its_trials_open_in_the_bounds(field: Field, whole: Any, parts: list[str]) -> None:
    refused = field.assay("merge", *parts[:3], "-o", "lost.json")
    done = field.assay("merge", *parts[:3], "-o", "lost.json", "--partial")

    assert (refused.returncode, done.returncode) == (1, 0)
    assert "shard 3 of 4 is missing" in refused.stderr
    (mine,), (theirs,) = field.document("lost.json")["results"], whole["results"]
    assert mine["evaluation_metadata"]["complete"] is False
    assert mine["evaluation_metadata"]["shards_missing"] == [3]
    assert mine["overall_score"]["lower"] <= theirs["overall_score"]["score"] < mine["overall_score"]["upper"]
    assert sum(section["planned"] for section in mine["sections"]) == 20
    assert sum(section["counted"] for section in mine["sections"]) == 16
    assert {s["section"]: s["planned"] for s in mine["sections"]} == {
        s["section"]: s["planned"] for s in theirs["sections"]
    }


def test_a_shard_more_than_there_are_tasks_is_complete_and_empty(field: Field) -> None:
    config = (field.folder / "scenario.toml").read_text()
    config = config.replace('"10"', '"5"').replace('shard_index = "0"', 'shard_index = "5"')
    (field.folder / "surplus.toml").write_text(config.replace('num_shards = "1"', 'num_shards = "6"'))

    done = field.assay("run", "surplus.toml", "surplus.json")

    assert done.returncode == 0, done.stderr
    document = field.document("surplus.json")
    (result,) = document["results"]
    assert (document["status"], result["results"], result["sections"]) == ("completed", [], [])
    assert result["evaluation_metadata"]["complete"] is True
    assert set(result["section_scores"].values()) == {None}
    assert result["overall_score"]["coverage"] == 1.0


def test_a_field_has_one_json_type_in_every_file(field: Field, whole: Any, parts: list[str]) -> None:
    assert field.assay("merge", *parts, "-o", "typed.json").returncode == 0
    assert field.assay("merge", *parts[1:], "-o", "partly.json", "--partial").returncode == 0
    documents = [whole, *(field.document(name) for name in (*parts, "typed.json", "partly.json"))]

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
