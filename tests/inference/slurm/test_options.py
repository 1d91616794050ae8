"""The flags of `up --launcher slurm`."""

from __future__ import annotations

import click
from click.testing import CliRunner

from services.inference.commands.slurm_options import SlurmOptions, slurm_options


@click.command()
@click.argument("model")
@slurm_options
def up(model: str, *, slurm: SlurmOptions) -> None:
    click.echo(f"{model} {slurm!r}")


def test_every_flag_arrives_in_the_field_of_its_name() -> None:
    flags = (
        "m --gpus-per-node 2 --partition p --account a --qos q --time 1-0 --cpus-per-task 4 --mem 8G --sbatch-arg=--nice "
        "--sbatch-arg=--constraint=ib --runtime apptainer:x.sif --host-ip 192.0.2.1 --auth"
    )
    given = SlurmOptions(
        gpus_per_node=2,
        partition="p",
        account="a",
        qos="q",
        time="1-0",
        cpus_per_task=4,
        mem="8G",
        sbatch_args=("--nice", "--constraint=ib"),
        runtime="apptainer:x.sif",
        host_ip="192.0.2.1",
        auth=True,
    )

    assert CliRunner().invoke(up, flags.split()).output == f"m {given!r}\n"


def test_without_flags_they_equal_the_defaults() -> None:
    assert CliRunner().invoke(up, ["m"]).output == f"m {SlurmOptions()!r}\n"
