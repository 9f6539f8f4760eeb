"""Which template a notification is written with (docs/notifications.md, "Kinds of notification")."""

from collections.abc import Mapping

from monitor.render.story import Story
from monitor.rules.model import Rule

TEMPLATES = (
    "run_failed",
    "run_failed_again",
    "recovered",
    "flapping",
    "run_success",
    "task_failed",
    "import_error",
    "asset_updated",
    "watch",
    "notice",
    "digest",
)
"""Every template that comes with Windsock."""

_BY_KIND = {
    "follow_up": "run_failed_again",
    "reminder": "run_failed_again",
    "recovered": "recovered",
    "flapping": "flapping",
    "digest": "digest",
}
_BY_TYPE = {
    "airflow.dag_run.failed": "run_failed",
    "airflow.dag_run.success": "run_success",
    "airflow.task_instance.failed": "task_failed",
    "airflow.dag.import_error": "import_error",
    "airflow.asset.updated": "asset_updated",
}
_NEEDED = {
    "run_failed": "run",
    "run_success": "run",
    "task_failed": "task",
    "import_error": "import_error",
    "asset_updated": "assets",
    "watch": "watch",
}
"""The part of a story without which the built-in template has nothing to show."""
_WATCHES = (
    *("windsock.run.", "windsock.dag.", "windsock.asset.", "windsock.airflow.", "windsock.mail."),
    "airflow.component.",
)


def choose(rule: Rule, kind: str, event_type: str) -> str:
    """The template's name: the rule's own for this kind, else the usual one. `kind`: a Kind, or its name."""
    wanted: Mapping[str, str] = rule.template
    return wanted.get(kind) or wanted.get("default") or usual(kind, event_type)


def usual(kind: str, event_type: str) -> str:
    """What is used where a rule names none."""
    return _BY_KIND.get(kind) or _BY_TYPE.get(event_type) or _of_watch(event_type)


def suits(template: str, story: Story) -> bool:
    """Return True if the story has what the template shows. A grouped mail may be led by an event of another
    type than the one whose template was chosen when the mail was queued."""
    needed = _NEEDED.get(template)
    return needed is None or bool(getattr(story, needed))


def _of_watch(event_type: str) -> str:
    return "watch" if event_type.startswith(_WATCHES) else "notice"
