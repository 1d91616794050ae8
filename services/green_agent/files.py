"""The shelf: reference files that the agent may read while its trial lasts, at addresses nobody can guess.

Only what was offered is served, by its exact address; there is no listing and no path. The address is the permission: the
agent under test has no token of green's.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.contract.documents.kinds import media_type_of
from services.contract.outcomes import Failure, Outcome

BELOW: Final = "/files/"
TOKEN_BYTES: Final = 24
LONGEST_NAME: Final = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class _Offered:
    file: Path
    name: str
    trial: str


class FileShelf:
    """Serves files of trials under way. Satisfies `session.Shelf`; used from one event loop."""

    def __init__(self) -> None:
        self._base = ""
        self._offered: dict[str, _Offered] = {}

    def mount(self, public_url: str) -> Mapping[str, ASGIApp]:
        """Give the server its app, see `contract.a2a.server.Mount`. Before this nothing can be offered."""
        self._base = public_url.rstrip("/") + BELOW
        return {BELOW: self._serve}

    def offer(self, file: Path, *, name: str, trial: str) -> str:
        """The address of a file until `withdraw`. Raises Failure when there is no server or no such file."""
        if not self._base:
            raise Failure(Outcome.INFRA_ERROR, "no_shelf", "this evaluator cannot serve files to the agent")
        if not file.is_file():
            raise Failure(Outcome.INFRA_ERROR, "file_gone", f"the reference file {name!r} is not there any more")
        token, shown = secrets.token_urlsafe(TOKEN_BYTES), _plain_name(name)
        self._offered[token] = _Offered(file=file, name=shown, trial=trial)
        return f"{self._base}{token}/{quote(shown)}"

    def withdraw(self, trial: str) -> None:
        """Nothing of the trial is served any more; a transfer under way ends by itself."""
        for token in [token for token, offered in self._offered.items() if offered.trial == trial]:
            del self._offered[token]

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answer(Request(scope))
        await answer(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return PlainTextResponse("method not allowed", 405, {"allow": "GET, HEAD"})
        token, _, name = request.scope["path"].removeprefix(BELOW).partition("/")
        offered = self._offered.get(token)
        if offered is None or offered.name != name or not offered.file.is_file():
            return PlainTextResponse("not found", 404)
        return FileResponse(
            offered.file,
            media_type=media_type_of(offered.name),
            filename=offered.name,
            headers={"cache-control": "no-store", "x-content-type-options": "nosniff"},
        )


def _plain_name(name: str) -> str:
    """The last part of a name, without anything that could be a path or break a header."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(character for character in last if character.isprintable())
    return kept[-LONGEST_NAME:].strip(". ") or "file"
