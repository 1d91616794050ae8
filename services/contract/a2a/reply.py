"""Assembles what an agent sent, in whichever form, into one reply (interop specification 3.3)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from services.contract.a2a.failures import protocol, state_failure, too_large
from services.contract.a2a.wire import RESTING_STATES, Part, WireArtifact, WireEvent, WireMessage, WireStatus, WireTask
from services.contract.assessment import META_MODEL, META_USAGE
from services.contract.conversation import ModelFacts, Reply, Usage
from services.contract.outcomes import AgentFailure, Outcome, is_error_text

REPLY_BYTES: Final = 4 << 20
TOOL_CALLS: Final = "tool_calls"
Told = TypeVar("Told", bound=BaseModel)
_REPLY_STATES: Final = frozenset({"completed", "input-required"})


@dataclass(slots=True)
class Collected:
    """An artifact as far as it has come."""

    name: str
    texts: list[str]

    @property
    def text(self) -> str:
        """Its texts joined by newline."""
        return "\n".join(text for text in self.texts if text)


class Assembly:
    """What came so far. Feed every event; once `resting` is true, `reply` gives the reply or says why there is none."""

    def __init__(self) -> None:
        self.state = ""
        self.task_id = ""
        self.context_id = ""
        self.artifacts: dict[str, Collected] = {}
        self.final_text = ""
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
            self.artifacts = {}
            for artifact in task.artifacts:
                self._add_artifact(artifact)
            for key, whole in self.artifacts.items():
                if key in known and "".join(known[key].texts) == "".join(whole.texts):
                    whole.texts = known[key].texts

    def _rest(self, message: WireMessage | None, metadata: Mapping[str, Any]) -> None:
        self.metadata |= metadata
        if message is not None:
            self.metadata |= message.metadata
            self.final_text = "\n".join(self._texts(message.parts))

    def _add_artifact(self, artifact: WireArtifact) -> None:
        key = artifact.artifact_id or artifact.name
        texts = self._texts(artifact.parts)
        known = self.artifacts.get(key)
        if not artifact.append or known is None:
            self.artifacts[key] = Collected(artifact.name or artifact.artifact_id, texts)
            return
        if known.texts and texts:
            known.texts[-1] += texts.pop(0)
        known.texts += texts

    def _texts(self, parts: Sequence[Part]) -> list[str]:
        for part in parts:
            self.note(part.note)
        return [part.text for part in parts if part.text]

    def _identify(self, task_id: str, context_id: str) -> None:
        self.task_id = task_id or self.task_id
        self.context_id = context_id or self.context_id

    def reply(self, *, latency_s: float) -> Reply:
        """The reply. Raises AgentFailure when the task ended without one, or with one that must not be judged."""
        text = _distinct_lines([self.final_text, *(a.text for a in self.artifacts.values() if a.name != TOOL_CALLS)])
        size = len(text.encode("utf-8", "replace"))
        if self.state not in _REPLY_STATES:
            raise state_failure(self.state, text, self.metadata)
        if size > REPLY_BYTES:
            raise too_large(REPLY_BYTES)
        if not text.strip():
            raise AgentFailure(Outcome.AGENT_ERROR, "empty", "the reply holds no text")
        if self.state == "completed" and is_error_text(text):
            raise AgentFailure(Outcome.AGENT_ERROR, "error_text", "the reply is the text of an error", evidence=text)
        return Reply(
            text=text,
            state=self.state,
            context_id=self.context_id,
            task_id=self.task_id,
            tool_calls=self._tool_calls(),
            usage=self._told(META_USAGE, Usage),
            model=self._told(META_MODEL, ModelFacts),
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
                found = json.loads(artifact.text)
            except (ValueError, RecursionError) as error:
                raise protocol(f"the artifact {TOOL_CALLS} is not JSON", artifact.text) from error
            calls += found if isinstance(found, list) else [found]
        return tuple(calls)

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


def _distinct_lines(texts: Iterable[str]) -> str:
    """The texts joined by newline, equal ones once."""
    distinct: dict[str, str] = {}
    for text in texts:
        distinct.setdefault(text.strip(), text)
    distinct.pop("", None)
    return "\n".join(distinct.values())
