"""Which open incident is that of a file: REST names it by bundle and path, a hook by its whole path."""

from datetime import datetime

from sqlalchemy import Connection

from monitor import board
from monitor.board import Place
from monitor.events import Event
from monitor.incidents import store
from monitor.incidents.closing import merge
from monitor.incidents.signals import IMPORT_ERROR, import_error_key, import_error_title
from monitor.incidents.store import Incident


def open_of_file(connection: Connection, event: Event) -> Incident | None:
    """The open incident of the file that an import error's event is about, under whichever name."""
    bundle, filename = event.get("bundle_name"), str(event.get("filename"))
    if bundle is None:
        places = board.places_of(connection, event.deployment, filename)
        keys = [import_error_key(None, filename), *(import_error_key(*place) for place in places)]
        return _first(connection, event.deployment, keys)
    found = _first(connection, event.deployment, [import_error_key(bundle, filename)])
    return found or _told_by_a_hook(connection, event.deployment, Place(bundle, filename))


def _first(connection: Connection, deployment: str, keys: list[str]) -> Incident | None:
    return next(iter(store.open_of(connection, [(deployment, key) for key in keys])), None)


def _told_by_a_hook(connection: Connection, deployment: str, place: Place) -> Incident | None:
    """The one that a hook has named by its whole path, where that can be one file only."""
    may_be = [
        one
        for one in store.open_with_prefix(connection, deployment, f"{IMPORT_ERROR}/")
        if board.is_below(one.key.removeprefix(IMPORT_ERROR), place.path)
    ]
    if len(may_be) != 1:  # in doubt they are two
        return None
    return _named(connection, may_be[0], place)


def name_file(connection: Connection, deployment: str, filename: str, place: Place, now: datetime) -> None:
    """Let the open incident of a file that a hook named have the name that REST gives it. If there is one of
    that name already, it is of the same file, and goes on with what this one had."""
    incident = _first(connection, deployment, [import_error_key(None, filename)])
    if incident is None:
        return
    other = _first(connection, deployment, [import_error_key(*place)])
    if other is None:
        _named(connection, incident, place)
    else:
        merge(connection, incident, other, f"it is of the same file as incident {other.id}", now)


def _named(connection: Connection, incident: Incident, place: Place) -> Incident:
    return store.rename(connection, incident, import_error_key(*place), import_error_title(place.path))
