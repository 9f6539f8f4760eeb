"""What goes out: deliveries and feeds."""

from monitor.metrics.book import Book
from monitor.metrics.intake import AGES

CHANNELS = ("email", "webhook", "apprise")
KEPT_STATES = ("pending", "sending", "parked", "dead", "uncertain")
"""What is counted: what waits, and what a person has to look at. What was sent, and what was not to be sent,
may be a million rows."""


class Told:
    def __init__(self, book: Book) -> None:
        self.deliveries = book.counter(
            "windsock_delivery_outcomes",
            "Delivery attempts, by what came of them",
            "`dead` or `uncertain` grows: somebody was not notified, or nobody knows. `retry` grows: a "
            "receiver is away",
            {
                "channel": CHANNELS,
                "outcome": (
                    *("sent", "retry", "parked", "dead", "uncertain"),
                    *("suppressed", "superseded"),
                ),
            },
        )
        self.deliveries_waiting = book.gauge(
            "windsock_deliveries_waiting",
            "Deliveries neither sent nor given up",
            "Grows without falling: more notifications are made than go out",
        )
        self.outbox = book.gauge(
            "windsock_outbox_deliveries",
            "Deliveries that are in a state, counted every 15 s",
            "`dead` or `uncertain` above 0: look at them on the page Deliveries. `parked`: the day's "
            "budget is used",
            {"state": KEPT_STATES},
        )
        self.delivery_oldest = book.gauge(
            "windsock_delivery_oldest_seconds",
            "How long the oldest delivery that waits has been due: since its group's wait was over, "
            "or nought. "
            "What is parked is left out",
            "Above 300: the receiver, or Airflow that is asked first, is away",
            {"channel": CHANNELS},
        )
        self.delivery_delay = book.histogram(
            "windsock_delivery_delay_seconds",
            "From the event's place in the log to the receiver's confirmation, grouping and all",
            "Above the rules' own waits (group, quiet hours)",
            (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
            {"channel": CHANNELS},
        )
        self.delivery_late = book.histogram(
            "windsock_delivery_late_seconds",
            "From the moment that a delivery was due (after its group's wait) to the receiver's confirmation",
            "More than one in a hundred above 60 s (docs/slo.md)",
            AGES,
            {"channel": CHANNELS},
        )
        self.mail_failing = book.gauge(
            "windsock_mail_failing_seconds",
            "Since when the mail server takes nothing; 0 while it does",
            "Above 120: refused login, wrong address, or a server that is away",
        )
        self.template_failures = book.counter(
            "windsock_template_failures",
            "Notifications that were written with another template, because the one asked for failed",
            "Any growth: /health names the template and the reason, and `windsock preview` shows it",
        )
        self.rules_broken = book.gauge(
            "windsock_rules_broken",
            "1 while the rules file cannot be used and the rules from before it are in force",
            "1: mend the file (`windsock check`)",
        )
        self.feed_subscribers = book.gauge(
            "windsock_feed_subscribers", "Open event feeds", "0 where a program should read"
        )
        self.feed_delay = book.histogram(
            "windsock_feed_delay_seconds",
            "From an event's place in the log to its being handed to the feeds' subscribers: the oldest "
            "of each round",
            "More than one in a hundred above 1 s (docs/slo.md): the monitor's processor is full",
            (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )
        self.feed_lagged = book.counter(
            "windsock_feed_lagged",
            "Times that a subscriber was not served with the others: slow, or its rights were asked for",
            "Grows faster than subscribers come: their connections are slow",
        )
        self.feed_errors = book.counter(
            "windsock_feed_errors",
            "Times that the log could not be read for the feed",
            "Any growth: the database was away; subscribers resume where they were",
        )
