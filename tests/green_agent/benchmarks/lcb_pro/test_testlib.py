"""Checkers and interactors built with the real testlib, where it is here; it is not part of the project."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.contract.execution import Limits
from services.contract.outcomes import Failure
from services.green_agent.benchmarks.base import Sandbox
from services.green_agent.benchmarks.lcb_pro.archive import HEADER, TESTLIB, Judge
from services.green_agent.benchmarks.lcb_pro.checking import JudgedCase, run_checked, run_interactive
from services.green_agent.data.dataset import dataset
from services.green_agent.scoring.code.stdio import Word
from tests.support.peer_files import MIRROR
from tests.support.quick_sandbox import needs_compiler, quick_sandbox

FOUND = dataset(TESTLIB).here(HEADER, MIRROR)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(FOUND is None, reason="no testlib in ASSAY_DATA_FROM or the cache (`assay data pull testlib`)"),
    needs_compiler,
]

CHECKER = r"""
#include "testlib.h"
int main(int argc, char** argv) {
    registerTestlibCmd(argc, argv);
    int a = inf.readInt(), b = inf.readInt(), told = ouf.readInt();
    if (ans.readInt() != a + b) quitf(_fail, "the answer is wrong");
    if (told == 99) quitf(_fail, "asked to");
    if (told == 50) quitp(0.5, "half");
    if (told != a + b) quitf(_wa, "differs");
    quitf(_ok, "right");
}
"""
INTERACTOR = r"""
#include "testlib.h"
int main(int argc, char** argv) {
    registerInteraction(argc, argv);
    int secret = inf.readInt();
    for (int n = 0; n < 40; ++n) {
        int guess = ouf.readInt(0, 1000);
        printf("%s\n", guess < secret ? "more" : guess > secret ? "less" : "equal");
        fflush(stdout);
        if (guess == secret) quitf(_ok, "found");
    }
    quitf(_wa, "too many questions");
}
"""
HALVING = r"""
#include <iostream>
#include <string>
int main() {
    int low = 0, high = 1000;
    for (std::string told; told != "equal";) {
        int middle = (low + high) / 2;
        std::cout << middle << std::endl;
        if (!(std::cin >> told)) return 0;
        (told == "more" ? low : high) = told == "more" ? middle + 1 : middle - 1;
    }
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with quick_sandbox() as opened:
        yield opened


def case(source: str, *, interactive: bool) -> JudgedCase:
    header = FOUND.path.read_text(encoding="utf-8") if FOUND is not None else ""
    judge = Judge(source=source, headers={HEADER: header}, interactive=interactive)
    stdin, answer = ("700\n", None) if interactive else ("1 2\n", "3\n")
    return JudgedCase(problem_id="1A", judge=judge, input=stdin, answer=answer, limits=Limits(cpu_s=1.0, wall_s=5.0))


@pytest.mark.parametrize(
    ("printed", "word"),
    [("3", Word.AC), ("4", Word.WA), ("three", Word.PE), ("", Word.PE), ("3 3", Word.PE), ("50", Word.WA)],
)
async def test_a_checker_decides(sandbox: Sandbox, printed: str, word: Word) -> None:
    program = f'#include <cstdio>\nint main() {{ puts("{printed}"); }}'

    ran = await run_checked(sandbox, case(CHECKER, interactive=False), source=program)

    assert (ran.word, ran.partial) == (word, printed == "50")


async def test_a_checker_that_says_fail_is_broken(sandbox: Sandbox) -> None:
    with pytest.raises(Failure, match="the checker ended with exit status 3"):
        await run_checked(
            sandbox, case(CHECKER, interactive=False), source='#include <cstdio>\nint main() { puts("99"); }'
        )


@pytest.mark.parametrize(
    ("program", "word"),
    [
        (HALVING, Word.AC),
        ('#include <cstdio>\nint main() { puts("five"); }', Word.PE),
        ("int main() {}", Word.PE),
        ('#include <cstdio>\nint main() { for (int n = 0; n < 50; ++n) puts("5"); }', Word.WA),
    ],
)
async def test_an_interactor_decides(sandbox: Sandbox, program: str, word: Word) -> None:
    ran = await run_interactive(sandbox, case(INTERACTOR, interactive=True), source=program)

    assert ran.word is word
