"""The surfaces that take bytes from outside, each with its bound, as the rows of docs/threat-model.md.

A change that adds a surface adds a row. Each bound is imported from the module that enforces it. A row also
names what a sender gets that exceeds the bound, and the test that exceeds it.
"""

from dataclasses import dataclass
from datetime import timedelta

from aiosmtplib.protocol import MAX_RESPONSE_LENGTH

from airflow_windsock import error_text, journal, sender, spool, transport
from airflow_windsock import settings as plugin_settings
from monitor import bounded_http, bounded_json, concurrency, secret_files
from monitor.airflow import connection, paging, task_logs
from monitor.database import engine
from monitor.database.statements import MAX_PAGE_BYTES
from monitor.delivery.channels import apprise, apprise_bounds, mailbox, mailbox_server, oauth, smtp, webhook
from monitor.delivery.messages import sandbox, templates
from monitor.event_log import ingest_queue
from monitor.events import data, event, from_airflow, reports
from monitor.feed import buffer, connections
from monitor.notifications import silences
from monitor.notifications.outbox import queue
from monitor.observability import logging, spool_metrics
from monitor.rules import field_types, loader, validation, yaml_source
from monitor.web import (
    airflow_lookups,
    http_protocol,
    middleware,
    query_params,
    security,
    silence_validation,
    templating,
)
from monitor.web.api import ingest
from monitor.web.api.ingest_models import MAX_BATCH
from monitor.web.auth import permissions, rate_limit, sessions, token_lookup, tokens
from monitor.web.pages import deliveries as deliveries_pages
from monitor.web.pages import run_timeline
from monitor.web.responses import MAX_HTML_BYTES
from windsock_client import formats

KIB, MIB = 1024, 1024**2


@dataclass(frozen=True)
class Surface:
    """One row."""

    name: str
    bound: str
    beyond: str
    """What the one beyond the bound gets."""
    test: str
    """File and name, from tests/ on."""


def size(number: int) -> str:
    """Bytes as people write them."""
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if number >= unit and not number % unit:
            return f"{number // unit:,} {name}"
    return f"{number:,} bytes"


def seconds(number: float) -> str:
    return f"{number:g} s"


def days(span: timedelta) -> str:
    return f"{span.days} days"


SPOOL_EVENTS = plugin_settings.NUMBERS["spool_max_events"].default
SPOOL_BYTES = plugin_settings.NUMBERS["spool_max_bytes"].default
ENDS = "the connection ends"

GROUPS: dict[str, tuple[Surface, ...]] = {
    "From anybody": (
        Surface(
            "a request's address",
            size(http_protocol.MAX_TARGET),
            f"414, and {ENDS}",
            "unit/web/test_http_protocol.py::test_the_answer_names_the_bound",
        ),
        Surface(
            "a request's head, and what follows a chunked body",
            size(http_protocol.MAX_HEAD),
            f"431, and {ENDS}",
            "unit/web/test_http_protocol.py::test_a_head_without_end_is_cut",
        ),
        Surface(
            "the headers of a request, and one of them",
            f"{http_protocol.MAX_HEADERS}; {size(http_protocol.MAX_HEADER)}",
            f"431, and {ENDS}",
            "unit/web/test_http_protocol.py::test_the_answer_names_the_bound",
        ),
        Surface(
            "the time from a connection's opening, or a request's first byte, to the end of its head",
            seconds(http_protocol.HEAD_SECONDS),
            ENDS,
            "unit/web/test_http_protocol.py::test_a_head_has_a_deadline",
        ),
        Surface(
            "the time for a body",
            seconds(http_protocol.BODY_SECONDS),
            ENDS,
            "unit/web/test_http_protocol.py::test_a_body_has_a_deadline",
        ),
        Surface(
            "the time between two requests of one connection",
            seconds(http_protocol.IDLE_SECONDS),
            ENDS,
            "unit/web/test_http_protocol.py::test_an_idle_connection_ends",
        ),
        Surface(
            "connections",
            f"what the process may open, less {connections.OTHERS - connections.OTHER_CONNECTIONS} file "
            "descriptors",
            "the one that has waited longest for its client (for a head, a body, the next request, or to "
            "read) ends; if none waits, the newcomer gets 503",
            "unit/web/test_http_protocol.py::test_connections_that_wait_for_their_clients_give_way_to_new_ones",
        ),
        Surface(
            "the time for a client to read what is written at once: an answer, a block of a feed",
            seconds(http_protocol.WRITE_SECONDS),
            ENDS,
            "unit/web/test_http_protocol.py::test_an_answer_that_is_not_read_has_a_deadline",
        ),
        Surface(
            "what is not read of all answers",
            size(http_protocol.MAX_UNREAD),
            "the connection that has waited longest for its client to read ends",
            "unit/web/test_http_protocol.py::test_what_is_not_read_of_all_answers_has_an_end",
        ),
        Surface(
            "requests that wait behind one of the same connection (pipelining)",
            f"{http_protocol.MAX_PIPELINED}",
            ENDS,
            "unit/web/test_http_protocol.py::test_pipelined_requests_are_so_many",
        ),
        Surface(
            "the bodies that are held of all requests, until their signature is checked",
            size(http_protocol.MAX_HELD),
            "503: the slowest incomplete body below 64 KiB a second; then the oldest of who has most held",
            "unit/web/test_http_protocol.py::test_bodies_are_held_to_a_bound_in_all",
        ),
        Surface(
            "a form, and the JSON of a request to the API",
            size(security.MAX_FORM),
            "413; 411 without a Content-Length",
            "unit/web/auth/test_authenticator.py::test_a_form_is_not_read_without_end",
        ),
        Surface(
            "the commas of such a JSON",
            f"{security.MAX_COMMAS:,}",
            "413",
            "unit/web/test_problems.py::test_a_body_that_is_none_is_a_problem",
        ),
        Surface(
            "wrong passwords and tokens from one address; wrong passwords for one name",
            f"{rate_limit.FAILURES}; {rate_limit.MOST_FAILURES}; "
            f"in {rate_limit.WINDOW_SECONDS} s, counted beforehand",
            "429",
            "unit/web/auth/test_permissions.py::test_guesses_that_are_sent_side_by_side_are_counted",
        ),
        Surface(
            "writes of such attempts that are refused",
            f"one in {seconds(rate_limit.REFUSED_SECONDS)} for each of {rate_limit.MAX_REFUSED:,} names",
            "429, without a look at the database",
            "unit/web/auth/test_sessions.py::test_a_refused_attempt_writes_nothing",
        ),
        Surface(
            "names and addresses whose attempts are counted",
            f"{rate_limit.MAX_NAMES:,}",
            "the oldest are forgotten",
            "unit/web/auth/test_sessions.py::test_names_that_failed_are_bounded_and_forgotten",
        ),
        Surface(
            "a path that is logged",
            f"{middleware.MAX_PATH:,} characters",
            "the rest is left out, and counted",
            "unit/observability/test_logging.py::test_a_long_path_is_logged_in_part",
        ),
        Surface(
            "a log line, before secrets are taken out of it",
            f"{logging.HEAD + logging.TAIL:,} characters",
            "its middle is left out, and counted",
            "unit/observability/test_logging.py::test_what_a_line_may_hold_is_bounded",
        ),
    ),
    "From whoever may report": (
        Surface(
            "a batch",
            f"{size(ingest.MAX_BODY)}, {MAX_BATCH} events",
            "413, before the rest is read; without a token or a well-formed signature, 401 before any is",
            "unit/web/api/test_ingest.py::test_a_body_that_cannot_be_read_is_refused_whole",
        ),
        Surface(
            "the JSON values of a batch",
            f"{bounded_json.MAX_VALUES:,}",
            "413",
            "unit/web/api/test_ingest.py::test_a_body_that_cannot_be_read_is_refused_whole",
        ),
        Surface(
            "an event, with the fields that nobody declared",
            size(reports.MAX_EVENT),
            "the event is rejected",
            "unit/web/api/test_ingest.py::test_an_event_has_a_size",
        ),
        Surface(
            "an event's date",
            f"{reports.CLOCK_SLACK_SECONDS:.0f} s ahead of the monitor's clock",
            "the event is dated when it came",
            "unit/events/test_reports.py::test_nothing_is_dated_later_than_it_comes",
        ),
        Surface(
            "an event's nesting",
            f"{event.MAX_DEPTH} levels",
            "the event is rejected",
            "unit/event_log/test_ingest_poison.py::test_nesting_is_bounded",
        ),
        Surface(
            "names of DAGs, runs and tasks; URIs; ids",
            f"{data.MAX_KEY}; {data.MAX_URI:,}; {data.MAX_ID} characters",
            "the event is rejected",
            "unit/events/test_event.py::test_a_long_name_is_refused",
        ),
        Surface(
            "runs that one asset event began",
            f"{data.MAX_CREATED_RUNS:,}",
            "the event is rejected",
            "unit/event_log/test_ingest_poison.py::test_a_declared_field_of_another_shape_is_refused_by_name",
        ),
        Surface(
            "an error on the pages of a run",
            f"{data.MAX_MESSAGE:,} characters of its message, {data.MAX_TRACE:,} of its traceback",
            "the rest is left out",
            "unit/event_log/projections/test_state.py::test_a_long_error_is_cut",
        ),
        Surface(
            "a run's message, a host's name, an operator, an asset's group on pages and in lists",
            f"{data.MAX_MESSAGE:,} characters of the message, {data.MAX_LABEL} of the others",
            "the rest is left out, with an ellipsis; the log has it",
            "unit/event_log/projections/test_state.py::test_a_long_error_is_cut",
        ),
        Surface(
            "an asset's extra on pages",
            f"{templating.BRIEF_VALUES} values of {templating.BRIEF_VALUE} characters",
            "the rest is left out, and the page says so; the API has it",
            "unit/web/test_answer_sizes.py::test_every_answer_has_a_bound",
        ),
        Surface(
            "an event whose data the database cannot hold",
            "the event itself",
            "it alone is rejected; what arrived with it is written",
            "unit/event_log/test_ingest_poison.py::test_an_event_that_the_database_refuses_stops_no_other",
        ),
        Surface(
            "requests that wait to be written",
            f"{ingest_queue.MAX_WAITING}; when they are reached, a deployment may have its share of them",
            "429, and the sender comes again",
            "unit/event_log/test_ingest.py::test_too_many_waiting_requests_are_sent_away",
        ),
        Surface(
            "names of spools, which `/metrics` sums up",
            f"{spool_metrics.MAX_SPOOLS:,} of a deployment",
            "the one that has not reported for longest is left out",
            "unit/observability/test_spool_metrics.py::test_hosts_are_bounded_and_forgotten",
        ),
    ),
    "From signed-in users and programs": (
        Surface(
            "sessions",
            f"{sessions.MAX_OF_ONE_USER} of a user, {sessions.MAX_SESSIONS:,} in all",
            "the user's own oldest ends; in all, the oldest",
            "unit/web/auth/test_sessions.py::test_one_user_cannot_push_the_sessions_of_others_out",
        ),
        Surface(
            "open feeds",
            f"{connections.SHARE:.0%} of all, and at least {connections.MIN_SHARE}, of a user; "
            f"{connections.MAX_READERS:,} in "
            f"all, or what the process may open, less {connections.OTHERS}",
            "429; in all, 503",
            "unit/web/auth/test_permissions.py::test_one_user_leaves_feeds_for_others",
        ),
        Surface(
            "what a feed that is not read holds in memory",
            f"{size(buffer.BLOCK_BYTES)} of events, of older ones {connections.PAGE}; one event at least",
            f"it is sent no more until it reads; after {seconds(http_protocol.WRITE_SECONDS)} its connection "
            "ends",
            "unit/web/api/test_feed.py::test_a_reader_that_does_not_read_holds_a_page_and_no_more",
        ),
        Surface(
            "tokens in force",
            f"{tokens.MOST} of a user",
            "409",
            "unit/web/auth/test_tokens.py::test_there_is_an_end_of_them",
        ),
        Surface(
            "tokens made within a day, revoked ones too",
            f"{tokens.MOST_A_DAY} of a user",
            "409",
            "unit/web/auth/test_tokens.py::test_making_and_revoking_tokens_has_an_end",
        ),
        Surface(
            "tokens and sessions that are remembered",
            f"{token_lookup.MAX_KNOWN:,} and {sessions.MAX_KNOWN:,}; rights of {permissions.MAX_TOKENS:,}",
            "it is looked up again",
            "unit/web/auth/test_token_lookup.py::test_what_is_remembered_is_bounded",
        ),
        Surface(
            "silences that are not over",
            f"{silences.MOST_OF_ONE} of a user, {silences.MOST_OF_DAG} of a DAG, {silences.MOST_ALIKE} of "
            f"the same, {silences.MOST:,} in all",
            "409",
            "unit/web/pages/test_silences.py::test_what_one_dags_readers_make_leaves_room_for_others",
        ),
        Surface(
            "silences made within a day, ended ones too",
            f"{silences.MOST_A_DAY} times as many",
            "409",
            "unit/web/pages/test_silences.py::test_making_and_ending_silences_has_an_end",
        ),
        Surface(
            "sending a delivery again",
            f"{queue.MOST_RESENDS} times within a day",
            "409",
            "unit/web/api/test_api.py::test_a_mail_is_sent_again_so_many_times_a_day",
        ),
        Surface(
            "a silence",
            f"{days(silence_validation.MAX_SILENCE)}, {silence_validation.MAX_MATCHES} matches, "
            f"{silence_validation.MAX_DEPTH} deep, "
            f"{silence_validation.MAX_VALUES} values each",
            "422",
            "unit/web/test_problems.py::test_a_match_is_bounded",
        ),
        Surface(
            "a filter",
            f"{query_params.MAX_GLOBS} values of {query_params.MAX_NAME:,} characters; "
            f"{field_types.MAX_SEARCHED} steps to match them all",
            "422",
            "unit/web/test_problems.py::test_each_wrong_parameter_is_named",
        ),
        Surface(
            "a page of a list",
            f"{query_params.MAX_PAGE} rows; {MAX_PAGE_BYTES // MIB} MiB as JSON, "
            f"{MAX_HTML_BYTES // 1024} KiB on a page; one row at least",
            "422; a shorter page, with where the next begins",
            "unit/web/test_answer_sizes.py::test_the_pages_of_an_api_list_have_each_row_once",
        ),
        Surface(
            "the tasks of a run",
            f"{query_params.MAX_PAGE} rows, {MAX_PAGE_BYTES // MIB} MiB as JSON; "
            f"{run_timeline.MAX_LINES} rows, {MAX_HTML_BYTES // 1024} KiB on a page",
            "the next page has them; those that failed or run come first",
            "unit/web/test_answer_sizes.py::test_the_pages_that_people_read_have_each_row_once",
        ),
        Surface(
            "any answer to GET, but for the feed",
            f"{2 * MAX_PAGE_BYTES // MIB} MiB, with rows of the longest texts",
            "a shorter page, with where the next begins",
            "unit/web/test_answer_sizes.py::test_every_answer_has_a_bound",
        ),
        Surface(
            "a letter that a page shows",
            f"{deliveries_pages.MAX_SHOWN_TEXT:,} characters of text, "
            f"{deliveries_pages.MAX_SHOWN_HTML:,} of HTML",
            "the rest is left out, with an ellipsis",
            "unit/web/pages/test_pages.py::test_a_long_letter_is_cut",
        ),
        Surface(
            "what one request reads of the database",
            f"{engine.STATEMENT_TIMEOUT:.0f} s (`WINDSOCK_DATABASE_STATEMENT_TIMEOUT`), on PostgreSQL each "
            "statement",
            "503, which says so; the connection is free",
            "unit/database/test_slow_reads.py::test_a_read_that_takes_too_long_is_ended",
        ),
        Surface(
            "requests of one user that read the database",
            f"{engine.SHARE} at once, {concurrency.MAX_WAITING} more wait; the monitor's own work and other "
            "users go on meanwhile",
            "429, which says so; a client that has gone gives its place back",
            "unit/web/test_busy_readers.py::test_slow_requests_of_one_reader_hold_up_nothing_else",
        ),
        Surface(
            "the time that a request waits for its turn at the database",
            seconds(concurrency.WAIT_SECONDS),
            "503, which says so",
            "unit/test_concurrency.py::test_who_waits_too_long_gives_up",
        ),
        Surface(
            "writes of users' requests",
            f"{engine.REQUEST_WRITERS} at once of all users, {concurrency.MAX_WAITING} more of one user wait",
            "429; the monitor's own write is the next",
            "unit/database/test_slow_reads.py::"
            "test_a_users_writes_wait_for_each_other_and_not_the_monitors_for_them",
        ),
        Surface(
            "what feeds of one user read of the log behind the newest events",
            "1 page at once",
            "it waits",
            "unit/test_concurrency.py::test_patient_works_leave_their_user_a_thread_and_wait_for_any_time",
        ),
        Surface(
            "SQLite's journal, which grows while slow reads overlap",
            size(engine.MAX_JOURNAL),
            "no request's read begins until the journal is empty",
            "unit/database/test_slow_reads.py::test_slow_reads_that_overlap_do_not_let_the_journal_grow",
        ),
        Surface(
            "questions that pages ask Airflow at once",
            f"{airflow_lookups.OPEN_OF_ONE} of a user, {airflow_lookups.OPEN_AT_ONCE} in all; "
            f"{concurrency.MAX_WAITING} of a user wait; each {seconds(airflow_lookups.ASK_SECONDS)}",
            "it waits, then the page says that there is no answer; of a user who has more waiting, 429",
            "unit/web/pages/test_runs.py::test_one_readers_questions_leave_room_for_others",
        ),
        Surface(
            "questions about assets under way",
            f"{airflow_lookups.MAX_ASKING_OF_ONE} of a user, {airflow_lookups.MAX_ASKING} in all",
            "the page says that Airflow has not answered yet",
            "unit/web/pages/test_assets.py::test_one_readers_assets_leave_room_for_others",
        ),
    ),
    "From whoever has a mail's link": (
        Surface(
            "silences",
            "one active of what the mail is about",
            "that one is extended, or lasts longer anyway",
            "unit/web/pages/test_action_links.py::test_a_link_makes_so_many_silences",
        ),
        Surface(
            "unsubscribing",
            "once for the mail's own address and rule",
            "nothing more is written",
            "unit/web/pages/test_action_links.py::test_one_click_unsubscribes",
        ),
        Surface(
            "a name or a reason",
            f"{silence_validation.MAX_AUTHOR}; {silence_validation.MAX_REASON} characters",
            "422",
            "unit/web/pages/test_action_links.py::test_texts_are_bounded",
        ),
    ),
    "From those whom the monitor asks": (
        Surface(
            "an asset event's extra",
            f"{size(from_airflow.MAX_EXTRA)}, {from_airflow.MAX_EXTRA_DEPTH} levels",
            "it is left out, and the event says so",
            "unit/events/test_from_airflow.py::test_an_extra_that_is_too_much_is_left_out_and_said",
        ),
        Surface(
            "an answer of Airflow",
            f"{size(connection.MAX_ANSWER)} unpacked, {bounded_json.MAX_VALUES:,} JSON values, "
            f"{connection.MAX_TIMEOUTS} times `WINDSOCK_AIRFLOW_TIMEOUT`",
            "a shorter page is asked for, down to one row; then the answer counts as none",
            "unit/airflow/test_client.py::test_each_failure_says_whether_to_try_again_and_what_to_mend",
        ),
        Surface(
            "a refusal of Airflow; its answer to a sign-in",
            f"{size(connection.MAX_REFUSAL)}; {size(connection.MAX_TOKEN_ANSWER)}",
            "the rest is not read; the answer counts as none",
            "unit/airflow/test_client.py::test_a_sign_ins_answer_is_bounded",
        ),
        Surface(
            "a listing of Airflow",
            f"{paging.MAX_PAGES:,} pages of {paging.PAGE_SIZE}",
            "the listing counts as none",
            "unit/airflow/test_client.py::test_a_listing_without_end_is_given_up_on",
        ),
        Surface(
            "a task's log",
            f"{size(task_logs.MAX_READ)}; {size(task_logs.MAX_RECORD)} of a record, {task_logs.MAX_TEXT:,} "
            "characters shown",
            "the rest is not read, and the log's end says so",
            "unit/airflow/test_client.py::test_a_log_without_end_is_given_up_on",
        ),
        Surface(
            "an HTTP answer until its status",
            f"{size(bounded_http.MAX_HEAD)}, in pieces of {size(bounded_http.HEAD_PIECE)}",
            "it counts as no answer",
            "unit/test_bounded_http.py::test_a_server_that_never_comes_to_its_status_is_given_up",
        ),
        Surface(
            "an answer of a webhook's receiver",
            f"{webhook.ANSWER_BYTES} bytes unpacked; {seconds(webhook.SECONDS)}",
            "the rest is not read; without a status, the delivery is tried again",
            "unit/test_bounded_http.py::test_a_bomb_takes_no_memory",
        ),
        Surface(
            "an answer to Apprise",
            f"{size(apprise_bounds.MAX_HEAD)} until its status, {size(apprise_bounds.MAX_ANSWER)} "
            f"unpacked; {seconds(apprise_bounds.ANSWER_SECONDS)}; {seconds(apprise.SECONDS)} for all",
            "the rest is not read; without a status, the delivery is tried again",
            "unit/delivery/channels/test_channels.py::test_an_answer_to_apprise_is_bounded",
        ),
        Surface(
            "an answer of a token endpoint",
            f"{size(oauth.MAX_ANSWER)} unpacked; {seconds(oauth.TOKEN_SECONDS)}",
            "there is no token, and the mail waits",
            "unit/test_bounded_http.py::test_a_bomb_takes_no_memory",
        ),
        Surface(
            "an answer of a mail server; the time for a mail",
            f"{size(MAX_RESPONSE_LENGTH)}; {seconds(smtp.MAIL_SECONDS)}",
            "the conversation ends, and the mail waits",
            "unit/delivery/channels/test_smtp_hostile.py::test_it_holds_a_mail_for_a_bounded_time",
        ),
        Surface(
            "each step of unpacking",
            size(bounded_http.PIECE),
            "others have their turn before the next",
            "unit/test_bounded_http.py::test_others_have_their_turn_while_a_body_is_unpacked",
        ),
    ),
    "From programs on the same machine": (
        Surface(
            "a mail to the embedded mailbox",
            f"{size(mailbox_server.MAX_MAIL)}, {mailbox_server.MAX_LINES:,} lines, "
            f"{mailbox_server.MAX_RECIPIENTS} recipients",
            "552 or 452; of more lines, the connection ends",
            "unit/delivery/channels/test_mailbox.py::test_the_door_refuses_what_is_too_big_and_too_many",
        ),
        Surface(
            "connections to it",
            f"{mailbox_server.MAX_OPEN}, {seconds(mailbox_server.IDLE_SECONDS)} of silence",
            ENDS,
            "unit/delivery/channels/test_mailbox.py::test_the_door_holds_a_bounded_number_of_connections",
        ),
        Surface(
            "mails in it",
            f"{mailbox.KEPT:,}, {size(mailbox.KEPT_BYTES)}",
            "the oldest go",
            "unit/delivery/channels/test_mailbox.py::test_the_oldest_go_when_they_take_too_much_room",
        ),
    ),
    "From files of the administrator": (
        Surface(
            "the rules file",
            f"{size(loader.MAX_BYTES)}, {validation.MAX_RULES:,} rules, {yaml_source.MAX_NODES:,} values "
            "with those "
            f"of aliases, {yaml_source.MAX_DEPTH} deep",
            "it is refused with the line, and the last good rules hold",
            "unit/rules/test_loader.py::test_a_bomb_is_refused_in_few_words",
        ),
        Surface(
            "a pattern in it; the targets of a rule",
            f"{field_types.MAX_GLOB:,} characters; {validation.MAX_TARGETS}",
            "the same",
            "unit/rules/test_loader.py::test_each_mistake_has_its_line_its_field_and_the_remedy",
        ),
        Surface(
            "a template; what it writes",
            f"{size(templates.MAX_FILE)}; {templates.MAX_PLAIN:,} characters of text, {templates.MAX_TEXT:,} "
            "of HTML",
            "the built-in one is used, and the mail says so",
            "unit/delivery/messages/test_renderer.py::test_a_template_of_the_users_is_bounded",
        ),
        Surface(
            "the work of a template; its syntax tree",
            f"{sandbox.MAX_STEPS:,} steps for each writing; {sandbox.MAX_NODES:,} nodes of a file, "
            f"{sandbox.MAX_BODIES} bodies",
            "the same",
            "unit/delivery/messages/test_renderer.py::test_the_work_of_a_template_of_the_users_has_an_end",
        ),
        Surface(
            "a file that holds a secret; a token's file",
            f"{size(secret_files.MAX_BYTES)}; {size(oauth.MAX_TOKEN)}",
            "the start ends, with the setting's name; the rest is not read",
            "unit/test_secret_files.py::test_a_file_that_cannot_be_meant_is_named",
        ),
    ),
    "In the plugin": (
        Surface(
            "an error's message and traceback",
            f"{error_text.MAX_MESSAGE:,} and {error_text.MAX_TRACE:,} characters",
            "the rest is left out",
            "plugin/test_events.py::test_error_text_is_bounded_and_keeps_the_end_of_the_trace",
        ),
        Surface(
            "an event in the spool",
            size(spool.MAX_EVENT_BYTES),
            "it is refused, and counted",
            "plugin/test_spool.py::test_bytes_are_bounded",
        ),
        Surface(
            "the spool",
            f"{SPOOL_EVENTS:,.0f} events, {size(int(SPOOL_BYTES))} (settings)",
            "the event is refused, and counted; the reconciler fills in",
            "plugin/test_spool.py::test_at_the_bound_it_refuses_and_counts",
        ),
        Surface(
            "what is set aside in `bad/`",
            f"{spool.MAX_BAD:,} files",
            "the oldest go",
            "plugin/test_spool.py::test_bad_is_bounded",
        ),
        Surface(
            "a journal that is never idle",
            size(journal.SHRINK_ABOVE),
            "its beginning is given back to the disk",
            "plugin/test_journal.py::test_it_does_not_grow",
        ),
        Surface(
            "a request to the monitor",
            f"{sender.MAX_REQUEST:,} bytes, {sender.MAX_BATCH} events",
            "the rest goes in the next",
            "plugin/test_courier.py::test_requests_are_bounded_in_events_and_bytes",
        ),
        Surface(
            "the monitor's answer",
            size(transport.MAX_ANSWER),
            "it counts as none, and the events stay",
            "plugin/test_transport.py::test_a_huge_answer_is_not_read",
        ),
        Surface(
            "a message of the feed, for its readers in Python",
            size(formats.MAX_LINE),
            "an error that says so",
            "feed/test_client.py::test_a_line_without_an_end_is_an_error",
        ),
        Surface(
            "the time from its request to the status of the feed's answer",
            "the reader's `silence`",
            "the connection ends, and it asks again",
            "feed/test_client.py::test_a_server_that_never_comes_to_its_status_is_left",
        ),
    ),
}
