"""Submissions to a leaderboard: scenario, provenance and results of one run, named alike (interop specification 6).

Files are written to a folder; nothing is pushed.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from services.contract.plan_record import PLAN
from services.contract.secrets import MASK, redact
from services.runner.failures import ReportError, RunnerError, ScenarioError
from services.runner.image_provenance import github_actions
from services.runner.journal import Journal, RunRecord, RunStatus, redacted
from services.runner.report.results_file import SHARD_KEYS, write_text
from services.runner.scenario import GREEN, parse_scenario, read_scenario
from services.runner.scenario.amber.schema import literal_secrets
from services.runner.submissions.shards import MergeError, Object, provenance_beside, read_document
from services.runner.submissions.whole import SHARDS

OWNER: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?")
"""Names of GitHub accounts. A submission's name begins with it, so nothing else may stand in it."""
AMBER: Final = ".json5"
LOCAL_KEYS: Final = frozenset({"role", "endpoint", "cmd", "cwd", "inherit_env", "free_port", "start_timeout"})
"""Of a stored agent: what holds on the machine of the run only."""
PLATFORM_FIELDS: Final = ("image_digests", "timestamp", "github_actions", "manifest_digests")
RECORDED: Final = (
    "run_id", "run_status", "model_id", "models", "purple_agent", "seed", "complete", "coverage", "plan_digest",
    "shard_index", "num_shards", "effective_config", "judge_config", "sandbox", SHARDS,
)  # fmt: skip
"""Facts of a result that say how it was made."""


class PackError(RunnerError):
    """A run cannot be packed as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """Three files of one name, `<owner>-<YYYYmmdd-HHMMSS>` with the time of the run in UTC."""

    owner: str
    made: datetime
    scenario: str
    """Text of the scenario file."""
    amber: bool
    provenance: Object
    document: Object
    complete: bool

    def write(self, folder: Path) -> list[Path]:
        """Write the files; the name is of the next second when another run has it.

        Raises ReportError before the first file when this run was packed to there with other content.
        """
        with _alone_in(folder):
            made = self.made
            while _is_of_another(folder / self._places(made)[1], self.provenance):
                made += timedelta(seconds=1)
            texts = (self.scenario, _json(self.provenance), _json(self.document))
            paths = dict(zip((folder / place for place in self._places(made)), texts, strict=True))
            taken = [str(path) for path, text in paths.items() if path.exists() and not _holds(path, text)]
            if taken:
                raise ReportError(
                    f"there already, with other content: {', '.join(taken)}; move it away, or pack to elsewhere"
                )
            for path, text in paths.items():
                write_text(path, text)
        return list(paths)

    def _places(self, made: datetime) -> tuple[str, str, str]:
        """Of scenario, provenance and results inside the leaderboard's repository."""
        base = f"{self.owner}-{made:%Y%m%d-%H%M%S}"
        suffix, dash = (AMBER, "-") if self.amber else (".toml", ".")
        return f"submissions/{base}{suffix}", f"submissions/{base}{dash}provenance.json", f"results/{base}.json"


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder, so that two packs at once do not mix their files; the lock leaves nothing there. Raises ReportError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ReportError(
            f"cannot write to {folder} ({error.strerror or error}): name a folder that is writable"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _is_of_another(path: Path, provenance: Object) -> bool:
    """Whether a provenance file is there that tells of other runs."""
    try:
        known = read_document(path) if path.is_file() else None
    except MergeError:
        return False
    return known is not None and _runs(known) != _runs(provenance)


def _runs(provenance: Object) -> list[JsonValue]:
    """Of a provenance file: the run, and the runs of the shards it was made of."""
    record = provenance.get("assay")
    facts = record if isinstance(record, dict) else {}
    shards = facts.get(SHARDS)
    told = [facts, *(shards if isinstance(shards, list) else ())]
    return [entry.get("run_id") for entry in told if isinstance(entry, dict)]


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def pack_run(run: RunRecord, document: Object, *, owner: str, scenario: Path | None = None) -> Submission:
    """The submission of a stored run; `document` is its results file. Raises ScenarioError, PackError."""
    if run.status is RunStatus.RUNNING:
        raise PackError(f"run {run.id} has not ended: wait for it, or if its runner was killed, `{run.remedy}`")
    submitted = _Submitted(stored=run.scenario) if scenario is None else _of_file(scenario)
    return _submission(document, owner=owner, scenario=submitted, name=run.id, beside=None, made=run.created)


def pack_file(path: Path, journal: Journal | None, *, owner: str, scenario: Path | None = None) -> Submission:
    """The submission of a results file, such as a merged one.

    Without `scenario` the run, or the first of its shards, must be in the journal. Raises ScenarioError, MergeError, PackError.
    """
    document = read_document(path)
    beside = provenance_beside(path)
    submitted = _of_journal(path, document, journal) if scenario is None else _of_file(scenario)
    platform = None if beside is None else beside[1]
    return _submission(document, owner=owner, scenario=submitted, name=str(path), beside=platform, made=None)


def owner_of(given: str | None, environment: Mapping[str, str]) -> str:
    """Who submits: what was given, else the owner of the workflow's repository, else the account git is configured with.

    Raises ScenarioError when nobody is named or the name is none of an account.
    """
    source, owner = "--owner", given
    if owner is None:
        source, owner = "GITHUB_REPOSITORY_OWNER", environment.get("GITHUB_REPOSITORY_OWNER") or None
    for key in ("github.user", "user.name"):
        if owner is None:
            source, owner = f"git config {key}", _git_config(key)
    if owner is None:
        raise ScenarioError("whose submission is it? Give --owner NAME, the name of your GitHub account")
    if not OWNER.fullmatch(owner):
        raise ScenarioError(f"owner {owner!r} ({source}): letters, digits and - inside, at most 39; give --owner NAME")
    return owner


def leaderboard_tables(stored: Mapping[str, JsonValue], *, whole: bool = False) -> Object:
    """A stored scenario in the form of leaderboards: agents by id or image; secrets stay references.

    `whole`: the result is that of all shards, so the config asks for no single one. Raises ScenarioError naming the agents that
    nobody else could run.
    """
    listed = stored.get("participants")
    agents = [agent for agent in listed if isinstance(agent, dict)] if isinstance(listed, list) else []
    green = stored.get(GREEN)
    examiner = green if isinstance(green, dict) else {}
    faults = [
        f"{agent.get('role')}: a submission names its agents by agentbeats_id or image, and this one ran from"
        f" {'a command' if 'cmd' in agent else 'an endpoint'}; add its agentbeats_id, or give --scenario FILE"
        for agent in (examiner, *agents)
        if not agent.get("agentbeats_id") and not agent.get("image")
    ]
    if faults:
        raise ScenarioError(*faults)
    config = stored.get("config")
    values = config if isinstance(config, dict) else {}
    left_out = SHARD_KEYS if whole else frozenset()
    tables: Object = {
        "green_agent": _table(examiner),
        "participants": [{"name": agent["role"]} | _table(agent) for agent in agents],
        "config": {key: value for key, value in values.items() if key not in left_out and value is not None},
    }
    if faults := [*_secret_faults(examiner, agents, tables["config"])]:
        raise ScenarioError(*faults)
    parse_scenario(tables, name="submission", any_config=True)
    return tables


def _secret_faults(
    examiner: Mapping[str, JsonValue], agents: Sequence[Mapping[str, JsonValue]], config: JsonValue
) -> Iterator[str]:
    """Secrets, or their masks, where a scenario cannot refer to variables. In `env` they are references already."""
    for agent in (examiner, *agents):
        args = agent.get("args")
        texts = [str(arg) for arg in args] if isinstance(args, list) else []
        for place, (before, text) in enumerate(zip(["", *texts], texts, strict=False)):
            option, equals, value = text.partition("=")
            name, said = (option, value) if equals else (before, text)
            is_value = name.startswith("-") and not said.startswith("-")
            if MASK in redact(text) or (is_value and any(literal_secrets({name: said}))):
                yield f"{agent.get('role')}: args[{place}] holds a secret; give it in `env` as a reference ${{NAME}}"
        others = {key: value for key, value in agent.items() if key not in {"env", "args", *LOCAL_KEYS}}
        yield from (
            f"{agent.get('role')}: {path} holds a secret; submissions are public" for path in literal_secrets(others)
        )
    yield from (f"config.{path} holds a secret; agents read theirs from `env`" for path in literal_secrets(config))


def _table(agent: Mapping[str, JsonValue]) -> Object:
    both = "image" in agent and "agentbeats_id" in agent
    unwanted = LOCAL_KEYS | ({"image"} if both else set())
    return {key: value for key, value in agent.items() if key not in unwanted and value not in (None, [], {})}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Submitted:
    """A scenario to submit: stored tables, or an Amber manifest."""

    stored: Mapping[str, JsonValue] | None = None
    manifest: JsonValue = None


def _of_file(path: Path) -> _Submitted:
    """Read and checked as `assay scenario check` does."""
    if path.suffix == AMBER:
        from services.runner.scenario.amber.document import read_document as read_json5  # noqa: PLC0415
        from services.runner.scenario.amber.reading import read_amber  # noqa: PLC0415

        read_amber(path)
        return _Submitted(manifest=read_json5(path))
    return _Submitted(stored=read_scenario(path, any_config=True, allow_image=True).storable())


def _of_journal(path: Path, document: Object, journal: Journal | None) -> _Submitted:
    facts = _facts(document, str(path))
    told = facts.get(SHARDS)
    shards = told if isinstance(told, list) else []
    ids = [facts.get("run_id"), *(shard.get("run_id") for shard in shards if isinstance(shard, dict))]
    for run_id in (known for known in ids if isinstance(known, str)):
        try:
            if journal is not None:
                return _Submitted(stored=journal.run(run_id).scenario)
        except ScenarioError:
            continue
    raise ScenarioError(f"{path}: its run is not in the journal here, so its scenario is unknown: give --scenario FILE")


def _submission(
    document: Object, *, owner: str, scenario: _Submitted, name: str, beside: Object | None, made: str | None
) -> Submission:
    facts = _facts(document, name)
    provenance = _provenance(facts, beside)
    created = _time(made or provenance.get("timestamp"))
    if created is None:
        raise PackError(f"{name}: says nowhere when it was made: no timestamp in its provenance, no started_at")
    if scenario.stored is None:
        text = _json(scenario.manifest)
    else:
        import tomli_w  # noqa: PLC0415

        text = tomli_w.dumps(leaderboard_tables(scenario.stored, whole=bool(facts.get(SHARDS))))
    return Submission(
        owner=owner,
        made=created,
        scenario=text,
        amber=scenario.stored is None,
        provenance=_redacted(provenance),
        document=_redacted(document),
        complete=facts.get("complete") is True,
    )


def _facts(document: Object, name: str) -> Object:
    """The metadata of the one result of a results file."""
    results = document.get("results")
    objects: Sequence[JsonValue] = results if isinstance(results, list) else ()
    if len(objects) > 1:
        raise PackError(f"{name}: holds {len(objects)} results: make one of them by `assay merge`")
    first = objects[0] if objects else None
    facts = first.get("evaluation_metadata") if isinstance(first, dict) else None
    if not isinstance(facts, dict):
        raise PackError(f"{name}: no results file: expected {{status, participants, results: [object]}}")
    return facts


def _provenance(facts: Object, beside: Object | None) -> Object:
    """The platform's fields as they are or as it would write them, and our own record under `assay`."""
    inside = facts.get("provenance")
    own = inside if isinstance(inside, dict) else {}
    digests = own.get("image_digests")
    known = digests if isinstance(digests, dict) else {}
    made = _time(own.get("timestamp") or facts.get("started_at"))
    platform: Object = {
        "image_digests": {"green-agent" if role == GREEN else role: digest for role, digest in known.items()},
        "timestamp": None if made is None else f"{made:%Y-%m-%dT%H:%M:%SZ}",
    }
    if workflow := github_actions(os.environ):
        platform["github_actions"] = dict(workflow)
    platform |= {field: beside[field] for field in PLATFORM_FIELDS if beside is not None and field in beside}
    record: Object = {key: facts[key] for key in RECORDED if key in facts}
    plan = facts.get(PLAN)
    if isinstance(plan, dict):
        record[PLAN] = {key: value for key, value in plan.items() if key != "trials"}
    rest = {key: value for key, value in own.items() if key not in PLATFORM_FIELDS}
    return platform | {"assay": record | rest}


def _time(value: JsonValue) -> datetime | None:
    """A moment in UTC, of an ISO text or of seconds since 1970."""
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _redacted(value: Object) -> Object:
    return {key: redacted(item) for key, item in value.items()}


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _git_config(key: str) -> str | None:
    try:
        done = subprocess.run(["git", "config", "--get", key], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip() or None
