"""The main job on a real Airflow: every terminal state is told once, the right mails and no others."""

import signal
from collections import Counter
from email.message import EmailMessage
from typing import Any

import pytest

from tests import wait
from tests.e2e.conftest import RECIPIENT, Stage
from tests.e2e.feed_reader import FeedReader
from tests.e2e.truth import endings, terminal_states, untold
from tests.smtp_server import USERNAME

pytestmark = pytest.mark.slow

SETTLE_SECONDS = 60.0  # the reconciler's interval, twice, and the mails after it


def told_ids(stage: Stage) -> list[str]:
    return [event["id"] for event in stage.monitor.events()]


def play(stage: Stage, *dag_ids: str) -> dict[str, str]:
    """Run each DAG once, side by side; answers the run ids."""
    runs = {dag_id: stage.airflow.trigger(dag_id) for dag_id in dag_ids}
    for dag_id, run_id in runs.items():
        stage.airflow.wait_for_run(dag_id, run_id)
    return runs


def all_is_told(stage: Stage) -> None:
    wait.until(lambda: not untold(endings(stage.airflow), told_ids(stage)), "all to be told", SETTLE_SECONDS)
    wait.until(lambda: not waiting(stage), "the mails to go out", SETTLE_SECONDS)


def waiting(stage: Stage) -> list[Any]:
    page = stage.monitor.get("/api/v1/deliveries", limit=200)
    return [row for row in page["deliveries"] if row["state"] in ("pending", "sending", "parked")]


def mails_about(stage: Stage, run_id: str) -> list[EmailMessage]:
    return [mail.message for mail in stage.smtp.mails if run_id in text_of(mail.message)]


def text_of(message: EmailMessage) -> str:
    part = message.get_body(["plain"])
    assert part is not None
    return str(part.get_content())


def html_of(message: EmailMessage) -> str:
    part = message.get_body(["html"])
    assert part is not None
    return str(part.get_content())


def check_form(message: EmailMessage) -> None:
    """What every mail must be, whatever Airflow's users named or raised."""
    assert message.get_content_type() == "multipart/alternative"
    for kind in ("plain", "html"):
        part = message.get_body([kind])
        assert part is not None
        assert part.get_content_charset() == "utf-8"
    assert message["To"] == RECIPIENT
    assert message["Bcc"] is None
    assert not message.defects
    assert message["Auto-Submitted"] == "auto-generated"
    assert "\n" not in str(message["Subject"])


def test_success_failure_and_retry(stage: Stage) -> None:
    known = set(told_ids(stage))
    feed = FeedReader(stage.monitor.url)
    runs = play(stage, "succeeds", "fails", "retries")
    all_is_told(stage)

    assert untold(endings(stage.airflow), told_ids(stage)) == []
    assert len(terminal_states(stage.airflow)) >= 3 + 6 + 1  # runs, tasks, the first try of the shaky one
    assert set(Counter(told_ids(stage)).values()) == {1}
    wait.until(lambda: set(feed.ids()) >= set(told_ids(stage)) - known, "the feed to have it all")
    feed.close()
    assert set(Counter(feed.ids()).values()) == {1}
    assert feed.resets == []

    (failure,) = mails_about(stage, runs["fails"])
    (success,) = mails_about(stage, runs["succeeds"])
    assert mails_about(stage, runs["retries"]) == []  # it ended well, and nobody asked for its successes
    check_form(failure)
    check_form(success)
    assert "fails" in failure["Subject"]
    assert "broken" in text_of(failure)
    assert "no such table: <b>größe</b>" in text_of(failure)
    assert "&lt;b&gt;größe&lt;/b&gt;" in html_of(failure)
    assert "<b>größe" not in html_of(failure)
    assert "succeeds" in success["Subject"]
    assert "unconfirmed" not in text_of(failure).lower()


def test_the_mails_came_encrypted_and_logged_in(stage: Stage) -> None:
    assert stage.smtp.mails
    for mail in stage.smtp.mails:
        assert mail.encrypted
        assert mail.login == USERNAME
        assert mail.sender == USERNAME
        assert mail.recipients == [RECIPIENT]


def test_a_monitor_that_was_away_misses_nothing_and_repeats_nothing(stage: Stage) -> None:
    feed = FeedReader(stage.monitor.url)
    before = len(stage.smtp.mails)
    known = set(told_ids(stage))
    assert stage.monitor.stop() == 0
    runs = play(stage, "succeeds", "fails", "retries")
    assert list((stage.spool / "new").iterdir())
    stage.monitor.start()
    all_is_told(stage)

    assert untold(endings(stage.airflow), told_ids(stage)) == []
    assert len(stage.smtp.mails) == before + 2
    assert len(mails_about(stage, runs["fails"])) == 1
    assert len(mails_about(stage, runs["succeeds"])) == 1
    fresh = set(told_ids(stage)) - known
    wait.until(lambda: set(feed.ids()) >= fresh, "the feed to resume")
    feed.close()
    assert set(Counter(feed.ids()).values()) == {1}
    wait.until(lambda: not list((stage.spool / "new").iterdir()), "the spool to be drained")
    assert not list((stage.spool / "bad").iterdir())


def test_a_monitor_that_was_killed_goes_on_where_it_was(stage: Stage) -> None:
    before = len(stage.smtp.mails)
    run_id = stage.airflow.trigger("fails")
    stage.monitor.stop(signal.SIGKILL)
    stage.airflow.wait_for_run("fails", run_id)
    stage.monitor.start()
    all_is_told(stage)
    assert untold(endings(stage.airflow), told_ids(stage)) == []
    assert len(stage.smtp.mails) == before + 1
