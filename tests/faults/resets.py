"""The tries that Airflow reset, as its scheduler says in its log.

When a scheduler has died, another one takes its tasks from it: each one's try is filed in the history as
`failed`, even where it only waited in the queue and never ran, and the task begins anew under another UUID.
No hook fires, and REST shows such a try without its UUID. In the database it looks like any try that failed.
"""

import re
from pathlib import Path

HEADING = re.compile(r"Reset the following \d+ orphaned TaskInstances:")
ENTRY = re.compile(r"^\s*<TaskInstance: .* ti_id=([0-9a-f-]{36})>")


def reset_tries(scheduler_log: Path) -> set[str]:
    """The UUIDs of all tries that were reset."""
    found: set[str] = set()
    listing = False
    for line in scheduler_log.read_text(errors="replace").splitlines():
        entry = ENTRY.match(line) if listing else None
        if entry:
            found.add(entry[1])
        listing = bool(entry) or bool(HEADING.search(line))
    return found
