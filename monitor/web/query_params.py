"""The query parameters that the feed, the API and the pages share. One that is not known is refused: a
filter that was misspelt would otherwise match everything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar, get_origin

from fastapi import Path, Request
from fastapi.exceptions import RequestValidationError
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from monitor.event_log.filters import FILTERS, Filter
from monitor.event_log.projections.runs import RunFilter
from monitor.events.data import Moment
from monitor.notifications.incidents import IncidentFilter
from monitor.notifications.outbox.queries import DeliveryFilter
from monitor.notifications.outbox.records import NotificationKind, State
from monitor.plain_text import no_nul
from monitor.rules.field_types import MAX_SEARCHED, searched
from monitor.rules.targets import ChannelName

PAGE = 50  # rows, where nothing is asked for
MAX_PAGE = 500  # rows: an answer stays below a few MB
MAX_GLOBS = 20  # values of one filter: keeps the SQL, and what it costs, small
MAX_NAME = 1_500  # characters: as long as an asset's URI
MAX_SEQ = 2**63 - 1  # what a BIGINT holds
SHOWN_SINCE, SHOWN_UNTIL = "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"


Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME), AfterValidator(no_nul)]
Globs = Annotated[list[Name], Field(max_length=MAX_GLOBS)]
Id = Annotated[int, Path(ge=1, le=MAX_SEQ, description="Its number", examples=[1])]
"""The number of a delivery, an incident, a silence in a path."""


def _globs(text: str, example: str) -> Any:
    """Return a filter with its description for OpenAPI."""
    description = f"{text}. `*` and `?` are globs, and any of several values is enough"
    return Field(default=[], description=description, examples=[[example]])


class EventFilterParams(BaseModel):
    """The filters of events.
    `*` and `?` are globs. Every given attribute must match, by any of its values."""

    model_config = ConfigDict(extra="forbid")
    deployment: Globs = _globs("The Airflow's name", "local")
    type: Globs = _globs("The event's type (docs/events.md)", "airflow.dag_run.*")
    dag_id: Globs = _globs("The event's DAG", "etl")
    run_id: Globs = _globs("The event's run", "scheduled__*")
    task_id: Globs = _globs("The event's task", "load")
    state: Globs = _globs("The state that was come to", "failed")
    asset: Globs = _globs("The asset's URI", "file:///data/*")

    @model_validator(mode="after")
    def _bound_their_cost(self) -> "EventFilterParams":
        """Raise ValueError if matching an event takes too many steps, because others wait meanwhile."""
        steps = sum(searched(getattr(self, name)) for name in FILTERS)
        if steps > MAX_SEARCHED:
            raise ValueError(
                f"the filters take {steps:,} steps to match, more than {MAX_SEARCHED}: each text between "
                "two stars is one, and each of its letters too where a ? is between them; write fewer stars "
                "or no ?"
            )
        return self

    def filter(self) -> Filter:
        """Return the filter of the log."""
        return Filter.from_values(**{name: getattr(self, name) for name in FILTERS})


class Paged(BaseModel):
    """A page, newest first."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(PAGE, ge=1, le=MAX_PAGE, description="Rows of a page", examples=[PAGE])
    cursor: int | None = Field(
        None,
        ge=1,
        le=MAX_SEQ,
        description="`next` of the page before, or none for the newest",
        examples=[1042],
    )


class LedgerQuery(BaseModel):
    """The query of a page of one delivery's or incident's decisions, newest first."""

    model_config = ConfigDict(extra="forbid")
    cursor: int | None = Field(
        None,
        ge=1,
        le=MAX_SEQ,
        description="`next`: the decisions before these; none: the latest",
        examples=[1042],
    )


class DeliveryLedgerQuery(LedgerQuery):
    """The query of a delivery's ledger."""

    attempts_cursor: int | None = Field(
        None,
        ge=1,
        le=MAX_SEQ,
        description="`next_attempts`: the attempts before these; none: the latest",
        examples=[77],
    )


class FeedQuery(EventFilterParams):
    """The query of the feed."""

    after: str | None = Field(
        None,
        description="`epoch-seq`: what follows it. The header Last-Event-ID goes before it",
        examples=["1a2b3c4d-42"],
    )
    since: str | None = Field(
        None, description="RFC 3339: what was received then and later", examples=["2026-11-22T10:00:00Z"]
    )


class EventsQuery(EventFilterParams, Paged):
    """The query of the log."""


class RunsQuery(Paged):
    """The query of runs. Every given attribute must match, by any of its values."""

    deployment: Globs = Field([], description="Globs: `*` and `?`", examples=[["local"]])
    dag_id: Globs = Field([], description="Globs: `*` and `?`", examples=[["etl_*"]])
    state: Globs = Field([], description="`running`, `success`, `failed`", examples=[["failed"]])
    run_type: Globs = Field(
        [], description="`scheduled`, `manual`, `asset_triggered`, `backfill`, …", examples=[["scheduled"]]
    )
    since: Moment | None = Field(None, description="RFC 3339: begun then or later", examples=[SHOWN_SINCE])
    until: Moment | None = Field(None, description="RFC 3339: begun before then", examples=[SHOWN_UNTIL])
    search: Name | None = Field(
        None, description="A part of the DAG's or the run's id, in any case", examples=["nightly"]
    )

    def to_filter(self) -> RunFilter:
        """Return the filter of runs."""
        return RunFilter(
            deployment=tuple(self.deployment),
            dag_id=tuple(self.dag_id),
            state=tuple(self.state),
            run_type=tuple(self.run_type),
            since=self.since,
            until=self.until,
            search=self.search,
        )


class DeliveriesQuery(Paged):
    """The query of deliveries."""

    state: State | None = Field(None, description="Where it stands", examples=["dead"])
    rule: Name | None = Field(None, description="The rule that called for it", examples=["default"])
    channel: ChannelName | None = Field(None, description="By which way", examples=["email"])
    kind: NotificationKind | None = Field(
        None, description="What kind of notification it is", examples=["opened"]
    )
    recipient: Name | None = Field(
        None, description="An address, or `<receiver>#<n>`", examples=["ops@example.com"]
    )
    deployment: Name | None = Field(None, description="The Airflow's name", examples=["local"])
    dag_id: Name | None = Field(None, description="The DAG that it is about", examples=["etl"])
    run_id: Name | None = Field(None, description="The run that it is about", examples=["manual__1"])
    incident_id: int | None = Field(
        None, ge=1, le=MAX_SEQ, description="The incident that it is about", examples=[4]
    )
    since: Moment | None = Field(None, description="RFC 3339: made then or later", examples=[SHOWN_SINCE])
    until: Moment | None = Field(None, description="RFC 3339: made before then", examples=[SHOWN_UNTIL])

    def to_filter(self) -> DeliveryFilter:
        """Return the filter of deliveries."""
        return DeliveryFilter(**self.model_dump(exclude={"limit", "cursor"}))


class IncidentsQuery(Paged):
    """The query of incidents."""

    state: Literal["open", "closed"] | None = Field(
        None, description="`open`: it goes on; `closed`: it has ended", examples=["open"]
    )
    deployment: Name | None = Field(None, description="The Airflow's name", examples=["local"])
    dag_id: Name | None = Field(None, description="The DAG that it is of", examples=["etl"])
    acknowledged: bool | None = Field(
        None, description="true: those that are acknowledged; false: the others", examples=[False]
    )
    status: list[Literal["open", "acknowledged", "resolved", "closed"]] = Field(
        [], description="The state as people know it; any one of several is enough", examples=[["open"]]
    )
    assignee: Name | None = Field(None, description="Who has taken it over", examples=["alice"])
    owner: Name | None = Field(None, description="An owner of its DAG, in any case", examples=["data-team"])
    search: Name | None = Field(None, description="A part of the title, in any case", examples=["nightly"])
    since: Moment | None = Field(None, description="RFC 3339: opened then or later", examples=[SHOWN_SINCE])
    until: Moment | None = Field(None, description="RFC 3339: opened before then", examples=[SHOWN_UNTIL])

    def to_filter(self, now: datetime) -> IncidentFilter:
        """Return the filter of incidents. An acknowledgement that has lapsed by `now` is none."""
        values = self.model_dump(include=set(IncidentFilter.__dataclass_fields__), exclude={"status"})
        return IncidentFilter(**values, status=tuple(self.status), now=now)


class SilencesQuery(Paged):
    """The query of silences."""

    active: bool = Field(False, description="Those alone that hold now", examples=[True])
    deployment: Name | None = Field(None, description="Those of one DAG of this Airflow", examples=["local"])
    dag_id: Name | None = Field(None, description="Those of this DAG alone", examples=["etl"])


Form = TypeVar("Form", bound=Paged)
SHOWN_VALUE = 60  # characters of a wrong value that a page repeats
MAX_MISTAKES = 20  # that a page names: enough to mend an address


@dataclass(frozen=True)
class ListFilters(Generic[Form]):
    """The filters in the address of a page, and what is wrong with them."""

    query: Form
    """Without the wrong ones. A page with mistakes lists nothing: the other filters alone match too much."""
    mistakes: tuple[str, ...]

    @property
    def status(self) -> int:
        """The HTTP status of the page: 422 if a filter is wrong."""
        return 422 if self.mistakes else 200


def list_filters(
    form: type[Form], choices: Mapping[str, Sequence[str]] | None = None, wildcards: str = ""
) -> Callable[[Request], ListFilters[Form]]:
    """Return a dependency that reads a page's filters and names each wrong value with the accepted ones.

    `choices` holds the values that a filter takes. `wildcards` are the letters that make a glob of another
    value."""

    def read(request: Request) -> ListFilters[Form]:
        values = {name: _values(form, request, name) for name in request.query_params}
        mistakes = list(_unknown_values(values, choices or {}, wildcards))
        try:
            return ListFilters(form.model_validate(values), tuple(mistakes[:MAX_MISTAKES]))
        except ValidationError as error:
            wrong = {str(mistake["loc"][0]): mistake for mistake in error.errors() if mistake["loc"]}
            if not wrong or wrong.keys() & Paged.model_fields.keys():
                raise _refusal(error) from None
        mistakes += [_describe(form, name, mistake) for name, mistake in wrong.items()]
        try:
            query = form.model_validate({name: value for name, value in values.items() if name not in wrong})
        except ValidationError as error:
            raise _refusal(error) from None
        return ListFilters(query, tuple(mistakes[:MAX_MISTAKES]))

    return read


def _refusal(error: ValidationError) -> RequestValidationError:
    """Return the answer to what is no wrong filter value.
    That is a wrong page of a list, or filters that cost too much."""
    return RequestValidationError(
        [{**mistake, "loc": ("query", *mistake["loc"])} for mistake in error.errors()]
    )


def _values(form: type[Paged], request: Request, name: str) -> Any:
    field = form.model_fields.get(name)
    values = request.query_params.getlist(name)
    return values if field and get_origin(field.annotation) is list else values[-1]


def _unknown_values(
    values: Mapping[str, Any], choices: Mapping[str, Sequence[str]], wildcards: str
) -> list[str]:
    more = ", and globs" if wildcards else ""
    return [
        f"{name}: {value[:SHOWN_VALUE]!r} is not accepted. Accepted are {', '.join(accepted)}{more}."
        for name, accepted in choices.items()
        for value in values.get(name, [])
        if value and value not in accepted and not set(wildcards) & set(value)
    ]


def _describe(form: type[Paged], name: str, mistake: Mapping[str, Any]) -> str:
    if mistake["type"] == "extra_forbidden":
        names = [field for field in form.model_fields if field not in Paged.model_fields]
        return f"There is no filter {name[:SHOWN_VALUE]!r}. The filters are {', '.join(names)}."
    value = str(mistake["input"])[:SHOWN_VALUE]
    if expected := mistake.get("ctx", {}).get("expected"):
        return f"{name}: {value!r} is not accepted. Accepted are {expected}."
    return f"{name}: {value!r} is not accepted: {mistake['msg']}."
