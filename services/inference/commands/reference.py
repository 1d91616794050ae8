"""`inference up reference`: the engine without weights, in the foreground."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option(
    "--max-model-len",
    default=32_768,
    show_default=True,
    type=click.IntRange(1),
    help="Tokens of prompt and answer together.",
)
@click.option(
    "--latency", default=0.0, show_default=True, type=click.FloatRange(0), help="Seconds before every answer."
)
@click.option(
    "--ttft", default=0.0, show_default=True, type=click.FloatRange(0), help="Further seconds before the first token."
)
@click.option(
    "--tokens-per-second",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Speed of answers; 0 is at once.",
)
@click.option(
    "--max-concurrency",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Requests answered at once; 0 is no bound.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the faults; answers have none.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="SPEC",
    help="KIND[:rate=p][:times=n][:after=n][:match=TEXT][:retry_after=s]; may be given several times, the first that hits wins. "
    "KIND is an HTTP status (429, 500, 503, 402, 401), refuse, hang, slow-stream, truncated, cut, malformed-tool-call, "
    "tool-as-text, think-in-content, empty-content, overflow, wrong-usage or no-done.",
)
@click.option(
    "--ready-file", type=click.Path(dir_okay=False, path_type=Path), help="Gets the base URL once it listens."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line instead of a sentence.")
def reference(
    *,
    host: str,
    port: int,
    max_model_len: int,
    latency: float,
    ttft: float,
    tokens_per_second: float,
    max_concurrency: int,
    seed: int,
    faults: tuple[str, ...],
    ready_file: Path | None,
    as_json: bool,
) -> None:
    """Run the reference engine in the foreground: an OpenAI-compatible program without a language model.

    It answers by fixed rules, needs no GPU, weights or network, and says nothing about models. Its model is called `reference`.
    """
    from services.contract.telemetry import configure  # noqa: PLC0415 - keeps --help fast
    from services.inference.reference_engine import LABEL, MODEL  # noqa: PLC0415
    from services.inference.reference_engine.app import Settings  # noqa: PLC0415
    from services.inference.reference_engine.faults import FaultSpecError, parse  # noqa: PLC0415
    from services.inference.reference_engine.serve import Place, PortTakenError, serve  # noqa: PLC0415

    def announce(url: str) -> None:
        facts = {"url": f"{url}v1", "model": MODEL, "label": LABEL}
        click.echo(json.dumps(facts) if as_json else f"{LABEL}: model {MODEL!r} at {url}v1")

    configure("inference")
    try:
        settings = Settings(
            max_model_len=max_model_len,
            latency_s=latency,
            ttft_s=ttft,
            tokens_per_second=tokens_per_second,
            max_concurrency=max_concurrency,
            seed=seed,
            faults=tuple(map(parse, faults)),
        )
    except FaultSpecError as error:
        raise click.BadParameter(str(error), param_hint="--fault") from error
    try:
        sys.exit(serve(settings, Place(host=host, port=port, ready_file=ready_file), announce=announce))
    except PortTakenError as error:
        raise click.ClickException(f"{error}; choose another with --port, 0 takes any free one") from error
