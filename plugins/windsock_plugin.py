"""The one file that Airflow's plugin loader runs. Airflow loads a plugin of one name once, so the wheel and
the plugins folder may both hold it."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from airflow_windsock.listener import listeners


class WindsockPlugin(AirflowPlugin):
    """Reports state changes to the monitor that `[windsock] monitor_url` names; inert without one."""

    name = "windsock"

    @classmethod
    def on_load(cls, *_args: object, **_kwargs: object) -> None:
        cls.listeners = listeners()
