"""One agent of a scenario: how it is started or reached, and what it is given (interop specification 5)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    field_validator,
    model_validator,
)

from services.runner.environment import NAME, reference_fault

GREEN: Final = "green"
REFERENCE: Final = "reference"
"""`model_endpoint` of the engine without weights that comes with Assay; the runner starts it."""
EGRESS: Final = "egress"
"""What an isolated agent calls the one container through which it reaches its model."""
RESERVED: Final = frozenset(
    {"green-agent", "agentbeats-client", "gateway", GREEN, "proxy", "results", "reference-engine", EGRESS, "localhost"}
)
"""Names that platforms and the runner give to parts of their own, and that of whoever asks."""
ROLE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
AGENTBEATS_ID: Final = re.compile(r"[0-9]{1,19}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HOST_PART: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_PATH_PART: Final = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
IMAGE: Final = re.compile(
    rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*(?::[0-9]{{1,5}})?/)?{_PATH_PART}(?:/{_PATH_PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
LONGEST_IMAGE: Final = 255
ENGINE: Final = "inference"
"""Name of the reference engine on the networks of containers."""
ENGINE_PORT: Final = 8000
EGRESS_PORT: Final = 3128
ADDRESS_NAMES: Final = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
"""Variables that tell an agent where its model is (interop specification 9)."""
_TOKEN_FLAG: Final = "--auth-token-env"  # noqa: S105 - a flag
_OURS: Final = frozenset({"assay-green", "assay-purple", "assay-inference", "assay-sandbox", "assay-runner"})
Kind = Literal["command", "image", "endpoint", "id"]


def image_fault(value: object) -> str | None:
    """Why this is no image reference, or None."""
    if isinstance(value, str) and len(value) <= LONGEST_IMAGE and IMAGE.fullmatch(value):
        return None
    return f"expected an image reference [host[:port]/]path[:tag][@sha256:digest] of at most {LONGEST_IMAGE} characters"


def is_ours(image: str) -> bool:
    """Whether an image is one of Assay's, by its name."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0] in _OURS


def _text_value(value: object) -> object:
    """Values of `env` may be numbers and booleans; a process gets text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _identifier(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _variable_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no variable name: letters, digits and _, not beginning with a digit")
    return name


EnvValue = Annotated[str, BeforeValidator(_text_value)]
VariableName = Annotated[str, AfterValidator(_variable_name)]


class Limits(BaseModel):
    """Bounds of a container."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    cpus: float | None = Field(default=None, gt=0, allow_inf_nan=False, strict=True)
    memory: str | None = Field(default=None, pattern=r"^[1-9][0-9]*[bkmgBKMG]?$")
    """Docker's form, for example `2g`."""
    pids: int | None = Field(default=None, gt=0, strict=True)


class AgentSpec(BaseModel):
    """One agent of a scenario, as its table says."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    role: str
    """Name in the run: logs, containers and results use it."""
    endpoint: str | None = None
    """Address; without it the agent's port is chosen when it starts."""
    cmd: str | None = None
    """Command line, split by shlex, run without a shell in its own process group."""
    image: str | None = None
    """Container image to start."""
    agentbeats_id: Annotated[str | None, BeforeValidator(_identifier)] = None
    """Its name on agentbeats.dev. Alone it stands for an image, which `with_images` finds."""
    env: dict[str, EnvValue] | None = None
    """Variables as written, references unresolved. None: the agent inherits our whole environment."""
    args: tuple[str, ...] = ()
    """Appended to `cmd` or to the image's command."""
    cwd: str | None = None
    """Working folder of `cmd`, relative to the current one."""
    inherit_env: StrictBool | tuple[VariableName, ...] | None = None
    """true: our whole environment; false: PATH, HOME, LANG, LC_*, TMPDIR; a list: these and the names in it."""
    a2a_version: Literal["1.0", "0.3"] | None = None
    card_url: Literal["follow"] | None = None
    token_env: VariableName | None = None
    """Variable with the agent's bearer token; made up for the run when it is not set and the agent is started here."""
    start_timeout: float | None = Field(default=None, ge=0.001, le=86_400, strict=True)
    """Seconds until the card must be there."""
    limits: Limits | None = None
    model_endpoint: str | None = None
    """URL given to the agent as OPENAI_BASE_URL and OPENAI_API_BASE, or `reference`."""
    free_port: bool | Literal["told"] = Field(default=False, exclude=True)
    """Ours, not in files. True: append `--port 0 --ready-file FILE` to `cmd` and read the address from the file. told: choose
    a free port when it starts, and put it in the place of `{port}`, else append `--host 127.0.0.1 --port N`."""

    @property
    def kind(self) -> Kind:
        """What it is started from: a command, an image, the image of an id, or nothing, since it runs at its endpoint."""
        if self.cmd is not None:
            return "command"
        if self.image is not None:
            return "image"
        return "id" if self.endpoint is None and not self.free_port else "endpoint"

    @field_validator("endpoint", "model_endpoint")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None and value != REFERENCE:
            check_url(value)
        return value

    @field_validator("cmd")
    @classmethod
    def _splits(cls, value: str | None) -> str | None:
        if value is not None and not shlex.split(value):
            raise ValueError("expected a command")
        return value

    @field_validator("agentbeats_id")
    @classmethod
    def _is_identifier(cls, value: str | None) -> str | None:
        if value == "":
            raise ValueError("it is empty: fill in the agent's id on agentbeats.dev, or name an image or an endpoint")
        if value is not None and not AGENTBEATS_ID.fullmatch(value):
            raise ValueError("expected a UUID or a whole number")
        return value

    @field_validator("image")
    @classmethod
    def _is_image(cls, value: str | None) -> str | None:
        if value == "":
            raise ValueError("it is empty: fill it in, or remove the line and name an agentbeats_id or an endpoint")
        if value is not None and (fault := image_fault(value)):
            raise ValueError(fault)
        return value

    @field_validator("cmd", "cwd", "args")
    @classmethod
    def _can_be_passed(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        if value is not None and any("\0" in text for text in value):
            raise ValueError("a NUL character cannot be passed")
        return value

    @field_validator("env")
    @classmethod
    def _names_and_references(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for name, template in (value or {}).items():
            _variable_name(name)
            if "\0" in template:
                raise ValueError(f"{name}: a NUL character cannot be passed")
            if fault := reference_fault(template):
                raise ValueError(f"{name}: {fault}")
        return value

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if self.cmd is not None and self.image is not None:
            raise ValueError("cmd and image are both given: choose one")
        if self.cmd is not None and self.endpoint is None and not self.free_port:
            raise ValueError("cmd needs an endpoint: the address where the command will listen")
        if self.kind == "id" and self.agentbeats_id is None:
            raise ValueError("an endpoint, an image or an agentbeats_id is needed")
        if self.image is not None and self.endpoint is not None:
            _check_published(self.endpoint)
        if self.kind == "endpoint":
            self._refuse("an agent that is already running", "env", "args", "cwd", "inherit_env", "model_endpoint")
        if self.kind not in {"image", "id"}:
            self._refuse("an agent without image", "limits")
        if self.cmd is None:
            self._refuse("an agent without cmd", "cwd", "inherit_env")
        return self

    def _refuse(self, whom: str, *keys: str) -> None:
        if given := [key for key in keys if getattr(self, key)]:
            raise ValueError(f"{', '.join(given)} has no effect on {whom}")


def _check_published(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    if parts.hostname not in {"127.0.0.1", "localhost"} or parts.port is None:
        raise ValueError("endpoint of an image is where its port is published: http://127.0.0.1:PORT")


def check_url(value: str) -> None:
    """Raises ValueError, without the address, for what is no http or https URL of an agent or a model."""
    # urlsplit drops line ends and tabs silently.
    if any(letter.isspace() or not letter.isprintable() for letter in value):
        raise ValueError("expected an http or https URL without blanks")
    parts: SplitResult = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise ValueError("expected an http or https URL without user info")
    if parts.port == 0:
        raise ValueError("port 0 is no address")


def with_token(agent: AgentSpec, name: str, words: Sequence[str] = ()) -> AgentSpec:
    """An agent of ours that asks for the bearer token in variable `name`, unless its `words` or `args` say that already."""
    if any(word.partition("=")[0] == _TOKEN_FLAG for word in (*words, *agent.args)):
        return agent
    return agent.model_copy(update={"token_env": name, "args": (*agent.args, _TOKEN_FLAG, name)})
