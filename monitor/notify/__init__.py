"""Who hears of an event, when, and with what else: decided in the transaction that logs it."""

from monitor.notify.engine import Engine

__all__ = ["Engine"]
