"""The tables of the database.

SQL that names a table stands in one module, and a comment above the table gives that module.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from monitor.database.types import Names, PathEnd, StoredJson, UtcDateTime, where

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


# event_log/append.py. One row: its lock, held until commit, serialises appends, so that seq grows in commit
# order on PostgreSQL too and no reader steps over a number whose transaction commits late.
log_state = Table(
    "log_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", String(32), nullable=False),  # another log (a restored or new database): another epoch
    Column("last_seq", BigInteger, nullable=False),
    Column("pruned_seq", BigInteger, nullable=False),  # everything up to this seq is deleted
)


# event_log/append.py
events = Table(
    "events",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("source", String(120), nullable=False),
    Column("id", String(200), nullable=False),
    Column("type", String(60), nullable=False),
    Column("subject", Text, nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("deployment", String(100), nullable=False),
    Column("dag_id", Text),
    Column("run_id", Text),
    Column("task_id", Text),
    Column("state", String(20)),
    Column("asset_uri", Text),
    Column("body", Text, nullable=False),  # the event as subscribers get it, encoded once
    UniqueConstraint("source", "id"),
    Index(None, "dag_id", "run_id", "seq"),
    Index(None, "dag_id", "seq"),
    Index(None, "type", "seq"),
    Index(None, "asset_uri", "seq", **where("asset_uri IS NOT NULL")),
    Index(None, "received_at"),
)

# event_log/projections/state.py: what the dashboard reads, always a function of the log
dag_runs = Table(
    "dag_runs",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("dag_id", String(250), primary_key=True),
    Column("run_id", String(250), primary_key=True),
    Column("run_key", String(32), nullable=False),  # the occurrence: another after a clear
    Column("state", String(20), nullable=False),
    Column("run_type", String(50)),
    Column("logical_date", UtcDateTime),
    Column("queued_at", UtcDateTime),
    Column("start_date", UtcDateTime),
    Column("end_date", UtcDateTime),
    Column("message", Text),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "last_seq"),
    Index(None, "dag_id", "last_seq"),
    Index(None, "state", "last_seq"),
)

# event_log/projections/state.py
task_instances = Table(
    "task_instances",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("dag_id", String(250), primary_key=True),
    Column("run_id", String(250), primary_key=True),
    Column("task_id", String(250), primary_key=True),
    Column("map_index", Integer, primary_key=True, autoincrement=False),
    Column("ti_id", String(36), nullable=False),
    Column("try_number", Integer, nullable=False),
    Column("max_tries", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("operator", Text),
    Column("hostname", Text),
    Column("start_date", UtcDateTime),
    Column("end_date", UtcDateTime),
    Column("error", StoredJson),  # {"type", "message", "traceback"} or null
    Column("last_seq", BigInteger, nullable=False),
)

# event_log/projections/tries.py: the report of each try, the earlier ones too
tries = Table(
    "tries",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("dag_id", String(250), primary_key=True),
    Column("run_id", String(250), primary_key=True),
    Column("task_id", String(250), primary_key=True),
    Column("map_index", Integer, primary_key=True, autoincrement=False),
    Column("try_number", Integer, primary_key=True, autoincrement=False),
    Column("ti_id", String(36)),  # null: reported without it
    Column("state", String(20), nullable=False),
    Column("filed", Boolean, nullable=False),  # true: as Airflow has filed it, and so for good
    Column("last_seq", BigInteger, nullable=False),
)

# event_log/projections/state.py
assets = Table(
    "assets",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("uri", String(1500), primary_key=True),
    Column("name", Text, nullable=False),
    Column("group", Text),
    Column("updates", Integer, nullable=False),
    Column("updated_at", UtcDateTime),
    Column("extra", StoredJson),
    Column("source_dag_id", Text),
    Column("source_run_id", Text),
    Column("source_task_id", Text),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "last_seq"),
)

# event_log/projections/import_errors.py: import errors, each by the id of its first report
import_errors = Table(
    "import_errors",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("error_id", String(200), primary_key=True),
    Column("filename", Text, nullable=False),
    Column("bundle_name", Text),
    Column("path", Text),  # within the bundle, as REST says, of an error that a hook reported
    Column("trace", String(32)),  # the digest of its trace
    Column("file_end", PathEnd),  # of the whole path, which a hook named. Null: REST named the file
    Column("path_end", PathEnd),  # of the path within the bundle. Null: only the whole path is known
    Column("open", Boolean, nullable=False),  # false: mended
    Column("times", Integer, nullable=False),  # how often it was reported: mended and broken again
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "deployment", "trace", "file_end", **where("path_end IS NULL")),
    Index(None, "deployment", "trace", "path_end", "bundle_name", **where("path_end IS NOT NULL")),
    Index("ix_import_errors_located", "deployment", "file_end", **where("path IS NOT NULL")),
    Index(
        "ix_import_errors_open",
        "deployment",
        "file_end",
        **where("path_end IS NULL AND open = 1", "path_end IS NULL AND open"),
    ),
)

# event_log/projections/dags.py: what is known of each DAG
dags = Table(
    "dags",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("dag_id", String(250), primary_key=True),
    Column("is_paused", Boolean, nullable=False),
    Column("times_paused", Integer, nullable=False),  # how often that was reported
    Column("times_unpaused", Integer, nullable=False),
    Column("last_seq", BigInteger),  # null: as it was first seen, without a notification
    # As Airflow's list says. Null if the list has not shown it.
    Column("tags", StoredJson),  # list of names
    Column("owners", StoredJson),  # list of names
    Column("schedule", Text),  # Airflow's summary of the timetable, or null
    Column("next_run_after", UtcDateTime),  # when Airflow's scheduler is to begin the next run
    Column("is_stale", Boolean),  # true: it has disappeared from its file
    Column("is_partitioned", Boolean),  # true: partitions of assets begin its runs (Airflow 3.2 and newer)
    Column("seen_at", UtcDateTime),  # since when its schedule and pause are so. Null: since the first look
)

# notifications/incidents.py: one thing that is wrong, from its first failure to its recovery
incidents = Table(
    "incidents",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("deployment", String(100), nullable=False),
    Column("key", String(300), nullable=False),  # docs/notifications.md, "Signals"
    Column("dag_id", Text),  # its readers may see it. Null: readers of everything
    Column("title", Text, nullable=False),  # what is wrong, in a few words
    Column("state", String(10), nullable=False),  # open, closed
    Column("failures", Integer, nullable=False),  # that have joined it, the first one too
    Column("opened_at", UtcDateTime, nullable=False),
    Column("opened_seq", BigInteger, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),  # of the latest failure
    Column("last_seq", BigInteger, nullable=False),
    Column("closed_at", UtcDateTime),
    Column("closed_seq", BigInteger),
    Column("closed_because", Text),  # null while it is open
    Column("closed_by", Text),  # who closed it outside of the flow of events. Null: an event did
    Column("flapping", Boolean, nullable=False),  # true: one of many openings within a short time
    Column("quiet_seconds", Integer),  # of one that flaps: it is over after so long without a failure
    # notifications/incident_order.py: the latest of its failures in the order of the DAG's runs
    Column("latest_moment", UtcDateTime),
    Column("latest_start", UtcDateTime),
    Column("latest_undated_start", UtcDateTime),
    # Closed by a report that Airflow has not confirmed yet: since when, and when it is asked next
    Column("confirm_since", UtcDateTime),
    Column("confirm_at", UtcDateTime),
    Column("acked_at", UtcDateTime),
    Column("acked_by", Text),
    Column("ack_reason", Text),
    Column("ack_until", UtcDateTime),  # when the acknowledgement lapses. Null: it does not
    Column("assignee", Text),  # who has taken it over
    Column("assigned_at", UtcDateTime),
    Index(None, "deployment", "key", "opened_at"),
    Index("ix_incidents_open", "deployment", "key", **where("state != 'closed'")),
    Index(None, "state", "opened_at"),
    Index(None, "confirm_at"),
)

# notifications/silences.py: what causes no notification for a while
silences = Table(
    "silences",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("match", StoredJson, nullable=False),  # monitor.rules.model.Match
    Column("deployment", String(100)),  # these two where it is of one DAG only: whose readers may see it
    Column("dag_id", Text),
    Column("incident_key", String(300)),  # where it is of one incident only, and of what opens the same again
    Column("incident_title", Text),
    Column("author", Text, nullable=False),
    Column("share", String(100)),  # the author's silences are counted by it, or by name if it is null
    Column("reason", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("ended_by", Text),  # who ended it early
    Index(None, "ends_at"),
)

# notifications/silences.py: who has unsubscribed from a rule's mails
unsubscribed = Table(
    "unsubscribed",
    metadata,
    Column("address", String(320), primary_key=True),  # lower case
    Column("rule", String(200), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)

# watches/findings.py: what a watch has found and reported, so that it is reported once
watch_findings = Table(
    "watch_findings",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("type", String(60), primary_key=True),  # the event's
    Column("subject", String(1500), primary_key=True),  # the dag_id, the asset's URI
    Column("found", String(200), nullable=False),  # which occurrence: the run, the moment
    Column("raised_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),  # null: it is still so
)

# notifications/outbox/enqueue.py: one text, about one event or several, by one rule
notifications = Table(
    "notifications",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("rule", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("template", String(100), nullable=False),
    Column("group_key", String(64), nullable=False),  # of what may join it
    Column("incident_id", BigInteger),
    Column("deployment", String(100), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("sealed_at", UtcDateTime),  # when the first delivery was claimed: nothing joins it any more
    Column("gathered_into", BigInteger),  # of a follow-up: the recovery that reports it instead
    Index(None, "rule", "group_key", "id"),
    Index("ix_notifications_open", "rule", "group_key", **where("sealed_at IS NULL")),
)

# notifications/outbox/threads.py: the incidents of a notification, because incidents may have many decisions
notification_incidents = Table(
    "notification_incidents",
    metadata,
    Column("incident_id", BigInteger, primary_key=True, autoincrement=False),
    Column("notification_id", BigInteger, primary_key=True, autoincrement=False),
    Index(None, "notification_id"),
)

# notifications/outbox/decisions.py: what each rule made of each event, and why
decisions = Table(
    "decisions",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("event_seq", BigInteger, nullable=False),
    Column("event_id", String(200), nullable=False),
    Column("deployment", String(100), nullable=False),
    Column("dag_id", Text),
    Column("rule", String(200), nullable=False),
    Column("outcome", String(20), nullable=False),  # notified, grouped, suppressed
    Column("reason", Text, nullable=False),
    Column("incident_id", BigInteger),
    Column("silence_id", BigInteger),
    Column("notification_id", BigInteger),  # null: no notification
    Column("created_at", UtcDateTime, nullable=False),
    Index(None, "event_id"),
    Index(None, "notification_id"),
    Index(None, "incident_id"),
)

# outbox/: one row a message to one recipient, written in the transaction that logs its event
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("notification_id", BigInteger, nullable=False),
    Column("channel", String(20), nullable=False),  # email, apprise, webhook
    Column("recipient", String(320), nullable=False),  # an address, or a target's name in the rules
    Column("kind", String(20), nullable=False),  # the notification's
    Column("incident_id", BigInteger),
    Column("event_seq", BigInteger, nullable=False),  # the first one's
    Column("event_id", String(200), nullable=False),
    Column("deployment", String(100), nullable=False),
    Column("dag_id", Text),
    Column("run_id", Text),
    Column("rule", String(200), nullable=False),
    Column("template", String(100), nullable=False),
    Column("recipients", StoredJson, nullable=False),  # a list of one, as the API shows it
    Column("remaining", StoredJson),  # those whom no server has accepted it for yet. Null: all of them
    Column("state", String(20), nullable=False),
    Column("reason", Text, nullable=False),  # why it is in this state, for people
    Column("subject", Text),  # once rendered
    Column("message_id", String(250), nullable=False),  # fixed for the delivery's life, across retries
    Column("attempts", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("claim", String(32)),  # who holds the lease: another token for each claim
    Column("lease_until", UtcDateTime),
    Column(
        "handed_at", UtcDateTime
    ),  # committed just before the mail server is spoken to (notifications/outbox/queue.py)
    Column("settled_at", UtcDateTime),
    Index(None, "state", "channel", "next_attempt_at", "id"),
    Index(None, "state", "lease_until"),
    Index(None, "channel", "settled_at"),  # the daily budget
    Index(None, "dag_id", "run_id"),
    UniqueConstraint("notification_id", "channel", "recipient"),
)

# notifications/outbox/queue.py: what the server said, each time
delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("delivery_id", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("answer", Text, nullable=False),
    Index(None, "delivery_id"),
)

# reconciler/status.py: up to where Airflow has been compared with the log
watermarks = Table(
    "watermarks",
    metadata,
    Column("deployment", String(100), primary_key=True),
    Column("name", String(50), primary_key=True),
    Column("moment", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

# web/auth/tokens.py: programs' bearer tokens. Of the secret only its hash is kept.
tokens = Table(
    "tokens",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("hash", String(64), nullable=False, unique=True),  # SHA-256 of the secret, in hexadecimal
    Column("prefix", String(20), nullable=False),  # the secret's first signs, by which people know it again
    Column("name", String(100), nullable=False),
    Column("scopes", StoredJson, nullable=False),  # list of tokens.Scope
    Column("created_by", Text),  # the Airflow user, by name. Null: a person at the monitor's machine
    Column("authenticated_by", Names),  # the deployments whose Airflows accepted that user's password
    Column("share", String(100)),  # the creator's tokens are counted by it, or by name if it is null
    Column("made_by", BigInteger),  # the token that made this one, which ends with it, or null
    Column("dags", StoredJson, nullable=False),  # a list of [deployment, dag_id], or null for every one
    Column("deployments", StoredJson(none_as_null=True)),  # of an ingest token, or null for the first
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Index(None, "created_by"),
    Index(None, "made_by"),
    Index(None, "share"),
    sqlite_autoincrement=True,  # a forgotten token's number, which stands in logs, is never another's
)

# web/auth/sessions.py: who is signed in, with a hash of the cookie's id, and no key to what is sealed
sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),  # SHA-256 of the id, in hexadecimal
    Column("owner", Text, nullable=False),  # the Airflow user, as tokens.created_by
    Column("authenticated_by", Names, nullable=False),  # as tokens.authenticated_by
    Column("share", String(100), nullable=False),  # the user's sessions are counted by it
    Column("sealed", LargeBinary, nullable=False),  # the user's name, Airflow tokens and CSRF token
    Column("expires_at", UtcDateTime, nullable=False),
    Index(None, "expires_at"),
    Index(None, "owner"),
    Index(None, "share"),
)

# web/auth/rate_limit.py: wrong passwords and tokens, counted by name in windows
failed_attempts = Table(
    "failed_attempts",
    metadata,
    Column("hash", String(64), primary_key=True),  # SHA-256 of the user or the address: no name is kept
    Column("number", Integer, nullable=False),
    Column("began_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),  # then it counts anew
    Index(None, "ends_at"),
)

# write_check.py: one row, written every few seconds, so that a database that takes nothing is noticed
write_checks = Table(
    "write_checks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("written_at", UtcDateTime, nullable=False),
)

# event_log/append.py: how far the log had come at which moment, for what has a seq and no time
log_marks = Table(
    "log_marks",
    metadata,
    Column("at", UtcDateTime, primary_key=True),
    Column("seq", BigInteger, nullable=False),
)

# notifications/outbox/already_sent.py: what was sent since a backup, by event, rule, channel and recipient
told_before = Table(
    "told_before",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("state", String(20), nullable=False),  # sent, uncertain
    Column("at", UtcDateTime, nullable=False),
    Column("message_id", String(250), nullable=False),
    Column("subject", Text),
    Index(None, "at"),
)
