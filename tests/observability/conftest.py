"""The settings of a monitor on its own, as the monitor's tests have them."""

from tests.unit.conftest import settings

__all__ = ["settings"]
