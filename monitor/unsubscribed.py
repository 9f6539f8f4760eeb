"""Who does not want to hear of a rule by mail any more (RFC 8058). Only this module names their table."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select

from monitor.database.bulk import LookUp
from monitor.database.prepared import Statement
from monitor.database.schema import unsubscribed as table

Unsubscribed = tuple[str, str, datetime]
"""Address, rule, since when."""


def add(connection: Connection, address: str, rule: str, now: datetime) -> None:
    """Safe to do twice: mail programs do."""
    if not is_unsubscribed(connection, address, rule):
        connection.execute(table.insert().values(address=_same(address), rule=rule, at=now))


def remove(connection: Connection, address: str, rule: str) -> None:
    connection.execute(delete(table).where(table.c.address == _same(address), table.c.rule == rule))


def is_unsubscribed(connection: Connection, address: str, rule: str) -> bool:
    return bool(_AT.rows(connection, address=_same(address), rule=rule))


_AT = Statement(
    lambda _insert: select(table.c.at).where(
        table.c.address == bindparam("address"), table.c.rule == bindparam("rule")
    )
)
_AMONG = LookUp(table, ("address", "rule"))


def among(connection: Connection, wanted: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which of these (address, rule) do not want to hear."""
    rows = _AMONG.rows(connection, {(_same(address), rule) for address, rule in wanted})
    found = {(row["address"], row["rule"]) for row in rows}
    return {(address, rule) for address, rule in wanted if (_same(address), rule) in found}


def page(connection: Connection) -> list[Unsubscribed]:
    query = select(table.c.address, table.c.rule, table.c.at).order_by(table.c.address, table.c.rule)
    return [(row.address, row.rule, row.at) for row in connection.execute(query)]


def _same(address: str) -> str:
    """Addresses differ in case only in theory."""
    return address.strip().casefold()
