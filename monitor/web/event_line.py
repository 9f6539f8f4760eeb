"""An event as pages show it: one line, whatever its type."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitor.event_log import Logged
from monitor.events.data import declared
from monitor.plain_text import lines
from monitor.render.words import shortened

WORDS = {"import_error_mended": "mended"}  # where a type's last part is too long for a word
SHOWN = 200  # characters of an error or a message in a list; its run's page has the whole


@dataclass(frozen=True)
class EventLine:
    seq: int
    time: str
    deployment: str
    subject: str
    kind: str
    """`dag run`, `task instance`, `asset`, …"""
    word: str
    """The state, or what happened: `failed`, `updated`, `import_error`, `mended`."""
    dag_id: str | None
    run_id: str | None
    task: str | None
    try_number: int
    detail: str

    @property
    def label(self) -> str:
        """What stands below the name: which asset, which try, what was said, or else which run."""
        kind = "" if self.task else self.kind.removeprefix("dag ")
        told = [f"try {self.try_number}" if self.try_number > 1 else "", self.detail or self.run_id or ""]
        if self.kind == "asset" and self.dag_id:
            told.insert(0, self.subject)
        return " · ".join(part for part in (kind, *told) if part)

    @classmethod
    def of(cls, event: Logged) -> "EventLine":
        return cls.read(event.seq, json.loads(event.body))

    @classmethod
    def read(cls, seq: int, body: Mapping[str, Any]) -> "EventLine":
        """From an event as it is told (docs/events.md)."""
        data = declared(body["type"], body["data"])
        parts = str(body["type"]).split(".")
        return cls(
            seq=seq,
            time=body["time"],
            deployment=body["source"].removeprefix("/airflow/"),
            subject=body["subject"],
            kind=" ".join(parts[1:-1]).replace("_", " "),
            word=WORDS.get(parts[-1], parts[-1]),
            dag_id=data.get("dag_id") or data.get("source_dag_id"),
            run_id=data.get("run_id") or data.get("source_run_id"),
            task=_task(data),
            try_number=data.get("try_number", 1),
            detail=shortened(_detail(data), SHOWN),
        )


def _task(data: Mapping[str, Any]) -> str | None:
    task, index = data.get("task_id"), data.get("map_index", -1)
    return f"{task}[{index}]" if task and index >= 0 else task


def _detail(data: Mapping[str, Any]) -> str:
    """What is worth a word in a list: the error, the metrics, Airflow's reason, the first line of a trace."""
    if error := data.get("error"):
        return ": ".join(
            part for part in (error.get("type"), " ".join(lines(error["message"] or ""))) if part
        )
    if extra := data.get("extra"):
        return metrics(extra)
    if (message := data.get("message")) and data.get("state") == "failed":
        return str(message)  # of other states Airflow only says the state again
    if "replaced_by" in data:
        return "the file has another import error now" if data["replaced_by"] else "no import error any more"
    return next(reversed(lines(str(data.get("stacktrace", "")).strip())), "")


def metrics(extra: Mapping[str, Any]) -> str:
    """The numbers among what was told of an asset."""
    numbers = ((name, value) for name, value in extra.items() if type(value) in (int, float))
    return " · ".join(f"{name} {number(value)}" for name, value in numbers)


def number(value: Any) -> str:
    """A metric for people: at most four digits behind the point."""
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
