"""Starts that fail, each named with its cause and its remedy. The engines are small programs that print real wordings."""

import signal
import subprocess
from pathlib import Path

import pytest

from services.inference.machine.ports import is_free
from tests.inference.local.machine import Machine, await_true, free_port

OUT_OF_MEMORY = """
for number in range(60): print("line", number, file=sys.stderr)
print("INFO 11-21 10:00:00 [gpu_model_runner.py:1] Starting to load model Qwen/Qwen3-32B...")
print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 96.00 MiB. GPU 0 has a total capacity of 79.18 GiB "
      "of which 61.19 MiB is free.", file=sys.stderr)
sys.exit(1)
"""


def up(box: Machine, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return box.say("up", box.checkpoint(), "--no-tools", "--start-port", str(free_port()), *words)


def test_a_server_that_dies_at_its_start_is_told_with_cause_stage_plan_and_its_last_40_lines(box: Machine) -> None:
    box.gpus(0)
    box.engine(OUT_OF_MEMORY)

    ran = up(box)

    assert ran.returncode == 1
    assert "ended at its start with exit code 1" in ran.stderr
    assert "stage reached: load" in ran.stderr
    assert "cause: " in ran.stderr
    assert "remedy: " in ran.stderr
    assert "FIT" in ran.stderr
    assert "line 21\n" in ran.stderr
    assert "line 20\n" not in ran.stderr
    assert box.states() == ["stopped"]
    assert box.registry.read_text().rstrip().endswith("|1")


def test_a_server_that_dies_takes_the_others_with_it(box: Machine) -> None:
    box.engine("if '--seed' in words and option('--seed') == '2': sys.exit('no luck')")

    ran = up(box, "--gpu", "cpu", "--num-servers", "3")

    assert ran.returncode == 1
    assert "no luck" in ran.stderr
    assert box.servers() == []
    assert box.states() == ["stopped", "stopped"]


def test_a_server_that_never_gets_ready_ends_with_4_and_its_stage(box: Machine) -> None:
    box.engine("print('Loading safetensors checkpoint shards: 0%', file=sys.stderr, flush=True); time.sleep(600)")

    ran = up(box, "--gpu", "cpu", "--server-timeout", "1")

    assert ran.returncode == 4
    assert "was not ready within 1 s (--server-timeout): it lives, and does not listen yet" in ran.stderr
    assert "stage reached: load" in ran.stderr
    assert box.servers() == []


def test_a_server_that_listens_and_generates_nothing_is_not_ready(box: Machine) -> None:
    box.engine()
    text = (box.bin / "vllm").read_text()
    (box.bin / "vllm").write_text(text.replace("self.rfile.read(", "time.sleep(600), self.rfile.read("))

    ran = up(box, "--gpu", "cpu", "--server-timeout", "2")

    assert ran.returncode == 4
    assert "is alive but not generating" in ran.stderr


def test_a_server_of_another_model_is_not_ours(box: Machine) -> None:
    box.engine("name = 'somebody-elses'")

    ran = up(box, "--gpu", "cpu")

    assert ran.returncode == 1
    assert "serves somebody-elses, not tiny" in ran.stderr
    assert box.servers() == []


def test_a_port_that_a_process_outside_the_servers_group_answers_is_not_ours(box: Machine) -> None:
    box.engine("""
        code = "import http.server, os, sys; os.setsid(); http.server.test(port=int(sys.argv[1]), bind='127.0.0.1')"
        subprocess.Popen([sys.executable, "-c", code, str(port)], stdout=subprocess.DEVNULL)
        time.sleep(600)
    """)

    ran = up(box, "--gpu", "cpu")

    assert ran.returncode == 1
    assert "answers, but it is not ours: process " in ran.stderr
    port = int(ran.stderr.partition("port ")[2].partition(",")[0])
    await_true(lambda: is_free(port), what="the guard ended what had left the group")


@pytest.mark.parametrize(
    ("words", "code", "fault"),
    [
        (("up", "qwen3-33b", "--gpu", "cpu"), 2, "qwen3-32b"),
        (("up", "./no/such/model", "--gpu", "cpu"), 2, "./no/such/model does not exist"),
        (("up", "qwen3-14b"), 2, "nvidia-smi was not found"),
        (("up", "qwen3-14b", "--gpu", "rtx4090-24"), 3, "--force starts it all the same"),
        (
            ("up", "reference", "--num-servers", "1", "--log-dir", "/dev/null/logs"),
            2,
            "choose another place with --log-dir",
        ),
        (("up", "reference", "--num-servers", "2", "--tp", "2"), 2, "--tp: the reference engine has no weights"),
        (("up", "reference", "--launcher", "compose", "--program", "x"), 2, "containers run the engine of their image"),
        (("up", "reference", "--num-servers", "1", "--stagger-delay", "nan"), 2, "nan is no number"),
    ],
)
def test_what_cannot_be_started_is_named_before_anything_starts(
    box: Machine, words: tuple[str, ...], code: int, fault: str
) -> None:
    box.engine()

    ran = box.say(*words)

    assert (ran.returncode, ran.stdout) == (code, "")
    assert fault in ran.stderr
    assert not box.registry.exists()


def test_without_the_engines_program_the_remedy_is_to_install_or_to_name_it(box: Machine) -> None:
    ran = up(box, "--gpu", "cpu")

    assert ran.returncode == 2
    assert "'vllm', the engine's program, was not found" in ran.stderr
    assert "--program" in ran.stderr


def test_a_gpu_in_use_is_refused_by_name_with_its_user(box: Machine) -> None:
    box.gpus(0, 61_000, users="{1}, 4242, python, 60900")
    box.engine()

    ran = up(box, "--gpu-ids", "0", "1")

    assert ran.returncode == 2
    assert "GPU 1 (NVIDIA H100 80GB HBM3) is in use: 59.6 of 79.1 GiB, by process 4242 (python)" in ran.stderr


def test_a_gpu_that_does_not_exist_is_refused(box: Machine) -> None:
    box.gpus(0, 0)
    box.engine()

    ran = up(box, "--gpu-ids", "1", "7")

    assert ran.returncode == 2
    assert "there is no GPU 7; this machine has 0, 1" in ran.stderr


def test_fewer_gpus_than_one_server_needs_do_not_fit(box: Machine) -> None:
    box.gpus(0, 0)
    box.engine()

    ran = up(box, "--tp", "4")

    assert ran.returncode == 3
    assert "TP 4 needs" in ran.stderr
    assert "IMPOSSIBLE" in ran.stderr


def test_ctrl_c_while_a_server_loads_leaves_nothing(box: Machine) -> None:
    box.engine("time.sleep(600)")
    words = ("--gpu", "cpu", "--no-tools", "--start-port", str(free_port()))
    with box.started("up", box.checkpoint(), *words) as process:
        await_true(box.servers, what="the server loads")

        process.send_signal(signal.SIGINT)

        assert process.wait(60) == 130
        assert box.servers() == []
        assert box.states() == ["stopped"]


def test_servers_are_as_many_as_free_gpus_allow_and_a_leased_gpu_is_left_out_aloud(box: Machine) -> None:
    uuids = box.gpus(0, 9_000, 0)
    box.engine("print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True)")
    words = ("--gpu", "auto", "--num-servers", "1", "--detach", "--start-port", str(free_port()))
    first = box.run("up", box.checkpoint("agent"), "--no-tools", *words)
    try:
        assert first.returncode == 0, first.stderr
        with box.started(
            "up", box.checkpoint("judge"), "--no-tools", "--num-servers", "4", "--start-port", str(free_port())
        ) as second:
            assert second.stdout is not None
            assert second.stderr is not None
            assert second.stdout.readline().split()[1] == "judge"
            second.terminate()
            second.wait(60)
            said = second.stderr.read()
        refused = box.run("up", "agent", "--no-tools", "--gpu-ids", "0")
    finally:
        assert box.say("down", "--all").returncode == 0

    assert sorted(box.log(".out").split()) == sorted([uuids[0], uuids[2]])
    assert "GPU 0 (NVIDIA H100 80GB HBM3) is leased by server local-" in said
    assert "(agent on port " in said
    assert "GPU 1 (NVIDIA H100 80GB HBM3) is in use: 8.8 of 79.1 GiB: left out" in said
    assert "1 instead of 4 servers" in said
    assert refused.returncode == 2
    assert "is leased by server local-" in refused.stderr


@pytest.mark.parametrize(("tokens", "warned"), [(100, True), (None, False)])
def test_a_kv_cache_outside_of_what_was_planned_is_a_warning_and_both_are_kept(
    box: Machine, tokens: int | None, *, warned: bool
) -> None:
    box.gpus(0)
    # 79.1 GiB at 0.90, little weights, 2 to 4 GiB of overhead, 512 bytes a token.
    said = tokens or 143_000_000
    box.engine(f"""
        print("INFO [kv_cache_utils.py:1] GPU KV cache size: {said:,} tokens")
        print("INFO [kv_cache_utils.py:2] Maximum concurrency for 2,048 tokens per request: 31.50x", flush=True)
    """)
    with box.started("up", box.checkpoint(), "--no-tools", "--start-port", str(free_port())) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        server = process.stdout.readline().split()[0]
        process.terminate()
        process.wait(60)
        warnings = process.stderr.read()

    assert ("the engine's KV cache holds" in warnings) is warned, warnings
    facts = (box.folder / "services.txt.d" / f"{server}.json").read_text()
    assert f'"kv_measured_tokens": {said}' in facts
    assert '"concurrency": 31.5' in facts
    assert '"kv_planned_tokens": [' in facts


def test_a_forced_start_of_an_impossible_plan_is_recorded(box: Machine) -> None:
    box.gpus(0, total_mib=2_600)
    box.engine()
    words = ("--num-servers", "1", "--start-port", str(free_port()))
    refused = box.say("up", box.checkpoint(), "--no-tools", *words)
    with box.started("up", "./tiny", "--no-tools", *words, "--force") as process:
        assert process.stdout is not None
        server = process.stdout.readline().split()[0]
        process.terminate()
        process.wait(60)

    assert refused.returncode == 3
    assert "IMPOSSIBLE" in refused.stderr
    assert '"forced": true' in (box.folder / "services.txt.d" / f"{server}.json").read_text()


def test_a_server_that_comes_late_does_not_hold_the_next_one_longer_than_the_stagger(box: Machine) -> None:
    """The first is ready only after the second has started."""
    box.engine("""
        import pathlib
        seen = pathlib.Path("second")
        seen.touch() if option("--seed") == "2" else None
        while not seen.exists(): time.sleep(0.01)
    """)

    words = ("--gpu", "cpu", "--num-servers", "2", "--stagger-delay", "0.1", "--detach")
    ran = box.run("up", box.checkpoint(), "--no-tools", "--start-port", str(free_port()), *words)
    down = box.say("down", "--all")

    assert ran.returncode == 0, ran.stderr
    assert down.returncode == 0, down.stderr
