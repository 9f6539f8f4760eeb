"""Where the comparison with one Airflow is done: here while this replica has the turn, else in another."""

from collections.abc import Callable

from monitor.clock import Clock
from monitor.database import Database
from monitor.metrics import Metrics
from monitor.reconciler import shared
from monitor.reconciler.listings import LISTINGS
from monitor.reconciler.reconciler import Reconciler
from monitor.reconciler.standing import ReconcilerStatus


class Post:
    """Of one deployment. `run()` is one turn."""

    def __init__(
        self,
        deployment: str,
        make: Callable[[], Reconciler],
        database: Database,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """`make`: a reconciler that remembers nothing. What the last turn's knew is of the past: others have
        moved the watermarks since."""
        self.deployment = deployment
        self._make = make
        self._database = database
        self._metrics = metrics
        self._clock = clock
        self._here: Reconciler | None = None

    @property
    def is_here(self) -> bool:
        return self._here is not None

    async def run(self) -> None:
        """Compare until cancelled."""
        self._here = self._make()
        try:
            await self._here.run()
        finally:
            self._here = None
            self._show_nothing()

    async def status(self) -> ReconcilerStatus:
        """How the comparison stands, wherever it is done. Raises SQLAlchemyError."""
        if self._here is not None:
            return self._here.status
        now = self._clock()
        return await self._database.read(lambda connection: shared.load(connection, self.deployment, now))

    def _show_nothing(self) -> None:
        """A gauge that stands still would be taken for how it is."""
        for listing in LISTINGS:
            for gauge in (self._metrics.reconcile_lag, self._metrics.reconcile_interval):
                gauge.labels(self.deployment, listing.name)  # to remove what is not there is an error
                gauge.remove(self.deployment, listing.name)
