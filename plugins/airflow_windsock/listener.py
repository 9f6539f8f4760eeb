"""The listener, whose hooks each build a report, keep it on the host's disk and return.

Hooks may fire before Airflow commits, more than once and out of order. An event is therefore a report, and
the monitor confirms it before it notifies anybody.

No hook uses Airflow's database, Connections or Variables. No hook of a long-lived process uses the network,
because the scheduler's loop, a request or a parse would stop meanwhile.
"""

from __future__ import annotations

import fnmatch
import logging
import re
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from airflow.listeners import hookimpl

from airflow_windsock import error_text
from airflow_windsock import settings as configuration
from airflow_windsock.backoff import Backoff
from airflow_windsock.counter import SharedCounter
from airflow_windsock.drainer import Drainer
from airflow_windsock.events import complete_event, report, report_with_trace, serialize
from airflow_windsock.log_limit import LogLimit
from airflow_windsock.sender import Sender
from airflow_windsock.settings import Settings
from airflow_windsock.spool import Full, Spool
from airflow_windsock.status_header import FAILED
from airflow_windsock.task_sender import TaskSender

log = logging.getLogger("airflow_windsock.listener")

TASK_RUNNER = "airflow.sdk.execution_time.task_runner"


@lru_cache(maxsize=1)
def listeners() -> list[object]:
    """Return the listener for Airflow to register, or none if no monitor is named.
    Cached, so that a process has one however often the plugin is loaded."""
    settings, problems = configuration.from_airflow()
    for problem in problems:
        log.error("windsock: %s", problem)
    return [] if settings is None else [Listener(settings)]


class Listener:
    """The listener of a process and of those forked from it. No exception leaves a hook."""

    def __init__(self, settings: Settings) -> None:
        self._source = settings.source
        self._include = [re.compile(fnmatch.translate(glob)) for glob in settings.include]
        self._exclude = [re.compile(fnmatch.translate(glob)) for glob in settings.exclude]
        self._make_report = report_with_trace if settings.traces else report
        self._all = not self._include and not self._exclude
        self._spool = Spool(settings.spool_dir, settings.max_events, settings.max_bytes)
        self.failed = SharedCounter(settings.spool_dir / FAILED)
        self._limit = LogLimit()
        self._thread = threading.local()
        self._drainer: Drainer | None = None
        self._keep: Callable[[bytes], object] = self._add_to_spool
        self._task_sender: TaskSender | None = None
        if settings.sends and settings.endpoint is not None:
            sender = Sender(settings, settings.endpoint, self._spool)
            backoff = Backoff(settings.spool_dir / "backoff")
            self._drainer = Drainer(self._spool, sender, backoff)
            self._keep = self._drainer.add
            self._task_sender = TaskSender(self._spool, sender, backoff, settings.task_send_budget)

    @hookimpl
    def on_starting(self, component: object) -> None:
        """Start the thread that sends what a predecessor left: in a scheduler, dag-processor or triggerer.
        The api-server has no such hook and starts its thread with its first event. A task's process never
        starts one."""
        if type(component).__name__ == "TaskRunnerMarker":
            return
        self._safely(
            error_text.mask, ""
        )  # importing Airflow's masker takes up to a second: not in a hook later
        if self._drainer is not None:
            self._safely(self._drainer.wake)

    @hookimpl
    def on_dag_run_running(self, dag_run: Any, msg: str) -> None:
        """Report a DAG run that started."""
        self._safely(self._run, "on_dag_run_running", dag_run, msg)

    @hookimpl
    def on_dag_run_success(self, dag_run: Any, msg: str) -> None:
        """Report a DAG run that succeeded."""
        self._safely(self._run, "on_dag_run_success", dag_run, msg)

    @hookimpl
    def on_dag_run_failed(self, dag_run: Any, msg: str) -> None:
        """Report a DAG run that failed."""
        self._safely(self._run, "on_dag_run_failed", dag_run, msg)

    @hookimpl
    def on_task_instance_running(self, previous_state: object, task_instance: Any) -> None:
        """Report a try that started."""
        self._safely(self._task, "on_task_instance_running", previous_state, task_instance)

    @hookimpl
    def on_task_instance_success(self, previous_state: object, task_instance: Any) -> None:
        """Report a try that succeeded."""
        self._safely(self._task, "on_task_instance_success", previous_state, task_instance)

    @hookimpl
    def on_task_instance_failed(self, previous_state: object, task_instance: Any, error: object) -> None:
        """Report a try that failed, whether or not another follows."""
        self._safely(self._task, "on_task_instance_failed", previous_state, task_instance, error)

    @hookimpl
    def on_task_instance_skipped(self, previous_state: object, task_instance: Any) -> None:
        """Report a task that was skipped."""
        self._safely(self._task, "on_task_instance_skipped", previous_state, task_instance)

    @hookimpl
    def on_asset_created(self, asset: Any) -> None:
        """Report a new asset."""
        self._safely(self._report, "on_asset_created", asset)

    @hookimpl
    def on_asset_alias_created(self, asset_alias: Any) -> None:
        """Report a new asset alias."""
        self._safely(self._report, "on_asset_alias_created", asset_alias)

    @hookimpl
    def on_asset_changed(self, asset: Any) -> None:
        """Report that an asset changed."""
        self._safely(self._report_change, asset)

    @hookimpl
    def on_asset_event_emitted(self, asset_event: Any) -> None:
        """Report that an asset event was emitted."""
        self._safely(self._report_emitted, asset_event)

    @hookimpl
    def on_new_dag_import_error(self, filename: str, stacktrace: str) -> None:
        """Report a file's first import error."""
        self._safely(self._report, "on_new_dag_import_error", filename, stacktrace)

    @hookimpl
    def on_existing_dag_import_error(self, filename: str, stacktrace: str) -> None:
        """Report a further import error of a file."""
        self._safely(self._report, "on_existing_dag_import_error", filename, stacktrace)

    def _safely(self, action: Callable[..., object], *objects: Any) -> None:
        """Run a hook's action without raising.
        SystemExit and the like pass, because they come from a signal and are meant for Airflow."""
        try:
            action(*objects)
        except Full as full:
            if self._limit.allows("full"):
                log.warning("windsock: %s; refused so far: %d", full, int(self._spool.refused))
        except Exception as error:
            self.failed.add()
            if self._limit.allows(type(error).__name__):
                log.exception("windsock: this was not reported; the monitor will ask Airflow for it")

    def _report_change(self, asset: Any) -> None:
        self._report("on_asset_changed", asset)
        self._thread.nudged = asset.uri

    def _report_emitted(self, asset_event: Any) -> None:
        """Report an asset event, unless `on_asset_changed` has just reported it.
        From 3.2 Airflow calls on_asset_event_emitted right after on_asset_changed for the same change, in
        the same thread. One nudge is enough."""
        nudged, self._thread.nudged = getattr(self._thread, "nudged", None), None
        if nudged != asset_event.asset.uri:
            self._report("on_asset_changed", asset_event.asset)

    def _report(self, hook: str, *objects: Any) -> None:
        self._keep(serialize(self._make_report(hook, self._source, *objects)))

    def _run(self, hook: str, dag_run: Any, msg: str) -> None:
        if self._all or self._is_included(dag_run.dag_id):
            self._keep(serialize(self._make_report(hook, self._source, dag_run, msg)))

    def _task(self, hook: str, previous_state: object, ti: Any, error: object = None) -> None:
        if not (self._all or self._is_included(ti.dag_id)):
            return
        body = serialize(self._make_report(hook, self._source, previous_state, ti, error))
        if self._task_sender is not None and is_in_task_process(ti.__class__):
            self._task_sender.send(str(ti.id), self._add_to_spool(body))
        else:
            self._keep(body)

    def _add_to_spool(self, body: bytes) -> str:
        return self._spool.add(complete_event(body, time.time_ns()))

    def _is_included(self, dag_id: str) -> bool:
        if self._include and not any(glob.match(dag_id) for glob in self._include):
            return False
        return not self._exclude or not any(glob.match(dag_id) for glob in self._exclude)


@lru_cache(maxsize=64)
def is_in_task_process(kind: type) -> bool:
    """Return True if the class is the Task SDK's own task instance.
    That class exists only in the process that runs the task."""
    return any(base.__module__ == TASK_RUNNER for base in kind.__mro__)
