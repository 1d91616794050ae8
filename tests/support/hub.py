"""A hub of data sets on loopback: what huggingface_hub asks of the real one, and raw files as GitHub serves them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass(kw_only=True)
class Hub:
    """Repositories by `owner/name`: commits by branch, files by commit. Change it while it serves."""

    url: str = ""
    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    files: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    """By (repository, commit)."""
    sent: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    """Sent instead of the file that is listed, by (repository, commit, name)."""
    listings: dict[str, bytes] = field(default_factory=dict)
    """Sent instead of the listing, by repository."""
    moved: dict[str, str] = field(default_factory=dict)
    """Paths that are answered with another address."""
    gated: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)

    def publish(self, repo: str, commit: str, files: dict[str, bytes]) -> None:
        """A new commit, to which `main` points from now on."""
        self.branches.setdefault(repo, {})["main"] = commit
        self.files[repo, commit] = files

    def downloads(self) -> list[str]:
        """Paths of files that were fetched, in order."""
        return [path for path in self.requests if "/resolve/" in path]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self.hub.requests.append(self.path)
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "datasets"]
        repo = "/".join(parts[2:4] if api else parts[1:3])
        if path in self.hub.moved:
            self._send(302, b"", {"Location": self.hub.moved[path]})
        elif repo in self.hub.gated:
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access restricted"})
        elif api:
            self._info(repo, parts[5] if len(parts) > 5 else "main")
        elif len(parts) > 5 and parts[0] == "datasets" and parts[3] == "resolve":
            self._file(repo, parts[4], "/".join(parts[5:]))
        else:
            self._raw(path)

    def _info(self, repo: str, revision: str) -> None:
        if repo in self.hub.listings:
            self._send(200, self.hub.listings[repo], {"Content-Type": "application/json"})
            return
        commit = self.hub.branches.get(repo, {}).get(revision, revision)
        files = self.hub.files.get((repo, commit))
        if files is None:
            code = "RevisionNotFound" if repo in self.hub.branches else "RepoNotFound"
            self._send(404, b"{}", {"X-Error-Code": code})
            return
        siblings = [
            {
                "rfilename": name,
                "size": len(content),
                "lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130},
            }
            for name, content in files.items()
        ]
        told = {"id": repo, "sha": commit, "private": False, "tags": [], "downloads": 0, "siblings": siblings}
        self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _file(self, repo: str, commit: str, name: str) -> None:
        content = self.hub.files.get((repo, commit), {}).get(name)
        if content is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        content = self.hub.sent.get((repo, commit, name), content)
        self._send(200, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit})

    def _raw(self, path: str) -> None:
        owner, name, commit, *rest = path.strip("/").split("/") + [""] * 3
        content = self.hub.files.get((f"{owner}/{name}", commit), {}).get("/".join(part for part in rest if part))
        self._send(404 if content is None else 200, content or b"", {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """A hub that serves until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
