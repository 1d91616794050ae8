"""The real green inside the running event loop, and what a client gets from it."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.contract.a2a.client import AgentClient, ArtifactReceived, Ended, Progress
from services.contract.assessment import (
    ARTIFACT_RESULT,
    KIND_TASK_RESULT,
    META_KIND,
)
from services.contract.results import AssessmentResult, TaskResult
from services.green_agent.assessment import Limits
from services.green_agent.executor import GreenExecutor, GreenSettings
from services.green_agent.files import FileShelf
from services.green_agent.toolbox import SandboxSettings, Toolbox
from tests.support.a2a_server import serving

OPTIONS_AND_CODE = Path(__file__).parent / "options_and_code.yaml"
FAST = Limits(backoff_s=(0.01, 0.02), probe_every_s=0.05, give_up_after_s=0.2)


@dataclass
class Seen:
    """What a client of green saw of one assessment."""

    updates: list[str] = field(default_factory=list)
    rows: list[TaskResult] = field(default_factory=list)
    artifacts: dict[str, list[str]] = field(default_factory=dict)
    state: str = ""
    text: str = ""

    @property
    def result(self) -> AssessmentResult:
        """The artifact `evaluation_result`, read."""
        return AssessmentResult.model_validate_json(self.artifacts[ARTIFACT_RESULT][0])


@asynccontextmanager
async def green(
    *,
    suite: Path | None = None,
    limits: Limits = FAST,
    sandbox: SandboxSettings | None = None,
    progress_s: float = 30.0,
) -> AsyncIterator[str]:
    """Serve the evaluator; yields its URL."""
    shelf = FileShelf()
    toolbox = Toolbox(sandbox or SandboxSettings(allow_unsafe=True), shelf=shelf)
    settings = GreenSettings(suite_path=suite or OPTIONS_AND_CODE, limits=limits, progress_every_s=progress_s)
    executor = GreenExecutor(settings, toolbox)
    async with serving(executor, mount=shelf.mount) as url:
        yield url
    await executor.aclose()


async def assess(
    green_url: str, purple_url: str, config: Mapping[str, object] | None = None, *, text: str | None = None
) -> Seen:
    """Send one request and follow it to its end; `text` replaces the whole request."""
    seen = Seen()
    async with aclosing(AgentClient(green_url)) as client:
        async for event in client.watch(text or _request(purple_url, config), deadline=None):
            match event:
                case Progress() if event.metadata.get(META_KIND) == KIND_TASK_RESULT:
                    seen.rows.append(TaskResult.model_validate_json(event.text))
                case Progress():
                    seen.updates.append(event.text)
                case ArtifactReceived():
                    seen.artifacts[event.name] = list(event.texts)
                case Ended():
                    seen.state, seen.text = event.state, event.text
    return seen


async def rows_of(green_url: str, purple_url: str, config: Mapping[str, object]) -> AsyncIterator[TaskResult]:
    """The rows of one assessment as each comes."""
    async with aclosing(AgentClient(green_url)) as client:
        async for event in client.watch(_request(purple_url, config), deadline=None):
            if isinstance(event, Progress) and event.metadata.get(META_KIND) == KIND_TASK_RESULT:
                yield TaskResult.model_validate_json(event.text)


def _request(purple_url: str, config: Mapping[str, object] | None) -> str:
    return json.dumps({"participants": {"agent": purple_url}, "config": config or {}})
