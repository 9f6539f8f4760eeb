"""Airflow's database against log, mails and feeds. Each list is in words, and empty where all is well."""

from collections import Counter
from collections.abc import Sequence

from tests.compose.reader import Reader
from tests.compose.stack import Stack

MAILED_SUCCESS = "Airflow_Lab2"
SETTLED = {"sent", "suppressed", "superseded", "uncertain"}
REPORT = f"{MAILED_SUCCESS}: model report"  # Airflow's own mail, by a task


def amiss_in_log(stack: Stack) -> list[str]:
    """Terminal states that are not in the log exactly once, and events that are in it twice."""
    told = Counter(event["id"] for event in stack.log())
    lost = [f"{state}: {told[state]} times" for state in stack.engine.terminal_states() if told[state] != 1]
    return lost + [f"{event}: {times} times" for event, times in told.items() if times > 1]


def amiss_in_mails(stack: Stack) -> list[str]:
    """Deliveries that are not settled, or are not one mail each; successes without a mail."""
    deliveries = stack.deliveries()
    inbox = Counter(mail["MessageID"] for mail in stack.mails() if not mail["Subject"].startswith(REPORT))
    wrong = []
    for delivery in deliveries:
        mails, state = inbox.pop(delivery["message_id"].strip("<>"), 0), delivery["state"]
        right = {0, 1} if state == "uncertain" else {int(state == "sent")}
        if state not in SETTLED or mails not in right:
            wrong.append(f"{delivery['subject']!r} of {delivery['run_id']}: {state}, {mails} mail(s)")
    told = Counter(each["run_id"] for each in deliveries if each["state"] in ("sent", "uncertain"))
    runs = stack.runs_by_id()
    successes = [run for run, (dag, state) in runs.items() if (dag, state) == (MAILED_SUCCESS, "success")]
    wrong += [f"success of {run}: {told[run]} mails" for run in successes if told[run] != 1]
    return wrong + [f"{mail}: no delivery knows it" for mail in inbox]


def amiss_in_feeds(stack: Stack, readers: Sequence[Reader]) -> list[str]:
    """Readers that have not had the whole log, each event once and in order."""
    logged = [event["id"] for event in stack.log()]
    return [
        f"reader {number}: {len(reader.events)} events of {len(logged)}, {reader.resets} resets"
        for number, reader in enumerate(readers)
        if reader.events != logged or reader.resets
    ]
