"""The parts of Amber manifests that we read. What Amber knows besides (mounts, resources, overlays) is left to Amber."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError
from pydantic import model_validator as model_check

_VERSION: Final = re.compile(r"0\.[1-9]\d*\.\d+")
M = TypeVar("M", bound=BaseModel)


def _without_dots(name: str) -> str:
    if "." in name or not name:
        raise ValueError(f"{name!r}: a name of Amber is not empty and holds no dot")
    return name


def _version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise ValueError(f"expected a version from 0.1.0 to below 1.0.0, got {text!r}")
    return text


def _absent_is_empty(value: object) -> object:
    return {} if value is None else value


Name = Annotated[str, AfterValidator(_without_dots)]
Config = Annotated[dict[str, JsonValue], BeforeValidator(_absent_is_empty)]
Version = Annotated[str, AfterValidator(_version)]


class _Part(BaseModel):
    # Amber ignores keys that it does not know, and so do we; those at the top are warned of.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, use_attribute_docstrings=True)


class Endpoint(_Part):
    """A port on which a program listens."""

    name: str
    port: int = Field(ge=1, le=65_535)


class Network(_Part):
    """What a program listens on."""

    endpoints: list[Endpoint] = Field(default_factory=list)


class Program(_Part):
    """The container of a component."""

    image: str | None = None
    entrypoint: str | list[JsonValue] | None = None
    """Replaces the ENTRYPOINT of the image and its CMD."""
    env: dict[str, JsonValue] = Field(default_factory=dict)
    network: Network = Network()


class Slot(_Part):
    """A capability that a component takes."""

    kind: str
    optional: bool = False


class Provide(_Part):
    """A capability that a component gives."""

    kind: str
    endpoint: str


class Component(_Part):
    """The manifest of a component."""

    manifest_version: Version
    program: Program | None = None
    config_schema: dict[str, JsonValue] | None = None
    slots: dict[Name, Slot] = Field(default_factory=dict)
    provides: dict[Name, Provide] = Field(default_factory=dict)
    exports: dict[Name, str] = Field(default_factory=dict)


class Child(_Part):
    """A component as the root names it."""

    url: str
    digest: str | None = None
    config: Config = Field(default_factory=dict)

    @model_check(mode="before")
    @classmethod
    def _one_form(cls, raw: object) -> object:
        """`"url"`, `{url, digest}` and `{manifest, config}` are the same thing."""
        if isinstance(raw, str):
            return {"url": raw}
        if isinstance(raw, dict) and "manifest" in raw:
            manifest = raw["manifest"]
            reference = manifest if isinstance(manifest, dict) else {"url": manifest}
            return {"url": reference.get("url"), "digest": reference.get("digest"), "config": raw.get("config")}
        return raw


class Binding(_Part):
    """A capability of one component for the slot of another."""

    to: str = Field(pattern=r"^#[^.#]+\.[^.#]+$")
    source: str = Field(alias="from")
    weak: bool = False

    @model_check(mode="before")
    @classmethod
    def _one_form(cls, raw: object) -> object:
        """`{to, slot, from, capability}` is `{to: "to.slot", from: "from.capability"}`."""
        if not isinstance(raw, dict):
            return raw
        joined = dict(raw)
        for reference, name in (("to", "slot"), ("from", "capability")):
            if name in raw:
                joined[reference] = f"{raw.get(reference)}.{raw[name]}"
        return joined

    @property
    def target(self) -> tuple[str, str]:
        """Component and slot that it fills."""
        component, _, slot = self.to.removeprefix("#").partition(".")
        return component, slot

    @property
    def giver(self) -> tuple[str, str] | None:
        """Component and capability that it comes from; None when it is none of a component."""
        if not self.source.startswith("#"):
            return None
        component, _, capability = self.source.removeprefix("#").partition(".")
        return component, capability


class Metadata(_Part):
    """What AgentBeats keeps in the metadata."""

    agentbeats_ids: dict[str, str | int] = Field(default_factory=dict)


class Root(_Part):
    """`scenario.json5`."""

    manifest_version: Version
    config_schema: dict[str, JsonValue] | None = None
    components: dict[Name, Child]
    bindings: list[Binding] = Field(default_factory=list)
    exports: dict[Name, str] = Field(default_factory=dict)
    metadata: Metadata = Metadata()


class GatewayConfig(_Part):
    """What the gateway is told."""

    participant_roles: dict[str, str]
    """Slot of the gateway -> role."""
    assessment_config: dict[str, JsonValue]


KNOWN_KEYS: Final = (
    *("manifest_version", "experimental_features", "program", "components", "use", "config_schema", "slots"),
    *("resources", "provides", "bindings", "overlays", "exports", "metadata", "environments"),
)


def parse(model: type[M], raw: Mapping[str, JsonValue], faults: list[str], *, where: str = "") -> M | None:
    """The part read, or None with its faults added. Values are not repeated: they may be secrets."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            place = ".".join([where, *(str(step) for step in fault["loc"] if step != "[key]")]).strip(".")
            message = fault["msg"].removeprefix("Value error, ")
            got = "" if fault["type"] in {"missing", "value_error"} else f", got {type(fault['input']).__name__}"
            faults.append(f"{place}: {message}{got}")
        return None
