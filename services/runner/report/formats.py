"""How numbers and texts of a report look. None is unknown and is shown as a dash, never as zero."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue

from services.contract.conversation import Transcript, Turn, Usage
from services.contract.results import SubScore, TaskResult
from services.runner.journal import StoredTranscript
from services.runner.report.view import BenchmarkView

UNKNOWN: Final = "\N{EN DASH}"
LONGEST_TEXT: Final = 20_000
"""Characters of one text in the page; whole texts are in the journal."""
_NOTE: Final = 64
"""Room for the words about what was cut, so that a text is cut once only."""
_LABELS: Final = {"scored": "not passed"}
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def points(value: float | None) -> str:
    """A score of 0..100."""
    return UNKNOWN if value is None else f"{value:.1f}"


def span(low: float | None, high: float | None) -> str:
    """A range of scores; `unknown` when an end is."""
    return "unknown" if low is None or high is None else f"{low:.1f} {UNKNOWN} {high:.1f}"


def percent(value: float | None) -> str:
    """A share of 0..1. Never rounds up to 100 % what is not complete."""
    if value is None:
        return UNKNOWN
    return "99.9 %" if 0.9995 <= value < 1 else f"{100 * value:.1f} %".replace(".0 %", " %")


def seconds(value: float | None) -> str:
    """A time of one call."""
    if value is None:
        return UNKNOWN
    if value < 1:
        return f"{1000 * value:.0f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def duration(value: float | None) -> str:
    """A time of a run."""
    if value is None:
        return UNKNOWN
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def count(value: float | None) -> str:
    """A whole number with thin separators."""
    return UNKNOWN if value is None else f"{value:,.0f}".replace(",", "\u202f")


def usd(value: float | None) -> str:
    """Money; a price nobody knows is not free."""
    return "unknown" if value is None else f"${value:.4f}" if value < 1 else f"${value:,.2f}"


def tokens(usage: Usage) -> str:
    """Input and output together, short."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return UNKNOWN
    total = (usage.input_tokens or 0) + (usage.output_tokens or 0)
    if total < 10_000:
        return count(total)
    return f"{total / 1e3:.0f} k" if total < 1e6 else f"{total / 1e6:.1f} M"


def words(name: str) -> str:
    """`agent_error` as `agent error`; the label `scored` stands for answers below the pass mark."""
    return _LABELS.get(str(name), str(name).replace("_", " "))


def title_words(name: str) -> str:
    """`options_trading` as `Options trading`."""
    return words(name).capitalize()


def moment(text: str) -> str:
    """An ISO time, to the second."""
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S UTC")


def cut(text: str) -> str:
    """A text for the page: without control characters, cut visibly when very long."""
    clean = _CONTROLS.sub("\ufffd", text)
    if len(clean) <= LONGEST_TEXT + _NOTE:
        return clean
    return f"{clean[:LONGEST_TEXT]}\n[... {len(clean) - LONGEST_TEXT} more characters are in the journal]"


def excerpt(said: StoredTranscript) -> StoredTranscript:
    """What the page shows of a trial's words. All trials are held at once, their whole texts would not always fit."""
    return StoredTranscript(
        transcript=None if said.transcript is None else _excerpt(said.transcript),
        attempts=tuple(None if attempt is None else _excerpt(attempt) for attempt in said.attempts),
        judged=tuple(map(cut, said.judged)),
    )


def _excerpt(transcript: Transcript) -> Transcript:
    def turn(whole: Turn) -> Turn:
        reply = whole.reply
        if reply is not None:
            reply = reply.model_copy(update={"text": cut(reply.text), "tool_calls": ()})
        error = None if whole.error is None else cut(whole.error)
        return Turn(question=cut(whole.question), reply=reply, error=error, branch=whole.branch)

    return transcript.model_copy(update={"turns": tuple(map(turn, transcript.turns))})


def line(text: str) -> str:
    """One line of at most 240 characters."""
    flat = " ".join(_CONTROLS.sub("\ufffd", text).split())
    return flat if len(flat) <= 240 else flat[:239] + "…"


def number(value: float) -> str:
    """A coordinate."""
    return f"{value:.3f}".rstrip("0").rstrip(".") or "0"


def metrics(values: Mapping[str, float | str | bool | None]) -> list[tuple[str, str]]:
    """Name and value of a benchmark's own numbers."""
    return [(name, f"{v:.6g}" if isinstance(v, float) else line(str(v))) for name, v in values.items()]


def shares(values: Mapping[str, SubScore]) -> list[tuple[str, str]]:
    """Name and `earned of possible`."""
    return [(words(name), f"{share.earned:g} of {share.possible:g}") for name, share in values.items()]


def spent(row: TaskResult) -> list[tuple[str, str]]:
    """Time, tokens and money of a trial."""
    return [
        ("total", seconds(row.latency.total_s)),
        ("agent", seconds(row.latency.agent_s)),
        ("scoring", seconds(row.latency.judge_s)),
        ("tokens in", count(row.usage.input_tokens)),
        ("tokens out", count(row.usage.output_tokens)),
        ("model calls", count(row.usage.calls)),
        ("cost", usd(row.usage.cost_usd)),
    ]


def evidence(row: TaskResult) -> list[tuple[str, str]]:
    """What makes the score checkable."""
    found = [
        ("trial", row.key),
        ("transcript", row.transcript_id),
        ("data set", row.digests.dataset),
        ("scorer", row.digests.scorer),
        ("prompt", row.digests.prompt),
    ]
    return [(name, value) for name, value in found if value]


def most_tokens(benchmarks: Sequence[BenchmarkView]) -> int:
    """The longest bar of the token chart; 0 when nothing is known."""
    return max((max(b.usage.input_tokens or 0, b.usage.output_tokens or 0) for b in benchmarks), default=0)


def pretty(value: JsonValue) -> str:
    """JSON for reading."""
    return json.dumps(value, ensure_ascii=False, indent=1)


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "points": points, "span": span, "percent": percent, "seconds": seconds, "duration": duration, "count": count, "usd": usd,
    "tokens": tokens, "words": words, "title_words": title_words, "moment": moment, "cut": cut, "line": line, "n": number,
    "metrics": metrics, "shares": shares, "spent": spent, "evidence": evidence, "most_tokens": most_tokens, "pretty": pretty,
}  # fmt: skip
