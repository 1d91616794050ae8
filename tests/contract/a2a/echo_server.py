"""A server of ours as a process of its own: `python -m tests.contract.a2a.echo_server --ready-file FILE`."""

import sys
from dataclasses import replace

import click

from services.contract.a2a.options import server_options
from services.contract.a2a.settings import ServerSettings


@click.command()
@server_options(port=0)
@click.option("--drain-s", type=float, default=15.0)
def main(settings: ServerSettings, drain_s: float) -> None:
    from services.contract.a2a.server import serve  # noqa: PLC0415 - as our CLIs do, so that --help is quick
    from tests.support.a2a_server import PROFILE  # noqa: PLC0415
    from tests.support.scripted_agent import Scripted  # noqa: PLC0415

    sys.exit(serve(Scripted(), PROFILE, replace(settings, drain_s=drain_s)))


if __name__ == "__main__":
    main()
