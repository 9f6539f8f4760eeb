"""A PostgreSQL primary and its streaming hot standby, which takes the primary's place when that dies."""

from collections.abc import Sequence

from sqlalchemy.engine import make_url

from tests import wait
from tests.postgres_server import PostgresServer

LOOPBACK = "127.0.0.1"
STANDBY = "standby"
SYNC_STATE = "SELECT sync_state FROM pg_stat_replication"


class Standby(PostgresServer):
    """Of a primary that runs: a copy of it that goes on copying."""

    def __init__(self, host: str, primary: PostgresServer) -> None:
        super().__init__(host)
        self._primary = primary

    def _make(self) -> None:
        address = f"{self._primary.libpq} application_name={STANDBY}"
        self._run("pg_basebackup", "-d", address, "-D", str(self._data), "-R", "-c", "fast")

    def promote(self) -> None:
        """Returns when it takes writes."""
        self._control("-w", "promote")

    def has(self, upto: str) -> bool:
        """Whether it shows everything up to a place in the primary's log (WAL)."""
        return bool(self.query(f"SELECT pg_last_wal_replay_lsn() >= '{upto}'::pg_lsn")[0][0])


class PostgresPair(PostgresServer):
    """The primary, with its standby. Addresses name both, the primary first, as an operator writes them."""

    def __init__(
        self,
        host: str = LOOPBACK,
        standby_host: str = LOOPBACK,
        within: Sequence[str] = (),
        synchronous: bool = True,
    ) -> None:
        """`synchronous`: a commit is answered when the standby has it too. `within`: of the primary alone."""
        super().__init__(host, within=within)
        self._synchronous = synchronous
        self.standby = Standby(standby_host, self)

    def _begin(self) -> None:
        super()._begin()
        self.standby.start()
        if self._synchronous:
            # After the copy is made: the standby, once promoted, has nobody to wait for.
            self.query(f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
            self.query("SELECT pg_reload_conf()")
        wanted = "sync" if self._synchronous else "async"
        wait.until(lambda: self.query(SYNC_STATE) == [(wanted,)], f"the standby to follow: {wanted}")

    def fall_behind(self) -> None:
        """The standby has what is committed by now, and gets no more."""
        upto = self.query("SELECT pg_current_wal_lsn()::text")[0][0]
        wait.until(lambda: self.standby.has(upto), "the standby to catch up")
        self.standby.query("ALTER SYSTEM SET primary_conninfo = ''")
        self.standby.query("SELECT pg_reload_conf()")
        wait.until(lambda: self.query(SYNC_STATE) == [], "the standby to be cut off")

    def stop(self) -> None:
        self.standby.stop()
        super().stop()

    def url(self, database: str = "postgres") -> str:
        servers = {"host": [f"{server.host}:{server.port}" for server in (self, self.standby)]}
        url = make_url(super().url(database)).set(host=None, port=None).update_query_dict(servers)
        return url.render_as_string(hide_password=False)
