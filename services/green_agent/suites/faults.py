"""What pydantic found wrong with a suite, in words: file, line, key path and the nearest valid key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from services.contract.assessment import nearest
from services.contract.secrets import redact
from services.green_agent.suites.document import SECRET_KEYS, Document, KeyPath

LONGEST_VALUE: Final = 80


def explained(error: ValidationError, document: Document, *, model: type[BaseModel], at: KeyPath = ()) -> list[str]:
    """Every fault of a model that stands at a key path of the document. Values under secret keys are not shown."""
    faults = []
    for fault in error.errors(include_url=False):
        path = (*at, *_known_path(fault["loc"], document, at))
        if path in document.faults:
            continue
        where = document.where(path)
        if fault["type"] == "extra_forbidden":
            known = _keys(_model_at(model, fault["loc"][:-1]))
            faults.append(f"{where}: unknown key{nearest(str(fault['loc'][-1]), known)}")
        elif fault["type"] == "missing":
            faults.append(f"{where}: required, and not there")
        else:
            said = fault["msg"].removeprefix("Value error, ")
            faults.append(f"{where}: {said}{_got(fault['input'], path)}")
    return faults


def _known_path(loc: Sequence[str | int], document: Document, at: KeyPath) -> KeyPath:
    """The steps that stand in the file; pydantic adds names of union members and the like. The last is kept if it is new."""
    path: list[str | int] = []
    for place, step in enumerate(loc):
        if (*at, *path, step) in document.lines or place == len(loc) - 1:
            path.append(step)
    return tuple(path)


def _got(value: object, path: KeyPath) -> str:
    """What came, unless it is a secret or may hold one."""
    if SECRET_KEYS.intersection(map(str, path)) or isinstance(value, dict | list | tuple | BaseModel):
        return ""
    text = redact(repr(value))
    return f", got {text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + '...'}"


def _keys(model: type[BaseModel] | None) -> Iterable[str]:
    return () if model is None else model.model_fields


def _model_at(model: type[BaseModel] | None, loc: Sequence[str | int]) -> type[BaseModel] | None:
    """The model that validates the mapping at `loc`; None when it is not a model of ours."""
    for step in loc:
        if model is None:
            return None
        if step in model.model_fields:
            model = _inner(model.model_fields[str(step)].annotation)
    return model


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The model inside `M | None`, `tuple[M, ...]`, `Annotated[M, ...]` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _inner(part)) is not None), None)
