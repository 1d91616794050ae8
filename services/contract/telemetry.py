"""Logging, tracing and metrics set-up, one call per process.

Logs go to stderr: readable lines on a terminal, JSON elsewhere (`ASSAY_LOG=json|text` decides). OpenTelemetry is off unless
`OTEL_EXPORTER_OTLP_ENDPOINT` is set. Every string of a log event passes `secrets.redact`.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from services.contract.secrets import redact, register_environment

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def configure(service: str, *, verbose: bool = False) -> None:
    """Set up logging and, when an endpoint is configured, tracing, for the process of `service`."""
    register_environment()
    wanted = os.environ.get("ASSAY_LOG", "")
    as_json = wanted == "json" or (wanted != "text" and not sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    level = logging.DEBUG if verbose else logging.INFO
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact_event,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    _quiet_libraries()
    _configure_tracing(service)


def record(name: str, *, duration_s: float, attributes: Mapping[str, str | int | float | bool]) -> None:
    """Report a piece of work that has just ended as a span `assay.<name>` and in the histogram of its durations.

    Does nothing unless an OpenTelemetry endpoint is configured.
    """
    if not os.environ.get(ENDPOINT):
        return
    from opentelemetry import metrics, trace  # noqa: PLC0415 - slow to import and off by default

    ended_ns = time.time_ns()
    span = trace.get_tracer("assay").start_span(f"assay.{name}", start_time=ended_ns - int(duration_s * 1e9))
    span.set_attributes(attributes)
    span.end(ended_ns)
    histogram = metrics.get_meter("assay").create_histogram(f"assay.{name}.duration", unit="s")
    histogram.record(duration_s, {key: attributes[key] for key in ("benchmark", "outcome") if key in attributes})


def _redact_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = redact(value)
    return event


def _quiet_libraries() -> None:
    """Libraries log through the standard library; below a warning they have nothing a user needs."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


def _configure_tracing(service: str) -> None:
    if not os.environ.get(ENDPOINT):
        os.environ.setdefault("OTEL_INSTRUMENTATION_A2A_SDK_ENABLED", "false")
        return
    from opentelemetry import metrics, trace  # noqa: PLC0415 - slow to import and off by default
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = Resource.create({"service.name": f"assay-{service}"})
    tracing = TracerProvider(resource=resource)
    tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracing)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    metrics.set_meter_provider(MeterProvider(resource=resource, metric_readers=[reader]))
