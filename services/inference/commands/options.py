"""Options that several commands share, and the way from them to a plan.

`--gpu-ids 0 1 2 3` takes several numbers after one flag, which click does not know: `NumbersCommand` spreads them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from services.inference.planning.planner import Plan, Request
    from services.inference.planning.presets import Catalogue, EngineName, KvDtype, Preset

ENGINES: Final = ("vllm", "trtllm", "sglang", "transformers", "reference")
SEVERAL: Final = "--gpu-ids"
"""The option that takes several numbers."""
ASSUMED_GPU: Final = "h100-80"
"""What `compose` plans for on a machine without GPUs when nobody says where the file will be used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanOptions:
    """What the options of a plan were set to; a field is the option of that name."""

    gpu: str
    count: int | None
    tp: int | None
    max_model_len: int | None
    engine: EngineName
    gpu_memory_utilization: float
    kv_cache_dtype: KvDtype
    sequences: int
    expert_parallel: bool
    quantization: str | None
    dtype: str | None
    no_tools: bool
    tool_call_parser: str | None
    reasoning_parser: str | None
    family: str | None


def a_number(ctx: click.Context, param: click.Parameter, value: float) -> float:
    """`nan` is in every range: it compares with nothing."""
    if value != value:  # noqa: PLR0124 - only NaN differs from itself
        raise click.BadParameter("nan is no number", ctx=ctx, param=param)
    return value


_OPTIONS: Final = (
    click.option(
        "--gpu",
        default="auto",
        show_default=True,
        help="Kind of GPU, such as h100-80; `auto` asks the driver; `cpu` is a CPU build of the engine.",
    ),
    click.option("--count", type=click.IntRange(1), help="GPUs of one node. [default: with auto all, else 1 or TP]"),
    click.option("--tp", type=click.IntRange(1), help="GPUs of one server. [default: the fewest that fit]"),
    click.option(
        "--max-model-len", type=click.IntRange(1), help="Tokens of prompt and answer. [default: of the preset]"
    ),
    click.option("--engine", type=click.Choice(ENGINES), default="vllm", show_default=True),
    click.option(
        "--gpu-memory-utilization",
        type=click.FloatRange(0.05, 1.0),
        callback=a_number,
        default=0.90,
        show_default=True,
        help="Part of a GPU's memory that the engine may take.",
    ),
    click.option("--kv-cache-dtype", type=click.Choice(("auto", "bfloat16", "fp8")), default="auto", show_default=True),
    click.option(
        "--sequences",
        type=click.IntRange(1),
        default=2,
        show_default=True,
        help="Full-length sequences that must fit beside the weights.",
    ),
    click.option("--expert-parallel", is_flag=True, help="Whole experts on each GPU instead of slices."),
    click.option("--quantization", help="Only `fp8` of a 16-bit checkpoint; all else is another checkpoint."),
    click.option("--dtype", help="Numbers of the activations."),
    click.option("--no-tools", is_flag=True, help="Tool calls are not needed: a missing tool parser is no refusal."),
    click.option("--tool-call-parser", metavar="NAME", help="Instead of the preset's."),
    click.option("--reasoning-parser", metavar="NAME", help="Instead of the preset's."),
    click.option("--family", help="Of a local checkpoint: take the parsers of this family's row."),
)


def plan_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a plan. It receives them as one argument, `asked: PlanOptions`."""
    names = [field.name for field in fields(PlanOptions)]

    @functools.wraps(function)
    def packed(**values: Any) -> Any:
        asked = PlanOptions(**{name: values.pop(name) for name in names})
        return function(asked=asked, **values)

    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), packed)


def rope_scaling_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--rope-scaling` as `rope_scaling: str | None`."""
    return click.option("--rope-scaling", metavar="yarn:F", help="Lengths beyond the checkpoint's own.")(function)


def gpu_ids_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--gpu-ids 0 1 2 3` as `gpu_ids: tuple[int, ...]`; its class must be NumbersCommand."""
    return click.option(
        SEVERAL,
        "gpu_ids",
        type=click.IntRange(0),
        multiple=True,
        metavar="N [N ...]",
        callback=_each_once,
        help="Numbers of GPUs as the driver counts them. [default: all]",
    )(function)


class NumbersCommand(click.Command):
    """A command whose `--gpu-ids` takes every number that follows it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, after `spread`."""
        return super().parse_args(ctx, spread(args))


def spread(args: Sequence[str]) -> list[str]:
    """`--gpu-ids 0 1,2 x` as `--gpu-ids 0 --gpu-ids 1 --gpu-ids 2 x`; what follows `--` stays as it is."""
    done: list[str] = []
    waiting = list(args)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            return [*done, word, *waiting]
        if word.startswith(f"{SEVERAL}="):
            word, _, first = word.partition("=")
            waiting.insert(0, first)
        if word != SEVERAL or not waiting or not _numbers(waiting[0]):
            done.append(word)
            continue
        while waiting and _numbers(waiting[0]):
            done += [part for number in waiting.pop(0).split(",") for part in (SEVERAL, number)]
    return done


def planned(model: str, asked: PlanOptions, *, count: int | None = None, rope_scaling: str | None = None) -> Plan:
    """The plan of a preset's key or a local directory; `count` stands in for `--count`, `rope_scaling` is `yarn:F`.

    Raises UsageError for an unknown model, an unknown kind of GPU, or `auto` without a driver.
    """
    from services.inference.planning.alternatives import plan  # noqa: PLC0415 - keeps --help fast
    from services.inference.planning.presets import catalogue  # noqa: PLC0415

    return plan(requested(model, asked, count=count, rope_scaling=rope_scaling), catalogue())


def requested(model: str, asked: PlanOptions, *, count: int | None = None, rope_scaling: str | None = None) -> Request:
    """What `planned` plans. Raises as it does."""
    from services.inference.planning.hardware import gpu  # noqa: PLC0415 - keeps --help fast
    from services.inference.planning.planner import Request  # noqa: PLC0415
    from services.inference.planning.presets import catalogue  # noqa: PLC0415

    known = catalogue()
    preset = _preset(model, asked, known)  # first: a wrong name is told on any machine
    kind, here = gpu(asked.gpu, known)
    if rope_scaling is not None:
        from services.inference.engines.rope import stretched  # noqa: PLC0415 - only who asks for it

        preset = stretched(preset, rope_scaling)
    return Request(
        preset=preset,
        gpu=kind,
        count=count or asked.count or here or asked.tp or 1,
        tp=asked.tp,
        max_model_len=asked.max_model_len,
        engine=_engine(model, asked),
        utilization=asked.gpu_memory_utilization,
        kv_dtype=asked.kv_cache_dtype,
        sequences=asked.sequences,
        expert_parallel=asked.expert_parallel,
        tools=not asked.no_tools,
        quantization=asked.quantization,
        dtype=asked.dtype,
    )


def registry_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--registry` as `registry: Path`."""
    return click.option(
        "--registry",
        type=click.Path(dir_okay=False, path_type=Path),
        default="services.txt",
        show_default=True,
        envvar="ASSAY_REGISTRY",
        show_envvar=True,
        help="File that lists the servers.",
    )(function)


def only_model_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--model` as `model: str | None`."""
    return click.option(
        "--model", metavar="M", help="Only servers of this model: its path, the last part of it, or its served name."
    )(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--json` as `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def _each_once(ctx: click.Context, param: click.Parameter, value: tuple[int, ...]) -> tuple[int, ...]:
    twice = sorted({number for number in value if value.count(number) > 1})
    if twice:
        raise click.BadParameter(f"{', '.join(map(str, twice))} named twice", ctx=ctx, param=param)
    return value


def _numbers(word: str) -> bool:
    return all(part.isascii() and part.isdigit() for part in word.split(","))


def _engine(model: str, asked: PlanOptions) -> EngineName:
    return "reference" if model == "reference" else asked.engine


def _preset(model: str, asked: PlanOptions, known: Catalogue) -> Preset:
    from services.inference.planning.checkpoints import found  # noqa: PLC0415 - keeps --help fast
    from services.inference.planning.presets import with_parsers  # noqa: PLC0415

    preset = found(model, known, family=asked.family)
    engine = _engine(model, asked)
    return with_parsers(preset, engine, tools=asked.tool_call_parser, reasoning=asked.reasoning_parser)
