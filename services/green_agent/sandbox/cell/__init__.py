"""What runs inside: the worker that forks programs, their watcher and the harness that loads them.

Standard library and `services.contract.values` only. It is packed into one archive and executed by the bare interpreter,
so nothing else of the project is reachable from a program.
"""
