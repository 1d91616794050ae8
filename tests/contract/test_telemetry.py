import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

SECRET = "planted-secret-value"
PROGRAM = """
import structlog
from services.contract import telemetry
telemetry.configure("green")
structlog.get_logger().info("trial_finished", outcome="scored", said="key planted-secret-value")
telemetry.record("trial", duration_s=1.5, attributes={"benchmark": "options", "outcome": "scored"})
"""


@contextmanager
def collector() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A real OTLP receiver: address, and bodies by path."""
    received: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received[self.path] = received.get(self.path, b"") + body
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PATH": "/usr/bin:/bin", "MY_API_KEY": SECRET, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr


def test_a_log_that_is_no_terminal_is_json_without_secrets() -> None:
    event = json.loads(run())

    assert event["event"] == "trial_finished"
    assert (event["service"], event["level"], event["outcome"]) == ("green", "info", "scored")
    assert event["said"] == "key [redacted]"


def test_readable_lines_can_be_asked_for() -> None:
    assert "trial_finished" in run(ASSAY_LOG="text")
    assert not run(ASSAY_LOG="text").startswith("{")


def test_spans_and_metrics_reach_a_collector_when_one_is_named() -> None:
    with collector() as (endpoint, received):
        run(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)

    assert set(received) == {"/v1/traces", "/v1/metrics"}
    assert b"assay.trial" in received["/v1/traces"]
    assert b"assay-green" in received["/v1/traces"]
    assert b"assay.trial.duration" in received["/v1/metrics"]


def test_nothing_is_sent_without_an_endpoint() -> None:
    with collector() as (_, received):
        run()

    assert received == {}
