"""The command `windsock`. Only here is the environment read."""

import os

from monitor.cli import ask, backup, move, plugin_env, serve, state, tail, tokens
from monitor.cli.command import cli

__all__ = ["ask", "backup", "main", "move", "plugin_env", "serve", "state", "tail", "tokens"]

PRIVATE = 0o077  # the log, the mailbox and the secrets are nobody else's to read on this machine


def main() -> None:
    """The entry point."""
    os.umask(PRIVATE)
    cli()
