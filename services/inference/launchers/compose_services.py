"""From a plan to a compose file: replicas with GPUs of their own, the step that fetches, the router, and who waits for them.

Networks: replicas are on `models`, which has no way out. Only `fetch` reaches the internet. A published port needs a second
network, which has no way out either: it does not translate addresses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from math import ceil
from pathlib import Path
from typing import Final

from services.inference.engines.base import Command, Place, Serving
from services.inference.engines.environment import is_local
from services.inference.engines.registry import engine
from services.inference.failures import UsageError
from services.inference.launchers.compose_file import (
    Aliases,
    Bind,
    ComposeFile,
    Config,
    Dependency,
    Deploy,
    Device,
    Healthcheck,
    Mounted,
    Network,
    Reservations,
    Resources,
    Secret,
    Service,
    Ulimits,
    Volume,
    literal,
)
from services.inference.planning.planner import Plan, on_cpu, weights_gib
from services.inference.planning.presets import Catalogue

PORT: Final = 8000
"""Inside every container."""
REFERENCE_IMAGE: Final = "assay-inference:${ASSAY_TAG:-latest}"
ROUTER_IMAGE: Final = "assay-router:${ASSAY_TAG:-latest}"
SECRET_FILES: Final = {"hf_token": "${HF_TOKEN_FILE:-/dev/null}", "engine_key": "${ENGINE_KEY_FILE:-/dev/null}"}
"""Files of the host; without a variable there is no secret, which is an empty file."""
_MODELS: Final = "/models"
_HOME: Final = f"{_MODELS}/hf"
_FILES: Final = "/run/assay"
_CACHES: Final = {
    "XDG_CACHE_HOME": f"{_MODELS}/cache",
    "TRITON_CACHE_DIR": f"{_MODELS}/cache/triton",
    "TORCHINDUCTOR_CACHE_DIR": f"{_MODELS}/cache/inductor",
}
_CLOSED: Final = Network(internal=True, driver_opts={"com.docker.network.bridge.inhibit_ipv4": "true"})
_PUBLISHED: Final = Network(driver_opts={"com.docker.network.bridge.enable_ip_masquerade": "false"})
_SERVICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_WITH_SECRETS: Final = 'exec "$@"'
_FETCH: Final = """\
import json, pathlib, sys
from huggingface_hub import snapshot_download
model, revision, link = sys.argv[1:4]
place = pathlib.Path(snapshot_download(model, revision=revision or None))
print(json.dumps({"model": model, "revision": place.name}), flush=True)
if link:
    there = pathlib.Path(link)
    there.parent.mkdir(parents=True, exist_ok=True)
    there.unlink(missing_ok=True)
    there.symlink_to(place)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComposeOptions:
    """How containers differ from other launches."""

    gpu_ids: tuple[int, ...] = ()
    """Numbers of the host's GPUs; empty: from 0 on."""
    router: bool = False
    publish: str | None = None
    """`ADDRESS:PORT` of the first replica, or of the router; the next replicas have the next ports."""
    ipc_host: bool = False
    start_period_s: int | None = None
    """Time in which a failed health check means nothing; None: by the weights."""
    consumers: tuple[str, ...] = ()
    """Services of another file of the project that wait for the first replica and are told where the model is."""
    forced: bool = False
    """Started although the planner called it impossible; for the record."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Everything that a compose file is made of."""

    plan: Plan
    serving: Serving
    count: int
    options: ComposeOptions
    known: Catalogue
    project: str = "assay"
    ports: tuple[str, ...] | None = None
    """`ADDRESS:PORT` of each replica, in place of `options.publish`."""


def compose_file(wanted: Wanted) -> ComposeFile:
    """The file. Raises EngineRefusalError, UsageError for GPUs that are too few and for a CPU build."""
    _check(wanted)
    services = dict(_services(wanted))
    outside = any(service.ports for service in services.values())
    networks = {"models": _CLOSED}
    if "fetch" in services:
        networks["fetch"] = Network()
    if outside:
        networks["published"] = _PUBLISHED
    configs = {
        name: Config(content=literal(text)) for index in range(wanted.count) for name, text in _configs(wanted, index)
    }
    secrets = dict.fromkeys(name for service in services.values() for name in service.secrets)
    return ComposeFile(
        name=wanted.project,
        services=services,
        networks=networks,
        volumes={"hf-cache": Volume(name="${HF_CACHE_VOLUME:-assay-hf-cache}")} if _has_weights(wanted) else None,
        secrets={name: Secret(file=SECRET_FILES[name]) for name in secrets} or None,
        configs=configs or None,
    )


def name_of(wanted: Wanted, index: int) -> str:
    """The service of a replica."""
    return f"{wanted.plan.request.engine}-{index}"


def urls(wanted: Wanted) -> tuple[str, ...]:
    """Base URLs on the network `models`."""
    return tuple(f"http://{name_of(wanted, index)}.models:{PORT}/v1" for index in range(wanted.count))


def start_period_s(plan: Plan) -> int:
    """How long the first health checks may fail: weights are read from a disk, then compiled for. Seconds."""
    preset = plan.request.preset
    return ceil(300 + 2.5 * weights_gib(preset.checkpoint, preset))


def gpu_groups(plan: Plan, options: ComposeOptions, count: int) -> tuple[tuple[int, ...], ...]:
    """GPUs of each replica, by their numbers. Raises UsageError when there are too few."""
    if on_cpu(plan.request):
        return ((),) * count
    ids = options.gpu_ids or tuple(range(count * plan.tp))
    if len(ids) < count * plan.tp:
        raise UsageError(f"{count} servers of TP {plan.tp} need {count * plan.tp} GPUs, --gpu-ids names {len(ids)}")
    return tuple(ids[index * plan.tp : (index + 1) * plan.tp] for index in range(count))


def _check(wanted: Wanted) -> None:
    request = wanted.plan.request
    if on_cpu(request) and request.engine != "reference":
        raise UsageError(
            f"the image of {request.engine} needs GPUs; a CPU build runs with `inference up --launcher local`"
        )
    if request.engine not in {*wanted.known.engines, "reference"}:
        raise UsageError(f"no image is known for {request.engine}; those with one: {', '.join(wanted.known.engines)}")
    if wanted.serving.adapters:
        raise UsageError("adapters are folders of this machine; start them with `inference up --launcher local`")
    own = {"fetch", "router", *(name_of(wanted, index) for index in range(wanted.count))}
    for consumer in wanted.options.consumers:
        if consumer in own or not _SERVICE.fullmatch(consumer):
            raise UsageError(f"--consumer {consumer!r} is no name of a service of another file")
    gpu_groups(wanted.plan, wanted.options, wanted.count)


def _services(wanted: Wanted) -> Iterator[tuple[str, Service]]:
    if _is_fetched(wanted):
        yield "fetch", _fetch(wanted)
    for index in range(wanted.count):
        yield name_of(wanted, index), _replica(wanted, index)
    if wanted.options.router:
        yield "router", _router(wanted)
    for consumer in wanted.options.consumers:
        yield consumer, _consumer(wanted)


def _has_weights(wanted: Wanted) -> bool:
    return wanted.plan.request.engine != "reference"


def _is_fetched(wanted: Wanted) -> bool:
    return _has_weights(wanted) and not is_local(wanted.plan.request.preset.id)


def _image(wanted: Wanted) -> str:
    name = wanted.plan.request.engine
    return REFERENCE_IMAGE if name == "reference" else wanted.known.engines[name].image


def _profile(wanted: Wanted) -> tuple[str, ...]:
    return (wanted.plan.request.engine,)


def _folder(wanted: Wanted) -> str | None:
    """Where the engine finds the checkpoint; None: in the hub's cache, by its id."""
    if not _has_weights(wanted):
        return None
    if is_local(wanted.plan.request.preset.id):
        return f"{_MODELS}/local/{wanted.serving.served_name}"
    if wanted.plan.request.engine == "trtllm":  # it takes folders only
        return f"{_MODELS}/weights/{wanted.serving.served_name}"
    return None


def _command(wanted: Wanted, index: int) -> Command:
    chosen = engine(wanted.plan.request.engine)
    place = Place(
        index=index,
        host="0.0.0.0",  # noqa: S104 - of the container, whose network decides who gets there
        port=PORT,
        program="inference" if chosen.name == "reference" else None,
        cache=_HOME if _has_weights(wanted) else None,
        weights=_folder(wanted),
        templates=chosen.image_templates,
        key_file="/run/secrets/engine_key" if chosen.takes_key else None,
    )
    return chosen.command(wanted.plan, wanted.serving, place)


def _replica(wanted: Wanted, index: int) -> Service:
    command, options = _command(wanted, index), wanted.options
    argv = tuple(literal(word.replace("{folder}", _FILES)) for word in command.argv)
    ports = _ports(wanted, index)
    name = name_of(wanted, index)
    common = _limits(wanted) | {
        "image": _image(wanted),
        "profiles": _profile(wanted),
        "entrypoint": _entrypoint(command),
        "command": argv,
        "environment": _environment(wanted, command) or None,
        "volumes": _volumes(wanted),
        "secrets": tuple(sorted(Path(path).name for path in command.secrets.values())),
        "configs": tuple(
            Mounted(source=source, target=f"{_FILES}/{_file(source)}") for source, _ in _configs(wanted, index)
        ),
        "networks": {"models": Aliases(aliases=(f"{name}.models",))} | ({"published": None} if ports else {}),
        "ports": ports,
        "depends_on": {"fetch": Dependency(condition="service_completed_successfully")}
        if _is_fetched(wanted)
        else None,
        "deploy": _gpus(gpu_groups(wanted.plan, options, wanted.count)[index]),
        "healthcheck": _health(wanted),
        "labels": {"assay.engine": wanted.plan.request.engine, "assay.model": literal(wanted.serving.served_name)},
    }
    return Service.model_validate(common)


def _limits(wanted: Wanted) -> dict[str, object]:
    """Walls around a replica. Engines for GPUs write into their own image's folders, so only ours is read-only."""
    common: dict[str, object] = {
        "security_opt": ("no-new-privileges:true",),
        "init": True,
        "stop_grace_period": "60s",
        "restart": "no",
    }
    if not _has_weights(wanted):
        return common | {
            "cap_drop": ("ALL",),
            "read_only": True,
            "tmpfs": ("/tmp:mode=1777,size=64m",),  # noqa: S108 - of the container
            "pull_policy": "never",
        }
    memory: dict[str, object] = {"ipc": "host"} if wanted.options.ipc_host else {"shm_size": "16gb"}
    return common | memory | {"ulimits": Ulimits()}


def _entrypoint(command: Command) -> tuple[str, ...]:
    """Nothing of the image's; for an engine that reads its key from a variable a shell that fills it from the file."""
    if not command.secrets:
        return ()
    reads = "; ".join(f'export {name}="$(cat {path})"' for name, path in command.secrets.items())
    return ("/bin/sh", "-c", literal(f"{reads}; {_WITH_SECRETS}"), "sh")


def _environment(wanted: Wanted, command: Command) -> dict[str, str]:
    own = {name: literal(value) for name, value in command.env.items()}
    if not _has_weights(wanted):
        return own
    # The network of the engine has no way out, and what it needs is there.
    return own | _CACHES | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def _volumes(wanted: Wanted) -> tuple[str | Bind, ...]:
    if not _has_weights(wanted):
        return ()
    model, folder = wanted.plan.request.preset.id, _folder(wanted)
    local = (Bind(source=literal(model), target=literal(folder)),) if folder and is_local(model) else ()
    return (f"hf-cache:{_MODELS}", *local)


def _configs(wanted: Wanted, index: int) -> list[tuple[str, str]]:
    """Files that the engine's command line names; each as a config of the project."""
    return [(f"{name_of(wanted, index)}--{name}", text) for name, text in _command(wanted, index).files.items()]


def _file(source: str) -> str:
    return source.partition("--")[2]


def _ports(wanted: Wanted, index: int) -> tuple[str, ...]:
    if wanted.ports is not None:
        return (f"{wanted.ports[index]}:{PORT}",)
    if wanted.options.publish is None or wanted.options.router:
        return ()
    return (_published(wanted.options.publish, index),)


def _published(publish: str, index: int) -> str:
    """`127.0.0.1:8000` of replica 1 as `127.0.0.1:8001:8000`. Raises UsageError."""
    address, colon, port = publish.rpartition(":")
    if not colon or not _is_ip(address) or not port.isdecimal() or not 0 < int(port) + index < 65_536:
        raise UsageError(f"--publish takes ADDRESS:PORT, such as 127.0.0.1:8000, got {publish!r}")
    return f"{address}:{int(port) + index}:{PORT}"


def _is_ip(address: str) -> bool:
    """As compose takes it: IPv6 in brackets."""
    try:
        return ip_address(address.removeprefix("[").removesuffix("]")).version == (6 if address.startswith("[") else 4)
    except ValueError:
        return False


def _gpus(ids: Sequence[int]) -> Deploy | None:
    if not ids:
        return None
    device = Device(device_ids=tuple(map(str, ids)))
    return Deploy(resources=Resources(reservations=Reservations(devices=(device,))))


def _health(wanted: Wanted) -> Healthcheck:
    path = engine(wanted.plan.request.engine).health_path
    asks = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{PORT}{path}', timeout=4)"
    test = ("CMD", "python3" if _has_weights(wanted) else "python", "-c", asks)
    period = wanted.options.start_period_s
    if not _has_weights(wanted):  # nothing is loaded, so it may be asked often
        period = 30 if period is None else period
        return Healthcheck(test=test, interval="1s", timeout="5s", retries=30, start_period=f"{period}s")
    period = start_period_s(wanted.plan) if period is None else period
    return Healthcheck(test=test, interval="10s", timeout="5s", retries=6, start_period=f"{period}s")


def _fetch(wanted: Wanted) -> Service:
    """Downloads once for all replicas. It has the hub's token and the way out, and they have neither."""
    model = wanted.plan.request.preset.id
    revision = wanted.serving.revision or wanted.plan.request.preset.revision or ""
    return Service(
        image=_image(wanted),
        profiles=_profile(wanted),
        entrypoint=(),
        command=("python3", "-c", literal(_FETCH), literal(model), literal(revision), literal(_folder(wanted) or "")),
        environment={"HF_HOME": _HOME, "HF_TOKEN_PATH": "/run/secrets/hf_token", "DO_NOT_TRACK": "1"},
        volumes=(f"hf-cache:{_MODELS}",),
        secrets=("hf_token",),
        networks={"fetch": None},
        security_opt=("no-new-privileges:true",),
        init=True,
        restart="no",
    )


def _router(wanted: Wanted) -> Service:
    """One base URL for clients that take no more. Retries and breakers are the client's, so the router has none."""
    workers = tuple(f"http://{name_of(wanted, index)}.models:{PORT}" for index in range(wanted.count))
    ports = (_published(wanted.options.publish, 0),) if wanted.options.publish else ()
    asks = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{PORT}/health', timeout=4)"
    return Service(
        image=ROUTER_IMAGE,
        profiles=("router",),
        command=(
            *("--worker-urls", *workers, "--policy", "cache_aware", "--disable-retries", "--disable-circuit-breaker"),
            *("--request-timeout-secs", "3600", "--host", "0.0.0.0", "--port", str(PORT)),  # noqa: S104 - as above
        ),
        networks={"models": Aliases(aliases=("router.models",))} | ({"published": None} if ports else {}),
        ports=ports,
        depends_on={
            name_of(wanted, index): Dependency(condition="service_healthy", required=False)
            for index in range(wanted.count)
        },
        cap_drop=("ALL",),
        security_opt=("no-new-privileges:true",),
        init=True,
        healthcheck=Healthcheck(
            test=("CMD", "python", "-c", asks), interval="2s", timeout="5s", retries=30, start_period="30s"
        ),
        stop_grace_period="10s",
        restart="no",
        pull_policy="never",
    )


def _consumer(wanted: Wanted) -> Service:
    """What is added to a service that another file defines."""
    first = "router" if wanted.options.router else name_of(wanted, 0)
    replicas = urls(wanted)
    base = f"http://router.models:{PORT}/v1" if wanted.options.router else replicas[0]
    environment: Mapping[str, str] = {
        "OPENAI_BASE_URL": base,
        "LLM_MODEL": literal(wanted.serving.served_name),
        **({} if wanted.options.router or len(replicas) == 1 else {"OPENAI_API_BASE": ",".join(replicas)}),
    }
    return Service(
        environment=dict(environment), depends_on={first: Dependency(condition="service_healthy", required=False)}
    )


def described(wanted: Wanted) -> str:
    """What the file is, for its first lines."""
    plan, name = wanted.plan, wanted.plan.request.engine
    options = wanted.options
    profiles = f"--profile {name}" + (" --profile router" if options.router else "")
    names = [*(name_of(wanted, index) for index in range(wanted.count)), *(("router",) if options.router else ())]
    lines = [
        f"Written by `inference compose`: {wanted.count} server(s) of {plan.request.preset.key} by {name}, TP {plan.tp},",
        f"{plan.max_model_len} tokens, planned for {plan.request.gpu.key}: {plan.verdict}. Change it by writing it again.",
        "",
        f"    docker compose -f compose.yaml -f compose/{name}.yaml {profiles} up --detach --wait {' '.join(names)}",
        "",
        f"Its services stand behind the profile {name}, since a reservation of GPUs is an error on a host without any.",
        f"On the network `models`: {', '.join(urls(wanted))}",
    ]
    if options.router:
        lines.append("The router's image: docker build -f services/inference/router/Dockerfile -t assay-router .")
    if _is_fetched(wanted):
        lines.append("HF_TOKEN_FILE: file with a hub token, for gated models. HF_CACHE_VOLUME: where weights are kept.")
    if engine(name).takes_key:
        lines.append("ENGINE_KEY_FILE: file with the key that clients must send; without it there is none.")
    return "\n".join(lines)


def as_json(file: ComposeFile) -> str:
    """The file's content as one JSON object."""
    return json.dumps(file.model_dump(mode="json", exclude_none=True))
