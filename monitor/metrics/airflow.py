"""What is asked of Airflow: comparisons with the log, and watches."""

from monitor.metrics.book import Book
from monitor.metrics.intake import DEPLOYMENT

LISTING = "what is listed: dag runs, task instances, asset events, …"
WATCH = "the watch's name in the rules file"


class Airflow:
    def __init__(self, book: Book) -> None:
        self.airflow_unreachable = book.gauge(
            "windsock_airflow_unreachable_seconds",
            "Since when nothing at all could be compared with this Airflow; 0 while it answers",
            "Above 120: Airflow is away, or refuses the monitor's user",
            {"deployment": DEPLOYMENT},
        )
        self.reconcile_polls = book.counter(
            "windsock_reconcile_polls",
            "Comparisons of Airflow with the log",
            "Other results than `ok`: `unreachable` and `refused` are Airflow's, `error` and `defect` are "
            "the monitor's own",
            {"deployment": DEPLOYMENT, "result": "ok, unreachable, refused, error, defect"},
        )
        self.reconcile_defects = book.counter(
            "windsock_reconcile_defects",
            "Answers of Airflow's at which the monitor itself failed",
            "Any growth: a mistake in the monitor; report it with the traceback that its log has",
            {"deployment": DEPLOYMENT, "part": "what was compared: a listing, ended_runs, the comparison"},
        )
        self.airflow_rows_too_long = book.counter(
            "windsock_airflow_rows_too_long",
            "Rows of Airflow's listings that were passed over because each alone is more than is read",
            "Any growth: what only the reconciler would see of them is not seen; /health names listing and "
            "place",
            {"deployment": DEPLOYMENT, "listing": LISTING},
        )
        self.reconcile_filled = book.counter(
            "windsock_reconcile_filled",
            "Events that only the reconciler found",
            "Of `airflow.dag_run.*` or many of a task's `success`: hooks do not report, or their "
            "spools are lost",
            {"deployment": DEPLOYMENT, "type": "the event's type"},
        )
        self.reconcile_rows = book.counter(
            "windsock_reconcile_rows",
            "Rows of Airflow's that were looked at",
            "Far above what Airflow changes: one listing is read again and again",
            {"deployment": DEPLOYMENT, "listing": LISTING},
        )
        self.reconcile_skipped = book.counter(
            "windsock_reconcile_skipped",
            "Rows of Airflow's that make no event any more",
            "`no_answer` grows: Airflow does not list earlier tries",
            {
                "deployment": DEPLOYMENT,
                "reason": "expired: older than the log; not_filed, no_answer: of earlier tries",
            },
        )
        self.reconcile_ended_runs = book.counter(
            "windsock_reconcile_ended_runs",
            "Runs whose end was reported and whose tasks were compared at once",
            "Mostly `left` or `failed`: what hooks do not report comes with the next comparison only",
            {
                "deployment": DEPLOYMENT,
                "result": "complete; left: to the next comparison; failed: Airflow did not answer",
            },
        )
        self.reconcile_poll = book.histogram(
            "windsock_reconcile_poll_seconds",
            "What a comparison took in all",
            "Above the interval (15 s): Airflow's API is slow",
            (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            {"deployment": DEPLOYMENT},
        )
        self.reconcile_request = book.histogram(
            "windsock_reconcile_request_seconds",
            "What Airflow took to answer, a step of a listing",
            "Above a second: Airflow's database lacks an index, or is busy",
            (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            {"deployment": DEPLOYMENT, "listing": LISTING},
        )
        self.reconcile_interval = book.gauge(
            "windsock_reconcile_interval_seconds",
            "From one request of a listing to the next, as its cost allows",
            "Far above the interval that was set: asking costs Airflow so much that it is asked less often",
            {"deployment": DEPLOYMENT, "listing": LISTING},
        )
        self.reconcile_lag = book.gauge(
            "windsock_reconcile_lag_seconds",
            "Age of the moment up to which a listing has been compared with the log, at the last comparison",
            "Above 300: what no hook reported is that late",
            {"deployment": DEPLOYMENT, "listing": LISTING},
        )
        self.watch_findings = book.counter(
            "windsock_watch_findings",
            "What watches found and reported",
            "Growth is what a watch is for; many of one watch: its bound is too tight",
            {"deployment": DEPLOYMENT, "watch": WATCH},
        )
        self.watch_open = book.gauge(
            "windsock_watch_open_findings",
            "What watches found that is still so",
            "Above 0 for long",
            {"deployment": DEPLOYMENT, "watch": WATCH},
        )
        self.watch_checks = book.counter(
            "windsock_watch_checks",
            "Checks of an Airflow by its watches",
            "`error` grows, or `no_data` (its present state is not known) goes on: watches find nothing "
            "meanwhile",
            {"deployment": DEPLOYMENT, "result": "ok, no_data, error"},
        )
        self.watch_errors = book.counter(
            "windsock_watch_errors",
            "Checks of a watch that failed",
            "Any growth: the log says why",
            {"deployment": DEPLOYMENT, "watch": WATCH},
        )
