"""Separates what a model thought aloud from what it answered."""

from __future__ import annotations

import re
from typing import Final

_BLOCK: Final = re.compile(r"<(think(?:ing)?)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_END: Final = re.compile(r"</think(?:ing)?>", re.IGNORECASE)


def without_reasoning(text: str) -> str:
    """`text` without `<think>` blocks, stripped.

    A block that never closes was cut by the token limit, so nothing after it is an answer. An end without a beginning
    comes from templates that open the block in the prompt; all before it is reasoning.
    """
    return _END.split(_BLOCK.sub("", text))[-1].strip()
