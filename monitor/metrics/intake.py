"""What comes in: requests, events, and what the plugin's spools hold."""

from monitor.metrics.book import Book

REPORTERS = ("listener", "reconciler", "monitor")
DEPLOYMENT = "the Airflow's name in events"
AREAS = ("ingest", "api", "feed", "page", "probe", "static")
AGES = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


class Intake:
    def __init__(self, book: Book) -> None:
        self.events = book.counter(
            "windsock_events",
            "Events that arrived, by what became of them",
            "`rejected` grows: a plugin reports what this monitor does not accept, which its spool keeps "
            "in bad/. "
            "`accepted` by `listener` stands still while Airflow works: no hook reports",
            {"result": ("accepted", "duplicate", "rejected"), "reported_by": (*REPORTERS, "unknown")},
        )
        self.ingest_refused = book.counter(
            "windsock_ingest_requests_refused",
            "Requests to the ingest endpoint that were refused whole",
            "Any growth but of `cut`: `signature` and `token` are a wrong secret or clock, `busy` is "
            "a monitor that writes more slowly than events arrive, `memory` more bodies than it holds",
            {
                "reason": (
                    *("busy", "content_type", "cut", "malformed", "memory", "signature", "token"),
                    "too_large",
                )
            },
        )
        self.event_delay = book.histogram(
            "windsock_event_delay_seconds",
            "From the state change in Airflow to its place in the log, of every event",
            "`listener` above a few seconds: events wait in a spool. `reconciler` is some seconds by nature",
            (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            {"reported_by": REPORTERS},
        )
        self.notification_delay = book.histogram(
            "windsock_notification_delay_seconds",
            "From the end of a run or a task's try in Airflow to its place in the log, whoever "
            "reported it: the part of a notification's delay that reporting takes. What ended before "
            "Windsock knew of the deployment is left out",
            "More than one in a thousand above 60 s (docs/slo.md)",
            AGES,
            {"kind": ("run", "task")},
        )
        self.ids_corrected = book.counter(
            "windsock_event_ids_corrected",
            "Events whose sender gave another id than their data do; the monitor's own is used",
            "Growth: an older plugin after an update of the monitor, or somebody who reports what did not "
            "happen",
            {"deployment": DEPLOYMENT},
        )
        self.id_conflicts = book.counter(
            "windsock_event_id_conflicts",
            "Events whose id the log has for another thing (an id conflict); each is logged by itself",
            "Growth: somebody reports under another task's id what did not happen",
            {"deployment": DEPLOYMENT},
        )
        self.undecided = book.counter(
            "windsock_events_undecided",
            "Events at which the rules failed: they are logged, and nobody is notified",
            "Any growth: it is a defect",
        )
        self.traceparents_ignored = book.counter(
            "windsock_traceparents_ignored",
            "Events whose traceparent is not one (W3C Trace Context): taken without it",
            "Growth: a sender of events writes it wrongly, and its traces are torn",
        )
        self.http_requests = book.counter(
            "windsock_http_requests",
            "Requests that were answered",
            "`5xx` in `ingest`: plugins come again, and are late. In `page` and `api`: people see errors",
            {"area": AREAS, "code": ("1xx", "2xx", "3xx", "4xx", "5xx")},
        )
        self.http_seconds = book.histogram(
            "windsock_http_request_seconds",
            "From a request's arrival to its answer's end (a feed's: to its beginning)",
            "`ingest` above a second: the database is slow, and spools fill",
            (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            {"area": AREAS},
        )
        self.http_failures = book.counter(
            "windsock_http_failures",
            "Requests that failed inside the monitor",
            "Any growth: `unexpected` is a defect, `database` a database that was away",
            {"reason": ("unexpected", "database")},
        )
        self.http_cut = book.counter(
            "windsock_http_connections_cut",
            "Connections that were ended because they broke a bound of the server (docs/threat-model.md)",
            "`connections` grows: more are open than this process may hold, or somebody opens many on "
            "purpose. `head`, `head_seconds`, `body_seconds`, `pipelined`: a program that sends no proper "
            "requests. `write_seconds`, `unread`: a program that does not read its answers",
            {
                "bound": (
                    *("connections", "head", "head_seconds", "body_seconds", "pipelined"),
                    *("write_seconds", "unread"),
                )
            },
        )
        self.http_bodies_refused = book.counter(
            "windsock_http_bodies_refused",
            "Bodies of requests that were refused (503) because too much was held of all",
            "Any growth: very many report at once, or somebody sends bodies to fill the monitor's memory",
        )
