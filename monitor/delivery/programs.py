"""What a notification tells programs: a webhook's JSON (docs/rules.md). Fields are only ever added."""

import json
from collections.abc import Mapping
from typing import Any

from monitor.delivery.told import Told
from monitor.events.identity import stamp
from monitor.incidents import Incident
from monitor.render import Letter


def for_programs(told: Told, letter: Letter, subject: str) -> Mapping[str, Any]:
    delivery, notification = told.delivery, told.notification
    return {
        "type": f"windsock.notification.{notification.kind.value}",
        "timestamp": stamp(notification.created_at),
        "data": {
            "message_id": delivery.message_id,
            "deployment": notification.deployment,
            "rule": delivery.rule,
            "kind": notification.kind.value,
            "subject": subject,
            "incident": _incident(told.incident),
            "events": [json.loads(event.body) for event in told.events],
            "earlier": told.earlier,
            "unconfirmed": told.unconfirmed,
            "links": {"silence": letter.silence_url, "acknowledge": letter.acknowledge_url},
        },
    }


def _incident(incident: Incident | None) -> dict[str, Any] | None:
    if incident is None:
        return None
    return {
        "id": incident.id,
        "key": incident.key,
        "dag_id": incident.dag_id,
        "title": incident.title,
        "state": incident.state,
        "failures": incident.failures,
        "opened_at": stamp(incident.opened_at),
        "closed_at": stamp(incident.closed_at) if incident.closed_at else None,
        "flapping": incident.flapping,
        "acknowledged_by": incident.acked_by,
    }
