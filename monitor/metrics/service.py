"""The monitor itself."""

from monitor.metrics.book import Book

WORK = "what only the leader does: reconciler <deployment>, watches, reminders, retention"


class Service:
    def __init__(self, book: Book) -> None:
        self.build = book.gauge(
            "windsock_build_info",
            "1, with what runs",
            "Two versions for longer than an upgrade takes",
            {"version": "the monitor's", "python": "Python's", "database": "sqlite, postgresql"},
        )
        self.leader = book.gauge(
            "windsock_leader",
            "1 where this replica is the leader of a background work",
            "The sum over all replicas is 0 for longer than a minute (no leader), or above 1 (two leaders)",
            {"work": WORK},
        )
        self.work_failures = book.counter(
            "windsock_work_failures",
            "Times that background work failed by a mistake in the monitor, and was begun anew",
            "Any growth: report it with the traceback that the log has",
            {"work": WORK},
        )
        self.database_errors = book.counter(
            "windsock_database_errors",
            "Errors of the database or of the connection to it",
            "Any growth: `operational` is a database that is away, full or locked; others are defects",
            {"kind": ("operational", "integrity", "other")},
        )
        self.database_write_age = book.gauge(
            "windsock_database_write_age_seconds",
            "Seconds since a write of the database got through; one is tried every 10 s",
            "Above 60: the disk is full, the server takes no writes, or something holds the lock",
        )
        self.dedicated_connections_lost = book.counter(
            "windsock_dedicated_connections_lost",
            "Times that a PostgreSQL connection which is kept for one purpose was lost or could not be made",
            "Growth while PostgreSQL is up: a proxy or a firewall that ends idle connections",
            {"purpose": ("listen", "leader")},
        )
        self.database_rollbacks_detected = book.counter(
            "windsock_database_rollbacks_detected",
            "Times that the database was found to have lost what it had committed",
            "Any growth: a standby that lagged was promoted, or a backup was put back under running monitors",
        )
        self.notifications_received = book.counter(
            "windsock_notifications_received",
            "Notifications of commits by PostgreSQL (LISTEN/NOTIFY), of this replica's own commits too",
            "No growth while events are accepted on PostgreSQL: feeds and mails wait for the next poll",
            {"topic": ("feed", "delivery", "reconcile")},
        )
