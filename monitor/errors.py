"""The errors that cross modules. Each message names the field, the value and the remedy."""


class WindsockError(Exception):
    """The root of everything that the monitor raises on purpose."""


class SettingsError(WindsockError):
    """A setting is missing or wrong, so the service does not start."""


class EventError(WindsockError):
    """An event cannot be taken, now or later."""


class CursorError(WindsockError):
    """A feed or page cursor is malformed. (One that has only expired is answered with a reset.)"""


class AirflowError(WindsockError):
    """An error of Airflow, or of the attempt to ask it."""


class AirflowAnswerTooLong(AirflowError):
    """The answer is more than the monitor reads. An answer about less may not be."""


class AirflowUnreachable(AirflowError):
    """No answer, or one that says "later". The caller may try again."""


class AirflowRefused(AirflowError):
    """The credentials were refused, or the user may not see this."""


class AirflowNotFound(AirflowError):
    """The answer of Airflow itself that it does not know this run, task or DAG: a 404 that names it.
    Any other 404 (a proxy's, a wrong path's) is AirflowUnreachable."""


class AirflowUnaddressable(AirflowError):
    """A question about a name for which Airflow has no way to ask, and will have none later."""


class BackupError(WindsockError):
    """A backup, a restore or a move failed. Nothing is changed unless the message says so."""
