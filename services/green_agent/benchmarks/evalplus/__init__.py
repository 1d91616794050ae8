"""HumanEval+ and MBPP+ of EvalPlus."""

from services.green_agent.benchmarks.evalplus.benchmark import HumanEvalPlus, MbppPlus

__all__ = ["HumanEvalPlus", "MbppPlus"]
