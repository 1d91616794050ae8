"""LiveCodeBench-Pro in its published schema, written here since the set is gated: problem rows and test archives.

Checker and interactor keep to the exit codes of testlib without its header, which is not part of the project.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

CHECKER: Final = r"""
#include <fstream>
#include <iostream>
#include <string>
// Accepts the sum of the input in any of the forms n, n+0; `checker input output answer`.
int main(int argc, char** argv) {
    if (argc != 4) return 3;
    std::ifstream input(argv[1]), output(argv[2]), answer(argv[3]);
    long long a, b, expected, told;
    if (!(input >> a >> b) || !(answer >> expected) || a + b != expected) return 3;
    std::string word;
    if (!(output >> word)) return 8;
    if (word == "half") return 7;
    if (word == "break") return 3;
    if (word == "crash") __builtin_trap();
    if (word == "odd") return 77;
    if (word == "noisy") for (;;) std::cerr << "no end of words ";
    try { told = std::stoll(word); } catch (...) { return 2; }
    if (output >> word && word != "+0") return 4;
    return told == expected ? 0 : 1;
}
"""

INTERACTOR: Final = r"""
#include <fstream>
#include <iostream>
#include <string>
// Guess a number of the input by asking; `interactor input output answer`.
int main(int argc, char** argv) {
    if (argc < 3) return 3;
    std::ifstream input(argv[1]);
    std::ofstream output(argv[2]);
    long long secret, guess;
    if (!(input >> secret)) return 3;
    std::string word;
    for (int asked = 0; asked < 40; ++asked) {
        if (!(std::cin >> word)) return 8;
        if (word == "break") return 3;
        if (!(std::cin >> guess)) return 2;
        if (word == "!") {
            output << asked << std::endl;
            return guess == secret ? 0 : 1;
        }
        std::cout << (guess < secret ? "more" : guess > secret ? "less" : "equal") << std::endl;
    }
    return 1;
}
"""

SUM: Final = '#include <cstdio>\nint main() { long long a, b; scanf("%lld %lld", &a, &b); printf("%lld\\n", a + b); }'
GUESS: Final = r"""#include <iostream>
#include <string>
int main() {
    long long low = 0, high = 1000;
    while (low < high) {
        long long middle = (low + high) / 2;
        std::cout << "? " << middle << std::endl;
        std::string told;
        std::cin >> told;
        if (told == "equal") low = high = middle;
        else if (told == "more") low = middle + 1;
        else high = middle - 1;
    }
    std::cout << "! " << low << std::endl;
}"""

SUMS: Final = [("1 2\n", "3\n"), ("5 5\n", "10\n"), ("7 -9\n", "-2\n")]


def row(problem_id: str, **fields: Any) -> dict[str, Any]:
    """One published row."""
    return {
        "problem_id": problem_id,
        "problem_title": f"Title of {problem_id}",
        "difficulty": "easy",
        "platform": "codeforces",
        "problem_statement": f"Statement of {problem_id}.",
        "link": f"https://example.org/{problem_id}",
    } | fields


def split(mirror: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A split of the problems."""
    path = mirror / "lcb_pro" / "data" / f"{name}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def config(**keys: object) -> str:
    """A `config.yaml`; JSON is YAML."""
    stated = {"type": "default", "time_limit": "300ms", "memory_limit": "256m", "checker": "chk.cc"}
    return json.dumps(stated | {"subtasks": [{"score": 100, "n_cases": 3}]} | keys)


def archive(
    mirror: Path,
    problem_id: str,
    *,
    cases: Sequence[tuple[str, str]] = SUMS,
    stated: str | None = None,
    files: Mapping[str, str] | None = None,
    folder: str = "",
    answers: str = ".ans",
) -> Path:
    """The tests of a problem."""
    path = mirror / "lcb_pro_tests" / f"{problem_id}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"config.yaml": stated or config(), "chk.cc": CHECKER, "interactor.cc": INTERACTOR}
    for number, (given, answer) in enumerate(cases, start=1):
        content |= {f"testdata/{number}.in": given, f"testdata/{number}{answers}": answer}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, text in (content | dict(files or {})).items():
            opened.writestr(folder + name, text)
    return path
