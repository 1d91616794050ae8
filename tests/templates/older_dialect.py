"""The template behind a card of the dialect 0.3 alone, as agents of last year have it. Run as a script."""

from __future__ import annotations

import json

import httpx
import uvicorn
from server import build_app  # type: ignore[import-not-found] # of the template, on PYTHONPATH
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

AGENT = build_app("http://127.0.0.1/")


async def card(request: Request) -> JSONResponse:
    """Its card without what the older dialect does not know."""
    transport = httpx.ASGITransport(app=AGENT)
    async with httpx.AsyncClient(transport=transport, base_url="http://agent.test") as client:
        whole = json.loads((await client.get("/.well-known/agent-card.json")).text)
    assert "1.0" in {interface["protocolVersion"] for interface in whole.pop("supportedInterfaces")}
    return JSONResponse(whole | {"protocolVersion": "0.3.0"})


app = Starlette(routes=[Route("/.well-known/agent-card.json", card), Mount("/", AGENT)])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=0)
