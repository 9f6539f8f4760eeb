"""The entry point of the command `windsock`.

Only the command line reads the environment.
"""

import os

from monitor.cli.typer_app import cli

PRIVATE = 0o077  # the log, the mailbox and the secrets are nobody else's to read on this machine


def main() -> None:
    """The entry point."""
    os.umask(PRIVATE)
    cli()
