"""Makes Airflow's database ready: schema, the two users, the mail connection. Raises where one fails.

Safe to run again: names and passwords are then what the environment says now. It calls Airflow's own
commands in this process, because an argument of a process can be read by every user of the host, and
because the image's entrypoint migrates with `|| true`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SECRETS = Path("/run/secrets")
VIEWER = "windsock"  # who the monitor is to Airflow; also in docker-compose.yaml
MIGRATION_WAIT = 60  # seconds for `db check-migrations`; it answers at once where all is well
SECURITY = {  # the extra of Airflow's smtp connection: "ssl" is TLS from the first byte, "tls" is STARTTLS
    "starttls": {"disable_ssl": True, "disable_tls": False},
    "tls": {"disable_ssl": False, "disable_tls": True},
    "none": {"disable_ssl": True, "disable_tls": True},
}


@dataclass(frozen=True)
class User:
    """A user of Airflow's FAB login."""

    name: str
    password: str
    role: str
    mail: str


def main(environ: Mapping[str, str]) -> None:
    """Everything, in order."""
    check_profiles(environ)  # mistakes in .env are reported before a minute of work
    smtp = smtp_connection({**environ, "WINDSOCK_SMTP_PASSWORD": secret("WINDSOCK_SMTP_PASSWORD")})
    admin = environ["AIRFLOW_USERNAME"]
    if admin == VIEWER:
        raise SystemExit(
            f"AIRFLOW_USERNAME is {VIEWER!r}, which is the monitor's own user; take another name"
        )
    check_database(secret("AIRFLOW_DATABASE_URL"))
    migrate()
    set_user(User(admin, secret("AIRFLOW_PASSWORD"), "Admin", "admin@localhost"))
    set_user(User(VIEWER, secret("AIRFLOW_VIEWER_PASSWORD"), "Viewer", "windsock@localhost"))
    set_connection("smtp_default", smtp)


def secret(name: str) -> str:
    """What compose/env wrote for this name."""
    return (SECRETS / name).read_text()


def check_profiles(environ: Mapping[str, str]) -> None:
    """Raises SystemExit where COMPOSE_PROFILES was changed and what follows from it was not."""
    profiles = environ["COMPOSE_PROFILES"].split(",")
    follows = {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor" if "celery" in profiles else "LocalExecutor",
        "MONITOR_HOST": "load-balancer" if "scale" in profiles else "monitor",
    }
    for name, value in follows.items():
        if environ[name] != value:
            raise SystemExit(
                f"COMPOSE_PROFILES is {environ['COMPOSE_PROFILES']!r}, so {name} should be {value} and is "
                f"{environ[name]}: run `make compose`, or compose/env before `docker compose up`"
            )


def check_database(url: str) -> None:
    """Raises SystemExit with the remedy where PostgreSQL refuses; Airflow would show pages of traceback."""
    import psycopg2

    try:
        psycopg2.connect(url.replace("+psycopg2", "", 1)).close()
    except psycopg2.OperationalError as error:
        raise SystemExit(
            f"{error}\nIf it is the password: PostgreSQL keeps the one that its volume was made with. Put "
            "that one back into .env as POSTGRES_PASSWORD, or remove all data: compose/down --volumes"
        ) from None


def migrate() -> None:
    """Bring the schema to this release's, and look whether it is."""
    from airflow.cli.cli_parser import get_parser

    check = ["db", "check-migrations", "--migration-wait-timeout", str(MIGRATION_WAIT)]
    for words in (["db", "migrate"], check):
        command = get_parser().parse_args(words)
        command.func(command)


def set_user(user: User) -> None:
    """Create the user with its role, or see that its password is this one."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from werkzeug.security import check_password_hash

    with get_application_builder() as builder:
        security = builder.sm
        found = security.find_user(username=user.name)
        if found is None:
            role = security.find_role(user.role)
            done = security.add_user(user.name, user.name, "Windsock", user.mail, role, user.password)
        elif check_password_hash(found.password, user.password):
            done = True  # setting it anew would sign everybody out
        else:
            done = security.reset_password(found.id, user.password)
        if not done:
            raise RuntimeError(f"Airflow did not take the user {user.name!r}; the log above says why")
        print(f"user {user.name}: {user.role}")  # noqa: T201 (the container's log)


def smtp_connection(environ: Mapping[str, str]) -> dict[str, object]:
    """`smtp_default` as Airflow's JSON. Raises SystemExit with a sentence where `.env` cannot be meant."""
    security = environ["WINDSOCK_SMTP_SECURITY"]
    username, password = (environ.get(f"WINDSOCK_SMTP_{name}", "") for name in ("USERNAME", "PASSWORD"))
    if security not in SECURITY:
        raise SystemExit(f"WINDSOCK_SMTP_SECURITY is {security!r}; it must be one of {', '.join(SECURITY)}")
    if bool(username) != bool(password):
        raise SystemExit("WINDSOCK_SMTP_USERNAME and WINDSOCK_SMTP_PASSWORD: set both in .env, or neither")
    sender = environ.get("WINDSOCK_MAIL_FROM") or username or "airflow@localhost"
    return {
        "conn_type": "smtp",
        "host": environ["WINDSOCK_SMTP_HOST"],
        "port": environ["WINDSOCK_SMTP_PORT"],
        "login": username or None,
        "password": password or None,
        "extra": {"from_email": sender, **SECURITY[security]},
    }


def set_connection(name: str, fields: dict[str, object]) -> None:
    """Write the connection anew; Airflow encrypts its password."""
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(Connection).where(Connection.conn_id == name))
        session.add(Connection.from_json(json.dumps(fields), conn_id=name))
    print(f"connection {name}: {fields['host']}:{fields['port']}")  # noqa: T201


if __name__ == "__main__":
    main(os.environ)
