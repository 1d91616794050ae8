"""The batch script alone, run by bash with the variables that SLURM would set. Needs no SLURM."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contract.endpoint_files import ServiceLine
from services.inference.failures import UsageError
from services.inference.launchers.slurm import SlurmLauncher
from services.inference.launchers.slurm_options import SlurmOptions
from services.inference.servers.registry import Registry
from tests.inference.slurm.conftest import line_of, program, reference_launch, until_status, vllm_launch
from tests.support.slurm import until

BASH = "/bin/bash"


def started(
    script: str, folder: Path, *, job: str = "7", task: int | None = None, path: Path | None = None
) -> subprocess.Popen[str]:
    """The script as a job; `path` holds programs that go before the system's."""
    array = {} if task is None else {"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": str(task)}
    env = {
        "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"],
        "HOME": str(folder),
        "SLURM_JOB_ID": job,
        "SLURMD_NODENAME": "n1",
        "SLURM_SUBMIT_HOST": "localhost",
        **array,
    }
    return subprocess.Popen(
        [BASH, "-c", script], env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(
    script: str, folder: Path, *, job: str = "7", task: int | None = None, path: Path | None = None
) -> tuple[int, str]:
    """Exit code and error output."""
    process = started(script, folder, job=job, task=task, path=path)
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def directives(script: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


class TestWhatSbatchIsAsked:
    def test_one_server_is_one_job_with_as_many_gpus_as_the_plan_says(self, tmp_path: Path) -> None:
        assert directives(SlurmLauncher().script(vllm_launch(tmp_path))) == [
            "--job-name=assay-inference",
            "--nodes=1",
            "--ntasks=1",
            "--no-requeue",
            "--signal=B:TERM@60",
            f"--output={tmp_path}/logs/vllm_%j_%N.out",
            f"--error={tmp_path}/logs/vllm_%j_%N.err",
            "--gpus-per-node=2",
        ]

    def test_several_are_an_array_and_options_of_the_site_are_added(self, tmp_path: Path) -> None:
        options = SlurmOptions(
            gpus_per_node=4,
            partition="gpu",
            account="lab",
            qos="high",
            time="4:00:00",
            cpus_per_task=8,
            mem="64G",
            sbatch_args=("--constraint=ib", "--exclusive"),
        )

        assert directives(SlurmLauncher(options).script(vllm_launch(tmp_path, count=3)))[5:] == [
            "--array=0-2",
            f"--output={tmp_path}/logs/vllm_%A_%a_%N.out",
            f"--error={tmp_path}/logs/vllm_%A_%a_%N.err",
            "--gpus-per-node=4",
            "--partition=gpu",
            "--account=lab",
            "--qos=high",
            "--time=4:00:00",
            "--cpus-per-task=8",
            "--mem=64G",
            "--constraint=ib",
            "--exclusive",
        ]

    def test_every_server_has_the_seed_of_its_number_and_the_port_that_its_job_finds(self, tmp_path: Path) -> None:
        script = SlurmLauncher().script(vllm_launch(tmp_path, count=2))

        commands = [line.strip() for line in script.splitlines() if line.strip().startswith("argv=(")]
        assert [re.findall(r"--(?:seed|port|host) (\S+)", line) for line in commands] == [
            ["0.0.0.0", '"$port"', "1"],
            ["0.0.0.0", '"$port"', "2"],
        ]

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            (SlurmOptions(runtime="docker"), "--runtime: expected native or apptainer:IMAGE, got 'docker'"),
            (SlurmOptions(runtime="apptainer:"), "--runtime"),
            (SlurmOptions(partition="gpu\n#SBATCH --wrap=x"), "--partition: expected one line"),
            (SlurmOptions(account=" "), "--account: expected one line"),
            (SlurmOptions(host_ip="node 1"), "--host-ip: expected an IP address"),
            (SlurmOptions(sbatch_args=("--arr=0-9",)), "'--arr=0-9' is set by `inference up` itself"),
            (SlurmOptions(sbatch_args=("-o/dev/null",)), "'-o/dev/null' is set by `inference up` itself"),
            (SlurmOptions(sbatch_args=("rm",)), "--sbatch-arg: expected an option of sbatch"),
        ],
    )
    def test_an_option_that_cannot_be_right_is_refused_by_name(
        self, tmp_path: Path, options: SlurmOptions, named: str
    ) -> None:
        with pytest.raises(UsageError, match=re.escape(named)):
            SlurmLauncher(options).script(reference_launch(tmp_path))

    def test_an_engine_that_has_no_key_refuses_auth(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="--auth: reference cannot demand a key"):
            SlurmLauncher(SlurmOptions(auth=True)).script(reference_launch(tmp_path))

    @pytest.mark.parametrize("model", ["a|b", "a\nb"])
    def test_a_model_that_the_registry_cannot_hold_is_refused(self, tmp_path: Path, model: str) -> None:
        with pytest.raises(UsageError, match=r"services\.txt cannot hold"):
            SlurmLauncher().script(vllm_launch(tmp_path, model=model))

    def test_ports_beyond_the_last_one_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="--start-port: 3 ports from 65534 on do not exist"):
            SlurmLauncher().script(replace(reference_launch(tmp_path, count=3), start_port=65_534))


class TestWhatAJobDoes:
    def test_it_turns_its_line_to_running_when_its_server_answers_and_to_stopped_when_it_is_told_to_end(
        self, tmp_path: Path
    ) -> None:
        launch = reference_launch(tmp_path)
        job = started(SlurmLauncher(SlurmOptions(host_ip="192.0.2.9")).script(launch), tmp_path)
        line = until_status(launch.registry, "7", "running")
        job.terminate()
        _, said = job.communicate(timeout=30)

        over = line_of(launch.registry, "7")
        assert over == replace(line, status="stopped", end_time=over.end_time if over else "", exit_code="143")
        assert (line.hostname, line.url) == ("n1", f"http://192.0.2.9:{launch.start_port}/v1")
        assert (job.returncode, said) == (143, f"assay: reference answers at 192.0.2.9:{launch.start_port}\n")
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", launch.start_port)) != 0

    def test_an_engine_that_does_not_exist_is_code_127(self, tmp_path: Path) -> None:
        code, said = ended(SlurmLauncher().script(reference_launch(tmp_path, program=tmp_path / "absent")), tmp_path)

        line = line_of(tmp_path / "services.txt", "7")
        assert (code, line and line.exit_code) == (127, "127")
        assert "No such file" in said

    def test_a_server_that_never_answers_is_stopped_after_its_time(self, tmp_path: Path) -> None:
        deaf = program(tmp_path, "exec sleep 300")
        code, said = ended(SlurmLauncher().script(reference_launch(tmp_path, program=deaf, timeout_s=1)), tmp_path)

        line = line_of(tmp_path / "services.txt", "7")
        assert (code, line and line.exit_code) == (4, "4")
        assert said == "assay: no answer 200 from /health within 1 s: --server-timeout allows more\n"

    @pytest.mark.parametrize(
        "model",
        [
            '/models/$(touch hit)/it\'s "one" `touch hit` ; touch hit #',
            "-n {folder} 61937 \\ % * ~ é",
            "$HOME",
        ],
    )
    def test_a_hostile_model_name_reaches_engine_and_registry_letter_by_letter(
        self, tmp_path: Path, model: str
    ) -> None:
        stub = program(tmp_path, 'printf "%s\\0" "$@" > seen')
        assert ended(SlurmLauncher().script(vllm_launch(tmp_path, model=model, stub=stub)), tmp_path)[0] == 0

        seen = (tmp_path / "seen").read_text(encoding="utf-8").split("\0")
        line = line_of(tmp_path / "services.txt", "7")
        assert seen[:2] == ["serve", model]
        assert line is not None
        assert line.model_path == model.strip()
        assert not (tmp_path / "hit").exists()

    def test_the_key_reaches_the_engine_by_its_file_and_stands_in_no_script(self, tmp_path: Path) -> None:
        stub = program(tmp_path, 'printf %s "$VLLM_API_KEY" > seen; printf "%s " "$@" > arguments')
        script = SlurmLauncher(SlurmOptions(auth=True)).script(vllm_launch(tmp_path, stub=stub))
        key_file = re.search(r"VLLM_API_KEY=\$\(cat (\S+)\)", script)
        assert key_file is not None
        (tmp_path / "logs").mkdir()
        Path(key_file[1]).write_text("swordfish\n", encoding="utf-8")

        assert ended(script, tmp_path)[0] == 0
        assert (tmp_path / "seen").read_text(encoding="utf-8") == "swordfish"
        assert "swordfish" not in script + (tmp_path / "arguments").read_text(encoding="utf-8")

    def test_apptainer_runs_the_command_in_the_image_with_gpus_and_what_it_reads(self, tmp_path: Path) -> None:
        programs = tmp_path / "bin"
        programs.mkdir()
        program(programs, f'printf "%s\\n" "$@" > {tmp_path}/seen').rename(programs / "apptainer")
        options = SlurmOptions(runtime="apptainer:/images/a b.sif")

        assert (
            ended(SlurmLauncher(options).script(vllm_launch(tmp_path, model="/m/a b")), tmp_path, path=programs)[0] == 0
        )
        seen = (tmp_path / "seen").read_text(encoding="utf-8").splitlines()
        assert seen[:8] == ["exec", "--nv", "--bind", "/m/a b", "/images/a b.sif", "vllm", "serve", "/m/a b"]

    def test_a_port_promised_to_another_job_of_the_node_is_left_to_it(self, tmp_path: Path) -> None:
        launch = reference_launch(tmp_path, program=program(tmp_path, "true"))
        for job, ip, status in (("5", "127.0.0.1", "stopped"), ("6", "192.0.2.1", "running")):
            Registry(launch.registry).put(_line(job, ip, launch.start_port, status))
        script = SlurmLauncher(SlurmOptions(host_ip="127.0.0.1")).script(launch)
        ended(script, tmp_path, job="7")
        Registry(launch.registry).put(_line("4", "127.0.0.1", launch.start_port, "starting"))
        ended(script, tmp_path, job="8")

        ports = [line.port for line in Registry(launch.registry).lines() if line.job_id in {"7", "8"}]
        assert ports == [launch.start_port, launch.start_port + 1]

    def test_a_port_leased_to_a_server_of_another_registry_is_left_to_it(self, tmp_path: Path) -> None:
        loading = reference_launch(tmp_path / "one", program=program(tmp_path, "touch started; exec sleep 20"))
        other = replace(loading, registry=tmp_path / "two.txt")
        loading.registry.parent.mkdir()

        first = started(SlurmLauncher().script(loading), tmp_path, job="7")
        until((tmp_path / "started").exists, what="the engine of the first job")
        second = started(SlurmLauncher().script(other), tmp_path, job="8")
        line = until_status(other.registry, "8", "starting")
        for job in (first, second):
            job.terminate()
            job.communicate(timeout=30)

        assert line.port == loading.start_port + 1

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can listen as somebody else")
    def test_a_server_of_another_user_that_took_the_port_meanwhile_is_not_ours(self, tmp_path: Path) -> None:
        launch = reference_launch(tmp_path, program=program(tmp_path, "touch started; exec sleep 20"))
        with started(SlurmLauncher().script(launch), tmp_path) as job:
            until((tmp_path / "started").exists, what="the engine of the job")
            with _well_for_somebody_else(launch.start_port):
                _, said = job.communicate(timeout=30)

        line = line_of(launch.registry, "7")
        assert (job.returncode, line and line.exit_code) == (98, "98")
        assert said == (
            f"assay: port {launch.start_port} of n1 was taken by another user's server: choose another --start-port\n"
        )

    def test_a_file_system_without_locks_is_refused_and_nothing_is_written(self, tmp_path: Path) -> None:
        programs = tmp_path / "bin"
        programs.mkdir()
        program(programs, "echo 'flock: 9: No locks available' >&2; exit 71").rename(programs / "flock")
        launch = reference_launch(tmp_path, program=program(tmp_path, "touch hit"))

        code, said = ended(SlurmLauncher().script(launch), tmp_path, path=programs)

        assert (code, launch.registry.exists(), (tmp_path / "hit").exists()) == (71, False, False)
        assert f"assay: the file system of {launch.registry}.lock has no file locks" in said

    def test_lines_of_others_and_the_registrys_mode_stay_as_they_are(self, tmp_path: Path) -> None:
        launch = reference_launch(tmp_path, program=program(tmp_path, "true"))
        others = (
            "# a remark | with | many | fields | in | it | all\n77|n9|10.0.0.9|8000|/m x|now|running\nshort|line\n\n7"
        )
        launch.registry.write_text(others, encoding="utf-8")
        launch.registry.chmod(0o664)

        ended(SlurmLauncher().script(launch), tmp_path)

        text = launch.registry.read_text(encoding="utf-8")
        assert text.startswith(others.removesuffix("7") + "7|n1|127.0.0.1|")
        assert text.count("\n") == 5
        assert launch.registry.stat().st_mode & 0o777 == 0o664

    def test_twenty_writers_at_once_lose_no_line(self, tmp_path: Path) -> None:
        launch = reference_launch(tmp_path, count=10, program=program(tmp_path, "exit 9"))
        script = SlurmLauncher().script(launch)
        jobs = [started(script, tmp_path, job="30", task=task) for task in range(10)]
        lines = [_line(f"4{n}", "10.0.0.1", 80, "running") for n in range(10)]
        with ThreadPoolExecutor(10) as threads:
            list(threads.map(Registry(launch.registry).put, lines))
        for job in jobs:
            job.communicate(timeout=60)

        found = {line.job_id: line.exit_code for line in Registry(launch.registry).lines()}
        assert found == {**{f"30_{task}": "9" for task in range(10)}, **{f"4{n}": "" for n in range(10)}}


_WORDS = st.text(st.characters(blacklist_categories=("Cc", "Cs"))).map(lambda word: f"x{word}")


@settings(max_examples=10, deadline=None)
@given(words=st.lists(_WORDS, max_size=3))
def test_any_engine_argument_arrives_as_it_was_typed(
    tmp_path_factory: pytest.TempPathFactory, words: Sequence[str]
) -> None:
    folder = tmp_path_factory.mktemp("words")
    stub = program(folder, 'printf "%s\\0" "$@" > seen')
    launch = vllm_launch(folder, stub=stub)
    arguments = tuple((f"own-{number}", word) for number, word in enumerate(words))
    launch = replace(launch, serving=replace(launch.serving, engine_args=arguments))

    assert ended(SlurmLauncher().script(launch), folder)[0] == 0

    seen = (folder / "seen").read_text(encoding="utf-8").split("\0")
    assert [seen[seen.index(f"--{name}") + 1] for name, _ in arguments] == list(words)


@contextmanager
def _well_for_somebody_else(port: int) -> Iterator[None]:
    """A server whose /health is good, and whose socket belongs to another user."""

    class Well(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

    server = HTTPServer(("0.0.0.0", port), Well, bind_and_activate=False)
    server.socket.close()
    os.seteuid(54_321)
    try:
        server.socket = socket.create_server(("0.0.0.0", port))
    finally:
        os.seteuid(0)
    with server, ThreadPoolExecutor(1) as threads:
        serving = threads.submit(server.serve_forever)
        yield
        server.shutdown()
        serving.result()


def _line(job: str, ip: str, port: int, status: str) -> ServiceLine:
    return ServiceLine(
        job_id=job,
        hostname="n1",
        host_ip=ip,
        port=port,
        model_path="/m",
        start_time="2026-01-01 00:00:00",
        status=status,
    )
