"""Every metric of the monitor, on a registry of its own, so that two apps in one process never mix."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """What /metrics tells. One instance an app; handed to whoever counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter(
            "windsock_events",
            "Events that arrived, by what became of them",
            ["result", "reported_by"],  # accepted, duplicate, rejected
            registry=self.registry,
        )
        self.ingest_refused = Counter(
            "windsock_ingest_requests_refused",
            "Requests to the ingest endpoint that were refused whole",
            ["reason"],
            registry=self.registry,
        )
        self.http_failures = Counter(
            "windsock_http_failures",
            "Requests that failed inside the monitor",
            ["reason"],  # unexpected: a defect; database: it was away
            registry=self.registry,
        )
        self.event_delay = Histogram(
            "windsock_event_delay_seconds",
            "From the state change in Airflow to its place in the log",
            ["reported_by"],
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            registry=self.registry,
        )
        self.log_seq = Gauge("windsock_log_last_seq", "The last event's seq", registry=self.registry)
        self.undecided = Counter(
            "windsock_events_undecided",
            "Events at which the rules failed: they are logged, and nobody is told",
            registry=self.registry,
        )
        self.deliveries = Counter(
            "windsock_delivery_outcomes",
            "Delivery attempts, by what came of them",
            ["channel", "outcome"],
            registry=self.registry,
        )
        self.deliveries_waiting = Gauge(
            "windsock_deliveries_waiting", "Deliveries neither sent nor given up", registry=self.registry
        )
        self.delivery_delay = Histogram(
            "windsock_delivery_delay_seconds",
            "From the event's place in the log to the receiver's word that it has it",
            ["channel"],
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
            registry=self.registry,
        )
        self.feed_readers = Gauge("windsock_feed_readers", "Open event feeds", registry=self.registry)
        self.feed_lagged = Counter(
            "windsock_feed_lagged",
            "Times that a reader was not served with the others: it was slow, or its rights were asked for",
            registry=self.registry,
        )
        self.feed_errors = Counter(
            "windsock_feed_errors",
            "Times that the log could not be read for the feed",
            registry=self.registry,
        )
        self.reconcile_polls = Counter(
            "windsock_reconcile_polls",
            "Comparisons of Airflow with the log",
            ["deployment", "result"],  # ok, unreachable, refused, error
            registry=self.registry,
        )
        self.reconcile_filled = Counter(
            "windsock_reconcile_filled",
            "Events that only the reconciler found",
            ["deployment", "type"],
            registry=self.registry,
        )
        self.reconcile_rows = Counter(
            "windsock_reconcile_rows",
            "Rows of Airflow's that were looked at",
            ["deployment", "listing"],
            registry=self.registry,
        )
        self.reconcile_passed_over = Counter(
            "windsock_reconcile_passed_over",
            "Looks at rows that make no event any more",
            ["deployment", "reason"],  # forgotten: older than the log; not_filed, no_answer: of earlier tries
            registry=self.registry,
        )
        self.reconcile_poll = Histogram(
            "windsock_reconcile_poll_seconds",
            "What a comparison took in all",
            ["deployment"],
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )
        self.reconcile_asking = Histogram(
            "windsock_reconcile_asking_seconds",
            "What Airflow took to answer, a step of a listing",
            ["deployment", "listing"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self.reconcile_interval = Gauge(
            "windsock_reconcile_interval_seconds",
            "From one look at a listing to the next, as its cost allows",
            ["deployment", "listing"],
            registry=self.registry,
        )
        self.watch_findings = Counter(
            "windsock_watch_findings",
            "What watches found and told",
            ["deployment", "watch"],
            registry=self.registry,
        )
        self.watch_open = Gauge(
            "windsock_watch_open_findings",
            "What watches found that is still so",
            ["deployment", "watch"],
            registry=self.registry,
        )
        self.watch_looks = Counter(
            "windsock_watch_looks",
            "Looks of the watches at an Airflow",
            ["deployment", "result"],  # ok, blind: its present is not known, error
            registry=self.registry,
        )
        self.watch_errors = Counter(
            "windsock_watch_errors",
            "Watches that could not look",
            ["deployment", "watch"],
            registry=self.registry,
        )
        self.reconcile_lag = Gauge(
            "windsock_reconcile_lag_seconds",
            "Age of the moment up to which a listing has been compared with the log",
            ["deployment", "listing"],
            registry=self.registry,
        )
        self.turn = Gauge(
            "windsock_turn",
            "1 where this replica does the work that only one does at a time",
            ["work"],
            registry=self.registry,
        )
        self.links_lost = Counter(
            "windsock_links_lost",
            "Times that a connection which is to stay was lost, or could not be made",
            ["link"],  # signals, turns
            registry=self.registry,
        )
        self.signals_heard = Counter(
            "windsock_signals_heard",
            "What was heard of commits, this replica's own among them",
            ["word"],  # feed, delivery, reconcile
            registry=self.registry,
        )
