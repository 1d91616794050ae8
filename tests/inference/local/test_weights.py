import json
from pathlib import Path

import pytest

from services.inference.failures import InferenceError, UsageError
from services.inference.machine.weights import Weights, fetched
from tests.inference.local.machine import Machine, free_port

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def snapshot(hub: Path, *, shards: int, present: int, model: str = "Org--Name") -> Path:
    """A checkpoint in the hub's cache, of which `present` of its `shards` files are there."""
    place = hub / f"models--{model}"
    folder = place / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    (folder / "config.json").write_text("{}")
    names = [f"model-{index}.safetensors" for index in range(shards)]
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict(zip("abc", names, strict=False))})
    )
    for index, name in enumerate(names):
        (folder / name).symlink_to(place / "blobs" / name)
        if index < present:
            (place / "blobs").mkdir(exist_ok=True)
            (place / "blobs" / name).touch()
    return folder


def ask(box: Machine, model: str = "Org/Name", revision: str | None = None) -> Weights | None:
    return fetched(model, revision, beside="vllm", env=box.env, says=lambda _: None)


def hub_of(box: Machine) -> Path:
    return box.folder / "home" / "hub"


@pytest.fixture
def machine(box: Machine) -> Machine:
    box.env["HF_HOME"] = str(box.folder / "home")
    return box


def test_a_whole_checkpoint_of_the_cache_is_taken_with_its_commit_and_nobody_is_asked(machine: Machine) -> None:
    folder = snapshot(hub_of(machine), shards=2, present=2)

    assert ask(machine) == Weights(folder=folder, revision=COMMIT)
    assert ask(machine, revision=COMMIT) == Weights(folder=folder, revision=COMMIT)


def test_a_checkpoint_can_be_called_like_the_model_that_is_served(machine: Machine) -> None:
    weights = Weights(folder=snapshot(hub_of(machine), shards=1, present=1), revision=COMMIT)

    assert weights.called("qwen3-32b") == weights.called("qwen3-32b")
    assert weights.called("qwen3-32b").name == "qwen3-32b"
    assert (weights.called("qwen3-32b") / "config.json").read_text() == "{}"


def test_a_local_directory_has_nothing_to_fetch(machine: Machine) -> None:
    assert ask(machine, model=str(machine.checkpoint())) is None


def test_half_a_checkpoint_is_completed_by_the_hubs_client_that_lies_beside_the_engine(machine: Machine) -> None:
    folder = snapshot(hub_of(machine), shards=2, present=1)
    missing = hub_of(machine) / "models--Org--Name" / "blobs" / "model-1.safetensors"
    machine.engine()
    machine.program("hf", f'#!/bin/sh\necho "$@" > {machine.folder}/asked; touch {missing}\n')

    assert ask(machine, revision="main") == Weights(folder=folder, revision=COMMIT)
    assert (machine.folder / "asked").read_text() == "download Org/Name --revision main\n"


def test_a_fetch_that_fails_is_told_with_its_exit_code(machine: Machine) -> None:
    machine.program("hf", "#!/bin/sh\nexit 3\n")

    with pytest.raises(InferenceError, match=r"hf download Org/Name ended with exit code 3.*hf auth login"):
        ask(machine)


def test_without_a_client_the_remedy_is_to_install_it_or_to_name_a_directory(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(machine.bin / "python"))
    machine.env["PATH"] = str(machine.bin)

    with pytest.raises(
        UsageError, match=r"weights of Org/Name are not in .*hub, and the hub's client `hf` was not found"
    ):
        ask(machine)


def test_a_hub_model_is_served_by_its_commit_and_the_engine_asks_no_hub(machine: Machine) -> None:
    machine.gpus(0)
    snapshot(hub_of(machine), shards=1, present=1, model="Qwen--Qwen3-14B")
    machine.engine("print(os.environ['HF_HUB_OFFLINE'], *words, flush=True)")
    with machine.started("up", "qwen3-14b", "--start-port", str(free_port())) as process:
        assert process.stdout is not None
        assert process.stdout.readline().split()[1] == "qwen3-14b"

    words = machine.log(".out").split()
    assert words[:5] == ["1", "serve", "Qwen/Qwen3-14B", "--revision", COMMIT]
