"""What engines say while they start: how far they are, and what they measured of themselves."""

from __future__ import annotations

import re
from typing import Final, Literal

from services.inference.engines.base import EngineFacts

Stage = Literal["start", "download", "load", "compile", "listen"]

_STAGES: Final[tuple[tuple[Stage, re.Pattern[str]], ...]] = (
    (
        "listen",
        re.compile(
            r"Starting vLLM (?:API )?server|Application startup complete|Uvicorn running on|fired up and ready to roll"
            r"|reference engine, no language model"
        ),
    ),
    (
        "compile",
        re.compile(
            r"KV cache size: |KV Cache is allocated|Allocated [\d.]{1,12} GiB for max tokens in paged KV cache"
            r"|Dynamo bytecode|torch\.compile t(?:akes|ook)|Captur(?:e|ing) (?:cuda|CUDA) graph|Graph capturing|Capturing batches"
            r"|\[Autotuner\]"
        ),
    ),
    (
        "load",
        re.compile(
            r"Starting to load model|Loading safetensors checkpoint shards|Load weight begin|Loading weights"
            r"|Loading checkpoint shards|Prefetching [^\n]{1,40} checkpoint"
        ),
    ),
    (
        "download",
        re.compile(r"Fetching \d{1,6} files|Downloading (?:shards|'|\w)|\.safetensors: +\d{1,3}%|Found no local HF"),
    ),
)
_ANSI: Final = re.compile(r"\x1b\[[\d;]{0,16}m")
_VERSION: Final = re.compile(
    r"(?:vLLM (?:API )?server version |V1 LLM engine \(v|█ {1,3}version |TensorRT[- ]LLM version: |sglang version: )"
    r"v?(?P<version>\d[\w.+]{0,40})"
)
_KV_TOKENS: Final = re.compile(
    r"(?:KV cache size: |KV Cache is allocated\. #tokens: |max_total_num_tokens=|max tokens in paged KV cache \()"
    r"(?P<tokens>\d[\d,]{0,20})"
)
_CONCURRENCY: Final = re.compile(
    r"Maximum concurrency for [\d,]{1,20} tokens per request: (?P<times>\d{1,9}(?:\.\d{1,6})?)x"
)


def stage(stderr: str) -> Stage:
    """The furthest stage that the output mentions; `start` when it mentions none."""
    return next((name for name, pattern in _STAGES if pattern.search(stderr)), "start")


def facts(output: str) -> EngineFacts:
    """What the log says: version, tokens of the KV cache of one GPU group, full-length sequences at once.

    The last word counts: engines size their cache twice, the first time for a trial run.
    """
    plain = _ANSI.sub("", output)
    version, tokens, times = (_last(pattern, plain) for pattern in (_VERSION, _KV_TOKENS, _CONCURRENCY))
    return EngineFacts(
        version=version,
        kv_tokens=int(tokens.replace(",", "")) if tokens else None,
        concurrency=float(times) if times else None,
    )


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = None
    for found in pattern.finditer(text):  # noqa: B007 - the last one is used
        pass
    return found[1] if found else None
