"""The one file that Airflow's plugin loader runs.

Airflow loads a plugin of one name once, so the wheel and the plugins folder may both hold this file."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from airflow_windsock.listener import listeners


class WindsockPlugin(AirflowPlugin):
    """The plugin that reports state changes to `[windsock] monitor_url`. Without that setting it is inert."""

    name = "windsock"

    @classmethod
    def on_load(cls, *_args: object, **_kwargs: object) -> None:
        """Hand the listener to Airflow."""
        cls.listeners = listeners()
