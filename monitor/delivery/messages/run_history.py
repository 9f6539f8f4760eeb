"""The earlier runs of a DAG, and the differences between two runs.

`from_airflow` reads the recent runs of a DAG from Airflow's list. If Airflow cannot be asked, `from_board`
reads them from the projection, which knows no version and no conf.

`RunHistory` holds the run that a message is about and the runs before it. `changes_of` compares a run with
the last good run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from monitor.delivery.messages.facts import MASK, looks_secret, mask_value
from monitor.delivery.messages.filters import shorten
from monitor.delivery.messages.model import PastRun, RunDifference, RunInfo
from monitor.event_log.projections import runs as runs_projection
from monitor.events.data import MOMENT, TEST
from monitor.events.from_airflow import run_type_of

SHOWN = 16  # bars: as many as a phone shows side by side
ASKED = 24  # rows: some may be running, or later occurrences of a run that was cleared
LOOKED_AT = 60  # rows of the projection, which has every state and the order of arrival
ENDS = ("success", "failed")
ASKED_STATES = (*ENDS, "running")


@dataclass(frozen=True)
class RunDetails:
    """A run with its comparisons. None stands for an unknown value."""

    run: RunInfo
    version: str | None = None
    bundle_version: str | None = None
    conf: Mapping[str, Any] | None = None
    by: str | None = None
    """The user or the part of Airflow that started it."""


def from_board(connection: Connection, deployment: str, dag_id: str) -> list[RunDetails]:
    """Return the DAG's latest runs, and the last good one, however long ago it was."""
    found = runs_projection.latest(connection, deployment, dag_id, LOOKED_AT)
    return [RunDetails(_run(deployment, row)) for row in found]


def from_airflow(deployment: str, rows: Sequence[Mapping[str, Any]]) -> list[RunDetails]:
    """Return the runs of Airflow's list. Raise ValueError if its rows are none."""
    return [
        RunDetails(
            run=_run(deployment, {**row, "run_id": row.get("dag_run_id"), "run_type": run_type_of(row)}),
            version=_version(row),
            bundle_version=row.get("bundle_version") or None,
            conf=row.get("conf") or {},
            by=row.get("triggering_user_name") or row.get("triggered_by") or None,
        )
        for row in rows
    ]


def _run(deployment: str, row: Mapping[str, Any]) -> RunInfo:
    moments = ("logical_date", "queued_at", "start_date", "end_date")
    logical, queued, start, end = (MOMENT.validate_python(row.get(name)) for name in moments)
    return RunInfo(
        deployment=deployment,
        dag_id=str(row["dag_id"]),
        run_id=str(row["run_id"]),
        state=str(row["state"]),
        run_type=row.get("run_type"),
        logical_date=logical,
        queued_at=queued,
        start=start,
        end=end,
    )


def _version(row: Mapping[str, Any]) -> str | None:
    numbers = [
        version.get("version_number")
        for version in row.get("dag_versions") or ()
        if isinstance(version, dict)
    ]
    return str(max(number for number in numbers if isinstance(number, int))) if any(numbers) else None


@dataclass(frozen=True)
class RunHistory:
    """The runs up to the one that is reported."""

    this: RunDetails | None
    before: tuple[RunDetails, ...]
    """Ended, oldest first."""

    @classmethod
    def build(cls, runs: Sequence[RunDetails], this: RunInfo | None, until: datetime) -> "RunHistory":
        """Return the history up to `until`.
        `this` is the run as its event reports it, which may be newer than the lists."""
        own_details = next((details for details in runs if this and details.run.run_id == this.run_id), None)
        earlier = {
            details.run.run_id: details
            for details in runs
            if details.run.state in ENDS
            and details.run.run_type != TEST
            and (this is None or details.run.run_id != this.run_id)
            and details.run.start is not None
            and details.run.start <= until
        }
        ordered = sorted(
            earlier.values(), key=lambda details: (details.run.start or until, details.run.run_id)
        )
        this_details = own_details or (RunDetails(this) if this else None)
        return cls(this_details, tuple(ordered))

    @property
    def last_good(self) -> RunDetails | None:
        """The last successful run before this one, or None."""
        return next((details for details in reversed(self.before) if details.run.state == "success"), None)

    def chart(self, this: RunInfo | None) -> tuple[PastRun, ...]:
        """Return the latest runs, and this one at the end if it has ended."""
        bars = [_past(details.run, False) for details in self.before]
        if this is not None and this.state in ENDS:
            bars.append(_past(this, True))
        return tuple(bars[-SHOWN:])


def _past(run: RunInfo, is_this: bool) -> PastRun:
    took = run.duration
    return PastRun(run.run_id, run.state, run.start, took if took and took > timedelta(0) else None, is_this)


MAX_CHANGES = 12
KEY_LENGTH = 60
VALUE_LENGTH = 80
SHA_LENGTH = 12  # digits of a bundle's version, enough to distinguish versions
DEPTH = 3  # of objects in conf whose keys are compared
MUCH = 1.15  # times as long: less is no difference

Pair = tuple[Any, Any]


def changes_of(this: RunDetails, good: RunDetails) -> tuple[tuple[RunDifference, ...], int]:
    """Return the changes, and the number of further ones."""
    found = [*_duration(this, good), *_plain(this, good), *_conf(this, good)]
    return tuple(found[:MAX_CHANGES]), max(0, len(found) - MAX_CHANGES)


def _duration(this: RunDetails, good: RunDetails) -> Iterator[RunDifference]:
    now, before = this.run.duration, good.run.duration
    if now is not None and before is not None:
        yield RunDifference("Took", before, now, factor(now, before))


def factor(now: timedelta, before: timedelta) -> str:
    """Return the ratio as ×1.9, if it is worth mentioning."""
    if before <= timedelta(0) or now <= timedelta(0):
        return ""
    times = now / before
    if 1 / MUCH < times < MUCH:
        return ""
    return f"×{times:.0f}" if times >= 10 else f"×{times:.1f}" if times >= 0.1 else f"×{times:.2g}"


def _plain(this: RunDetails, good: RunDetails) -> Iterator[RunDifference]:
    pairs: dict[str, Pair] = {
        "DAG version": (good.version, this.version),
        "Bundle version": (_sha(good.bundle_version), _sha(this.bundle_version)),
        "Type": (good.run.run_type, this.run.run_type),
        "Started by": (good.by, this.by),
    }
    for label, (before, now) in pairs.items():
        if before is not None and now is not None and before != now:
            yield RunDifference(label, _short(str(before)), _short(str(now)))


def _conf(this: RunDetails, good: RunDetails) -> Iterator[RunDifference]:
    if this.conf is None or good.conf is None:
        return
    before, now = dict(_leaves(good.conf)), dict(_leaves(this.conf))
    for key in sorted({*before, *now}):
        if key in before and key in now and before[key] == now[key]:
            continue
        note = "new" if key not in before else "gone" if key not in now else ""
        change = RunDifference(
            f"conf.{shorten(key, KEY_LENGTH)}", _value(key, before), _value(key, now), note
        )
        # Two masked values look the same.
        yield replace(change, note="changed") if not note and change.before == change.now else change


def _leaves(conf: Mapping[str, Any], path: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    for key, value in conf.items():
        name = f"{path}{key}"
        # Values below a key that looks secret are as secret.
        if isinstance(value, Mapping) and value and depth < DEPTH and not looks_secret(str(key)):
            yield from _leaves(value, f"{name}.", depth + 1)
        else:
            yield name, value


def _value(key: str, conf: Mapping[str, Any]) -> str | None:
    if key not in conf:
        return None
    return MASK if looks_secret(key) else _short(mask_value(conf[key]))


def _sha(version: str | None) -> str | None:
    return version[:SHA_LENGTH] if version else None


def _short(text: str) -> str:
    return shorten(text, VALUE_LENGTH)
