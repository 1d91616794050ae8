"""What green is asked to do: the request, its config, and the plan.

The request is one A2A message whose text is JSON, `{"participants": {role: url}, "config": {...}}`. Every fault is found
before anything is spent, all faults are reported together, and nothing is ignored silently.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, NoReturn
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from services.contract.conversation import Transcript
from services.contract.results import Section, trial_key
from services.contract.secrets import redact

MAX_FAULT_TEXT: Final = 2_000


class RequestError(Exception):
    """The request is wrong; `faults` lists every reason found. The task is rejected with this text."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        # Faults show what came, and a request may carry keys.
        super().__init__(redact("; ".join(self.faults))[:MAX_FAULT_TEXT])


def _blank_is_absent(value: object) -> object:
    return None if value == "" else value


def _integer(value: object) -> object:
    """Interpolated files give "10" and 10.0 for 10."""
    value = _blank_is_absent(value)
    if isinstance(value, bool):
        raise ValueError("expected an integer, got a boolean")  # noqa: TRY004 - pydantic collects ValueError
    if isinstance(value, str) and value.strip().lstrip("+-").isdigit():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _number(value: object) -> object:
    value = _blank_is_absent(value)
    if isinstance(value, bool):
        raise ValueError("expected a number, got a boolean")  # noqa: TRY004 - pydantic collects ValueError
    return value


def _boolean(value: object) -> object:
    value = _blank_is_absent(value)
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    return value


def _version(value: object) -> object:
    """Interpolated files give 1.0 for "1.0"."""
    return str(value) if isinstance(value, float) else _blank_is_absent(value)


def _mapping(data: Mapping[str, object], key: str) -> dict[str, object]:
    value = data.get(key) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{key}: expected an object, got {type(value).__name__}")  # noqa: TRY004 - as above
    return dict(value)


def _counts(value: object) -> object:
    """A list of integers, one of them, or one text with commas."""
    value = _blank_is_absent(value)
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    elif isinstance(value, int | float):
        value = [value]
    return [_integer(part) for part in value] if isinstance(value, list) else value


def _names(value: object) -> object:
    """A list, or one text with commas."""
    value = _blank_is_absent(value)
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


Count = Annotated[int | None, BeforeValidator(_integer), Field(ge=1)]
Index = Annotated[int | None, BeforeValidator(_integer), Field(ge=0)]
Seconds = Annotated[float | None, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
Flag = Annotated[bool | None, BeforeValidator(_boolean)]
Names = Annotated[list[str] | None, BeforeValidator(_names), Field(min_length=1)]
Ks = Annotated[
    list[Annotated[int, Field(ge=1, le=1_000_000)]] | None, BeforeValidator(_counts), Field(min_length=1, max_length=20)
]
Text = Annotated[str | None, BeforeValidator(_blank_is_absent)]
Strategy = Literal["stratified", "random", "sequential", "weighted"]
Fill = Literal["none", "generate"]
SectionMean = Literal["tasks", "datasets"]

PURPLE_TOKEN: Final = "ASSAY_PURPLE_TOKEN"  # noqa: S105 - a name
PURPLE_TOKEN_NAME: Final = f"^{PURPLE_TOKEN}[A-Z0-9_]*$"
LIMIT_SUFFIX: Final = "_limit"
EXTRA_PREFIX: Final = "x_"
ENTRY_KEYS: Final = frozenset(
    {
        "all_cases",
        "include_vacuous",
        "protocol",
        "sanitize",
        "score_intermediates",
        "shots",
        "split",
        "subset",
        "version",
        "visible_tests",
    }
)
"""Keys of suite entries that a request may state; they hold for every data set that has the key."""


class AssessmentConfig(BaseModel):
    """The `config` of a request. None means absent: the suite's value, then the default, holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    num_tasks: Count = None
    """Tasks in the plan over all data sets; more than the data hold is capped and noted."""
    num_instances: Count = None
    """The same, by the name that platforms use for a total over all shards; replaces `num_tasks`."""
    num_trials: Count = None
    """Trials of each task."""
    datasets: Names = None
    """Keeps only these benchmarks of the suite."""
    dataset_limits: dict[str, Annotated[int, BeforeValidator(_integer), Field(ge=0)]] = Field(default_factory=dict)
    """`<benchmark>_limit` keys, by benchmark: the total over all its entries, in place of their own limits."""
    fill: Annotated[Fill | None, BeforeValidator(_blank_is_absent)] = None
    """generate: data sets that have a generator are topped up from it; none: they are not."""
    max_steps: Count = None
    """Steps of one crypto episode."""
    entry_keys: dict[str, JsonValue] = Field(default_factory=dict)
    """`split`, `subset`, `visible_tests` and the other ENTRY_KEYS of the request."""
    k: Ks = None
    """Which pass@k and pass^k are reported; absent: 1, 5, 10, 100 and the number of trials, as far as there are trials."""
    judge: dict[str, JsonValue] | None = None
    """Merged into the suite's `llm_eval`, key by key."""
    sampling_strategy: Annotated[Strategy | None, BeforeValidator(_blank_is_absent)] = None
    """stratified, random, sequential or weighted."""
    seed: Annotated[int | None, BeforeValidator(_integer)] = None
    """Run seed: sampling and every other draw."""
    timeout_seconds: Seconds = None
    """Deadline of one reply of the agent, in seconds."""
    trial_timeout_seconds: Seconds = None
    """Deadline of a whole trial, in seconds; absent: `timeout_seconds` x planned messages."""
    task_ids: Names = None
    """Exactly these tasks; replaces sampling."""
    shard_index: Index = None
    """0-based shard of this request."""
    num_shards: Count = None
    """Number of shards the plan is dealt to."""
    conduct_debate: Flag = None
    """One follow-up question per task, kept in the transcript, never part of the score."""
    model_id: Text = None
    """Label of the examined model, for the record only; never a seed."""
    eval_config: Text = None
    """Suite file of green."""
    purple_role: Text = None
    """Which participant is examined when there are several."""
    purple_a2a_version: Annotated[Literal["1.0", "0.3"] | None, BeforeValidator(_version)] = None
    """Speak this dialect to the agent, whatever its card offers."""
    purple_card_url: Annotated[Literal["follow"] | None, BeforeValidator(_blank_is_absent)] = None
    """follow: trust the address in the agent's card; absent: its path only."""
    purple_token_env: Annotated[str | None, BeforeValidator(_blank_is_absent), Field(pattern=PURPLE_TOKEN_NAME)] = None
    """Variable of green that holds the agent's bearer token. The name is bounded, or a request could send any secret anywhere."""
    max_concurrency: Annotated[int | None, BeforeValidator(_integer), Field(ge=1, le=1000)] = None
    """Trials in flight at once; absent: green's `--max-concurrency`."""
    plan_only: Flag = None
    """Answer with the plan as artifact `plan` and run nothing."""
    plan_digest: Text = None
    """Refuse unless the plan still has this digest; a resumed run asks for it."""
    completed: Names = None
    """Trial keys (`benchmark|task_id|trial`) that are kept elsewhere and are not run again."""
    stream_transcripts: Flag = None
    """Put the transcript into each streamed row."""
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    """Keys beginning with `x_`, kept and recorded."""

    @model_validator(mode="before")
    @classmethod
    def _fold_open_keys(cls, data: object) -> object:
        """Move `<name>_limit` and `x_*` keys into their maps; null and "" mean absent."""
        if not isinstance(data, dict):
            return data
        folded: dict[str, object] = {}
        limits, extra, entry_keys = (_mapping(data, key) for key in ("dataset_limits", "extra", "entry_keys"))
        for key, value in data.items():
            if key in {"dataset_limits", "extra", "entry_keys"} or value is None or value == "":
                continue
            if key in ENTRY_KEYS:
                entry_keys[key] = value
                continue
            if key.startswith(EXTRA_PREFIX):
                extra[key] = value
            elif key.endswith(LIMIT_SUFFIX) and key not in cls.model_fields:
                limits[key.removesuffix(LIMIT_SUFFIX)] = value
            else:
                folded[key] = value
        return folded | {"dataset_limits": limits, "extra": extra, "entry_keys": entry_keys}

    @model_validator(mode="after")
    def _shard_exists(self) -> AssessmentConfig:
        shards = self.num_shards or 1
        if self.shard_index is not None and self.shard_index >= shards:
            raise ValueError(f"shard_index {self.shard_index} is not below num_shards {shards}")
        return self


class AssessmentRequest(BaseModel):
    """A validated request."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    participants: dict[str, str]
    """Empty only when transcripts are given."""
    config: AssessmentConfig = AssessmentConfig()
    transcripts: dict[str, Transcript] = Field(default_factory=dict)
    """By trial key: score these as they stand, ask nobody, and leave the rest of the plan alone."""
    ignored_keys: tuple[str, ...] = ()

    @property
    def purple_role(self) -> str:
        """Role of the one participant under test."""
        return self.config.purple_role or next(iter(self.participants))

    @property
    def purple_url(self) -> str:
        """Address of the participant under test."""
        return self.participants[self.purple_role]


def parse_request(text: str) -> AssessmentRequest:
    """Read a request from the text of a message. Raises RequestError with every fault found."""
    raw = _strict_object(text)
    faults: list[str] = []
    transcripts = _transcripts(raw.get("transcripts"), faults)
    participants = {} if transcripts else _participants(raw.get("participants"), faults)
    config = _config(raw.get("config"), faults)
    if config is not None and not faults and participants:
        if config.purple_role is not None and config.purple_role not in participants:
            faults.append(
                f"config.purple_role {config.purple_role!r} is no participant; roles: {', '.join(participants)}"
            )
        elif config.purple_role is None and len(participants) > 1:
            faults.append(f"several participants ({', '.join(participants)}): name one in config.purple_role")
    if faults or config is None:
        raise RequestError(faults)
    ignored = tuple(sorted(key for key in raw if key not in AssessmentRequest.model_fields))
    return AssessmentRequest(participants=participants, config=config, transcripts=transcripts, ignored_keys=ignored)


def parse_config(raw: Mapping[str, object]) -> AssessmentConfig:
    """Validate a `config` table, as a scenario file holds it. Raises RequestError with every fault found."""
    faults: list[str] = []
    config = _config(dict(raw), faults)
    if config is None:
        raise RequestError(faults)
    return config


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest known name, or the known names when none is close."""
    choices = sorted(known)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(choices)}"


def _strict_object(text: str) -> dict[str, object]:
    def no_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    def no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
        counts = Counter(key for key, _ in pairs)
        if twice := sorted(key for key, count in counts.items() if count > 1):
            raise ValueError(f"duplicate key {', '.join(map(repr, twice))}")
        return dict(pairs)

    hint = 'expected a JSON object {"participants": {role: url}, "config": {...}}'
    try:
        raw = json.loads(text, parse_constant=no_constant, object_pairs_hook=no_duplicates)
        # Half a surrogate pair could not be written into the result, where every value of the request is recorded.
        json.dumps(raw, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise RequestError([f"{hint}, got {text[:80]!r} ({error})"]) from None
    if not isinstance(raw, dict):
        raise RequestError([f"{hint}, got {type(raw).__name__}"])
    return raw


def _participants(raw: object, faults: list[str]) -> dict[str, str]:
    if not isinstance(raw, dict) or not raw:
        faults.append(f"participants: expected an object of role: url with at least one entry, got {raw!r}")
        return {}
    found: dict[str, str] = {}
    for role, url in raw.items():
        if fault := _url_fault(url):
            faults.append(f"participants.{role}: {fault}")
        else:
            found[role] = str(url).rstrip("/") + "/"
    return found


def _transcripts(raw: object, faults: list[str]) -> dict[str, Transcript]:
    try:
        return TypeAdapter(dict[str, Transcript]).validate_python(raw or {})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        faults.append(f"transcripts.{'.'.join(map(str, fault['loc']))}: {fault['msg']}")
        return {}


def _url_fault(url: object) -> str | None:
    if not isinstance(url, str):
        return f"expected a URL, got {url!r}"
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError as error:
        return f"{url!r} is not a URL ({error})"
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_fine:
        return f"expected an http or https URL, got {url!r}"
    if "@" in parts.netloc or parts.query or parts.fragment:
        return "a URL with user info, a query or a fragment is not accepted"
    return None


def _config(raw: object, faults: list[str]) -> AssessmentConfig | None:
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        faults.append(f"config: expected an object, got {raw!r}")
        return None
    try:
        return AssessmentConfig.model_validate(raw)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            where = ".".join(map(str, fault["loc"]))
            if fault["type"] == "extra_forbidden":
                faults.append(f"config.{where}: unknown key{nearest(where, AssessmentConfig.model_fields)}")
            else:
                got = "" if fault["type"] == "value_error" and not fault["loc"] else f", got {fault['input']!r}"
                faults.append(f"config{'.' if where else ''}{where}: {fault['msg']}{got}")
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTrial:
    """One trial of the plan. No model, because a plan may hold a million of them."""

    benchmark: str
    section: Section
    stratum: str
    task_id: str
    task_digest: str
    trial: int = 0
    position: int = 0
    """0-based place in the running order of the whole plan, over all shards."""

    @property
    def key(self) -> str:
        """Identity of the trial inside a plan: `benchmark|task_id|trial`."""
        return trial_key(self.benchmark, self.task_id, self.trial)


class PlannedBenchmark(BaseModel):
    """What the plan takes from one benchmark."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: str
    section: Section
    dataset_digest: str
    scorer: str
    """Scorer version; a change moves numbers."""
    sub_scores: tuple[str, ...] = ()
    """Names that the section's `sub_scores` always carries, null when nothing was measured."""
    tasks: int = 0
    """Tasks in the plan, over all shards."""
    judge_need: Literal["never", "some", "all"] = "never"
    """How many of its tasks only a judge can score."""
    notes: dict[str, JsonValue] = Field(default_factory=dict)
    """By suite entry, what was found while loading: sources, skipped rows, audit. No part of the digest."""
    skipped: str = ""
    """Why an entry could not be loaded and was left out; the bounds of the section stay open."""


class Shortfall(BaseModel):
    """A stratum that could not give what was asked of it, or a benchmark left out aloud."""

    model_config = ConfigDict(frozen=True)

    stratum: str
    requested: int
    available: int
    reason: str


class Plan(BaseModel):
    """The ordered trials of an assessment, whole or one shard of it. The digest is always that of the whole plan."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    digest: str
    seed: int
    strategy: Strategy
    suite: str
    num_trials: int
    num_tasks: int
    """Tasks of the whole plan."""
    shard_index: int = 0
    num_shards: int = 1
    benchmarks: tuple[PlannedBenchmark, ...]
    section_weights: dict[Section, float]
    section_mean: SectionMean = "tasks"
    """Whether a section's score is the mean over its tasks or over the means of its data sets."""
    k: tuple[int, ...] = ()
    """Which pass@k and pass^k are reported; empty: the usual ones."""
    shortfalls: tuple[Shortfall, ...] = ()
    trials: tuple[PlannedTrial, ...]
    """Of this shard, in running order."""
    effective_config: dict[str, JsonValue] = Field(default_factory=dict)
    """Every value in force with its source."""


def plan_digest(*, seed: int, trials: Iterable[PlannedTrial], benchmarks: Iterable[PlannedBenchmark]) -> str:
    """`sha256:` digest of what is asked and how it is judged: trials in order, data sets, scorers and the seed."""
    material = {
        "seed": seed,
        "trials": [[t.benchmark, t.task_id, t.trial, t.task_digest] for t in trials],
        "benchmarks": sorted([b.name, b.dataset_digest, b.scorer] for b in benchmarks),
    }
    text = json.dumps(material, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


ARTIFACT_RESULT: Final = "evaluation_result"
ARTIFACT_PLAN: Final = "plan"
META_KIND: Final = "assay/kind"
META_SEQ: Final = "assay/seq"
META_OUTCOME: Final = "assay/outcome"
META_FAULT: Final = "assay/fault"
META_USAGE: Final = "assay/usage"
META_MODEL: Final = "assay/model"
META_MODEL_CALLS: Final = "assay/model-calls"
META_TRACE: Final = "assay/trace"
META_SAMPLE: Final = "assay/sample"
"""Of green's messages: which sample of a task is wanted, the 0-based number of the trial. All messages, conversations and
attempts of a trial carry the same, so an agent that seeds by it draws again what was interrupted and nothing twice."""
KIND_TASK_RESULT: Final = "task_result"
KIND_PROGRESS: Final = "progress"
KIND_ACCEPTED: Final = "accepted"
"""Metadata keys and values of A2A messages. Values are strings: protobuf turns numbers into floats."""
