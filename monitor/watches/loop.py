"""The loop: look every minute at what there is and is not. Nothing that goes wrong in a look ends it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from monitor.clock import Clock
from monitor.database import Database
from monitor.ingest import Ingest
from monitor.metrics import Metrics
from monitor.rules.model import Watch
from monitor.watches.airflow_look import AirflowLook, Watched
from monitor.watches.choice import Choice
from monitor.watches.trouble import FAILING, MAIL_SUBJECT, MailTrouble, mail_failing, mail_works_again

LOOK_SECONDS = 60.0  # a minute more or less means nothing where minutes are tolerated
POLLS_A_LOOK = 4
"""Whoever has Airflow compared with the log more often than usual has it watched more often, too."""

logger = logging.getLogger(__name__)


class Watches:
    """`run()` is its background task. `watches` is asked at each look, so that a changed file counts. `mail`:
    since when no mail can be sent, and why; it is told as of the first Airflow."""

    def __init__(
        self,
        watched: Sequence[Watched],
        database: Database,
        ingest: Ingest,
        watches: Callable[[], Sequence[Watch]],
        mail: MailTrouble,
        metrics: Metrics,
        clock: Clock,
        poll_seconds: float = LOOK_SECONDS / POLLS_A_LOOK,
    ) -> None:
        self._look_seconds = min(LOOK_SECONDS, POLLS_A_LOOK * poll_seconds)
        self._looks = [AirflowLook(each, database, ingest, metrics) for each in watched]
        self._watches = watches
        self._mail = mail
        self._metrics = metrics
        self._clock = clock

    async def run(self) -> None:
        """Look every minute until cancelled. Not at once: the reconciler comes first."""
        while True:
            await asyncio.sleep(self._look_seconds)
            await self.look()

    async def look(self) -> None:
        """One turn: every Airflow, and the mail server."""
        watches = self._watches()
        for number, each in enumerate(self._looks):
            try:
                result = await each.look(watches, self._clock())
                if number == 0:
                    await self._look_at_mail(each, watches)
            except Exception:  # a database that is full or gone, or a mistake: the next look is in a minute
                logger.exception("%s: the watches could not look", each.deployment)
                result = "error"
            self._metrics.watch_checks.labels(each.deployment, result).inc()

    async def _look_at_mail(self, look: AirflowLook, watches: Sequence[Watch]) -> None:
        now, deployment = self._clock(), look.deployment
        watch = Choice(watches, "mail", deployment).of_all()
        told = look.account.open.get((FAILING, MAIL_SUBJECT))
        found = mail_failing(await self._mail(), watch, told, deployment, now)
        over = partial(mail_works_again, deployment, now)
        await look.account.settle("mail", FAILING, found, over, now)
