"""The entry point of the command `windsock`.

Only the command line reads the environment.
"""

import os

from monitor.cli.typer_app import cli

# Each module declares its commands, which `windsock --help` lists in this order.
# isort: off
from monitor.cli import explain  # noqa: F401
from monitor.cli.backup import commands  # noqa: F401
from monitor.cli import admin, serve, tail, tokens  # noqa: F401
# isort: on


PRIVATE = 0o077  # the log, the mailbox and the secrets are nobody else's to read on this machine


def main() -> None:
    """The entry point."""
    os.umask(PRIVATE)
    cli()
