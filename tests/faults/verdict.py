"""The three accounts in one: Airflow's database, the event log, the mails; printed as a table."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.faults.mails import Mails
from tests.faults.proxy import Cut
from tests.faults.schedule import Victim
from tests.faults.states import States

WIDTH = 22  # of the first column
SHOWN = 40  # lines of what went wrong: the first ones tell what to look for


@dataclass
class Verdict:
    """What a fault run came to."""

    seed: int
    seconds: float
    runs: int
    hanging: list[str]
    """Runs that Airflow itself left without an end."""
    kills: Counter[Victim]
    oddities: Counter[str]
    cuts: Mapping[str, Counter[Cut]]
    replies: Mapping[str, int]
    states: States
    mails: Mails
    unsettled: list[str] = field(default_factory=list)
    """What was still waiting when the time was up."""

    @property
    def wrong(self) -> list[str]:
        """Everything that must not be, in words."""
        named = {
            "state lost": self.states.lost,
            "state doubled": self.states.doubled,
            "state contradicted": self.states.contradicted,
            "mail lost": self.mails.lost,
            "mail doubled": self.mails.doubled,
            "mail false": self.mails.false,
            "not settled in time": self.unsettled,
        }
        return [f"{name}: {what}" for name, found in named.items() for what in found]

    def __str__(self) -> str:
        rows = [f"{name:<{WIDTH}}{value}" for name, value in self._rows()]
        return "\n".join(rows + self.wrong[:SHOWN])

    def _rows(self) -> Iterator[tuple[str, str]]:
        yield "seed", f"{self.seed}"
        yield "load", f"{self.runs} runs in {self.seconds:.0f} s, {len(self.hanging)} left hanging by Airflow"
        yield f"kills: {self.kills.total()}", _listed({kill.value: n for kill, n in self.kills.items()})
        yield "beside them", _listed(self.oddities) or "nothing ended or stalled by itself"
        for edge, counts in self.cuts.items():
            yield edge, _listed({cut.value: n for cut, n in counts.items()})
        yield "SMTP answers", _listed(self.replies)
        yield "terminal states", self._states()
        yield "mails", self._mails()

    def _states(self) -> str:
        states = self.states
        return (
            f"{states.held}: told {states.told} (by hook {states.by['listener']}, by reconciler "
            f"{states.by['reconciler']}), lost {len(states.lost)}, doubled {len(states.doubled)}, "
            f"contradicted {len(states.contradicted)}; taken back by Airflow {len(states.taken_back)}"
        )

    def _mails(self) -> str:
        mails = self.mails
        return (
            f"expected {mails.expected}, accepted {mails.accepted}, lost {len(mails.lost)}, doubled "
            f"{len(mails.doubled)}, uncertain {mails.uncertain.total()} ({mails.uncertain['taken']} taken), "
            f"refused for good {mails.refused}, false {len(mails.false)}; superseded {mails.superseded}"
        )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {counts[name]}" for name in sorted(counts) if counts[name])
