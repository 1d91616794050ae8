"""Files that the evaluator offers in a conversation: listed, fetched and read, and no other address ever."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

import aiohttp
from pydantic import Field

from services.contract.a2a.urls import CheckedResolver, UrlPolicy, refusal
from services.contract.documents import Limits, Status, Window, read_bytes
from services.purple_agent.tools.base import AnyTool, Arguments, Result, Tool, ToolError, Unit

POLICY: Final = UrlPolicy()
"""The evaluator may be on this machine, so private addresses are allowed; those of cloud metadata never are."""
LIST_TOOL, FETCH_TOOL = "list_reference_files", "fetch_reference_file"
MOST_FILES: Final = 200
TEXT_SHARE: Final = 7_000
"""Characters of a file's text in one answer; windows of pages and rows reach the rest."""
_URL: Final = re.compile(r"https?://[^\s<>\"'`)\]}]{1,2000}")


class NoArguments(Arguments):
    """Nothing to say."""


class FileList(Result):
    """What was offered."""

    files: Annotated[list[str], Unit("name and address of each file")]


class FetchArguments(Arguments):
    """Which file, and which part of it."""

    url: Annotated[str | None, Field(max_length=2_000)] = None
    """Address as it was offered."""
    name: Annotated[str | None, Field(max_length=500)] = None
    """Instead of the address: the file's name."""
    format_hint: Annotated[str, Field(max_length=20)] = ""
    """Suffix such as `pdf` when the name has none."""
    extract_tables: bool = False
    """Keep the columns of a pdf in place."""
    page_start: Annotated[int, Field(ge=1)] = 1
    page_limit: Annotated[int | None, Field(ge=1)] = None
    row_offset: Annotated[int, Field(ge=0)] = 0
    row_limit: Annotated[int | None, Field(ge=1)] = None


class FileText(Result):
    """The text of a file, or of the part asked for."""

    name: Annotated[str, Unit("text")]
    kind: Annotated[str, Unit("format that was recognised")]
    pages: Annotated[int | None, Unit("pages or slides of the whole file; null where there are none")]
    text: Annotated[str, Unit("text")]
    notes: Annotated[list[str], Unit("what was left out")]


class ReferenceFiles:
    """The files one conversation was offered. Only messages of the evaluator can offer one."""

    def __init__(self, *, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._offered: dict[str, str] = {}
        """Name by address."""

    def saw(self, message: str) -> None:
        """Note the addresses of a message of the evaluator."""
        for match in _URL.finditer(message):
            url = match[0].rstrip(".,;:!?")
            try:
                name = unquote(urlsplit(url).path.rsplit("/", 1)[-1]) or url
            except ValueError:  # text that begins like an address and is none, such as a bracketed host cut off
                continue
            if len(self._offered) < MOST_FILES:
                self._offered.setdefault(url, name)

    @property
    def tools(self) -> tuple[AnyTool, ...]:
        """The two tools, once there is something to read."""
        return (self._list_tool(), self._fetch_tool()) if self._offered else ()

    def _list_tool(self) -> AnyTool:
        async def run(_: NoArguments) -> FileList:
            return FileList(files=[f"{name} {url}" for url, name in self._offered.items()])

        return Tool(
            name=LIST_TOOL,
            description="Names and addresses of the files offered in this conversation.",
            arguments=NoArguments,
            result=FileList,
            run=run,
        )

    def _fetch_tool(self) -> AnyTool:
        async def run(arguments: FetchArguments) -> FileText:
            url = self._chosen(arguments)
            window = Window(**arguments.model_dump(include=set(Window.model_fields)))
            read = await asyncio.to_thread(
                read_bytes,
                await self._fetched(url),
                name=self._offered[url],
                window=window,
                limits=self._limits,
                format_hint=arguments.format_hint,
            )
            if read.status is not Status.READ:
                raise ToolError("unreadable", f"{read.name}: {read.words}")
            notes = list(read.notes)
            if len(read.text) > TEXT_SHARE:
                notes.append(f"{len(read.text) - TEXT_SHARE:,} characters cut: ask for fewer pages or rows")
            return FileText(name=read.name, kind=read.kind, pages=read.pages, text=read.text[:TEXT_SHARE], notes=notes)

        return Tool(
            name=FETCH_TOOL,
            description="Text of a file offered in this conversation (pdf, docx, xlsx, pptx, csv, txt, md, json, html), whole or"
            " a window of its pages or rows.",
            arguments=FetchArguments,
            result=FileText,
            run=run,
            time_limit_s=2 * self._limits.timeout_s,
        )

    def _chosen(self, arguments: FetchArguments) -> str:
        if (arguments.url is None) is (arguments.name is None):
            raise ToolError("invalid_arguments", "give either url or name")
        found = [url for url, name in self._offered.items() if arguments.url == url or arguments.name == name]
        if not found:
            offered = ", ".join(self._offered.values())
            raise ToolError("not_offered", f"this file was not offered in this conversation; offered: {offered}")
        if len(found) > 1:
            raise ToolError("ambiguous", f"several files have this name, give the url: {', '.join(found)}")
        return found[0]

    async def _fetched(self, url: str) -> bytes:
        """The bytes of an offered file, without following redirects."""
        if (fault := await refusal(url, POLICY)) is not None:
            raise ToolError("refused", fault)
        timeout = aiohttp.ClientTimeout(total=self._limits.timeout_s)
        try:
            async with (
                # Checked again where the connection is made: a name may resolve to something else by then.
                aiohttp.TCPConnector(resolver=CheckedResolver(POLICY), ttl_dns_cache=0) as connector,
                aiohttp.ClientSession(connector=connector, timeout=timeout) as client,
                client.get(url, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise ToolError("unavailable", f"the address answered HTTP {response.status}")
                content = bytearray()
                async for chunk in response.content.iter_chunked(1 << 16):
                    content += chunk
                    if len(content) > self._limits.file_bytes:
                        raise ToolError("too_large", f"the file is larger than {self._limits.file_bytes} bytes")
                return bytes(content)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ToolError("unavailable", f"the file cannot be fetched: {type(error).__name__}") from None
