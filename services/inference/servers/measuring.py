"""What the engine of a job said of itself while it started. Nobody watches a job, so whoever finds it ready reads its log."""

from __future__ import annotations

from services.inference.engines.base import EngineFacts
from services.inference.engines.log import facts as facts_of
from services.inference.failures import InferenceError
from services.inference.launchers.failing import last_text
from services.inference.launchers.foretold import Foretold
from services.inference.launchers.registry import launcher_of
from services.inference.launchers.slurm_script import log_files
from services.inference.servers.registry import Registry, ServerFacts
from services.inference.servers.survey import Known


def measured(registry: Registry, server: Known) -> str:
    """Note version and size of the KV cache of a SLURM job, unless they are known; a warning when the plan was wrong, else ""."""
    facts = server.facts
    if facts is None or launcher_of(server.id) != "slurm" or facts.version or facts.kv_measured_tokens:
        return ""
    said = _said(facts)
    if said == EngineFacts():
        return ""
    known = {"version": said.version, "kv_measured_tokens": said.kv_tokens, "concurrency": said.concurrency}
    try:
        registry.note(facts.model_copy(update=known))
    except InferenceError as error:
        return f"{server.id}: {error}"
    if said.kv_tokens is None or facts.kv_planned_tokens is None:
        return ""
    warning = Foretold(tokens=facts.kv_planned_tokens).contradicted_by(said.kv_tokens)
    return f"warning: {server.id}: {warning}" if warning else ""


def _said(facts: ServerFacts) -> EngineFacts:
    files = [file for named in (facts.output, facts.log) if named for file in log_files(named)[-1:]]
    return facts_of("".join(map(last_text, files)))
