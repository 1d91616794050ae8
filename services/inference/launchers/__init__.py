"""Launchers: local processes, containers, SLURM jobs. They differ only inside."""
