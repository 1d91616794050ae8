"""Runs untrusted programs: `open_sandbox` gives a sandbox that has proved that it isolates, or says what to do.

Imports nothing else of green, so its image holds no data. Source: code-and-math specification 9.
"""

from __future__ import annotations

from services.green_agent.sandbox.opening import open_sandbox

__all__ = ["open_sandbox"]
