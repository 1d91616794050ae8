"""What to do about a finding, with the engine's own flag and the preset's own parser. Names differ in every engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.inference.doctor.subject import Subject
from services.inference.planning.presets import EngineName, Preset

_TOOL_FLAGS: Final[Mapping[EngineName, str]] = {
    "vllm": "--enable-auto-tool-choice --tool-call-parser",
    "sglang": "--tool-call-parser",
    "trtllm": "--tool_parser",
}
_REASONING_FLAGS: Final[Mapping[EngineName, str]] = {
    "vllm": "--reasoning-parser",
    "sglang": "--reasoning-parser",
    "trtllm": "--reasoning_parser",
}
_LENGTH_FLAGS: Final[Mapping[EngineName, str]] = {
    "vllm": "--max-model-len",
    "sglang": "--context-length",
    "trtllm": "--max_seq_len",
    "reference": "--max-model-len",
}
_ALL_TOOL_FLAGS: Final = (
    "vLLM: --enable-auto-tool-choice --tool-call-parser NAME; SGLang: --tool-call-parser NAME;"
    " TensorRT-LLM: --tool_parser NAME"
)
_ALL_REASONING_FLAGS: Final = "vLLM and SGLang: --reasoning-parser NAME; TensorRT-LLM: --reasoning_parser NAME"

MORE_TOKENS: Final = (
    "give answers more tokens, or switch thinking off in the template's defaults (`inference up --thinking off`)"
)


def tool_parser(subject: Subject) -> str:
    """For calls that are lost or come as text."""
    flag = None if subject.engine is None else _TOOL_FLAGS.get(subject.engine)
    name = _parser(subject.preset, subject.engine, "tools")
    if flag and name:
        return f"start the engine with `{flag} {name}`, the parser of {_key(subject)}"
    if flag and subject.preset is not None and subject.engine is not None:
        return f"{subject.engine} has no tool parser for {_key(subject)}: use another engine, see `inference plan`"
    if flag:
        return f"start the engine with `{flag} NAME`; `--preset` names the parser of a known model"
    return (
        f"start the engine with the tool parser of this model ({_ALL_TOOL_FLAGS}); `--preset` and `--engine` say which"
    )


def refused_call(subject: Subject, said: str) -> str:
    """For tools that the server refuses."""
    if "enable-auto-tool-choice" in said:
        return f"the server was started without tool support, which `inference up` sets: {tool_parser(subject)}"
    return tool_parser(subject)


def forced_tool(subject: Subject) -> str:
    """For a tool choice without effect."""
    if subject.engine == "transformers":
        return "transformers serve ignores tool_choice: use another engine where calls must be forced"
    return tool_parser(subject)


def reasoning_parser(subject: Subject) -> str:
    """For thoughts that come as the answer."""
    flag = None if subject.engine is None else _REASONING_FLAGS.get(subject.engine)
    name = _parser(subject.preset, subject.engine, "reasoning")
    if flag and name:
        return f"start the engine with `{flag} {name}`, the parser of {_key(subject)}"
    return f"start the engine with the reasoning parser of this model ({_ALL_REASONING_FLAGS})"


def swallowed(subject: Subject) -> str:
    """For answers that come as thoughts."""
    key = (subject.preset.template.thinking_key if subject.preset else None) or "enable_thinking"
    by_template = f"--default-chat-template-kwargs '{{\"{key}\": false}}'"
    return (
        "the reasoning parser takes an answer without thoughts for a thought: start the engine without a reasoning parser, or"
        f" with thinking switched off in the template's defaults (vLLM: `{by_template}`, `inference up --thinking off`)"
    )


def length(subject: Subject, wanted: int) -> str:
    """For a context that is too short."""
    flag = None if subject.engine is None else _LENGTH_FLAGS.get(subject.engine)
    how = f"`{flag} {wanted}`" if flag else f"a context of {wanted} tokens"
    return f"start the engine with {how}; `inference plan` says whether it fits"


def deterministic(subject: Subject) -> str:
    """For texts that differ."""
    flags: Mapping[EngineName, str] = {
        "vllm": "VLLM_BATCH_INVARIANT=1 in its environment",
        "sglang": "--enable-deterministic-inference",
    }
    how = None if subject.engine is None else flags.get(subject.engine)
    return (
        "temperature and seed were the same in every request, so the engine's mode and its load decide: report scores with"
        " their interval over several trials; for equal texts `inference up --deterministic`"
        f"{f' ({how})' if how else ''}, one engine, one version, and no other experiment on the server"
    )


def _parser(preset: Preset | None, engine: EngineName | None, kind: str) -> str | None:
    parsers = None if preset is None or engine is None else preset.parsers.get(engine)
    if parsers is None:
        return None
    return parsers.tools if kind == "tools" else parsers.reasoning


def _key(subject: Subject) -> str:
    return subject.preset.key if subject.preset is not None else "the model"
