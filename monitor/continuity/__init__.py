"""That the database goes on from where it was: a standby that lagged, or a backup that took its place, lacks
what was committed last. Only with that known can what is told be told once."""

from monitor.continuity.continuity import Continuity
from monitor.continuity.journals import by_key, know, told_since

__all__ = ["Continuity", "by_key", "know", "told_since"]
