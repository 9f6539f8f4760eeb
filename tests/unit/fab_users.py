"""Runs in Airflow's environment: makes FAB's tables, roles and users. `argv[1]`: a file of what to make.

{"users": {name: [password, role]}, "roles": {name: [dag_id, …]}}: a role reads these DAGs, and nothing else.
"""

import json
import sys
from pathlib import Path


def main(wanted: dict[str, dict[str, list[str]]]) -> None:
    from airflow.cli.cli_parser import get_parser  # type: ignore[import-not-found]
    from airflow.providers.fab.auth_manager.cli_commands.utils import (  # type: ignore[import-not-found]
        get_application_builder,
    )

    command = get_parser().parse_args(["fab-db", "migrate"])
    command.func(command)
    with get_application_builder() as builder:
        security = builder.sm
        security.sync_roles()
        for name, dags in wanted["roles"].items():
            role = security.add_role(name)
            for dag_id in dags:
                permission = security.create_permission("can_read", f"DAG:{dag_id}")
                security.add_permission_to_role(role, permission)
        for name, (password, role_name) in wanted["users"].items():
            role = security.find_role(role_name)
            assert security.add_user(name, name, "Windsock", f"{name}@localhost", role, password), name


main(json.loads(Path(sys.argv[1]).read_text()))
