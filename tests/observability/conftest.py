"""The settings of a monitor on its own, as the monitor's tests have them."""

from tests.monitor.conftest import settings

__all__ = ["settings"]
