"""Run in a process of its own: loads Airflow's plugins as Airflow does, and prints what came of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def listeners_in(manager: object) -> int:
    plugins = manager.pm.get_plugins()  # type: ignore[attr-defined]
    return sum(type(plugin).__module__ == "airflow_windsock.listener" for plugin in plugins)


def main() -> None:
    from airflow import plugins_manager
    from airflow.listeners.listener import get_listener_manager
    from airflow.sdk.listener import get_listener_manager as get_task_listener_manager

    loaded, errors = plugins_manager._get_plugins()
    found = {
        "plugins": [str(plugin.source) for plugin in loaded if plugin.name == "windsock"],
        "errors": errors,
        "core": listeners_in(get_listener_manager()),
        "task": listeners_in(get_task_listener_manager()),
        "from": str(Path(str(sys.modules["airflow_windsock"].__file__)).parents[1]),
    }
    sys.stdout.write(json.dumps(found) + "\n")


main()
