"""Children as Airflow makes them: forked, and ended with os._exit."""

import os
from collections.abc import Callable


def in_child(action: Callable[[], object]) -> int:
    """Start a child that does this; answers its pid. Its status is 1 where the action raised."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        except BaseException:  # noqa: BLE001 (whatever it is: the parent sees the status)
            os._exit(1)
        os._exit(0)
    return pid
