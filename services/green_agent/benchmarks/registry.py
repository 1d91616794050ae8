"""Every benchmark, one line each. Classes are imported when a plan needs them, so that start-up stays quick."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from services.contract.assessment import nearest
from services.green_agent.benchmarks.base import AnyBenchmark

BENCHMARKS: Final = {
    "crypto": "services.green_agent.benchmarks.crypto:Crypto",
    "humaneval": "services.green_agent.benchmarks.humaneval:HumanEval",
    "mbpp": "services.green_agent.benchmarks.mbpp:Mbpp",
    "apps": "services.green_agent.benchmarks.apps:Apps",
    "codecontests": "services.green_agent.benchmarks.codecontests:CodeContests",
    "lcb_pro": "services.green_agent.benchmarks.lcb_pro:LcbPro",
    "humaneval_plus": "services.green_agent.benchmarks.evalplus:HumanEvalPlus",
    "mbpp_plus": "services.green_agent.benchmarks.evalplus:MbppPlus",
    "toy_code": "services.green_agent.benchmarks.toy_code:ToyCode",
    "imobench": "services.green_agent.benchmarks.imobench:Imobench",
    "options": "services.green_agent.benchmarks.options:Options",
    "synthetic": "services.green_agent.benchmarks.synthetic:Synthetic",
    "bizfinbench": "services.green_agent.benchmarks.bizfinbench:BizFinBench",
    "prbench": "services.green_agent.benchmarks.prbench:PRBench",
    "public_csv": "services.green_agent.benchmarks.public_csv:PublicCsv",
    "gdpval": "services.green_agent.benchmarks.gdpval:GDPval",
}


class UnknownBenchmarkError(Exception):
    """No benchmark has this name; the text gives the nearest."""


def benchmark_class(name: str) -> type[AnyBenchmark]:
    """The class registered as `name`. Raises UnknownBenchmarkError."""
    if name not in BENCHMARKS:
        raise UnknownBenchmarkError(f"unknown data set {name!r}{nearest(name, BENCHMARKS)}")
    module, _, attribute = BENCHMARKS[name].partition(":")
    found: type[AnyBenchmark] = getattr(import_module(module), attribute)
    return found
