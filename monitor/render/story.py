"""What a mail tells: the facts, gathered and bounded before any template sees them."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Error:
    """Why a task failed, as far as anyone said."""

    type: str | None
    message: str
    """One line."""
    lines: tuple[str, ...] = ()
    """The end of the traceback or of the log, for reading."""
    lines_from: str = ""
    """What the lines are: `Traceback` or `Log`."""

    @property
    def headline(self) -> str:
        return ": ".join(part for part in (self.type, self.message) if part)


@dataclass(frozen=True)
class Task:
    """The latest try of one task instance."""

    task_id: str
    map_index: int
    state: str
    try_number: int = 1
    max_tries: int = 0
    operator: str | None = None
    host: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    error: Error | None = None

    @property
    def name(self) -> str:
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    @property
    def tries(self) -> str:
        """Airflow counts retries; people count tries."""
        return f"try {self.try_number} of {max(self.max_tries + 1, self.try_number)}"

    @property
    def duration(self) -> timedelta | None:
        return self.end - self.start if self.start and self.end else None


@dataclass(frozen=True)
class Run:
    """One occurrence of a DAG run."""

    deployment: str
    dag_id: str
    run_id: str
    state: str
    run_type: str | None = None
    logical_date: datetime | None = None
    queued_at: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    message: str | None = None

    @property
    def duration(self) -> timedelta | None:
        return self.end - self.start if self.start and self.end else None


@dataclass(frozen=True)
class Fact:
    """A label and what stands beside it."""

    label: str
    value: str


@dataclass(frozen=True)
class Asset:
    """An asset that the run updated."""

    name: str
    uri: str
    details: tuple[Fact, ...] = ()
    triggered: tuple[str, ...] = ()
    """The runs that the update started, as `dag_id / run_id`."""


@dataclass(frozen=True)
class Story:
    """Everything that a mail about a run may tell."""

    event_id: str
    event_type: str
    run: Run
    failed: tuple[Task, ...] = ()
    """The earliest failure first: it is the likeliest cause."""
    tasks: tuple[Task, ...] = ()
    metrics: tuple[Fact, ...] = ()
    assets: tuple[Asset, ...] = ()
    unconfirmed: str | None = None
    """Why Airflow's word is missing; None where it agreed, or where there is no Airflow to ask."""
