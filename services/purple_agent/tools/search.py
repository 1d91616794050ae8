"""Search in the web and in the news, through Tavily; offered only with `TAVILY_API_KEY`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final, Literal

import aiohttp
from pydantic import BaseModel, Field, SecretStr, ValidationError

from services.purple_agent.tools.base import AnyTool, Arguments, Result, Tool, ToolError, Unit
from services.purple_agent.tools.dated import names_later_day

TAVILY: Final = "https://api.tavily.com"
SEARCH_S: Final = 25.0
LONGEST_EXTRACT: Final = 1_200

Topic = Literal["general", "news", "finance"]


class SearchArguments(Arguments):
    """What to look for."""

    query: Annotated[str, Field(min_length=1, max_length=400)]
    max_results: Annotated[int, Field(ge=1, le=10)] = 5


class Hit(BaseModel):
    """One page."""

    title: str = ""
    url: str = ""
    content: str = ""
    published_date: str | None = None


class Hits(Result):
    """Pages, best first."""

    hits: Annotated[list[Hit], Unit("title, address, extract, date of publication if known")]


class _Answer(BaseModel):
    results: list[Hit] = Field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """The service. Nothing published after the simulation date is shown."""

    api_key: SecretStr
    simulation_date: date | None = None
    base_url: str = TAVILY

    @property
    def tools(self) -> tuple[AnyTool, ...]:
        """Three searches that differ in where they look."""
        return (
            self._tool("web_search", "general", "Searches the web."),
            self._tool("search_financial_news", "news", "Searches news on companies and markets."),
            self._tool("search_earnings_info", "finance", "Searches earnings reports, guidance and estimates."),
        )

    def _tool(self, name: str, topic: Topic, description: str) -> AnyTool:
        async def run(arguments: SearchArguments) -> Hits:
            found = await self._ask(arguments, topic)
            hits = [hit.model_copy(update={"content": hit.content[:LONGEST_EXTRACT]}) for hit in found.results]
            return Hits(hits=hits if self.simulation_date is None else _until(self.simulation_date, hits))

        return Tool(name=name, description=description, arguments=SearchArguments, result=Hits, run=run)

    async def _ask(self, arguments: SearchArguments, topic: Topic) -> _Answer:
        body = {"query": arguments.query, "max_results": arguments.max_results, "topic": topic}
        if self.simulation_date is not None:
            body["end_date"] = self.simulation_date.isoformat()
        headers = {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}
        try:
            async with (
                asyncio.timeout(SEARCH_S),
                aiohttp.ClientSession() as client,
                client.post(f"{self.base_url}/search", json=body, headers=headers) as response,
            ):
                if response.status != 200:
                    raise ToolError("unavailable", f"the search answered HTTP {response.status}")
                return _Answer.model_validate_json(await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ToolError("unavailable", f"the search cannot be reached: {type(error).__name__}") from None
        except ValidationError:
            raise ToolError("unavailable", "the search answered something that is no list of results") from None


def _until(today: date, hits: list[Hit]) -> list[Hit]:
    """The pages that name no later day. Raises ToolError when every page does."""
    kept = [hit for hit in hits if not names_later_day(hit.model_dump_json(), today)]
    if hits and not kept:
        raise ToolError("after_simulation_date", f"every page found names dates after {today} and is not shown")
    return kept
