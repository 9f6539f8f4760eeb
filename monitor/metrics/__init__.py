"""Every metric of the monitor, on a registry of its own, so that two apps in one process never mix."""

from monitor.metrics.airflow import Airflow
from monitor.metrics.book import Book, Described
from monitor.metrics.intake import Intake
from monitor.metrics.service import Service
from monitor.metrics.spools import Spools
from monitor.metrics.told import Told

__all__ = ["Described", "Metrics", "Spools"]


class Metrics(Intake, Told, Airflow, Service):
    """What /metrics tells. One instance an app; handed to whoever counts."""

    def __init__(self) -> None:
        book = Book()
        for part in (Intake, Told, Airflow, Service):
            part.__init__(self, book)
        self.spools = Spools(book)
        self.registry = book.registry
        self.described: tuple[Described, ...] = tuple(book.described)
