"""`inference doctor`: is an endpoint, or this machine, fit to be measured with?"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from services.inference.commands.options import ENGINES, json_option, registry_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

    from services.contract.fitness import Examination
    from services.inference.doctor.examination import Place
    from services.inference.planning.presets import Preset


@click.command()
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option("--model", metavar="M", help="As the server lists it.  [default: the only one that is served]")
@click.option("--preset", metavar="P", help="Row of config/models.yaml: what the model needs, and its parsers' names.")
@click.option("--engine", type=click.Choice(ENGINES), help="For cures with its flags.  [default: what the server says]")
@click.option(
    "--api-key-file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Holds the key of the server; - reads it from standard input.",
)
@click.option("--anthropic", is_flag=True, help="Speak Anthropic's API instead of OpenAI's.")
@click.option("--only", metavar="IDS", help="Checks with commas, such as D01,D04.")
@click.option("--host", is_flag=True, help="Examine this machine; with URLs, both.")
@click.option("--deterministic", is_flag=True, help="Batch-invariant mode is claimed: texts that differ are a failure.")
@click.option("--max-model-len", type=click.IntRange(1), metavar="N", help="Tokens that are needed.")
@click.option(
    "--timeout",
    "deadline_s",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="For each check.",
)
@registry_option
@json_option
def command(
    *,
    urls: tuple[str, ...],
    model: str | None,
    preset: str | None,
    api_key_file: Path | None,
    only: str | None,
    host: bool,
    registry: Path,
    as_json: bool,
    **asked: Any,
) -> None:
    """Examine servers: models, tools, streams, formats, limits, determinism. Several URLs are replicas and are compared.

    Without URL: the servers of the registry that run, else those of OPENAI_BASE_URL with LLM_MODEL and OPENAI_API_KEY.
    """
    import asyncio  # noqa: PLC0415

    from services.contract.fitness import Examination  # noqa: PLC0415 - keeps --help fast
    from services.contract.secrets import register_environment  # noqa: PLC0415
    from services.inference.doctor.examination import Wanted, examine, exit_code  # noqa: PLC0415
    from services.inference.doctor.host import examine_host  # noqa: PLC0415
    from services.inference.failures import ExitCode  # noqa: PLC0415

    register_environment()
    checks, row = _only(only), _preset(preset)
    places: Sequence[Place] = ()
    if urls or not host:
        places, model = _places(urls, api_key_file, registry, model, anthropic=asked["anthropic"])
    wanted = Wanted(model=model, preset=row, only=checks, **asked)
    endpoints = asyncio.run(examine(places, wanted))
    found = Examination(endpoints=endpoints, host=examine_host() if host else ())
    _print(found, as_json=as_json)
    code = exit_code(endpoints)
    if code is ExitCode.DONE and any(finding.verdict == "fail" for finding in found.host):
        code = ExitCode.FAILED
    sys.exit(code)


def _print(found: Examination, *, as_json: bool) -> None:
    from services.inference.doctor.table import table_of  # noqa: PLC0415

    click.echo(found.model_dump_json(indent=1) if as_json else table_of(found))


def _places(
    urls: Sequence[str], key_file: Path | None, registry: Path, model: str | None, *, anthropic: bool
) -> tuple[Sequence[Place], str | None]:
    """The servers to examine and the model they serve."""
    from services.contract.endpoints import EndpointError, base_urls, normalised_url  # noqa: PLC0415
    from services.inference.doctor.examination import Place  # noqa: PLC0415
    from services.inference.failures import UsageError  # noqa: PLC0415

    if anthropic and not urls:
        raise UsageError("--anthropic needs the URL of the server")
    key = _key(key_file)
    if not urls and registry.exists() and (found := _of_registry(registry, model, key)) is not None:
        return found
    try:
        if not urls:
            return _of_environment(model, key)
        if anthropic:
            return [Place(url=normalised_url(url).removesuffix("/v1"), key=key) for url in urls], model
        return [Place(url=url, key=key) for url in base_urls(" ".join(urls), name="URL")], model
    except (EndpointError, ValueError) as error:
        raise UsageError(str(error)) from error


def _of_registry(registry: Path, model: str | None, key: SecretStr | None) -> tuple[Sequence[Place], str | None] | None:
    """Its running servers; None when none runs and the environment names others."""
    import asyncio  # noqa: PLC0415 - keeps --help fast

    from pydantic import SecretStr  # noqa: PLC0415

    from services.contract.endpoints import agreed_urls  # noqa: PLC0415
    from services.contract.secrets import register_secret  # noqa: PLC0415
    from services.inference.doctor.examination import Place  # noqa: PLC0415
    from services.inference.failures import NotReadyError, UsageError  # noqa: PLC0415
    from services.inference.servers.registry import Registry  # noqa: PLC0415
    from services.inference.servers.survey import survey  # noqa: PLC0415

    found = asyncio.run(survey(Registry(registry)))
    running = [server for server in found.of(model) if server.status == "running"]
    targets = [target for server in running if (target := server.target()) is not None]
    if not targets and agreed_urls(os.environ)[1]:
        return None
    if not targets:
        raise NotReadyError(f"{registry} lists no running server; start one with `inference up`, or give a URL")
    names = {target.served_name for target in targets}
    if len(names) > 1:
        served = ", ".join(sorted(str(name) for name in names))
        raise UsageError(f"{registry} lists servers of several models, {served}: choose one with --model")
    for target in targets:
        register_secret(target.key or "")
    places = [Place(url=target.url, key=key or (SecretStr(target.key) if target.key else None)) for target in targets]
    # Servers of other tools are known by their path only: what they list decides.
    return places, names.pop()


def _of_environment(model: str | None, key: SecretStr | None) -> tuple[Sequence[Place], str | None]:
    """The agent's variables. Raises EndpointError, UsageError."""
    from services.contract.endpoints import agreed_urls, key_of  # noqa: PLC0415 - keeps --help fast
    from services.inference.doctor.examination import Place  # noqa: PLC0415
    from services.inference.failures import UsageError  # noqa: PLC0415

    source, urls = agreed_urls(os.environ)
    if not urls:
        raise UsageError(
            "no server is named: give a URL, start one with `inference up` (services.txt lists it), or set OPENAI_BASE_URL;"
            " --host examines this machine"
        )
    click.echo(f"servers of {source}", err=True)
    key = key or key_of(os.environ, "OPENAI_API_KEY")
    if key is not None and not _is_key(key.get_secret_value()):
        raise UsageError("OPENAI_API_KEY: expected a key alone, on one line")
    return [Place(url=url, key=key) for url in urls], model or os.environ.get("LLM_MODEL") or None


def _preset(name: str | None) -> Preset | None:
    from services.inference.planning.presets import catalogue  # noqa: PLC0415

    return None if name is None else catalogue().preset(name)


def _key(file: Path | None) -> SecretStr | None:
    from pydantic import SecretStr  # noqa: PLC0415

    from services.contract.secrets import register_secret  # noqa: PLC0415

    if file is None:
        return None
    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    key = data.decode(errors="replace").strip()
    if not key:
        raise click.UsageError(f"--api-key-file {file}: it is empty")
    if not _is_key(key):
        raise click.UsageError(f"--api-key-file {file}: expected a key alone, on one line")
    register_secret(key)
    return SecretStr(key)


def _is_key(text: str) -> bool:
    """It can stand in a header."""
    return text.isascii() and text.isprintable() and " " not in text


def _only(text: str | None) -> frozenset[str]:
    from services.inference.doctor.examination import CHECKS  # noqa: PLC0415

    if text is None:
        return frozenset()
    known = [check.id for check in CHECKS]
    named = frozenset(part.strip().upper() for part in text.split(",") if part.strip())
    if not named or (unknown := sorted(named - set(known))):
        raise click.UsageError(
            f"--only: no check {', '.join(unknown) if named else 'is named'}; there are {known[0]} to {known[-1]}"
        )
    return named
