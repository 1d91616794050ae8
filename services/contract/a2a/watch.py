"""The runner's view of a long task: each piece of news once, also when the stream broke and the past is told again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.contract.a2a.reply import Assembly
from services.contract.a2a.wire import WireArtifact, WireEvent, WireMessage, WireTask, compact_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The text of one `working` status."""

    text: str
    metadata: Mapping[str, str]
    message_id: str
    task_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactReceived:
    """An artifact; again, with everything, when the agent extends it."""

    name: str
    texts: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """The task rests: `completed`, `failed`, `rejected`, `canceled`, `input-required` or `auth-required`."""

    state: str
    text: str
    metadata: Mapping[str, str]


class Watcher:
    """Turns events into news. A message is known by its id, an artifact by its content."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._artifacts: dict[str, tuple[str, ...]] = {}

    def news(self, event: WireEvent, assembly: Assembly) -> Iterator[Progress | ArtifactReceived | Ended]:
        """What is new in the event, which `assembly` has already taken in."""
        if isinstance(event, WireTask):
            for message in event.history:
                yield from self._progress(message, assembly)
        status = event.status if isinstance(event, WireTask) else event
        if not isinstance(status, WireArtifact | WireMessage) and status.message is not None and not assembly.resting:
            yield from self._progress(status.message, assembly)
        yield from self._new_artifacts(assembly)
        if assembly.resting:
            yield Ended(state=assembly.state, text=assembly.final_text, metadata=_strings(assembly.metadata))

    def _progress(self, message: WireMessage, assembly: Assembly) -> Iterator[Progress]:
        if message.role == "user" or message.message_id in self._told:
            return
        if message.message_id:
            self._told.add(message.message_id)
        text = "\n".join(part.text for part in message.parts if part.text)
        if text:
            yield Progress(
                text=text,
                metadata=_strings(message.metadata),
                message_id=message.message_id,
                task_id=assembly.task_id,
            )

    def _new_artifacts(self, assembly: Assembly) -> Iterator[ArtifactReceived]:
        for key, artifact in assembly.artifacts.items():
            texts = tuple(artifact.texts)
            if self._artifacts.get(key) != texts:
                self._artifacts[key] = texts
                yield ArtifactReceived(name=artifact.name, texts=texts)


def _strings(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else compact_json(value) for key, value in metadata.items()}
