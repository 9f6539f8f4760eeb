"""A whole monitor: from events at its door to the mails in its mailbox, by the default rules."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from monitor.notifications.outbox import decisions as outbox_decisions
from tests import wait
from tests.sample import run_event
from tests.unit.conftest import Live

DAGS = 50
FAILURES = 1_000
BATCH = 100  # events a request


def mails(live: Live) -> list[EmailMessage]:
    """In the order in which they were filed."""
    folder = live.settings.home / "mailbox" / "new"
    files = sorted(folder.glob("*.eml"))  # named by their moment
    return [message_from_bytes(path.read_bytes(), policy=policy.default) for path in files]


def decisions(live: Live, event_id: str) -> list[dict[str, Any]]:
    """What the rules made of an event."""
    (one,) = live.client.get(f"/api/v1/events/{event_id}/decisions").raise_for_status().json()["explanations"]
    return [decision for line in one["rules"] for decision in line["decisions"]]


def deliveries(live: Live, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query |= {"limit": 200}
    while True:
        page = live.client.get("/api/v1/deliveries", params=query).raise_for_status().json()
        found += page["deliveries"]
        if not page["next"]:
            return found
        query["cursor"] = page["next"]


def test_an_incident_is_one_conversation(live: Live) -> None:
    live.post([run_event("failed", run_id="one", start=0)])
    wait.until(lambda: len(mails(live)) == 1, "the first failure's mail")
    live.post([run_event("failed", run_id="two", start=60), run_event("success", run_id="three", start=120)])
    wait.until(lambda: len(mails(live)) == 2, "the recovery's mail")

    opened, recovered = mails(live)
    assert "etl" in opened["Subject"]
    assert recovered["Subject"] == opened["Subject"]
    assert recovered["In-Reply-To"] == opened["Message-ID"]
    assert recovered["References"] == opened["Message-ID"]
    assert opened["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    (incident,) = live.client.get("/api/v1/incidents").json()["incidents"]
    assert (incident["state"], incident["failures"]) == ("closed", 2)
    event_id = run_event("failed", run_id="two", start=60)["id"]
    (decision,) = decisions(live, event_id)
    assert decision["outcome"] == "grouped"


def test_who_unsubscribes_in_one_click_hears_no_more(live: Live) -> None:
    live.post([run_event("failed", dag_id="noisy")])
    wait.until(lambda: len(mails(live)) == 1, "the mail")
    address = str(mails(live)[0]["List-Unsubscribe"]).strip("<>").replace(live.settings.url, "")
    answer = live.client.post(address, data={"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200
    live.post([run_event("failed", dag_id="other")])
    (decision,) = decisions(live, run_event("failed", dag_id="other")["id"])
    assert "unsubscribed" in decision["reason"]


def test_a_thousand_failures_of_fifty_dags(live: Live) -> None:
    """At most an opening a DAG; the rest waits, gathered, and each of the thousand has its reason."""
    events = [run_event("failed", f"dag_{n % DAGS}", f"run_{n}", start=n * 0.06) for n in range(FAILURES)]
    for start in range(0, FAILURES, BATCH):
        answer = live.post(events[start : start + BATCH])
        assert answer.json()["accepted"] == BATCH
    wait.until(lambda: len(mails(live)) == DAGS, "the openings", 60)

    found = deliveries(live)
    assert len([one for one in found if one["state"] == "sent"]) == DAGS
    assert {one["kind"] for one in found if one["state"] == "pending"} == {"follow_up"}
    assert len(found) <= 2 * DAGS
    database = live.app.state.services.database
    for event in events:
        (decision,) = database.read_now(
            lambda c, event=event: outbox_decisions.decisions_of_event(c, event["id"])
        )
        assert decision.outcome in (outbox_decisions.NOTIFIED, outbox_decisions.GROUPED), decision
        assert decision.notification_id
