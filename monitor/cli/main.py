"""The entry point of the command `windsock`.

Only the command line reads the environment.
"""

import os

from monitor.cli.typer_app import cli

PRIVATE = 0o077  # no other user of this machine may read the log, the mailbox and the secrets


def main() -> None:
    """Run the command line."""
    os.umask(PRIVATE)
    cli()
