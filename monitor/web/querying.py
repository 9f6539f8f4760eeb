"""The query parameters that the feed, the API and the pages share. One that is not known is refused: a
filter that was misspelt would otherwise match everything.
"""

from typing import Annotated, Literal

from fastapi import Path
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from monitor.board import RunsWanted
from monitor.event_log import FILTERS, Filter
from monitor.outbox import Kind, State, Wanted
from monitor.rules import Channel

PAGE = 50  # rows, where nothing is asked for
MAX_PAGE = 500  # rows; keeps an answer below a few MB
MAX_GLOBS = 20  # values of one filter: keeps the SQL, and what it costs, small
MAX_NAME = 1_500  # characters: as long as an asset's URI
MAX_SEQ = 2**63 - 1  # what a BIGINT holds


def no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character, which no name does (and PostgreSQL refuses)")
    return value


Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME), AfterValidator(no_nul)]
Globs = Annotated[list[Name], Field(max_length=MAX_GLOBS)]
Id = Annotated[int, Path(ge=1, le=MAX_SEQ)]
"""The number of a delivery, an incident, a silence in a path."""


class Filters(BaseModel):
    """Any of the values given for an attribute; `*` and `?` are globs; every given attribute must match."""

    model_config = ConfigDict(extra="forbid")
    deployment: Globs = []
    type: Globs = []
    dag_id: Globs = []
    run_id: Globs = []
    task_id: Globs = []
    state: Globs = []
    asset: Globs = []

    def filter(self) -> Filter:
        return Filter.of(**{name: getattr(self, name) for name in FILTERS})


class Paged(BaseModel):
    """A page, newest first."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(PAGE, ge=1, le=MAX_PAGE)
    cursor: int | None = Field(
        None, ge=1, le=MAX_SEQ, description="`next` of the page before; none: the newest"
    )


class FeedQuery(Filters):
    after: str | None = Field(
        None, description="`epoch-seq`: what follows it. The header Last-Event-ID goes before it"
    )
    since: str | None = Field(None, description="RFC 3339: what was received then and later")


class EventsQuery(Filters, Paged):
    pass


class RunsQuery(Paged):
    """Any of the values given for an attribute; every given attribute must match."""

    deployment: Globs = Field([], description="Globs: `*` and `?`")
    dag_id: Globs = Field([], description="Globs: `*` and `?`")
    state: Globs = Field([], description="`running`, `success`, `failed`")
    run_type: Globs = Field([], description="`scheduled`, `manual`, `asset_triggered`, `backfill`, …")
    since: AwareDatetime | None = Field(None, description="RFC 3339: begun then or later")
    until: AwareDatetime | None = Field(None, description="RFC 3339: begun before then")
    search: Name | None = Field(None, description="A part of the DAG's or the run's id, in any case")

    def wanted(self) -> RunsWanted:
        return RunsWanted(
            deployment=tuple(self.deployment),
            dag_id=tuple(self.dag_id),
            state=tuple(self.state),
            run_type=tuple(self.run_type),
            since=self.since,
            until=self.until,
            search=self.search,
        )


class DeliveriesQuery(Paged):
    state: State | None = None
    rule: Name | None = None
    channel: Channel | None = None
    kind: Kind | None = None
    recipient: Name | None = Field(None, description="An address, or `<receiver>#<n>`")
    dag_id: Name | None = None
    incident_id: int | None = Field(None, ge=1, le=MAX_SEQ)
    since: AwareDatetime | None = Field(None, description="RFC 3339: made then or later")
    until: AwareDatetime | None = Field(None, description="RFC 3339: made before then")

    def wanted(self) -> Wanted:
        return Wanted(**self.model_dump(exclude={"limit", "cursor"}))


class IncidentsQuery(Paged):
    state: Literal["open", "closed"] | None = None
    dag_id: Name | None = None


class SilencesQuery(Paged):
    active: bool = Field(False, description="Those alone that hold now")
