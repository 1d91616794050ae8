"""Files in which other tools and ours say where servers are: `services.txt` and `model_config_local.json`.

Specification: inference 4, "Files shared with other tools". Nothing here asks a server anything.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated, Final, Literal

import structlog
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

log = structlog.get_logger()

Status = Literal["starting", "running", "stopped"]
CONFIG_PATH_KEY: Final = "vllm_model_config_path"
"""Of model_config_local.json: says where the file itself lies; not a model."""
_FIELDS: Final = 9
_HOST: Final = re.compile(r"[A-Za-z0-9_.:%-]{1,253}")


class EndpointFileError(ValueError):
    """A file does not say where the model is. The text names the file, what is wrong and what it lists instead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceLine:
    """One line of `services.txt`: `JOB_ID|HOSTNAME|HOST_IP|PORT|MODEL_PATH|START_TIME|STATUS[|END_TIME|EXIT_CODE]`."""

    job_id: str
    hostname: str
    host_ip: str
    port: int
    model_path: str
    start_time: str
    """As written: seconds since the epoch or `YYYY-mm-dd HH:MM:SS`."""
    status: str
    """`starting`, `running` or `stopped`; another word of another tool is kept."""
    end_time: str = ""
    exit_code: str = ""
    """A number, `lost`, or nothing."""

    @property
    def url(self) -> str:
        """Base URL ending in /v1."""
        return _url(self.host_ip or self.hostname, self.port)

    def render(self) -> str:
        """The line without its end. Raises EndpointFileError for a field with `|` or a line break."""
        fields = [self.job_id, self.hostname, self.host_ip, str(self.port), self.model_path, self.start_time]
        fields.append(self.status)
        if self.end_time or self.exit_code:
            fields += [self.end_time, self.exit_code]
        if not _is_host(self.host_ip or self.hostname):
            raise EndpointFileError(f"services.txt cannot hold the host {self.host_ip or self.hostname!r}")
        for field in fields:
            if any(mark in field for mark in "|\n\r"):
                raise EndpointFileError(f"services.txt cannot hold {field!r}: a field has no `|` and no line break")
        if self.job_id.startswith("#"):
            raise EndpointFileError(f"services.txt cannot hold the job id {self.job_id!r}: `#` begins a comment")
        return "|".join(fields)


def parse_line(text: str) -> ServiceLine | None:
    """The service of a line; None for comments, short lines and what else is no service, which are kept and ignored."""
    fields = [field.strip() for field in text.split("|")]
    if text.lstrip().startswith("#") or not 7 <= len(fields) <= _FIELDS or not _is_port(fields[3]):
        return None
    if not _is_host(fields[2] or fields[1]):
        return None
    job_id, hostname, host_ip, port, model_path, start_time, status, end_time, exit_code = (
        *fields,
        *[""] * (_FIELDS - len(fields)),
    )
    return ServiceLine(
        job_id=job_id,
        hostname=hostname,
        host_ip=host_ip,
        port=int(port),
        model_path=model_path,
        start_time=start_time,
        status=status,
        end_time=end_time,
        exit_code=exit_code,
    )


def parse_services(text: str) -> Sequence[ServiceLine]:
    """The services of a file's text in its order."""
    return [line for raw in text.split("\n") if (line := parse_line(raw)) is not None]


def read_text(path: Path) -> str:
    """The text of a file whose encoding nobody promised: bytes that are no UTF-8 survive being written again."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


def replace_text(path: Path, text: str) -> None:
    """Write the file whole or not at all: a copy beside it, then a rename, which keeps the permissions."""
    target = path.resolve()
    copy = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        with copy.open("xb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            if target.exists():
                os.fchmod(file.fileno(), target.stat().st_mode & 0o777)
            file.flush()
            os.fsync(file.fileno())
        copy.replace(target)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise


def _host(text: str) -> str:
    if not _is_host(text):
        raise ValueError("expected the name or the address of a machine")
    return text


class Address(BaseModel):
    """Where one server of a model listens."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ip_addr: Annotated[str, AfterValidator(_host)]
    port: Annotated[int, Field(ge=1, le=65535)]

    @property
    def url(self) -> str:
        """Base URL ending in /v1."""
        return _url(self.ip_addr, self.port)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A model of a file and its servers."""

    model: str
    """As the file calls it."""
    urls: tuple[str, ...]
    notice: str = ""
    """Said aloud: the file calls the model otherwise than the caller."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """What `model_config_local.json` says: `{"MODEL": [{"ip_addr": "…", "port": "…"}], "vllm_model_config_path": "…"}`."""

    models: Mapping[str, tuple[Address, ...]]
    config_path: str | None = None

    def find(self, model: str | None, *, where: str) -> Found:
        """The servers of a model: by its exact key, by a key that names the same model, or the sole key with a notice.

        Raises EndpointFileError that calls the file `where` and lists its keys.
        """
        servers = {name: tuple(address.url for address in addresses) for name, addresses in self.models.items()}
        return _find(servers, model, where=where)


def read_model_config(path: Path) -> ModelConfig:
    """`model_config_local.json` with ports as numbers or strings. Raises EndpointFileError."""
    try:
        raw = _WHOLE.validate_json(path.read_bytes())
    except OSError as error:
        raise EndpointFileError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        raise EndpointFileError(f"{path}: expected a JSON object of models; {_first(error)}") from error
    config_path = raw.pop(CONFIG_PATH_KEY, None)
    if not isinstance(config_path, str | None):
        raise EndpointFileError(f"{path}: {CONFIG_PATH_KEY} must be text, got {config_path!r}")
    models = {}
    for name, value in raw.items():
        try:
            models[name] = _ADDRESSES.validate_python(value)
        except ValidationError as error:
            raise EndpointFileError(
                f'{path}: the servers of {name!r} must be [{{"ip_addr": "…", "port": "…"}}, …]; {_first(error)}'
            ) from error
    return ModelConfig(models=models, config_path=config_path)


def write_model_config(path: Path, config: ModelConfig) -> None:
    """Write the file whole or not at all, with string ports, as its other readers expect."""
    whole: dict[str, object] = {
        name: [{"ip_addr": address.ip_addr, "port": str(address.port)} for address in addresses]
        for name, addresses in config.models.items()
    }
    if config.config_path is not None:
        whole[CONFIG_PATH_KEY] = config.config_path
    replace_text(path, TypeAdapter(dict[str, object]).dump_json(whole, indent=2).decode() + "\n")


def urls_of_file(path: Path, model: str | None) -> tuple[str, ...]:
    """Base URLs, ending in /v1, of the servers that a `services.txt` or a `model_config_local.json` names for a model.

    `model` None: the file's sole one. Of services.txt only what is running counts. Which kind of file it is, its content says.
    Raises EndpointFileError when the file names no such server; whether one answers is for the caller to find out.
    """
    found = find_in_file(path, model)
    if found.notice:
        log.warning("endpoint_file_model_differs", notice=found.notice)
    return found.urls


def find_in_file(path: Path, model: str | None) -> Found:
    """Like `urls_of_file`, with the file's own name of the model."""
    try:
        text = read_text(path)
    except OSError as error:
        raise EndpointFileError(f"{path}: {error.strerror}") from error
    if text.lstrip().startswith("{"):
        return read_model_config(path).find(model, where=str(path))
    lines = parse_services(text)
    running: dict[str, tuple[str, ...]] = {}
    for line in lines:
        if line.status == "running":
            running[line.model_path] = tuple(dict.fromkeys((*running.get(line.model_path, ()), line.url)))
    if not running:
        states = ", ".join(sorted({line.status for line in lines}))
        there = f"{len(lines)} services, all of them {states}" if lines else "no service"
        raise EndpointFileError(f"{path}: names no running server ({there}); start one with `inference up`")
    return _find(running, model, where=str(path))


def same_model(asked: str, known: str) -> bool:
    """Whether two names mean one model: they are equal, or one is the last part of the other, which is a path or a hub id."""
    if asked == known:
        return True
    short, long = sorted((asked, known), key=len)
    return bool(short) and "/" not in short and long.rstrip("/").rpartition("/")[2] == short


_WHOLE: Final = TypeAdapter(dict[str, object])
_ADDRESSES: Final[TypeAdapter[tuple[Address, ...]]] = TypeAdapter(Annotated[tuple[Address, ...], Field(min_length=1)])


def _find(servers: Mapping[str, tuple[str, ...]], model: str | None, *, where: str) -> Found:
    names = sorted(servers)
    alike = [name for name in names if model is not None and same_model(model, name)]
    if model is not None and (exact := model if model in servers else alike[0] if len(alike) == 1 else None):
        return Found(model=exact, urls=servers[exact])
    if len(names) == 1:
        notice = f"{where} names only {names[0]!r}; its servers are used for {model!r}" if model is not None else ""
        return Found(model=names[0], urls=servers[names[0]], notice=notice)
    listed = ", ".join(map(repr, names)) or "no model at all"
    fault = "no model was asked for" if model is None else f"{model!r} could be several" if alike else f"no {model!r}"
    raise EndpointFileError(f"{where}: {fault}; it lists {listed}")


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


def _is_host(text: str) -> bool:
    """Names and addresses only: it becomes a part of URLs, which others put into lists and shells."""
    if _HOST.fullmatch(text) is None:
        return False
    try:
        return ":" not in text or bool(IPv6Address(text))
    except ValueError:
        return False


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= 65535


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, fault["loc"]))
    return f"{place}: {fault['msg']}" if place else fault["msg"]
