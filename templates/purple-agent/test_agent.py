"""The agent over HTTP, against a model made up here: `python -m unittest`. Needs no network and no key."""

from __future__ import annotations

import json
import os
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest.mock import patch

import httpx
from server import build_app


class Model(BaseHTTPRequestHandler):
    """Says how many messages it was sent; a question that is a number gets it as HTTP status."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
        question = asked[-1]["content"]
        status = int(question) if question.isdigit() else 200
        said = "\ud800" if question == "half a letter" else f"{len(asked)} messages"
        body = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
        if question == "too long":
            status, body = 400, b"This model's maximum context length is 10 tokens."
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


def answer_of(task: dict[str, Any]) -> str:
    """The text of its one artifact."""
    (artifact,) = task["artifacts"]
    return str(artifact["parts"][0]["text"])


class AgentTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        model = ThreadingHTTPServer(("127.0.0.1", 0), Model)
        thread = threading.Thread(target=model.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(model.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(model.shutdown)
        place = {"OPENAI_BASE_URL": f"http://127.0.0.1:{model.server_port}/v1", "OPENAI_API_KEY": "EMPTY"}
        self.enterContext(patch.dict(os.environ, place))

    async def asyncSetUp(self) -> None:
        transport = httpx.ASGITransport(app=build_app("http://agent.test/"))
        self.client = await self.enterAsyncContext(httpx.AsyncClient(transport=transport, base_url="http://agent.test"))

    async def ask(self, text: str, context: str = "one") -> dict[str, Any]:
        message = {
            "messageId": os.urandom(8).hex(),
            "contextId": context,
            "role": "ROLE_USER",
            "parts": [{"text": text}],
        }
        call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
        response = await self.client.post("/", json=call, headers={"A2A-Version": "1.0"})
        task: dict[str, Any] = response.json()["result"]["task"]
        return task

    async def test_the_card_offers_both_dialects(self) -> None:
        card = (await self.client.get("/.well-known/agent-card.json")).json()

        versions = [interface["protocolVersion"] for interface in card["supportedInterfaces"]]
        assert versions == ["1.0", "0.3"]
        assert card["url"] == "http://agent.test/"

    async def test_a_peer_of_the_older_dialect_is_answered(self) -> None:
        message = {"kind": "message", "messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hello"}]}
        call = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": message}}

        task = (await self.client.post("/", json=call)).json()["result"]

        assert task["status"]["state"] == "completed"
        assert answer_of(task) == "2 messages"

    async def test_a_context_is_one_conversation(self) -> None:
        said = [
            answer_of(await self.ask(text, context)) for text, context in (("a", "one"), ("b", "one"), ("c", "two"))
        ]

        assert said == ["2 messages", "4 messages", "2 messages"]

    async def test_a_failing_model_fails_the_task_and_says_whose_fault_it_is(self) -> None:
        cases = [
            *(("infra_error", f"http_{status}", str(status)) for status in (402, 404, 520)),
            ("agent_error", "http_400", "400"),
            ("infra_error", "context_overflow", "too long"),
            ("infra_error", "model_protocol", "half a letter"),
            ("agent_error", "context_too_large", "x" * 2**23),
        ]
        for outcome, fault, question in cases:
            with self.subTest(fault=fault):
                failed = await self.ask(question)

                assert failed["status"]["state"] == "TASK_STATE_FAILED"
                assert "artifacts" not in failed
                assert failed["metadata"] == {"assay/outcome": outcome, "assay/fault": fault}
        assert answer_of(await self.ask("again")) == "2 messages"

    async def test_a_mistake_in_the_agent_fails_the_task_and_tells_nothing_else(self) -> None:
        with patch.dict(os.environ, PURPLE_LLM_TEMPERATURE="warm"), self.assertLogs("uvicorn.error"):
            failed = await self.ask("hello")

        assert failed["metadata"] == {"assay/outcome": "agent_error", "assay/fault": "internal"}
        assert failed["status"]["message"]["parts"] == [{"text": "internal error"}]

    async def test_a_forgotten_conversation_never_begins_again_in_silence(self) -> None:
        with patch("server.MOST_CONVERSATIONS", 1):
            first, _, again = [await self.ask("hello", context) for context in ("one", "two", "one")]

        assert answer_of(first) == "2 messages"
        assert again["metadata"] == {"assay/outcome": "agent_error", "assay/fault": "context_expired"}


if __name__ == "__main__":
    unittest.main()
