"""Rollout files: one benchmark and one strategy, all solutions with their verdicts, in the layout of the SLURM guide.

The journal is the truth; these files are exports of it, and can be scored again (`assay rescore FILE`).
"""
