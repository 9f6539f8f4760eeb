"""Every surface that takes bytes from outside, with its bound: the rows of docs/threat-model.md.

Whoever adds a surface adds a row. Each bound is imported from where it holds; what is beyond it, and the test
that goes beyond it, stand beside it.
"""

from dataclasses import dataclass
from datetime import timedelta

from aiosmtplib.protocol import MAX_RESPONSE_LENGTH

from monitor import (
    arrivals,
    bounded_http,
    bounded_json,
    failed_attempts,
    secret_files,
    sessions,
    silences,
    tokens,
)
from monitor.airflow_api import connection, logs, paging
from monitor.channels import apprise, bounded_requests, webhook
from monitor.database import engine
from monitor.event_log import MAX_PAGE_CHARACTERS
from monitor.events import data, model, reports, rest, values
from monitor.feed import log_page, room, tape
from monitor.logs import redact
from monitor.mailer import door, mailbox, oauth, smtp
from monitor.metrics import spools
from monitor.outbox import queue
from monitor.render import sandbox, templates
from monitor.rules import checks, checks_receivers, globs, loading, source
from monitor.web import (
    asked_airflow,
    bounded_bodies,
    observed,
    querying,
    receive,
    rights,
    security,
    silencing,
    token_lookup,
)
from monitor.web import bounded_http as server
from monitor.web import sessions as web_sessions
from monitor.web.ingest_told import MAX_BATCH
from windsock import courier, error_text, journal, spool, transport
from windsock import settings as plugin_settings
from windsock.client import formats

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
            size(server.MAX_TARGET),
            f"414, and {ENDS}",
            "monitor/test_server_bounds.py::test_the_answer_names_the_bound",
        ),
        Surface(
            "a request's head, and what follows a chunked body",
            size(server.MAX_HEAD),
            f"431, and {ENDS}",
            "monitor/test_server_bounds.py::test_a_head_without_end_is_cut",
        ),
        Surface(
            "the headers of a request, and one of them",
            f"{server.MAX_HEADERS}; {size(server.MAX_HEADER)}",
            f"431, and {ENDS}",
            "monitor/test_server_bounds.py::test_the_answer_names_the_bound",
        ),
        Surface(
            "the time from a connection's opening, or a request's first byte, to the end of its head",
            seconds(server.HEAD_SECONDS),
            ENDS,
            "monitor/test_server_bounds.py::test_a_head_has_a_deadline",
        ),
        Surface(
            "the time for a body",
            seconds(server.BODY_SECONDS),
            ENDS,
            "monitor/test_server_bounds.py::test_a_body_has_a_deadline",
        ),
        Surface(
            "the time between two requests of one connection",
            seconds(server.IDLE_SECONDS),
            ENDS,
            "monitor/test_server_bounds.py::test_an_idle_connection_ends",
        ),
        Surface(
            "connections",
            f"what the process may open, less {room.OTHERS - room.OTHER_CONNECTIONS} file descriptors",
            "the one that has waited longest for its client (for a head, a body, the next request, or to "
            "read) ends; if none waits, the newcomer gets 503",
            "monitor/test_server_bounds.py::test_connections_that_wait_for_their_clients_give_way_to_new_ones",
        ),
        Surface(
            "the time for a client to read what is written at once: an answer, a block of a feed",
            seconds(server.WRITE_SECONDS),
            ENDS,
            "monitor/test_server_bounds.py::test_an_answer_that_is_not_read_has_a_deadline",
        ),
        Surface(
            "what is not read of all answers",
            size(server.MAX_UNREAD),
            "the connection that has waited longest for its client to read ends",
            "monitor/test_server_bounds.py::test_what_is_not_read_of_all_answers_has_an_end",
        ),
        Surface(
            "requests that wait behind one of the same connection (pipelining)",
            f"{server.MAX_PIPELINED}",
            ENDS,
            "monitor/test_server_bounds.py::test_pipelined_requests_are_so_many",
        ),
        Surface(
            "the bodies that are held of all requests, until their signature is checked",
            size(bounded_bodies.MAX_HELD),
            "503: of the address that has most held, the oldest body that is not complete",
            "monitor/test_server_bounds.py::test_bodies_are_held_to_a_bound_in_all",
        ),
        Surface(
            "a form, and the JSON of a request to the API",
            size(security.MAX_FORM),
            "413; 411 without a Content-Length",
            "monitor/test_auth.py::test_a_form_is_not_read_without_end",
        ),
        Surface(
            "the commas of such a JSON",
            f"{security.MAX_COMMAS:,}",
            "413",
            "monitor/test_api_errors.py::test_a_body_that_is_none_is_a_problem",
        ),
        Surface(
            "wrong passwords and tokens from one address; wrong passwords for one name",
            f"{failed_attempts.FAILURES}; {failed_attempts.MOST_FAILURES}; "
            f"in {failed_attempts.WINDOW_SECONDS} s, counted beforehand",
            "429",
            "monitor/test_rights.py::test_guesses_that_are_sent_side_by_side_are_counted",
        ),
        Surface(
            "names and addresses whose attempts are counted",
            f"{failed_attempts.MAX_NAMES:,}",
            "the oldest are forgotten",
            "monitor/test_sessions.py::test_names_that_failed_are_bounded_and_forgotten",
        ),
        Surface(
            "a path that is logged",
            f"{observed.MAX_PATH:,} characters",
            "the rest is left out, and counted",
            "monitor/test_logs.py::test_a_long_path_is_logged_in_part",
        ),
        Surface(
            "a log line, before secrets are taken out of it",
            f"{redact.HEAD + redact.TAIL:,} characters",
            "its middle is left out, and counted",
            "monitor/test_logs.py::test_what_a_line_may_hold_is_bounded",
        ),
    ),
    "From whoever may report": (
        Surface(
            "a batch",
            f"{size(receive.MAX_BODY)}, {MAX_BATCH} events",
            "413, before the rest is read; without a token or a well-formed signature, 401 before any is",
            "monitor/test_receive.py::test_a_body_that_cannot_be_read_is_refused_whole",
        ),
        Surface(
            "the JSON values of a batch",
            f"{bounded_json.MAX_VALUES:,}",
            "413",
            "monitor/test_receive.py::test_a_body_that_cannot_be_read_is_refused_whole",
        ),
        Surface(
            "an event, with the fields that nobody declared",
            size(reports.MAX_EVENT),
            "the event is rejected",
            "monitor/test_receive.py::test_an_event_has_a_size",
        ),
        Surface(
            "an event's date",
            f"{reports.CLOCK_SLACK_SECONDS:.0f} s ahead of the monitor's clock",
            "the event is dated when it came",
            "monitor/test_reports.py::test_nothing_is_dated_later_than_it_comes",
        ),
        Surface(
            "an event's nesting",
            f"{model.MAX_DEPTH} levels",
            "the event is rejected",
            "monitor/test_poison_events.py::test_nesting_is_bounded",
        ),
        Surface(
            "names of DAGs, runs and tasks; URIs; ids",
            f"{values.MAX_KEY}; {values.MAX_URI:,}; {values.MAX_ID} characters",
            "the event is rejected",
            "monitor/test_events.py::test_a_long_name_is_refused",
        ),
        Surface(
            "runs that one asset event began",
            f"{data.MAX_CREATED_RUNS:,}",
            "the event is rejected",
            "monitor/test_poison_events.py::test_a_declared_field_of_another_shape_is_refused_by_name",
        ),
        Surface(
            "an error on the pages of a run",
            f"{values.MAX_MESSAGE:,} characters of its message, {values.MAX_TRACE:,} of its traceback",
            "the rest is left out",
            "monitor/test_board.py::test_a_long_error_is_cut",
        ),
        Surface(
            "an event whose data the database cannot hold",
            "the event itself",
            "it alone is rejected; what arrived with it is written",
            "monitor/test_poison_events.py::test_an_event_that_the_database_refuses_stops_no_other",
        ),
        Surface(
            "requests that wait to be written",
            f"{arrivals.MAX_WAITING}",
            "429, and the sender comes again",
            "monitor/test_ingest.py::test_too_many_waiting_requests_are_sent_away",
        ),
        Surface(
            "names of spools, which `/metrics` sums up",
            f"{spools.MAX_SPOOLS:,}",
            "it is not counted",
            "monitor/test_spool_metrics.py::test_hosts_are_bounded_and_forgotten",
        ),
    ),
    "From signed-in users and programs": (
        Surface(
            "sessions",
            f"{sessions.MAX_OF_ONE_USER} of a user, {sessions.MAX_SESSIONS:,} in all",
            "the user's own oldest ends; in all, the oldest",
            "monitor/test_sessions.py::test_one_user_cannot_push_the_sessions_of_others_out",
        ),
        Surface(
            "open feeds",
            f"{room.SHARE:.0%} of all, and at least {room.MIN_SHARE}, of a user; {room.MAX_READERS:,} in "
            f"all, or what the process may open, less {room.OTHERS}",
            "429; in all, 503",
            "monitor/test_rights.py::test_one_user_leaves_feeds_for_others",
        ),
        Surface(
            "what a feed that is not read holds in memory",
            f"{size(tape.BLOCK_BYTES)} of events, of older ones {log_page.PAGE}; one event at least",
            f"it is sent no more until it reads; after {seconds(server.WRITE_SECONDS)} its connection ends",
            "monitor/test_feed_http.py::test_a_reader_that_does_not_read_holds_a_page_and_no_more",
        ),
        Surface(
            "tokens in force",
            f"{tokens.MOST} of a user",
            "409",
            "monitor/test_tokens.py::test_there_is_an_end_of_them",
        ),
        Surface(
            "tokens made within a day, revoked ones too",
            f"{tokens.MOST_A_DAY} of a user",
            "409",
            "monitor/test_tokens.py::test_making_and_revoking_tokens_has_an_end",
        ),
        Surface(
            "tokens and sessions that are remembered",
            f"{token_lookup.MAX_KNOWN:,} and {web_sessions.MAX_KNOWN:,}; rights of {rights.MAX_TOKENS:,}",
            "it is looked up again",
            "monitor/test_token_lookup.py::test_what_is_remembered_is_bounded",
        ),
        Surface(
            "silences that are not over",
            f"{silences.MOST_OF_ONE} of a user, {silences.MOST_OF_DAG} of a DAG, {silences.MOST_ALIKE} of "
            f"the same, {silences.MOST:,} in all",
            "409",
            "monitor/test_silences_web.py::test_what_one_dags_readers_make_leaves_room_for_others",
        ),
        Surface(
            "silences made within a day, ended ones too",
            f"{silences.MOST_A_DAY} times as many",
            "409",
            "monitor/test_silences_web.py::test_making_and_ending_silences_has_an_end",
        ),
        Surface(
            "sending a delivery again",
            f"{queue.MOST_RESENDS} times within a day",
            "409",
            "monitor/test_api.py::test_a_mail_is_sent_again_so_many_times_a_day",
        ),
        Surface(
            "a silence",
            f"{days(silencing.MAX_SILENCE)}, {silencing.MAX_MATCHES} matches, {silencing.MAX_DEPTH} deep, "
            f"{silencing.MAX_VALUES} values each",
            "422",
            "monitor/test_api_errors.py::test_a_match_is_bounded",
        ),
        Surface(
            "a filter",
            f"{querying.MAX_GLOBS} values of {querying.MAX_NAME:,} characters; "
            f"{globs.MAX_SEARCHED} steps to match them all",
            "422",
            "monitor/test_api_errors.py::test_each_wrong_parameter_is_named",
        ),
        Surface(
            "a page of a list",
            f"{querying.MAX_PAGE} rows; {MAX_PAGE_CHARACTERS // MIB} MiB of events",
            "422; a shorter page, with where the next begins",
            "monitor/test_event_log.py::test_long_events_make_short_pages_and_none_is_left_out",
        ),
        Surface(
            "what one request reads of the database",
            f"{engine.STATEMENT_TIMEOUT:.0f} s (`WINDSOCK_DATABASE_STATEMENT_TIMEOUT`), on PostgreSQL each "
            "statement",
            "503, which says so; the connection is free",
            "monitor/test_slow_reads.py::test_a_read_that_takes_too_long_is_ended",
        ),
        Surface(
            "questions that pages ask Airflow at once",
            f"{asked_airflow.OPEN_AT_ONCE}, {seconds(asked_airflow.ASK_SECONDS)} each",
            "it waits; then the page says that there is no answer",
            "monitor/test_run_pages.py::test_questions_are_asked_so_many_at_once",
        ),
    ),
    "From whoever has a mail's link": (
        Surface(
            "silences",
            "one active of what the mail is about",
            "that one is extended, or lasts longer anyway",
            "monitor/test_link_pages.py::test_a_link_makes_so_many_silences",
        ),
        Surface(
            "unsubscribing",
            "once for the mail's own address and rule",
            "nothing more is written",
            "monitor/test_link_pages.py::test_one_click_unsubscribes",
        ),
        Surface(
            "a name or a reason",
            f"{silencing.MAX_AUTHOR}; {silencing.MAX_REASON} characters",
            "422",
            "monitor/test_link_pages.py::test_texts_are_bounded",
        ),
    ),
    "From those whom the monitor asks": (
        Surface(
            "an asset event's extra",
            f"{size(rest.MAX_EXTRA)}, {rest.MAX_EXTRA_DEPTH} levels",
            "it is left out, and the event says so",
            "monitor/test_rest_events.py::test_an_extra_that_is_too_much_is_left_out_and_said",
        ),
        Surface(
            "an answer of Airflow",
            f"{size(connection.MAX_ANSWER)} unpacked, {bounded_json.MAX_VALUES:,} JSON values, "
            f"{connection.MAX_TIMEOUTS} times `WINDSOCK_AIRFLOW_TIMEOUT`",
            "a shorter page is asked for, down to one row; then the answer counts as none",
            "monitor/test_airflow_api.py::test_each_failure_says_whether_to_try_again_and_what_to_mend",
        ),
        Surface(
            "a refusal of Airflow; its answer to a sign-in",
            f"{size(connection.MAX_REFUSAL)}; {size(connection.MAX_TOKEN_ANSWER)}",
            "the rest is not read; the answer counts as none",
            "monitor/test_airflow_api.py::test_a_sign_ins_answer_is_bounded",
        ),
        Surface(
            "a listing of Airflow",
            f"{paging.MAX_PAGES:,} pages of {paging.PAGE_SIZE}",
            "the listing counts as none",
            "monitor/test_airflow_api.py::test_a_listing_without_end_is_given_up_on",
        ),
        Surface(
            "a task's log",
            f"{size(logs.MAX_READ)}; {size(logs.MAX_RECORD)} of a record, {logs.MAX_TEXT:,} characters shown",
            "the rest is not read, and the log's end says so",
            "monitor/test_airflow_api.py::test_a_log_without_end_is_given_up_on",
        ),
        Surface(
            "an HTTP answer until its status",
            f"{size(bounded_http.MAX_HEAD)}, in pieces of {size(bounded_http.HEAD_PIECE)}",
            "it counts as no answer",
            "monitor/test_bounded_http.py::test_a_server_that_never_comes_to_its_status_is_given_up",
        ),
        Surface(
            "an answer of a webhook's receiver",
            f"{webhook.ANSWER_BYTES} bytes unpacked; {seconds(webhook.SECONDS)}",
            "the rest is not read; without a status, the delivery is tried again",
            "monitor/test_bounded_http.py::test_a_bomb_takes_no_memory",
        ),
        Surface(
            "an answer to Apprise",
            f"{size(bounded_requests.MAX_HEAD)} until its status, {size(bounded_requests.MAX_ANSWER)} "
            f"unpacked; {seconds(bounded_requests.ANSWER_SECONDS)}; {seconds(apprise.SECONDS)} for all",
            "the rest is not read; without a status, the delivery is tried again",
            "monitor/test_channels.py::test_an_answer_to_apprise_is_bounded",
        ),
        Surface(
            "an answer of a token endpoint",
            f"{size(oauth.MAX_ANSWER)} unpacked; {seconds(oauth.TOKEN_SECONDS)}",
            "there is no token, and the mail waits",
            "monitor/test_bounded_http.py::test_a_bomb_takes_no_memory",
        ),
        Surface(
            "an answer of a mail server; the time for a mail",
            f"{size(MAX_RESPONSE_LENGTH)}; {seconds(smtp.MAIL_SECONDS)}",
            "the conversation ends, and the mail waits",
            "monitor/test_mailer_hostile.py::test_it_holds_a_mail_for_a_bounded_time",
        ),
        Surface(
            "each step of unpacking",
            size(bounded_http.PIECE),
            "others have their turn before the next",
            "monitor/test_bounded_http.py::test_others_have_their_turn_while_a_body_is_unpacked",
        ),
    ),
    "From programs on the same machine": (
        Surface(
            "a mail to the embedded mailbox",
            f"{size(door.MAX_MAIL)}, {door.MAX_LINES:,} lines, {door.MAX_RECIPIENTS} recipients",
            "552 or 452; of more lines, the connection ends",
            "monitor/test_mailbox.py::test_the_door_refuses_what_is_too_big_and_too_many",
        ),
        Surface(
            "connections to it",
            f"{door.MAX_OPEN}, {seconds(door.IDLE_SECONDS)} of silence",
            ENDS,
            "monitor/test_mailbox.py::test_the_door_holds_a_bounded_number_of_connections",
        ),
        Surface(
            "mails in it",
            f"{mailbox.KEPT:,}, {size(mailbox.KEPT_BYTES)}",
            "the oldest go",
            "monitor/test_mailbox.py::test_the_oldest_go_when_they_take_too_much_room",
        ),
    ),
    "From files of the administrator": (
        Surface(
            "the rules file",
            f"{size(loading.MAX_BYTES)}, {checks.MAX_RULES:,} rules, {source.MAX_NODES:,} values with those "
            f"of aliases, {source.MAX_DEPTH} deep",
            "it is refused with the line, and the last good rules hold",
            "monitor/test_rules_file.py::test_a_bomb_is_refused_in_few_words",
        ),
        Surface(
            "a pattern in it; the targets of a rule",
            f"{globs.MAX_GLOB:,} characters; {checks_receivers.MAX_TARGETS}",
            "the same",
            "monitor/test_rules_file.py::test_each_mistake_has_its_line_its_field_and_the_remedy",
        ),
        Surface(
            "a template; what it writes",
            f"{size(templates.MAX_FILE)}; {templates.MAX_PLAIN:,} characters of text, {templates.MAX_TEXT:,} "
            "of HTML",
            "the built-in one is used, and the mail says so",
            "monitor/test_render.py::test_a_template_of_the_users_is_bounded",
        ),
        Surface(
            "the work of a template; its syntax tree",
            f"{sandbox.MAX_STEPS:,} steps for each writing; {sandbox.MAX_NODES:,} nodes of a file, "
            f"{sandbox.MAX_BODIES} bodies",
            "the same",
            "monitor/test_render.py::test_the_work_of_a_template_of_the_users_has_an_end",
        ),
        Surface(
            "a file that holds a secret; a token's file",
            f"{size(secret_files.MAX_BYTES)}; {size(oauth.MAX_TOKEN)}",
            "the start ends, with the setting's name; the rest is not read",
            "monitor/test_secret_files.py::test_a_file_that_cannot_be_meant_is_named",
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
            f"{courier.MAX_REQUEST:,} bytes, {courier.MAX_BATCH} events",
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
    ),
}
