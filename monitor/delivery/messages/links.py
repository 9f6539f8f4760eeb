"""The links of messages: pages of Airflow and the monitor, and signed links that act.

`Links` writes and reads the signed links. The holder of a link may do the one thing that the link is for,
until the link expires. The monitor stores nothing of a link, because a link is signed and holds its own
purpose.

A GET of a link only shows a page, because mail programs and scanners follow every link that they find. A POST
acts (monitor/web/pages/action_links.py).
"""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import quote

from itsdangerous import BadSignature, Serializer, SignatureExpired, TimestampSigner, URLSafeTimedSerializer
from itsdangerous.encoding import base64_encode

from monitor.clock import Clock
from monitor.delivery.messages.model import MessageContext, RunInfo, TaskInfo
from monitor.errors import WindsockError


def airflow_dag(base: str, dag_id: str) -> str:
    """Return Airflow's page of a DAG."""
    return f"{base}/dags/{_part(dag_id)}"


def airflow_run(base: str, run: RunInfo) -> str:
    """Return Airflow's page of a run."""
    return f"{airflow_dag(base, run.dag_id)}/runs/{_part(run.run_id)}"


def airflow_task(base: str, run: RunInfo, task: TaskInfo) -> str:
    """Return Airflow's page of a task."""
    mapped = f"/mapped/{task.map_index}" if task.map_index >= 0 else ""
    return f"{airflow_run(base, run)}/tasks/{_part(task.task_id)}{mapped}?try_number={task.try_number}"


def airflow(base: str, message_context: MessageContext) -> str:
    """Return the page of Airflow that is closest to the message's subject."""
    if message_context.run is None:
        return base
    if message_context.task is not None:
        return airflow_task(base, message_context.run, message_context.task)
    # A watch's finding about a DAG may concern no run yet.
    return (
        airflow_run(base, message_context.run)
        if message_context.run.run_id
        else airflow_dag(base, message_context.run.dag_id)
    )


def monitor_run(base: str, run: RunInfo) -> str:
    """Return the monitor's page of a run."""
    return f"{base}/runs/{_part(run.deployment)}/{_part(run.dag_id)}/{_part(run.run_id)}"


def monitor_incident(base: str, incident_id: int) -> str:
    """Return the monitor's page of an incident."""
    return f"{base}/incidents/{incident_id}"


def monitor(base: str, message_context: MessageContext) -> str:
    """Return the monitor's page that is closest to the message's subject."""
    if message_context.incident:
        return monitor_incident(base, message_context.incident.id)
    if message_context.kind != "digest" and message_context.run is not None and message_context.run.run_id:
        return monitor_run(base, message_context.run)
    return base


def _part(name: str) -> str:
    """Return a segment of a path, whatever the name holds."""
    return quote(name, safe="", errors="replace")


SILENCE, ACKNOWLEDGE, UNSUBSCRIBE = "silence", "acknowledge", "unsubscribe"
EXPIRY = {
    SILENCE: timedelta(days=7),  # an older mail is of another failure: the pages say what is wrong now
    ACKNOWLEDGE: timedelta(days=7),
    UNSUBSCRIBE: timedelta(days=365),  # people look for an old mail of the list that they want to leave
}
"""The time for which links of each purpose work, from the moment at which they were made."""
SALT = "windsock-link-"

Why = Literal["expired", "forged", "other_purpose"]


class LinkError(WindsockError):
    """The error of a link that gives no right. `why` holds the reason."""

    def __init__(self, why: Why, message: str) -> None:
        super().__init__(message)
        self.why = why


class _Signer(TimestampSigner):
    """The signer by the clock that is handed in."""

    def __init__(self, *args: Any, clock: Clock, **more: Any) -> None:
        super().__init__(*args, **more)
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock().timestamp())


class _Serializer(URLSafeTimedSerializer):
    """The serializer without compression.
    A trial whether a few words get shorter takes longer than all the rest."""

    def dump_payload(self, obj: Any) -> bytes:
        return base64_encode(Serializer.dump_payload(self, obj))


class Links:
    """The signed links. The first of the `keys` signs, and any verifies.

    The keys are the same in every monitor that serves the same people.
    """

    def __init__(self, base_url: str, keys: Sequence[str], clock: Clock) -> None:
        self._base_url = base_url
        # A salt of its own a purpose: a token of one is no token of another.
        self._serializers = {purpose: _serializer(keys, purpose, clock) for purpose in EXPIRY}

    def silence(self, deployment: str, dag_id: str | None = None, **named: str) -> str:
        """Return a link that silences what these name of an Airflow: a DAG, a task, an asset."""
        params = {"deployment": deployment, "dag_id": dag_id, **named}
        return self._link(SILENCE, {name: value for name, value in params.items() if value})

    def silence_incident(self, incident_id: int) -> str:
        """Return a link that silences what an incident is about."""
        return self._link(SILENCE, {"incident_id": incident_id})

    def acknowledge(self, incident_id: int) -> str:
        """Return a link that acknowledges an incident."""
        return self._link(ACKNOWLEDGE, {"incident_id": incident_id})

    def unsubscribe(self, address: str, rule: str) -> str:
        """Return a link that unsubscribes, for List-Unsubscribe too (RFC 8058)."""
        return self._link(UNSUBSCRIBE, {"address": address, "rule": rule})

    def _link(self, purpose: str, content: dict[str, Any]) -> str:
        return f"{self._base_url}/links/{purpose}/{self._serializers[purpose].dumps(content)}"

    def read(self, purpose: str, token: str) -> dict[str, Any]:
        """Return the fields that a token of this purpose was made of. Raise LinkError."""
        try:
            content = self._serializers[purpose].loads(token, max_age=int(EXPIRY[purpose].total_seconds()))
        except SignatureExpired:
            raise LinkError("expired", f"the link is older than {EXPIRY[purpose].days} days") from None
        except BadSignature:
            raise self._refusal(purpose, token) from None
        return dict(content)

    def _refusal(self, purpose: str, token: str) -> LinkError:
        for other in EXPIRY.keys() - {purpose}:
            if self._is_signed(other, token):
                return LinkError("other_purpose", f"the link is one to {other}, not to {purpose}")
        return LinkError("forged", "the link is cut short, changed, or signed with another key")

    def _is_signed(self, purpose: str, token: str) -> bool:
        """Return True if this monitor has signed the token for this purpose, however long ago.

        Nothing is unpacked before its signature is checked: 6 kB that anybody sends may unpack to 6 MB.
        """
        try:
            self._serializers[purpose].loads(token)
        except BadSignature:
            return False
        return True


def _serializer(keys: Sequence[str], purpose: str, clock: Clock) -> URLSafeTimedSerializer:
    # Signatures are compared in constant time by the library.
    settings = {"clock": clock, "digest_method": hashlib.sha256, "key_derivation": "hmac"}
    oldest_first = list(keys)[::-1]  # the library signs with the last
    return _Serializer(oldest_first, salt=SALT + purpose, signer=_Signer, signer_kwargs=settings)
