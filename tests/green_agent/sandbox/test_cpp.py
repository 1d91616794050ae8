"""Programs in C++: built in a cell of their own, kept by content, executed in another; the same on every backend."""

import asyncio
from pathlib import Path

import pytest

from services.contract.execution import Build, Executable, Interactive, LimitHit, Limits, Program, SandboxError
from services.green_agent.sandbox import compiler
from services.green_agent.sandbox.backends import BWRAP_WARM
from services.green_agent.sandbox.pool import LocalSandbox
from tests.green_agent.sandbox.conftest import lacking, needs_compiler

pytestmark = needs_compiler

MIB = 1 << 20
ECHO = """
#include "words.h"
#include <cstdio>
int main(int count, char** arguments) {
    int a, b;
    char text[9];
    scanf("%d %d", &a, &b);
    fscanf(fopen("given", "r"), "%8s", text);
    printf(HELLO " %d %s", a + b, text);
    for (int i = 1; i < count; i++) printf(" %s", arguments[i]);
    return 3;
}
"""


def cpp(source: str, *, limits: Limits | None = None, stdin: str = "") -> Program:
    return Program(source=source, language="cpp", limits=limits or Limits(), stdin=stdin)


async def test_a_program_is_built_and_gets_its_input_arguments_files_and_headers(sandbox: LocalSandbox) -> None:
    job = Program(
        source=ECHO,
        language="cpp",
        headers={"words.h": '#define HELLO "sum"'},
        stdin="1 2",
        arguments=["x y", "--z"],
        files={"given": "é"},
    )

    result = await sandbox.run(job)

    assert (result.stdout, result.exit_status, result.limit, result.error) == ("sum 3 é x y --z", 3, None, "")
    assert result.build is not None
    assert (result.build.ok, result.build.command) == (True, "g++ -O2 -std=gnu++17 -o program program.cpp")


async def test_equal_text_is_built_once_even_when_asked_at_once(warm: LocalSandbox) -> None:
    source = '#include <cstdio>\nint main() { int n; scanf("%d", &n); printf("%d", n * n); }'

    results = await asyncio.gather(*(warm.run(cpp(source, stdin=str(n))) for n in range(5)))

    assert [result.stdout for result in results] == ["0", "1", "4", "9", "16"]
    builds = [result.build for result in results if result.build]
    assert sorted(built.cpu_s > 0 for built in builds) == [False] * 4 + [True]


async def test_what_a_build_depends_on_makes_another_build(warm: LocalSandbox) -> None:
    source = '#include "n.h"\n#include <cstdio>\nint main() { printf("%d", N); }'
    jobs = [Program(source=source, language="cpp", headers={"n.h": f"#define N {n}"}) for n in (1, 2)]

    assert [(await warm.run(job)).stdout for job in jobs] == ["1", "2"]


async def test_a_program_that_does_not_build_does_not_run_and_the_compiler_is_quoted(sandbox: LocalSandbox) -> None:
    result = await sandbox.run(cpp("int main() { return nowhere; }"))

    assert result.build is not None
    assert result.build.ok is False
    assert "program.cpp:1:21: error:" in result.build.output
    assert (result.exit_status, result.stdout, result.limit) == (None, "", None)


async def test_a_build_job_only_builds(warm: LocalSandbox) -> None:
    good, bad = [await warm.run(Build(source=source, language="cpp")) for source in ("int main() {}", "int main() {")]

    assert [built.build and built.build.ok for built in (good, bad)] == [True, False]
    assert good.exit_status is None


async def test_a_program_has_only_its_three_streams_open_and_sees_no_source(sandbox: LocalSandbox) -> None:
    source = """
#include <cstdio>
#include <fcntl.h>
#include <dirent.h>
int main() {
    for (int number = 0; number < 1024; number++) if (fcntl(number, F_GETFD) != -1) printf("%d ", number);
    DIR* here = opendir(".");
    while (dirent* entry = readdir(here)) printf("%s ", entry->d_name);
}
"""
    result = await sandbox.run(cpp(source))

    # The folder's own descriptor is opened after the count.
    assert sorted(result.stdout.split()) == [".", "..", "0", "1", "2"]


async def test_what_runs_does_not_see_the_compiler(warm: LocalSandbox) -> None:
    source = """
#include <cstdio>
#include <unistd.h>
int main() {
    const char* paths[] = {"/usr/bin/g++", "/usr/include/stdio.h", "/usr/bin/env"};
    for (auto path : paths) printf("%d", access(path, F_OK));
}
"""
    assert (await warm.run(cpp(source))).stdout == "-1-1-1"


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ('for (;;) asm("");', LimitHit.CPU),
        ('for (;;) puts("endless output");', LimitHit.OUTPUT),
        ("std::vector<char> v(300 << 20, 1); return v[5];", LimitHit.MEMORY),
        ("static char v[300 << 20]; for (auto& c : v) c = 1; return v[getpid()];", LimitHit.MEMORY),
        ("sleep(600);", LimitHit.WALL),
    ],
)
async def test_each_limit_stops_a_program_and_is_named(warm: LocalSandbox, body: str, limit: LimitHit) -> None:
    limits = Limits(cpu_s=0.3, wall_s=0.6, memory_bytes=256 * MIB)
    if limit is not LimitHit.WALL:
        limits = limits.model_copy(update={"wall_s": 30})

    result = await warm.run(
        cpp(f"#include <vector>\n#include <cstdio>\n#include <unistd.h>\nint main() {{ {body} }}", limits=limits)
    )

    assert result.limit is limit


async def test_all_the_memory_may_be_stack(sandbox: LocalSandbox) -> None:
    source = """
#include <cstdio>
#include <cstdlib>
int depth(int n) {
    char room[1000];
    asm volatile("" :: "r"(room) : "memory");
    int below = n ? depth(n - 1) : -1;
    asm volatile("" :: "r"(room) : "memory");
    return below + 1;
}
int main(int, char** arguments) { printf("%d", depth(atoi(arguments[1]))); }
"""
    limits = Limits(memory_bytes=256 * MIB)
    jobs = [Program(source=source, language="cpp", arguments=[count], limits=limits) for count in ("200000", "400000")]

    deep, too_deep = [await sandbox.run(job) for job in jobs]

    assert (deep.stdout, deep.exit_status) == ("200000", 0)
    assert too_deep.exit_status == -11


async def test_signals_that_python_ignores_are_not_ignored_in_a_program(warm: LocalSandbox) -> None:
    source = """
#include <csignal>
#include <cstdio>
int main() { printf("%d%d", signal(SIGPIPE, SIG_DFL) == SIG_DFL, signal(SIGXFSZ, SIG_DFL) == SIG_DFL); }
"""

    assert (await warm.run(cpp(source))).stdout == "11"


async def test_arguments_and_files_reach_a_python_program(sandbox: LocalSandbox) -> None:
    source = "import sys\nprint(sys.argv, open('given').read(), open('second').read())"

    result = await sandbox.run(Program(source=source, arguments=["1", "ü"], files={"given": "a\nb", "second": ""}))

    assert result.stdout == "['solution.py', '1', 'ü'] a\nb \n"


async def test_half_a_character_in_a_program_is_its_own_affair(warm: LocalSandbox) -> None:
    """What a model writes may hold code points that no encoding has; that must not pass for a broken sandbox."""
    built = await warm.run(cpp("int main() {} // \ud800", stdin="\ud800"))
    not_built = await warm.run(cpp("int main() { \ud800 }"))

    assert [result.build and result.build.ok for result in (built, not_built)] == [True, False]


async def test_files_that_do_not_fit_are_no_verdict_on_the_program(warm: LocalSandbox) -> None:
    with pytest.raises(SandboxError, match="No space left"):
        await warm.run(Program(source="", files={"big": "x" * (2 * MIB)}, limits=Limits(scratch_bytes=MIB)))


async def test_without_a_compiler_cpp_is_a_sandbox_error_with_the_remedy_and_python_runs(
    warm: LocalSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lookups = (compiler.executable, compiler.version)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        for lookup in lookups:
            lookup.cache_clear()
        absent = compiler.version()
    try:
        with pytest.raises(SandboxError, match=r"g\+\+ is not installed; .*apt-get install g\+\+"):
            await warm.run(cpp("int main() {}"))
        result = await warm.run(Program(source="print(1)"))
    finally:
        for lookup in lookups:
            lookup.cache_clear()

    assert (absent, result.stdout) == ("absent", "1\n")


async def test_a_compiler_that_fails_on_a_right_program_is_no_verdict_on_anybodys() -> None:
    if reason := await lacking(BWRAP_WARM):
        pytest.skip(reason)
    sandbox = LocalSandbox(BWRAP_WARM, workers=1, build_limits=compiler.LIMITS.model_copy(update={"cpu_s": 0.01}))
    try:
        with pytest.raises(SandboxError, match="compiler of this sandbox fails on a right program"):
            await sandbox.run(cpp("int main() {}"))
    finally:
        await sandbox.aclose()


INTERACTOR = """
#include <cstdio>
int main(int, char** arguments) {
    int secret, guess;
    fscanf(fopen(arguments[1], "r"), "%d", &secret);
    while (scanf("%d", &guess) == 1) {
        if (guess == secret) return puts("right"), 0;
        puts(guess < secret ? "more" : "less");
        fflush(stdout);
    }
    fputs("never guessed", stderr);
    return 1;
}
"""
SEARCH = """
low, high = 0, 1000
while True:
    middle = (low + high) // 2
    print(middle, flush=True)
    answer = input()
    if answer == "right": break
    low, high = (middle + 1, high) if answer == "more" else (low, middle - 1)
"""
CPP_SEARCH = """
#include <cstdio>
int main() {
    int low = 0, high = 1000;
    for (char answer[9] = ""; answer[0] != 'r';) {
        int middle = (low + high) / 2;
        printf("%d\\n", middle);
        fflush(stdout);
        scanf("%8s", answer);
        if (answer[0] == 'm') low = middle + 1; else high = middle - 1;
    }
}
"""


def interactive(program: str, *, language: str = "python", limits: Limits | None = None) -> Interactive:
    return Interactive(
        program=Executable.model_validate({"source": program, "language": language}),
        interactor=Executable(source=INTERACTOR, language="cpp"),
        arguments=["input.txt"],
        files={"input.txt": "777"},
        limits=limits or Limits(),
    )


@pytest.mark.parametrize(("program", "language"), [(SEARCH, "python"), (CPP_SEARCH, "cpp")], ids=["python", "cpp"])
async def test_a_program_and_its_interactor_talk_and_the_interactor_decides(
    sandbox: LocalSandbox, program: str, language: str
) -> None:
    result = await sandbox.run(interactive(program, language=language))

    assert result.interactor is not None
    assert (result.interactor.exit_status, result.interactor.limit, result.limit) == (0, None, None)
    assert (result.build is not None) == (language == "cpp")


@pytest.mark.parametrize("program", ["print(1)", "", "import os; os._exit(0)", "print(5); 1/0", "print('x' * 100)"])
async def test_a_program_that_ends_early_gives_the_interactor_the_end_of_its_input(
    sandbox: LocalSandbox, program: str
) -> None:
    result = await sandbox.run(interactive(program))

    assert result.interactor is not None
    assert (result.interactor.exit_status, result.interactor.stderr) == (1, "never guessed")


async def test_a_deadlock_ends_at_the_wall_limit(sandbox: LocalSandbox) -> None:
    result = await sandbox.run(interactive("input()", limits=Limits(wall_s=0.4)))

    assert result.limit is LimitHit.WALL


async def test_the_job_ends_with_the_interactor(warm: LocalSandbox) -> None:
    result = await warm.run(interactive("print(777, flush=True)\nwhile True: pass", limits=Limits(cpu_s=60, wall_s=60)))

    assert result.interactor is not None
    assert result.interactor.exit_status == 0
    assert (result.limit, result.cpu_s < 30) == (None, True)


@pytest.mark.parametrize(
    ("program", "language"),
    [
        ("import time\nprint(777, flush=True)\ntime.sleep(600)", "python"),
        ('#include <cstdio>\n#include <unistd.h>\nint main() { puts("777"); fflush(stdout); sleep(600); }', "cpp"),
    ],
    ids=["python", "cpp"],
)
async def test_a_program_that_still_runs_as_the_interactor_ends_did_nothing_wrong(
    sandbox: LocalSandbox, program: str, language: str
) -> None:
    result = await sandbox.run(interactive(program, language=language))

    assert result.interactor is not None
    assert (result.exit_status, result.limit, result.interactor.exit_status) == (None, None, 0)


async def test_limits_hold_for_either_side_of_an_interaction(warm: LocalSandbox) -> None:
    limits = Limits(cpu_s=0.3, wall_s=30)
    endless = Executable(source="while True: pass")
    patient = Executable(source="import sys\nsys.stdin.read()\nsys.exit(1)")

    burning = await warm.run(Interactive(program=endless, interactor=patient, limits=limits))
    broken = await warm.run(Interactive(program=patient, interactor=endless, limits=limits))

    assert (burning.limit, burning.interactor and burning.interactor.exit_status) == (LimitHit.CPU, 1)
    assert (broken.limit, broken.interactor and broken.interactor.limit) == (None, LimitHit.CPU)


async def test_an_interactor_that_does_not_build_is_not_the_programs_fault(warm: LocalSandbox) -> None:
    job = Interactive(program=Executable(source=""), interactor=Executable(source="int main() {", language="cpp"))

    with pytest.raises(SandboxError, match="the interactor does not build: "):
        await warm.run(job)


async def test_an_interactive_program_that_does_not_build_does_not_run(warm: LocalSandbox) -> None:
    result = await warm.run(interactive("int main() {", language="cpp"))

    assert result.build is not None
    assert (result.build.ok, result.interactor) == (False, None)
