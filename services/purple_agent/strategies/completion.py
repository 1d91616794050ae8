"""`completion`: the text of the message goes to a base model as it stands, and what it adds to it is the answer.

Source: code-and-math specification 3; the stops are those of "Evaluating Large Language Models Trained on Code",
arXiv:2107.03374.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.contract.model_call import ChatMessage
from services.contract.outcomes import AgentFailure, Outcome
from services.purple_agent.models.session import ModelSession
from services.purple_agent.strategies.base import Solved
from services.purple_agent.tools.toolbox import Toolbox

STOPS: Final = ("\nclass", "\ndef", "\n#", "\nprint", "\nif")
"""A function's body ends where something new begins at the top level."""
MOST_SENT: Final = 4
"""Stops that OpenAI's API takes. All of them are looked for here too, since not every engine honours them."""


class TextCompletion:
    """One continuation per message: no system text, no chat template, no tools, no memory of earlier messages."""

    async def solve(
        self,
        history: Sequence[ChatMessage],
        session: ModelSession,
        toolbox: Toolbox,  # noqa: ARG002 - the shape of a strategy
    ) -> Solved:
        """See `Strategy`."""
        completion = await session.continuation(history[-1].content or "", stop=STOPS[:MOST_SENT])
        text = until_stop(completion.text)
        if not text.strip():
            cause = f"the model added nothing to the text (finish reason {completion.finish!r})"
            raise AgentFailure(Outcome.AGENT_ERROR, "empty", cause)
        return Solved(text=text, messages=(ChatMessage(role="assistant", content=text),))


def until_stop(text: str) -> str:
    """The text before the first of `STOPS`; its indentation and blank lines stay as they are."""
    return text[: min((place for stop in STOPS if (place := text.find(stop)) >= 0), default=len(text))]
