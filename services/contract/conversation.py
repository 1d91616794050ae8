"""What is said between green and purple: a reply, the turns of a trial, and the transcript that is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue

LONGEST_FACT: Final = 500
"""Characters of what an agent says of its model; it stands in every row."""
LONGEST_WORD: Final = 100
MOST_ITERATIONS: Final = 1_000
MOST_SETTINGS: Final = 32
MOST_FAILED_CALLS: Final = 16
"""Kept of the model calls of a trial that failed: the last ones."""
MOST_SERVERS: Final = 64
LARGEST: Final = 10**12
"""Of the whole numbers in what an agent says of its settings."""

Opinion = Literal["yes", "no", "undecided"]
"""What the agent's own verification came to: the solution is right, it is not, or no clear word."""
Role = Literal["generate", "verify", "decide", "refine"]


class Usage(BaseModel):
    """What the agent's model consumed. None means unknown, which is not zero."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    input_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)
    calls: int | None = Field(default=None, ge=0)
    """Model calls, failed attempts included."""
    cost_usd: float | None = Field(default=None, ge=0)

    def __add__(self, other: Usage) -> Usage:
        """Sum field by field; unknown plus known stays known, so a partly metered trial shows what was metered."""

        def add(a: float | None, b: float | None) -> float | None:
            return b if a is None else a if b is None else a + b

        return Usage.model_validate(
            {name: add(getattr(self, name), getattr(other, name)) for name in Usage.model_fields}
        )


class Sampled(BaseModel):
    """How the agent's model draws its answers. None: not sent, so the server's own value holds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    temperature: FiniteFloat | None = None
    top_p: FiniteFloat | None = None
    top_k: int | None = Field(default=None, ge=-LARGEST, le=LARGEST)
    max_tokens: int | None = Field(default=None, ge=0, le=LARGEST)


class ModelFacts(BaseModel):
    """Which model answered, as far as it says so itself."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    provider: str = Field(max_length=LONGEST_FACT)
    model: str = Field(max_length=LONGEST_FACT)
    fingerprint: str | None = Field(default=None, max_length=LONGEST_FACT)
    """As the engine reports it; the reference engine says here that it is no language model. None: it says nothing."""
    sampling: Sampled | None = None
    """Of answers; steps of a chain that draw otherwise are told in `Trace.settings`. None: the agent does not say."""


class FailedCall(BaseModel):
    """A request to a model server that failed, whether or not another was answered in its place."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    replica: str = Field(max_length=LONGEST_FACT)
    """Base URL of the server."""
    kind: str = Field(max_length=LONGEST_WORD)
    """Such as `connection`, `server`, `rate_limited`."""
    status: int | None = Field(default=None, ge=0, le=LARGEST)
    """HTTP status; None when there was no answer."""
    message: str = Field(default="", max_length=LONGEST_FACT)


class ModelCalls(BaseModel):
    """Which servers answered the model calls of a reply, and what failed on the way, as the agent says."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    answered_by: tuple[Annotated[str, Field(max_length=LONGEST_FACT)], ...] = Field(default=(), max_length=MOST_SERVERS)
    """Base URLs, each once, in order of their first answer."""
    switched: int = Field(default=0, ge=0, le=LARGEST)
    """Calls that another server answered than the one that its trial prefers, which was lost."""
    failed: tuple[FailedCall, ...] = Field(default=(), max_length=MOST_FAILED_CALLS)
    """The last ones, oldest first."""
    failures: int = Field(default=0, ge=0, le=LARGEST)
    """How many there were."""

    def __add__(self, other: ModelCalls) -> ModelCalls:
        """What both say; of too much the later part."""
        return ModelCalls(
            answered_by=tuple(dict.fromkeys((*self.answered_by, *other.answered_by)))[-MOST_SERVERS:],
            switched=min(LARGEST, self.switched + other.switched),
            failed=(*self.failed, *other.failed)[-MOST_FAILED_CALLS:],
            failures=min(LARGEST, self.failures + other.failures),
        )


class Iteration(BaseModel):
    """One step of an agent's chain. Iteration 0 is the first solution; later ones look at the solution before them."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    solution: str | None = None
    """The solution as it came out of this iteration; None: the one before is carried on."""
    report: str = ""
    """The whole verification report."""
    decision: str = ""
    """What the model said when it was asked for its verdict, a reminder's answer after a line feed."""
    verdict: Opinion | None = None
    """None: nothing was decided."""
    skipped: str = Field(default="", max_length=LONGEST_WORD)
    """Why the iteration was not held, for example `too_long`; the solution is carried on."""
    usage: dict[Role, Usage] = Field(default_factory=dict)
    """What each role consumed."""


class Trace(BaseModel):
    """How an agent came to its answer, as it reports it in the metadata key `assay/trace`.

    Evidence, never a claim that is believed: green scores what stands here by the same scorer as the answer, under other names.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    strategy: str = Field(max_length=LONGEST_WORD)
    iterations: tuple[Iteration, ...] = Field(max_length=MOST_ITERATIONS)
    settings: dict[
        Annotated[str, Field(max_length=LONGEST_WORD)],
        Annotated[str, Field(max_length=LONGEST_WORD)]
        | Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
        | FiniteFloat
        | None,
    ] = Field(default_factory=dict, max_length=MOST_SETTINGS)
    """How the strategy was set, the digest of its prompts included."""

    @property
    def solutions(self) -> tuple[str, ...]:
        """The solution as of each iteration, carried ones repeated; empty text before there is one."""
        found: list[str] = []
        for iteration in self.iterations:
            kept = found[-1] if found else ""
            found.append(kept if iteration.solution is None else iteration.solution)
        return tuple(found)


class ReplyFile(BaseModel):
    """A file the agent returned."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: str
    media_type: str = ""
    content: bytes
    """As sent, decoded; never larger than the limits of the A2A client."""


class Reply(BaseModel):
    """One reply of the agent, assembled from message, task or stream by `contract.a2a.reply`."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    text: str
    """Everything the agent answered, equal texts once; never empty."""
    state: str = "completed"
    """A2A task state in lower case with dashes: `completed` or `input-required`."""
    context_id: str = ""
    task_id: str = ""
    tool_calls: tuple[JsonValue, ...] = ()
    files: tuple[ReplyFile, ...] = Field(default=(), exclude=True)
    """File parts of the answer. Not stored with the transcript: a benchmark that reads them notes what it read."""
    notes: tuple[str, ...] = ()
    """Oddities met on the way, such as a changed context id or replaced invalid UTF-8."""
    usage: Usage | None = None
    """As reported by the agent in the metadata key `assay/usage`; None when it reports nothing."""
    model: ModelFacts | None = None
    """As reported by the agent in the metadata key `assay/model`."""
    model_calls: ModelCalls | None = None
    """As reported by the agent in the metadata key `assay/model-calls`; None when it reports nothing."""
    trace: Trace | None = None
    """As reported by the agent in the metadata key `assay/trace`; None when it reports none."""
    latency_s: float = 0.0
    size: int = 0
    """Bytes of all text received."""


class Turn(BaseModel):
    """One question and what came back."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    question: str
    reply: Reply | None = None
    error: str | None = None
    model_calls: ModelCalls | None = None
    """Of a question without a reply, as the agent reports it in the metadata of its failure; else they stand in the reply."""
    branch: str = ""
    """Which of the trial's conversations; empty for the first."""


class Transcript(BaseModel):
    """All that was said in one trial, enough to score it again without the agent."""

    model_config = ConfigDict(frozen=True)

    turns: tuple[Turn, ...] = ()
    notes: dict[str, JsonValue] = Field(default_factory=dict)
    """What the benchmark wants to keep beside the words, such as the state of a simulation."""

    @property
    def answer(self) -> str:
        """Text of the last reply, or the empty string when there is none."""
        return next((turn.reply.text for turn in reversed(self.turns) if turn.reply is not None), "")

    def branch(self, name: str) -> tuple[Turn, ...]:
        """The turns of one of the trial's conversations, in order."""
        return tuple(turn for turn in self.turns if turn.branch == name)


class AgentSession(Protocol):
    """What a benchmark sees of the agent: one conversation. The session keeps the transcript and the deadline itself."""

    def branch(self, name: str) -> AgentSession:
        """Another conversation with the same agent in the same trial; its turns carry `name`."""
        ...

    def offer(self, file: Path, *, name: str) -> str:
        """An address from which the agent may read this file until the trial ends. Raises Failure when none can be given."""
        ...

    async def ask(self, text: str) -> Reply:
        """Send one message and await its reply. Raises AgentFailure; what was said until then is kept."""
        ...

    def note(self, key: str, value: JsonValue) -> None:
        """Keep something beside the words in the transcript."""
        ...
