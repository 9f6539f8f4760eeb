"""The plugin's part of docs/settings.md.

The meanings of the settings are in this module and not in the plugin, because every task loads the plugin.
A test compares the names with the plugin's own.
"""

import ast
from pathlib import Path

from scripts.docs_reference.markdown import code, joined, table

SOURCE = Path(__file__).parents[2] / "plugins" / "airflow_windsock" / "settings.py"
ABOUT = """## The plugin

Section `[windsock]` of Airflow's configuration, or `AIRFLOW__WINDSOCK__<NAME>` in the environment of
every Airflow process. A wrong value never stops Airflow: it is named in the log with the remedy, and its
default is used, or the events are kept until it is mended. `windsock plugin-env` prints the first three
as the monitor has them.
"""
MEANINGS = {
    "monitor_url": ("–", "Where the monitor is. Not set: the plugin does nothing"),
    "ingest_secret": ("–", "`whsec_…`; several, separated by spaces, while one is being replaced"),
    "ingest_secret_file": (
        "–",
        "Instead of it: a file that holds it, as Docker's secrets are; absolute, or below `AIRFLOW_HOME`",
    ),
    "deployment": ("`local`", "This Airflow's name in events: 1 to 100 of letters, digits, `.`, `_`, `-`"),
    "spool_dir": (
        "`windsock-spool` in `AIRFLOW_HOME`",
        "Where events wait. On a local disk, one for each host",
    ),
    "include": ("all", "Globs of the dag_ids that are reported, separated by commas"),
    "exclude": ("none", "Globs of the dag_ids that are not"),
    "traces": ("`off`", "`on`: each event says which trace it belongs to (`traceparent`)"),
    "spool_max_events": (
        "50000",
        "Beyond it events are refused, counted, and filled in by the reconciler; 1 to 10000000",
    ),
    "spool_max_bytes": ("268435456", "The same in bytes; 65536 to 1099511627776"),
    "task_send_budget": (
        "1",
        "Seconds that all hooks of one task may spend on sending, 0 to 10. 0: tasks never send",
    ),
}


def section() -> str:
    rows = [(code(name.upper()), default, meaning) for name, (default, meaning) in MEANINGS.items()]
    return joined((ABOUT, table(("setting", "default", "meaning"), rows)))


def names() -> set[str]:
    """What plugins/airflow_windsock/settings.py reads: `read("…")`, and each of NUMBERS."""
    found = set()
    for node in ast.walk(ast.parse(SOURCE.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "read":
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NUMBERS":
            numbers: ast.Dict = node.value  # type: ignore[assignment]
            found |= {key.value for key in numbers.keys if isinstance(key, ast.Constant)}
    return {str(name) for name in found}
