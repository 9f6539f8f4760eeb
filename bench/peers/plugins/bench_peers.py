"""Calls, for each DAG, the one listener that its name says, and writes down how long each hook took. All four
live in the same processes, and a run of one follows a run of another: what disturbs one disturbs all."""

from __future__ import annotations

import importlib
import json
import os
import time
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin


class Plain:
    """A listener as people write them: it posts from the hook."""

    def post(self, document: dict[str, Any]) -> None:
        import requests

        requests.post(os.environ["BENCH_SINK"], json=document, timeout=5)

    def on_dag_run_running(self, dag_run: Any, msg: str) -> None:
        self.post({"dag_id": dag_run.dag_id, "run_id": dag_run.run_id, "state": "running"})

    def on_dag_run_success(self, dag_run: Any, msg: str) -> None:
        self.post({"dag_id": dag_run.dag_id, "run_id": dag_run.run_id, "state": "success"})

    def on_task_instance_running(self, previous_state: object, task_instance: Any) -> None:
        self.post({"dag_id": task_instance.dag_id, "task_id": task_instance.task_id, "state": "running"})

    def on_task_instance_success(self, previous_state: object, task_instance: Any) -> None:
        self.post({"dag_id": task_instance.dag_id, "task_id": task_instance.task_id, "state": "success"})


def openlineage() -> Any:
    return importlib.import_module(
        "airflow.providers.openlineage.plugins.listener"
    ).get_openlineage_listener()


def windsock() -> Any:
    from airflow_windsock.listener import listeners

    return listeners()[0]


class Peers:
    """Registered in place of the listeners that it calls and times."""

    def __init__(self) -> None:
        self._peers = {"none": None, "windsock": windsock(), "openlineage": openlineage(), "plain": Plain()}

    @hookimpl
    def on_starting(self, component: Any) -> None:
        """The provider registers its listener by itself: here it is called for its own DAG only."""
        in_task = type(component).__name__ == "TaskRunnerMarker"
        if in_task:
            from airflow.sdk.listener import get_listener_manager
        else:
            from airflow.listeners.listener import get_listener_manager  # type: ignore[assignment]
        manager = get_listener_manager().pm
        if manager.is_registered(self._peers["openlineage"]):
            manager.unregister(self._peers["openlineage"])
        for name, peer in self._peers.items():
            if hasattr(peer, "on_starting"):
                self._timed(
                    name,
                    "task: on_starting" if in_task else "on_starting",
                    peer.on_starting,
                    component=component,
                )

    @hookimpl
    def on_dag_run_running(self, dag_run: Any, msg: str) -> None:
        self._call("on_dag_run_running", dag_run.dag_id, dag_run=dag_run, msg=msg)

    @hookimpl
    def on_dag_run_success(self, dag_run: Any, msg: str) -> None:
        self._call("on_dag_run_success", dag_run.dag_id, dag_run=dag_run, msg=msg)

    @hookimpl
    def on_task_instance_running(self, previous_state: object, task_instance: Any) -> None:
        arguments = {"previous_state": previous_state, "task_instance": task_instance}
        self._call("on_task_instance_running", task_instance.dag_id, **arguments)

    @hookimpl
    def on_task_instance_success(self, previous_state: object, task_instance: Any) -> None:
        arguments = {"previous_state": previous_state, "task_instance": task_instance}
        self._call("on_task_instance_success", task_instance.dag_id, **arguments)

    @hookimpl
    def before_stopping(self, component: Any) -> None:
        for peer in self._peers.values():
            if hasattr(peer, "before_stopping"):
                peer.before_stopping(component=component)

    def _call(self, hook: str, name: str, **arguments: Any) -> None:
        peer = self._peers.get(name)
        self._timed(name, hook, getattr(peer, hook) if peer else lambda **_: None, **arguments)

    def _timed(self, name: str, hook: str, call: Any, **arguments: Any) -> None:
        started = time.perf_counter()
        call(**arguments)
        seconds = time.perf_counter() - started
        line = json.dumps({"peer": name, "hook": hook, "seconds": seconds, "pid": os.getpid()}) + "\n"
        descriptor = os.open(os.environ["BENCH_TIMES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line.encode())
        os.close(descriptor)


class BenchPeers(AirflowPlugin):
    name = "bench_peers"

    @classmethod
    def on_load(cls, *_args: object, **_kwargs: object) -> None:
        cls.listeners = [Peers()]
