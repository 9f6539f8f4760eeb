"""For each alert: series at which it fires, and the nearest ones at which it does not. In Prometheus' own
notation (`0+5x60`: from 0, 5 more a minute, 60 times)."""

from dataclasses import dataclass

M1, M2 = 'instance="monitor-1:8090"', 'instance="monitor-2:8090"'


@dataclass(frozen=True)
class Case:
    alert: str
    severity: str
    bad: dict[str, str]
    good: dict[str, str]
    minutes: int = 30
    """When it is looked at."""


def late(metric: str, bound: str, number: int, all_of_it: int, more: str = "") -> dict[str, str]:
    """So many a minute, and of these so many within the bound."""
    return {
        f'{metric}_bucket{{{more}le="{bound}"}}': f"0+{number}x200",
        f"{metric}_count{{{more.rstrip(',')}}}": f"0+{all_of_it}x200",
    }


TOLD, MAIL, FEED = (
    "windsock_notification_delay_seconds",
    "windsock_delivery_late_seconds",
    "windsock_feed_delay_seconds",
)
EMAIL = 'channel="email",'


def requests(failed: int, all_of_it: int) -> dict[str, str]:
    return {
        'windsock_http_requests_total{area="ingest",code="5xx"}': f"0+{failed}x200",
        'windsock_http_requests_total{area="ingest",code="2xx"}': f"0+{all_of_it - failed}x200",
        'windsock_ingest_requests_refused_total{reason="busy"}': "0x200",
    }


def polled(series: str, values: str, other: str) -> dict[str, str]:
    """A gauge of the replica that compares, and the stale one of a replica that does not."""
    return {
        f"{series}{M1}}}": values,
        f"{series}{M2}}}": other,
        f'windsock_reconcile_polls_total{{deployment="local",result="ok",{M1}}}': "0+4x60",
        f'windsock_reconcile_polls_total{{deployment="local",result="ok",{M2}}}': "7x60",
    }


FILLED = 'windsock_reconcile_filled_total{deployment="local",type="airflow.dag_run.success"}'
HOOKS = 'windsock_events_total{result="accepted",reported_by="listener"}'
CASES = (
    Case("WindsockNotificationLate", "page", late(TOLD, "60.0", 98, 100), late(TOLD, "60.0", 100, 100), 70),
    Case(
        "WindsockNotificationLate",
        "ticket",
        late(TOLD, "60.0", 1996, 2000),
        late(TOLD, "60.0", 2000, 2000),
        150,
    ),
    Case("WindsockMailLate", "page", late(MAIL, "60.0", 8, 10, EMAIL), late(MAIL, "60.0", 10, 10, EMAIL), 70),
    Case(
        "WindsockMailLate",
        "ticket",
        late(MAIL, "60.0", 96, 100, EMAIL),
        late(MAIL, "60.0", 100, 100, EMAIL),
        150,
    ),
    Case("WindsockFeedLate", "page", late(FEED, "1.0", 80, 100), late(FEED, "1.0", 99, 100), 70),
    Case("WindsockFeedLate", "ticket", late(FEED, "1.0", 96, 100), late(FEED, "1.0", 995, 1000), 150),
    Case("WindsockIngestFailing", "page", requests(2, 100), requests(0, 100), 70),
    Case("WindsockIngestFailing", "ticket", requests(4, 2000), requests(1, 2000), 150),
    Case(
        "WindsockDown",
        "page",
        {f'up{{job="windsock",{M1}}}': "1x10 0x50"},
        {f'up{{job="windsock",{M1}}}': "1x60"},
    ),
    Case("WindsockDown", "page", {}, {f'up{{job="windsock",{M1}}}': "1x28 0 1x20"}),
    Case(
        *("WindsockDatabaseErrors", "page"),
        {f'windsock_database_errors_total{{kind="operational",{M1}}}': "0+1x60"},
        {f'windsock_database_errors_total{{kind="operational",{M1}}}': "3x60"},
    ),
    Case(
        *("WindsockDatabaseNotWritten", "page"),
        {f"windsock_database_write_age_seconds{{{M1}}}": "5x10 0+60x50"},
        {f"windsock_database_write_age_seconds{{{M1}}}": "5x10 10 59 5x50"},
    ),
    Case(
        *("WindsockDatabaseRolledBack", "page"),
        {f"windsock_database_rollbacks_detected_total{{{M1}}}": "0x10 1x50"},
        {f"windsock_database_rollbacks_detected_total{{{M1}}}": "1x60"},
    ),
    Case(
        *("WindsockDefect", "ticket"),
        {f'windsock_http_failures_total{{reason="unexpected",{M1}}}': "0x20 1x40"},
        {f'windsock_http_failures_total{{reason="unexpected",{M1}}}': "1x60"},
    ),
    Case(
        *("WindsockNoLeader", "page"),
        {
            f'windsock_leader{{work="watches",{M1}}}': "1x10 0x50",
            f'windsock_leader{{work="watches",{M2}}}': "0x60",
        },
        {
            f'windsock_leader{{work="watches",{M1}}}': "1x10 0x50",
            f'windsock_leader{{work="watches",{M2}}}': "0x10 1x50",
        },
    ),
    Case(
        *("WindsockLeaderConflict", "ticket"),
        {
            f'windsock_leader{{work="watches",{M1}}}': "1x60",
            f'windsock_leader{{work="watches",{M2}}}': "1x60",
        },
        {
            f'windsock_leader{{work="watches",{M1}}}': "1x60",
            f'windsock_leader{{work="watches",{M2}}}': "0x60",
        },
    ),
    Case(
        *("WindsockVersionsMixed", "ticket"),
        {
            f'windsock_build_info{{version="1",{M1}}}': "1x60",
            f'windsock_build_info{{version="2",{M2}}}': "1x60",
        },
        {
            f'windsock_build_info{{version="2",{M1}}}': "1x60",
            f'windsock_build_info{{version="2",{M2}}}': "1x60",
        },
        50,
    ),
    Case(
        *("WindsockSignatureRefused", "page"),
        {f'windsock_ingest_requests_refused_total{{reason="signature",{M1}}}': "0+2x60"},
        {f'windsock_ingest_requests_refused_total{{reason="cut",{M1}}}': "0+2x60"},
    ),
    Case(
        *("WindsockEventsRejected", "ticket"),
        {'windsock_events_total{result="rejected",reported_by="unknown"}': "0x20 3x40"},
        {'windsock_events_total{result="duplicate",reported_by="listener"}': "0x20 3x40"},
    ),
    Case(
        *("WindsockSpoolGrowing", "ticket"),
        {'windsock_spool_oldest_seconds{deployment="local"}': "0+60x60"},
        {'windsock_spool_oldest_seconds{deployment="local"}': "2x60"},
    ),
    Case(
        *("WindsockSpoolRefusing", "ticket"),
        {'windsock_spool_refused{deployment="local"}': "0x20 40x40"},
        {'windsock_spool_refused{deployment="local"}': "40x60"},
    ),
    Case(
        "WindsockHooksSilent",
        "ticket",
        {FILLED: "0+1x60", HOOKS: "9x60"},
        {FILLED: "0+1x60", HOOKS: "9+1x60"},
    ),
    Case(
        *("WindsockMailFailing", "page"),
        {f"windsock_mail_failing_seconds{{{M1}}}": "0+60x60"},
        {f"windsock_mail_failing_seconds{{{M1}}}": "0 60 0x58"},
    ),
    Case(
        *("WindsockDeliveriesOld", "page"),
        {'windsock_delivery_oldest_seconds{channel="email"}': "0+60x60"},
        {'windsock_delivery_oldest_seconds{channel="email"}': "30x60"},
    ),
    Case(
        *("WindsockDeliveriesLost", "ticket"),
        {'windsock_outbox_deliveries{state="dead"}': "0x70 1x50"},
        {'windsock_outbox_deliveries{state="dead"}': "1x120"},
        100,
    ),
    Case(
        *("WindsockMailParked", "ticket"),
        {'windsock_outbox_deliveries{state="parked"}': "5x60"},
        {'windsock_outbox_deliveries{state="pending"}': "5x60"},
    ),
    Case(
        *("WindsockRulesBroken", "ticket"),
        {f"windsock_rules_broken{{{M1}}}": "1x60"},
        {f"windsock_rules_broken{{{M1}}}": "0x60"},
    ),
    Case(
        *("WindsockAirflowUnreachable", "page"),
        polled('windsock_airflow_unreachable_seconds{deployment="local",', "0+60x60", "0x60"),
        polled('windsock_airflow_unreachable_seconds{deployment="local",', "0x60", "0+60x60"),
    ),
    Case(
        *("WindsockReconcileLagging", "ticket"),
        polled('windsock_reconcile_lag_seconds{deployment="local",listing="dag runs",', "0+60x60", "15x60"),
        polled('windsock_reconcile_lag_seconds{deployment="local",listing="dag runs",', "15x60", "0+60x60"),
    ),
    Case(
        *("WindsockWatchesFailing", "ticket"),
        {'windsock_watch_errors_total{deployment="local",watch="nightly"}': "0+1x60"},
        {
            'windsock_watch_checks_total{deployment="local",result="no_data"}': "0+1x60",
            'windsock_watch_checks_total{deployment="local",result="ok"}': "0+1x60",
        },
    ),
)
