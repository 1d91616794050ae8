"""Files in which other tools and ours say where servers are: `services.txt` and `model_config_local.json`.

Specification: inference 4, "Files shared with other tools".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["starting", "running", "stopped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceLine:
    """One line of `services.txt`: `JOB_ID|HOSTNAME|HOST_IP|PORT|MODEL_PATH|START_TIME|STATUS[|END_TIME|EXIT_CODE]`."""

    job_id: str
    hostname: str
    host_ip: str
    port: int
    model_path: str
    start_time: str
    """As written: seconds since the epoch or `YYYY-mm-dd HH:MM:SS`."""
    status: str
    """`starting`, `running` or `stopped`; another word of another tool is kept."""
    end_time: str = ""
    exit_code: str = ""
    """A number, `lost`, or nothing."""

    @property
    def url(self) -> str:
        """Base URL ending in /v1."""
        host = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip
        return f"http://{host}:{self.port}/v1"
