"""The command `d-engine` as click describes it. Imported only where click is installed."""

from __future__ import annotations

import sys
from typing import Literal

import click

from . import cli, doctor

_DIRECTORY = click.Path(exists=True, file_okay=False)


@click.group()
def group() -> None:
    """Tools for the data of d-engine nodes."""


@group.group()
def log() -> None:
    """Look into a node's log. Nothing is changed."""


@log.command()
@click.argument("directory", type=_DIRECTORY)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def inspect(directory: str, *, as_json: bool) -> None:
    """Segments, terms, configurations and the torn tail of DIRECTORY."""
    _look("inspect", directory, as_json=as_json)


@log.command()
@click.argument("directory", type=_DIRECTORY)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def verify(directory: str, *, as_json: bool) -> None:
    """The same, checking every record of DIRECTORY; exits with 1 at damage."""
    _look("verify", directory, as_json=as_json)


@group.command(name="doctor")
@click.argument("directory", type=_DIRECTORY)
def look_around(directory: str) -> None:
    """Versions, disk and clock, as seen from DIRECTORY."""
    sys.exit(doctor.main([directory]))


def _look(verb: Literal["inspect", "verify"], directory: str, *, as_json: bool) -> None:
    sys.exit(cli.look(verb, directory, as_json=as_json))
