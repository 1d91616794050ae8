"""Assembles what an agent sent, in whichever form, into one reply (interop specification 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import from_json

from services.contract.a2a.failures import protocol, state_failure, too_large
from services.contract.a2a.wire import (
    RESTING_STATES,
    Part,
    WireArtifact,
    WireEvent,
    WireMessage,
    WireStatus,
    WireTask,
    nested_deeper,
)
from services.contract.assessment import META_MODEL, META_MODEL_CALLS, META_TRACE, META_USAGE
from services.contract.conversation import ModelCalls, ModelFacts, Reply, ReplyFile, Trace, Usage
from services.contract.outcomes import AgentFailure, Outcome, is_error_text

REPLY_BYTES: Final = 4 << 20
REPLY_EVENTS: Final = 100_000
"""Events of one reply, whatever they weigh."""
TOOL_CALLS: Final = "tool_calls"
TOOL_CALLS_DEPTH: Final = 64
"""They are stored inside rows, and readers of JSON stop at about 200 levels."""
MOST_REPORTED: Final = 10**12
"""Tokens, calls or dollars of one reply; above this a report is nonsense."""
ARTIFACT_COST: Final = 128
"""What an update of an artifact takes beside its texts, in characters; it takes more on the wire."""
Told = TypeVar("Told", bound=BaseModel)
_REPLY_STATES: Final = frozenset({"completed", "input-required"})


@dataclass(slots=True)
class Collected:
    """An artifact as far as it has come."""

    name: str
    pieces: list[list[str]]
    """Text by text, each as it came; joined when it is read, since an agent may send it character by character."""
    files: list[ReplyFile]

    @property
    def texts(self) -> list[str]:
        """Its texts, one for each part."""
        return ["".join(pieces) for pieces in self.pieces]

    @property
    def text(self) -> str:
        """Its texts joined by newline."""
        return "\n".join(text for text in self.texts if text)


class Assembly:
    """What came so far. Feed every event; once `resting` is true, `reply` gives the reply or says why there is none."""

    def __init__(self, *, room: int = 2 * REPLY_BYTES) -> None:
        """`room`: characters that all artifacts may take; past it AgentFailure is raised."""
        self._room = room
        self._held = 0
        self.state = ""
        self.task_id = ""
        self.context_id = ""
        self.artifacts: dict[str, Collected] = {}
        self.final_text = ""
        self.final_files: list[ReplyFile] = []
        self.metadata: dict[str, Any] = {}
        self._notes: dict[str, None] = {}

    @property
    def resting(self) -> bool:
        """True when nothing more comes unless we act."""
        return self.state in RESTING_STATES

    def note(self, text: str) -> None:
        """Keep an oddity, once."""
        if text:
            self._notes[text] = None

    def add(self, event: WireEvent) -> None:
        """Take in one event."""
        if isinstance(event, WireArtifact):
            self._identify(event.task_id, event.context_id)
            self._add_artifact(event)
        elif isinstance(event, WireStatus):
            self._add_status(event)
        elif isinstance(event, WireTask):
            self._add_task(event)
        else:
            self._add_message(event)

    def _add_message(self, message: WireMessage) -> None:
        """A bare message is the whole answer."""
        self._identify(message.task_id, message.context_id)
        self.state = "completed"
        self._rest(message, message.metadata)

    def _add_status(self, status: WireStatus) -> None:
        self._identify(status.task_id, status.context_id)
        self.state = status.state
        if self.resting:
            self._rest(status.message, status.metadata)

    def _add_task(self, task: WireTask) -> None:
        self._add_status(task.status)
        known = self.artifacts
        # The artifacts of a whole task win, but a text that came in pieces keeps its seams closed.
        if task.artifacts:
            self.artifacts, self._held = {}, 0
            for artifact in task.artifacts:
                self._add_artifact(artifact)
            for key, whole in self.artifacts.items():
                if key in known and "".join(known[key].texts) == "".join(whole.texts):
                    whole.pieces = known[key].pieces

    def _rest(self, message: WireMessage | None, metadata: Mapping[str, Any]) -> None:
        self.metadata |= metadata
        if message is not None:
            self.metadata |= message.metadata
            self.final_text = "\n".join(self._texts(message.parts))
            self.final_files = _files(message.parts)

    def _add_artifact(self, artifact: WireArtifact) -> None:
        key = artifact.artifact_id or artifact.name
        texts, files = self._texts(artifact.parts), _files(artifact.parts)
        known = self.artifacts.get(key)
        self._held += ARTIFACT_COST + len(key) + sum(map(len, texts)) + sum(len(file.content) for file in files)
        if self._held > self._room:
            raise too_large(self._room)
        if not artifact.append or known is None:
            self.artifacts[key] = Collected(artifact.name or artifact.artifact_id, [[text] for text in texts], files)
            return
        known.files += files
        if known.pieces and texts:
            known.pieces[-1].append(texts.pop(0))
        known.pieces += [[text] for text in texts]

    def _texts(self, parts: Sequence[Part]) -> list[str]:
        for part in parts:
            self.note(part.note)
        return [part.text for part in parts if part.text]

    def _identify(self, task_id: str, context_id: str) -> None:
        self.task_id = task_id or self.task_id
        self.context_id = context_id or self.context_id

    def reply(self, *, latency_s: float) -> Reply:
        """The reply. Raises AgentFailure when the task ended without one, or with one that must not be judged."""
        answers = [artifact for artifact in self.artifacts.values() if artifact.name != TOOL_CALLS]
        text = _distinct_lines([self.final_text, *(artifact.text for artifact in answers)])
        files = _distinct_files([*self.final_files, *(file for artifact in answers for file in artifact.files)])
        size = len(text.encode("utf-8", "replace"))
        if self.state not in _REPLY_STATES:
            failure = state_failure(self.state, text, self.metadata)
            failure.model_calls = self._told(META_MODEL_CALLS, ModelCalls)
            raise failure
        if size > REPLY_BYTES:
            raise too_large(REPLY_BYTES)
        if not text.strip() and not files:
            raise AgentFailure(Outcome.AGENT_ERROR, "empty", "the reply holds no text")
        if self.state == "completed" and is_error_text(text):
            raise AgentFailure(Outcome.AGENT_ERROR, "error_text", "the reply is the text of an error", evidence=text)
        return Reply(
            text=text if text.strip() else f"[no text; files: {', '.join(file.name or 'unnamed' for file in files)}]",
            state=self.state,
            context_id=self.context_id,
            task_id=self.task_id,
            tool_calls=self._tool_calls(),
            files=files,
            usage=self._usage(),
            model=self._told(META_MODEL, ModelFacts),
            model_calls=self._told(META_MODEL_CALLS, ModelCalls),
            trace=self._trace(),
            notes=tuple(self._notes),
            latency_s=latency_s,
            size=size,
        )

    def _tool_calls(self) -> tuple[JsonValue, ...]:
        calls: list[JsonValue] = []
        for artifact in self.artifacts.values():
            if artifact.name != TOOL_CALLS:
                continue
            try:
                found = from_json(artifact.text, allow_inf_nan=False)
            except ValueError as error:
                raise protocol(f"the artifact {TOOL_CALLS} is not JSON", artifact.text) from error
            if nested_deeper(found, TOOL_CALLS_DEPTH):
                raise protocol(f"the artifact {TOOL_CALLS} is nested deeper than {TOOL_CALLS_DEPTH}", artifact.text)
            calls += found if isinstance(found, list) else [found]
        return tuple(calls)

    def _usage(self) -> Usage | None:
        usage = self._told(META_USAGE, Usage)
        return None if usage is None or self._beyond_belief(META_USAGE, [usage]) else usage

    def _trace(self) -> Trace | None:
        trace = self._told(META_TRACE, Trace)
        if trace is None:
            return None
        used = (usage for step in trace.iterations for usage in step.usage.values())
        return None if self._beyond_belief(META_TRACE, used) else trace

    def _beyond_belief(self, key: str, used: Iterable[Usage]) -> bool:
        """True, and noted, when something of it is more than anybody uses."""
        found = any((value or 0) > MOST_REPORTED for usage in used for _, value in usage)
        if found:
            self.note(f"the agent's report {key} is beyond belief")
        return found

    def _told(self, key: str, shape: type[Told]) -> Told | None:
        """What the agent reports beside its words. Unreadable, it is noted and costs nothing."""
        told = self.metadata.get(key)
        if told is None:
            return None
        try:
            return shape.model_validate_json(told) if isinstance(told, str) else shape.model_validate(told)
        except ValidationError:
            self.note(f"the agent's report {key} is not readable")
            return None


def _files(parts: Sequence[Part]) -> list[ReplyFile]:
    return [part.file for part in parts if part.file is not None]


def _distinct_files(files: Iterable[ReplyFile]) -> tuple[ReplyFile, ...]:
    """The files in order, equal ones once: agents send the same in the status and in an artifact."""
    return tuple({(file.name, file.content): file for file in files}.values())


def _distinct_lines(texts: Iterable[str]) -> str:
    """The texts joined by newline, equal ones once."""
    distinct: dict[str, str] = {}
    for text in texts:
        distinct.setdefault(text.strip(), text)
    distinct.pop("", None)
    return "\n".join(distinct.values())
