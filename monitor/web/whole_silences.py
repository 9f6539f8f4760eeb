"""The banner of a whole Airflow that is silenced: who opens a page has to know that nobody is notified."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import Request

from monitor import silences
from monitor.event_log import Visible
from monitor.rules.globs import matches_any
from monitor.silences import Silence
from monitor.web.gate import Reader
from monitor.web.services import Services

SHOWN = 3  # banners: more say nothing that these do not


@dataclass(frozen=True)
class WholeSilence:
    """One of them, as this reader may know it."""

    airflows: str
    ends_at: datetime
    by: str | None
    """Who silenced it, and why; None: the reader does not see whose silences are of more than one DAG."""


async def look_up(request: Request, here: Services, reader: Reader) -> None:
    """Find those that a page for this reader shows; `of()` has them."""
    now = here.clock()
    found = await here.database.read(lambda connection: silences.active(connection, now))
    whole = [one for one in found if one.is_whole]
    if whole:  # hardly ever: what the reader may see is asked for then alone
        request.state.whole_silences = _shown(whole, await here.gate.sight(reader))


def of(request: Request) -> Sequence[WholeSilence]:
    return getattr(request.state, "whole_silences", ())


def _shown(whole: Sequence[Silence], visible: Visible) -> list[WholeSilence]:
    if visible is None:
        return [
            WholeSilence(_airflows(one), one.ends_at, f"{one.author}: {one.reason}") for one in whole[:SHOWN]
        ]
    known = {deployment for deployment, _ in visible}
    shown = []
    for one in whole:
        globs = one.match.deployment or ("*",)
        if names := sorted(name for name in known if matches_any(globs, name)):
            shown.append(WholeSilence(f"the Airflow {' and '.join(names)}", one.ends_at, None))
    return shown[:SHOWN]


def _airflows(one: Silence) -> str:
    globs = one.match.deployment
    return f"the Airflow {' and '.join(globs)}" if globs and "*" not in globs else "every Airflow"
