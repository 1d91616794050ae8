"""One answer per message, with tools: the model calls them until it answers or the budget is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.contract.model_call import ChatMessage, Completion, ToolSpec
from services.contract.outcomes import AgentFailure, Outcome
from services.purple_agent.models.reasoning import without_reasoning
from services.purple_agent.models.session import ModelSession
from services.purple_agent.strategies.base import Solved
from services.purple_agent.tools.toolbox import Toolbox

BUDGET_SPENT: Final = "no further tool calls are possible; give the final answer from what is known"


@dataclass(frozen=True, kw_only=True, slots=True)
class Direct:
    """The tool-calling loop."""

    max_tool_calls: int
    """For one message. When they are spent, the model is asked once more and may call none."""

    async def solve(self, history: Sequence[ChatMessage], session: ModelSession, toolbox: Toolbox) -> Solved:
        """See `Strategy`."""
        offered = _specs(toolbox) if self.max_tool_calls else ()
        said: list[ChatMessage] = []
        left = self.max_tool_calls
        while left > 0:
            completion = await session.complete([*history, *said], tools=offered)
            if not completion.tool_calls:
                return _solved(completion, said)
            said.append(_request(completion))
            said.extend(await _run_tools(completion, toolbox, budget=left))
            left -= len(completion.tool_calls)
        return _solved(await session.complete([*history, *said], tools=offered, tool_choice="none"), said)


def _specs(toolbox: Toolbox) -> tuple[ToolSpec, ...]:
    return tuple(
        ToolSpec(name=tool.name, description=tool.description, parameters=tool.parameters) for tool in toolbox.tools
    )


def _request(completion: Completion) -> ChatMessage:
    content = without_reasoning(completion.text) or None
    return ChatMessage(role="assistant", content=content, tool_calls=completion.tool_calls)


async def _run_tools(completion: Completion, toolbox: Toolbox, *, budget: int) -> list[ChatMessage]:
    """One answer for each call, in order; calls beyond the budget are refused, not dropped."""
    answers: list[ChatMessage] = []
    for number, call in enumerate(completion.tool_calls):
        if number < budget:
            output = await toolbox.call(call)
        else:
            output = toolbox.refuse(call, kind="budget_spent", message=BUDGET_SPENT)
        answers.append(ChatMessage(role="tool", content=output, tool_call_id=call.id))
    return answers


def _solved(completion: Completion, said: Sequence[ChatMessage]) -> Solved:
    if completion.refused:
        raise AgentFailure(Outcome.AGENT_ERROR, "refused", f"the model refused: {completion.text[:500]}".rstrip(": "))
    text = without_reasoning(completion.text)
    if not text:
        cause = f"the model ended without an answer (finish reason {completion.finish!r})"
        if completion.finish == "length":
            cause += "; its tokens went into reasoning or tool calls, raise PURPLE_MAX_TOKENS"
        raise AgentFailure(Outcome.AGENT_ERROR, "empty", cause)
    return Solved(text=text, messages=(*said, ChatMessage(role="assistant", content=text)))
