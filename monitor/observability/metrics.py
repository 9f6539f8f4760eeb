"""The monitor's metrics, in four groups: intake, delivery, Airflow and the service itself.

How to add a metric is said in metrics_registry.py.
"""

from prometheus_client import Counter

from monitor.observability.metrics_registry import MetricDescription, MetricsRegistry
from monitor.observability.spool_metrics import Spools

REPORTERS = ("listener", "reconciler", "monitor")
DEPLOYMENT = "the Airflow's name in events"
AREAS = ("ingest", "api", "feed", "page", "probe", "static")
AGES = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


class IntakeMetrics:
    """The metrics of what arrives."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self.events = registry.counter(
            "windsock_events",
            "Events that arrived, by what became of them",
            "`rejected` grows: a plugin reports what this monitor does not accept, which its spool keeps "
            "in bad/. "
            "`accepted` by `listener` stands still while Airflow works: no hook reports",
            {"result": ("accepted", "duplicate", "rejected"), "reported_by": (*REPORTERS, "unknown")},
        )
        self.ingest_refused = registry.counter(
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
        self.event_delay = registry.histogram(
            "windsock_event_delay_seconds",
            "From the state change in Airflow to its place in the log, of every event",
            "`listener` above a few seconds: events wait in a spool. `reconciler` is some seconds by nature",
            (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            {"reported_by": REPORTERS},
        )
        self.notification_delay = registry.histogram(
            "windsock_notification_delay_seconds",
            "From the end of a run or a task's try in Airflow to its place in the log, whoever "
            "reported it: the part of a notification's delay that reporting takes. What ended before "
            "Windsock knew of the deployment is left out",
            "More than one in a thousand above 60 s (docs/slo.md)",
            AGES,
            {"kind": ("run", "task")},
        )
        self.ids_corrected = registry.counter(
            "windsock_event_ids_corrected",
            "Events whose sender gave another id than their data do. The monitor's id is used",
            "Growth: an older plugin after an update of the monitor, or a sender that reports false events",
            {"deployment": DEPLOYMENT},
        )
        self.id_conflicts = registry.counter(
            "windsock_event_id_conflicts",
            "Events whose id the log has for another thing (an id conflict). Each is logged by itself",
            "Growth: a sender reports false events under another task's id",
            {"deployment": DEPLOYMENT},
        )
        self.undecided = registry.counter(
            "windsock_events_undecided",
            "Events at which the rules failed: they are logged, without a notification",
            "Any growth: it is a defect",
        )
        self.traceparents_ignored = registry.counter(
            "windsock_traceparents_ignored",
            "Events whose traceparent is not one (W3C Trace Context): taken without it",
            "Growth: a sender of events writes it wrongly, and its traces are torn",
        )
        self.http_requests = registry.counter(
            "windsock_http_requests",
            "Requests that were answered",
            "`5xx` in `ingest`: plugins come again, and are late. In `page` and `api`: people see errors",
            {"area": AREAS, "code": ("1xx", "2xx", "3xx", "4xx", "5xx")},
        )
        self.http_seconds = registry.histogram(
            "windsock_http_request_seconds",
            "From a request's arrival to the beginning of its answer",
            "`ingest` above a second: the database is slow, and spools fill",
            (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            {"area": AREAS},
        )
        self.http_failures = registry.counter(
            "windsock_http_failures",
            "Requests that failed inside the monitor",
            "Any growth: `unexpected` is a defect, `database` a database that was away or a read that took "
            "too long, `overloaded` a user with too many slow requests at once, or many such users",
            {"reason": ("unexpected", "database", "overloaded")},
        )
        self.http_cut = registry.counter(
            "windsock_http_connections_cut",
            "Connections that were ended because they broke a bound of the server (docs/threat-model.md)",
            "`connections` grows: more are open than this process may hold, or a client opens many on "
            "purpose. `head`, `head_seconds`, `body_seconds`, `pipelined`: a program that sends no proper "
            "requests. `write_seconds`, `unread`: a program that does not read its answers",
            {
                "bound": (
                    *("connections", "head", "head_seconds", "body_seconds", "pipelined"),
                    *("write_seconds", "unread"),
                )
            },
        )
        self.http_bodies_refused = registry.counter(
            "windsock_http_bodies_refused",
            "Bodies of requests that were refused (503) because too much was held of all",
            "Any growth: very many senders at once, or a sender that tries to fill the monitor's memory",
        )


CHANNELS = ("email", "webhook", "apprise")
KEPT_STATES = ("pending", "sending", "parked", "dead", "uncertain")
"""The states that are counted: deliveries that wait, and deliveries for a person to look at. Sent and
needless deliveries may be a million rows."""


class DeliveryMetrics:
    """The metrics of deliveries."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self.deliveries = registry.counter(
            "windsock_delivery_outcomes",
            "Delivery attempts, by what came of them",
            "`dead` or `uncertain` grows: recipients were not notified, or may not be. `retry` grows: a "
            "receiver is away",
            {
                "channel": CHANNELS,
                "outcome": (
                    *("sent", "retry", "parked", "dead", "uncertain"),
                    *("suppressed", "superseded"),
                ),
            },
        )
        self.deliveries_waiting = registry.gauge(
            "windsock_deliveries_waiting",
            "Deliveries neither sent nor given up",
            "Grows without falling: more notifications are made than go out",
        )
        self.outbox = registry.gauge(
            "windsock_outbox_deliveries",
            "Deliveries that are in a state, counted every 15 s",
            "`dead` or `uncertain` above 0: look at them on the page Deliveries. `parked`: the day's "
            "budget is used",
            {"state": KEPT_STATES},
        )
        self.delivery_oldest = registry.gauge(
            "windsock_delivery_oldest_seconds",
            "How long the oldest delivery that waits has been due: since its group's wait was over, "
            "or nought. "
            "What is parked is left out",
            "Above 300: the receiver, or Airflow that is asked first, is away",
            {"channel": CHANNELS},
        )
        self.delivery_delay = registry.histogram(
            "windsock_delivery_delay_seconds",
            "From the event's place in the log to the receiver's confirmation, grouping and all",
            "Above the rules' own waits (group, quiet hours)",
            (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
            {"channel": CHANNELS},
        )
        self.delivery_late = registry.histogram(
            "windsock_delivery_late_seconds",
            "From the moment that a delivery was due (after its group's wait) to the receiver's confirmation",
            "More than one in a hundred above 60 s (docs/slo.md)",
            AGES,
            {"channel": CHANNELS},
        )
        self.mail_failing = registry.gauge(
            "windsock_mail_failing_seconds",
            "Seconds for which the mail server has taken no mail, or 0 while it takes mail",
            "Above 120: refused login, wrong address, or a server that is away",
        )
        self.template_failures = registry.counter(
            "windsock_template_failures",
            "Notifications that were written with another template, because the one asked for failed",
            "Any growth: /health names the template and the reason, and `windsock preview` shows it",
        )
        self.rules_broken = registry.gauge(
            "windsock_rules_broken",
            "1 while the rules file cannot be used and the rules from before it are in force",
            "1: mend the file (`windsock check`)",
        )
        self.feed_subscribers = registry.gauge(
            "windsock_feed_subscribers", "Open event feeds", "0 where a program should read"
        )
        self.feed_delay = registry.histogram(
            "windsock_feed_delay_seconds",
            "From an event's place in the log to its being handed to the feeds' subscribers: the oldest "
            "of each round",
            "More than one in a hundred above 1 s (docs/slo.md): the monitor's processor is full",
            (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )
        self.feed_lagged = registry.counter(
            "windsock_feed_lagged",
            "Times that others were served while a subscriber's client took its time to read",
            "Grows faster than subscribers come: their connections are slow",
        )
        self.feed_errors = registry.counter(
            "windsock_feed_errors",
            "Times that the log could not be read for the feed",
            "Any growth: the database was away. Subscribers resume where they were",
        )


LISTING = "what is listed: dag runs, task instances, asset events, …"
WATCH = "the watch's name in the rules file"


class AirflowMetrics:
    """The metrics of each Airflow."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self.airflow_unreachable = registry.gauge(
            "windsock_airflow_unreachable_seconds",
            "Seconds for which nothing could be compared with this Airflow, or 0 while it answers",
            "Above 120: Airflow is away, or refuses the monitor's user",
            {"deployment": DEPLOYMENT},
        )
        self.reconcile_polls = registry.counter(
            "windsock_reconcile_polls",
            "Comparisons of Airflow with the log",
            "Other results than `ok`: `unreachable` and `refused` are Airflow's, `error` and `defect` are "
            "the monitor's own",
            {"deployment": DEPLOYMENT, "result": "ok, unreachable, refused, error, defect"},
        )
        self.reconcile_defects = registry.counter(
            "windsock_reconcile_defects",
            "Answers of Airflow's at which the monitor itself failed",
            "Any growth: a mistake in the monitor. Report it with the traceback that its log has",
            {"deployment": DEPLOYMENT, "part": "what was compared: a listing, ended_runs, the comparison"},
        )
        self.airflow_rows_too_long = registry.counter(
            "windsock_airflow_rows_too_long",
            "Rows of Airflow's listings that were passed over because each alone is more than is read",
            "Any growth: the reconciler misses their changes. /health names listing and place",
            {"deployment": DEPLOYMENT, "listing": LISTING},
        )
        self.reconcile_filled = registry.counter(
            "windsock_reconcile_filled",
            "Events that only the reconciler found",
            "Of `airflow.dag_run.*` or many of a task's `success`: hooks do not report, or their "
            "spools are lost",
            {"deployment": DEPLOYMENT, "type": "the event's type"},
        )
        self.reconcile_rows = registry.counter(
            "windsock_reconcile_rows",
            "Rows of Airflow's that were looked at",
            "Far above what Airflow changes: one listing is read again and again",
            {"deployment": DEPLOYMENT, "listing": LISTING},
        )
        self.reconcile_skipped = registry.counter(
            "windsock_reconcile_skipped",
            "Rows of Airflow's that make no event any more",
            "`no_answer` grows: Airflow does not list earlier tries",
            {
                "deployment": DEPLOYMENT,
                "reason": "`expired` (older than the log), `not_filed` and `no_answer` (of earlier tries)",
            },
        )
        self.reconcile_ended_runs = registry.counter(
            "windsock_reconcile_ended_runs",
            "Runs whose end was reported and whose tasks were compared at once",
            "Mostly `left` or `failed`: what hooks do not report comes with the next comparison only",
            {
                "deployment": DEPLOYMENT,
                "result": "`complete`, `left` (to the next comparison), `failed` (Airflow did not answer)",
            },
        )
        self.reconcile_poll = registry.histogram(
            "windsock_reconcile_poll_seconds",
            "What a comparison took in all",
            "Above the interval (15 s): Airflow's API is slow",
            (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            {"deployment": DEPLOYMENT},
        )
        self.reconcile_request = registry.histogram(
            "windsock_reconcile_request_seconds",
            "What Airflow took to answer, a step of a listing",
            "Above a second: Airflow's database lacks an index, or is busy",
            (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            {"deployment": DEPLOYMENT, "listing": LISTING},
        )
        self.reconcile_interval = registry.gauge(
            "windsock_reconcile_interval_seconds",
            "From one request of a listing to the next, as its cost allows",
            "Far above the interval that was set: asking costs Airflow so much that it is asked less often",
            {"deployment": DEPLOYMENT, "listing": LISTING},
        )
        self.reconcile_lag = registry.gauge(
            "windsock_reconcile_lag_seconds",
            "Age of the moment up to which a listing has been compared with the log, at the last comparison",
            "Above 300: what no hook reported is that late",
            {"deployment": DEPLOYMENT, "listing": LISTING},
        )
        self.watch_findings = registry.counter(
            "windsock_watch_findings",
            "Findings that watches reported",
            "Growth is normal. Very many of one watch: its bound is too tight",
            {"deployment": DEPLOYMENT, "watch": WATCH},
        )
        self.watch_open = registry.gauge(
            "windsock_watch_open_findings",
            "What watches found that is still so",
            "Above 0 for long",
            {"deployment": DEPLOYMENT, "watch": WATCH},
        )
        self.watch_checks = registry.counter(
            "windsock_watch_checks",
            "Checks of an Airflow by its watches",
            "`error` grows, or `no_data` (its present state is not known) goes on: watches find nothing "
            "meanwhile",
            {"deployment": DEPLOYMENT, "result": "ok, no_data, error"},
        )
        self.watch_errors = registry.counter(
            "windsock_watch_errors",
            "Checks of a watch that failed",
            "Any growth: the log says why",
            {"deployment": DEPLOYMENT, "watch": WATCH},
        )


WORK = "the leader's: reconciler <deployment>, watches, reminders, recoveries, retention"
FAILING_WORK = f"{WORK}, and of each replica: journal, leases, outbox counts"


UNREADABLE_ROWS = Counter(
    "windsock_stored_rows_unreadable",
    "Readings of stored rows that failed. The row is left out, and the others are read",
    ["table"],
    registry=None,
)
"""The readings of the whole process, because rows are read without a registry at hand."""


class ServiceMetrics:
    """The metrics of the process and its database."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self.build = registry.gauge(
            "windsock_build_info",
            "1, with what runs",
            "Two versions for longer than an upgrade takes",
            {"version": "the monitor's", "python": "Python's", "database": "sqlite, postgresql"},
        )
        self.leader = registry.gauge(
            "windsock_leader",
            "1 where this replica is the leader of a background work",
            "The sum over all replicas is 0 for longer than a minute (no leader), or above 1 (two leaders)",
            {"work": WORK},
        )
        self.work_failures = registry.counter(
            "windsock_work_failures",
            "Times that background work failed by a mistake in the monitor, and was begun anew",
            "Any growth: report it with the traceback that the log has",
            {"work": FAILING_WORK},
        )
        self.database_errors = registry.counter(
            "windsock_database_errors",
            "Errors of the database or of the connection to it",
            "Any growth: `operational` is a database that is away, full or locked. Others are defects",
            {"kind": ("operational", "integrity", "other")},
        )
        self.database_write_age = registry.gauge(
            "windsock_database_write_age_seconds",
            "Seconds since a write of the database got through. One is tried every 10 s",
            "Above 60: the disk is full, the server takes no writes, or something holds the lock",
        )
        self.dedicated_connections_lost = registry.counter(
            "windsock_dedicated_connections_lost",
            "Times that a PostgreSQL connection which is kept for one purpose was lost or could not be made",
            "Growth while PostgreSQL is up: a proxy or a firewall that ends idle connections",
            {"purpose": ("listen", "leader")},
        )
        registry.adopt(
            UNREADABLE_ROWS,
            "Any growth: a row was changed by hand, or another release wrote it. The log names it",
            {"table": "events, deliveries, silences, …, a JSON column, a column of names"},
        )
        self.database_rollbacks_detected = registry.counter(
            "windsock_database_rollbacks_detected",
            "Times that the database was found to have lost what it had committed",
            "Any growth: a standby that lagged was promoted, or a backup was put back under running monitors",
        )
        self.notifications_received = registry.counter(
            "windsock_notifications_received",
            "Notifications of commits by PostgreSQL (LISTEN/NOTIFY), of this replica's own commits too",
            "No growth while events are accepted on PostgreSQL: feeds and mails wait for the next poll",
            {"topic": ("feed", "delivery", "reconcile")},
        )


class Metrics(IntakeMetrics, DeliveryMetrics, AirflowMetrics, ServiceMetrics):
    """The metrics of /metrics. An app has one instance, which its parts share."""

    def __init__(self) -> None:
        registry = MetricsRegistry()
        for part in (IntakeMetrics, DeliveryMetrics, AirflowMetrics, ServiceMetrics):
            part.__init__(self, registry)
        self.spools = Spools(registry)
        self.registry = registry.registry
        self.described: tuple[MetricDescription, ...] = tuple(registry.described)
