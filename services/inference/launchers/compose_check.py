"""Is a compose file right? Asked of docker where it is, else of our own types."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from services.inference.failures import InferenceError
from services.inference.launchers.compose_file import ComposeFile, Service, check, render

_TIMEOUT_S: Final = 60.0
OTHERS_IMAGE: Final = "defined-by-another-file"


def checked(file: ComposeFile, *, comment: str) -> tuple[str, str]:
    """The text, and who checked it. Raises InferenceError with the checker's words."""
    text = render(file, comment=comment)
    check(text)
    if shutil.which("docker") is None or _compose("version").returncode:
        return text, "its schema"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "compose.yaml"
        place.write_text(render(_whole(file), comment=comment), encoding="utf-8")
        ran = _compose("-f", str(place), "--profile", "*", "config", "--quiet")
    if ran.returncode:
        raise InferenceError(f"docker compose does not accept the file: {ran.stderr.strip()}")
    return text, "docker compose config"


def _whole(file: ComposeFile) -> ComposeFile:
    """Consumers are defined by another file; here they get an image, so that the rest of them can be checked."""
    services = {name: _with_image(service) for name, service in file.services.items()}
    return file.model_copy(update={"services": services})


def _with_image(service: Service) -> Service:
    return service if service.image else service.model_copy(update={"image": OTHERS_IMAGE})


def _compose(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["docker", "compose", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise InferenceError(f"{' '.join(command)} gave no answer within {_TIMEOUT_S:.0f} s") from None
