"""What goes wrong here is one kind of error: its message says what to do."""

from monitor.errors import WindsockError


class BackupError(WindsockError):
    """It was not done, and nothing is changed unless the message says so."""
