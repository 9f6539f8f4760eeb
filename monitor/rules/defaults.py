"""Who hears what where there is no file.

A success that closes an incident is the word that a `success` rule would tell, and more: it also says what
had failed, and for how long. So `recovered` covers it: who is told of the recovery by one rule is not told of
the same success by another. The engine holds to that for every file, not only for these rules; people whom
only the `success` rule reaches are told by it.
"""

from collections.abc import Sequence
from datetime import timedelta

from monitor.rules.model import Config, Group, Match, Receiver, Rule, Watch
from monitor.rules.routing import SUCCESS, TAG

DEFAULT_RECEIVER = "default"
"""NOTIFICATION_EMAIL_TO. A file that gives a receiver of this name says anew whom the default rules tell."""

_TO = (DEFAULT_RECEIVER,)
WATCHES_WAIT = timedelta(seconds=10)  # what one look found comes within a second
_WATCHES = (
    Watch(name="missing", watch="missing", after=timedelta(minutes=15)),
    Watch(name="stuck", watch="stuck"),
    Watch(name="auto_paused", watch="auto_paused"),
    Watch(name="component", watch="component", after=timedelta(minutes=2)),
    Watch(name="unreachable", watch="unreachable", after=timedelta(minutes=5)),
    Watch(name="mail", watch="mail", after=timedelta(minutes=10)),
)


def default_config(recipients: Sequence[str], notify_success: Sequence[str]) -> Config:
    """Failures and what ends them, successes of the DAGs that ask for it or are named, what watches find."""
    return Config(
        receivers={DEFAULT_RECEIVER: Receiver(email=tuple(recipients))},
        rules=(
            Rule(
                name="failures",
                match=Match(type=("airflow.dag_run.failed", "airflow.dag_run.success")),
                notify_on=("first_failure", "recovered"),
                to=_TO,
            ),
            Rule(name="successes", match=_successes(notify_success), notify_on=("success",), to=_TO),
            Rule(
                name="import-errors",
                match=Match(type=("airflow.dag.import_error", "airflow.dag.import_error_mended")),
                notify_on=("first_failure", "recovered"),
                to=_TO,
            ),
            Rule(
                name="watches",
                match=Match(type=("windsock.*", "airflow.component.*")),
                notify_on=("first_failure", "recovered", "notice"),
                to=_TO,
                # A scheduler that is dead makes a missing run of each DAG: one mail tells of all.
                group=Group(by=("deployment", "type"), wait=WATCHES_WAIT),
            ),
        ),
        watches=_WATCHES,
    )


def _successes(notify_success: Sequence[str]) -> Match:
    named = [Match(dag_id=tuple(notify_success))] if notify_success else []
    return Match(type=("airflow.dag_run.success",), any_of=(Match(tags=(f"{TAG}{SUCCESS}",)), *named))
