"""Variables that every engine gets: where weights are, no network where none is needed, no reports to anybody."""

from __future__ import annotations

from pathlib import PurePath

from services.inference.engines.base import Place, Serving
from services.inference.planning.planner import Plan


def environment(plan: Plan, serving: Serving, place: Place) -> dict[str, str]:
    """The variables. The hub token is no part of them: it is a file, read by the step that fetches."""
    env = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if place.cache is not None:
        env["HF_HOME"] = place.cache
    if is_fetched(plan, serving, place):
        env |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if place.gpus:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(place.gpus)
    return env


def is_fetched(plan: Plan, serving: Serving, place: Place) -> bool:
    """Nothing is left to download."""
    return place.weights is not None or serving.revision is not None or is_local(plan.request.preset.id)


def revision_of(plan: Plan, serving: Serving, place: Place) -> str | None:
    """The commit that the engine must be told; None where it loads a folder, or none is known."""
    if place.weights is not None or is_local(plan.request.preset.id):
        return None
    return serving.revision or plan.request.preset.revision


def is_local(model: str) -> bool:
    """A directory and no hub id, which is `NAME` or `OWNER/NAME`."""
    return model.startswith((".", "~")) or PurePath(model).is_absolute() or model.count("/") > 1


def model_of(plan: Plan, place: Place) -> str:
    """What the engine is told to load: the fetched folder, else the preset's id."""
    return place.weights or plan.request.preset.id
