"""A2A for every service: the server side on a2a-sdk's request handler, the client side on aiohttp.

The SDK decorates all its functions for tracing when it is imported; without a collector that is pure cost, so it is off.
"""

import os

if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
    os.environ.setdefault("OTEL_INSTRUMENTATION_A2A_SDK_ENABLED", "false")
