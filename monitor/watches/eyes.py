"""Reads what one look sees of an Airflow: the board's rows, and up to when they are the truth."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor import board, event_log
from monitor.board import Row
from monitor.database import Database
from monitor.origins import origin_of
from monitor.reconciler import ReconcilerStatus
from monitor.watches import attention
from monitor.watches.attention import Attention
from monitor.watches.finding import Key, Open
from monitor.watches.missing import BY_SCHEDULE
from monitor.watches.sight import Sight
from monitor.watches.unconsumed import BY_ASSET

RUNS = "dag_runs"
"""The reconciler's listing that says up to when runs are known."""
RUN_TYPES = (*BY_SCHEDULE, BY_ASSET)


@dataclass(frozen=True)
class _Rows:
    dags: dict[str, Row]
    assets: dict[str, Row]
    begun: list[tuple[str, str, datetime]]
    last_seq: int


class Eyes:
    """Of one deployment. What runs began is read once and then only onward."""

    def __init__(self, deployment: str, database: Database) -> None:
        self._deployment = deployment
        self._database = database
        self._attention: Attention | None = None
        self._is_loaded = False
        self._begun: dict[tuple[str, str], datetime] = {}
        self._seq = 0

    async def look(self, status: ReconcilerStatus, open_: dict[Key, Open], now: datetime) -> Sight | None:
        """None where the present is not known: Airflow does not answer, or the log is behind. `open_` is not
        copied: what is settled meanwhile shows. Raises SQLAlchemyError."""
        mark = status.marks.get(RUNS)
        attention_now = await self._attend(mark, now)
        if attention_now is None or mark is None:
            return None
        origin = await self._database.write(lambda connection: origin_of(connection, self._deployment, now))
        rows = await self._database.read(self._rows)
        self._seq = rows.last_seq
        for dag_id, run_type, moment in rows.begun:
            last = self._begun.get((dag_id, run_type), moment)
            self._begun[dag_id, run_type] = max(last, moment)
        return Sight(
            self._deployment,
            now=now,
            origin=origin,
            since=attention_now.since,
            upto=mark,
            dags=rows.dags,
            assets=rows.assets,
            begun=self._begun,
            open=open_,
        )

    async def _attend(self, mark: datetime | None, now: datetime) -> Attention | None:
        deployment = self._deployment
        if not self._is_loaded:
            self._attention = await self._database.read(lambda c: attention.load(c, deployment))
            self._is_loaded = True
        looked = attention.looked(self._attention, mark, now)
        if looked is not None:
            await self._database.write(lambda c: attention.save(c, deployment, looked))
            self._attention = looked
        return looked

    def _rows(self, connection: Connection) -> _Rows:
        last_seq = event_log.state(connection).last_seq
        return _Rows(
            board.known_dags(connection, self._deployment),
            board.updated_assets(connection, self._deployment),
            board.begun(connection, self._deployment, self._seq, RUN_TYPES),
            last_seq,
        )
