"""Client of the sandbox service, for whoever reaches untrusted execution over HTTP: green, and purple's Python tool."""

from __future__ import annotations

import json
from typing import Final

import httpx
from pydantic import ValidationError

from services.contract.execution import INFO_PATH, RUN_PATH, Job, JobResult, SandboxError, SandboxInfo

UNIX: Final = "unix://"
CONNECT_S: Final = 10.0
MOST_CONNECTIONS: Final = 256


class SandboxClient:
    """One sandbox service at "http://host:port" or "unix:///path/of.sock". Use it from one event loop."""

    def __init__(self, url: str) -> None:
        self.url = url
        limits = httpx.Limits(max_connections=MOST_CONNECTIONS)
        socket_path = url.removeprefix(UNIX) if url.startswith(UNIX) else None
        self._http = httpx.AsyncClient(
            base_url="http://sandbox" if socket_path else url,
            transport=httpx.AsyncHTTPTransport(uds=socket_path, limits=limits),
            # A job may wait for its turn; how long is for the assessment to say, which cancels.
            timeout=httpx.Timeout(None, connect=CONNECT_S),
            trust_env=False,
        )

    async def run(self, job: Job) -> JobResult:
        """Run one job. Raises SandboxError when the service is gone or broken. Cancelling ends the program."""
        content = await self._ask("POST", RUN_PATH, job.model_dump_json())
        try:
            return JobResult.model_validate_json(content)
        except ValidationError as error:
            raise SandboxError(f"the sandbox service at {self.url} answered with no result: {error}") from error

    async def info(self) -> SandboxInfo:
        """Backend and proof of the service. Raises SandboxError."""
        content = await self._ask("GET", INFO_PATH)
        try:
            return SandboxInfo.model_validate_json(content)
        except ValidationError as error:
            raise SandboxError(f"what listens at {self.url} is no sandbox service: {error}") from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, method: str, path: str, body: str | None = None) -> bytes:
        headers = {"content-type": "application/json"}
        try:
            response = await self._http.request(method, path, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise SandboxError(
                f"the sandbox service at {self.url} cannot be reached ({type(error).__name__}: {error}); "
                "start it with `assay sandbox serve`"
            ) from error
        if response.status_code != httpx.codes.OK:
            raise SandboxError(
                f"the sandbox service at {self.url} answered {response.status_code}: {_reason(response)}"
            )
        return response.content


def _reason(response: httpx.Response) -> str:
    try:
        return str(json.loads(response.content)["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:500]
