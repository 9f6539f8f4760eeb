"""The settings of a monitor on its own and PostgreSQL, as the monitor's tests have them."""

from tests.unit.conftest import postgres, postgres_url, settings

__all__ = ["postgres", "postgres_url", "settings"]
