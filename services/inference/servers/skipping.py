"""`inference up --skip-server-start`: servers that somebody else started, checked and not touched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from services.contract.endpoint_files import EndpointFileError, find_in_file
from services.contract.endpoints import EndpointError, base_urls
from services.inference.failures import NotReadyError, UsageError
from services.inference.servers.readiness import Readiness, Target, probe_all

if TYPE_CHECKING:
    from services.inference.servers.starting import Wish


async def check_servers(wish: Wish) -> None:
    """Ask every server once and print what each answered. Raises NotReadyError when fewer than --min-healthy are ready."""
    urls = _urls(wish)
    wanted = wish.wanted
    targets = [Target(url=url, served_name=wanted.model_name, model_path=wish.model) for url in urls]
    answers = await probe_all(targets, timeout_s=min(60.0, wanted.server_timeout))
    _print(answers, as_json=wish.as_json)
    ready = sum(answer.ready for answer in answers)
    needed = wanted.min_healthy or len(urls)
    if ready < needed:
        problems = "; ".join(answer.problem for answer in answers if not answer.ready)
        raise NotReadyError(
            f"{ready} of {len(urls)} servers are ready, {needed} are needed (--min-healthy): {problems}"
        )


def _urls(wish: Wish) -> tuple[str, ...]:
    try:
        if wish.wanted.model_config_path is None:
            return base_urls(wish.wanted.urls or "", name="--urls")
        found = find_in_file(wish.wanted.model_config_path, wish.model)
    except (EndpointError, EndpointFileError) as error:
        raise UsageError(str(error)) from error
    if found.notice:
        click.echo(f"inference: {found.notice}", err=True)
    return found.urls


def _print(answers: Sequence[Readiness], *, as_json: bool) -> None:
    if as_json:
        click.echo(
            json.dumps(
                [
                    {"url": one.url, "condition": one.condition, "problem": one.problem, "model": one.model}
                    for one in answers
                ]
            )
        )
        return
    for one in answers:
        click.echo(f"{one.url}  {one.condition}{f'  {one.model}' if one.model else ''}")
