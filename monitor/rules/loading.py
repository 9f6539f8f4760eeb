"""windsock.yaml, from the disk to a Config; or every mistake in it, with its line."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from monitor.rules.checks import Checking, mistakes_in
from monitor.rules.checks_receivers import CheckUrl
from monitor.rules.mistakes import Mistake, RulesError
from monitor.rules.model import Config, Watch
from monitor.rules.source import Refused, Source, read
from monitor.rules.variables import names_in
from monitor.rules.wording import mistakes_of

MAX_BYTES = 256 * 1024  # a thousand rules; it is read whole, and again after each change


def load_config(
    path: Path,
    environment: Mapping[str, str],
    defaults: Config,
    check_url: CheckUrl | None = None,
    templates: Collection[str] | None = None,
) -> Config:
    """Raises RulesError.

    `environment`: where ${NAME} is taken from. `check_url` answers why an Apprise URL cannot be used, or
    None. `templates`: the names that a rule may give; None: any.
    """
    try:
        text = _text(path)
        source = read(text, environment)
    except Refused as refused:
        raise RulesError(path.name, [refused.mistake]) from None
    if source.mistakes:
        raise RulesError(path.name, source.mistakes)
    if source.data is None:
        return defaults
    given = _validated(path.name, source, defaults)
    merged = _merged(given, defaults)
    mistakes = mistakes_in(Checking(given, merged, source, check_url, templates))
    if mistakes:
        raise RulesError(path.name, mistakes)
    return merged


def variables_asked_for(path: Path) -> set[str]:
    """Return the names of the variables in a rules file; none of one that cannot be read."""
    try:
        return names_in(_text(path))
    except Refused:
        return set()


def _text(path: Path) -> str:
    """Raises Refused."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, for ever
            raise Refused(Mistake(None, "", "is no file; set WINDSOCK_CONFIG to one"))
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or repr(error)
        raise Refused(
            Mistake(None, "", f"cannot be read ({reason}); put it there, or set WINDSOCK_CONFIG to another")
        ) from None
    if len(raw) > MAX_BYTES:
        raise Refused(Mistake(None, "", f"is larger than {MAX_BYTES // 1024} KiB, which no rules file needs"))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Refused(Mistake(line, "", "is not in UTF-8; save it in that encoding")) from None


def _validated(name: str, source: Source, defaults: Config) -> Config:
    if isinstance(source.data, dict):
        _inherit(source.data, {watch.name: watch for watch in defaults.watches})
    try:
        return Config.model_validate(source.data)
    except ValidationError as error:
        mistakes = mistakes_of(source, error.errors(include_url=False))
        raise RulesError(name, sorted(mistakes, key=lambda one: one.line or 0)) from None


def _inherit(data: dict[str, Any], defaults: Mapping[str, Watch]) -> None:
    """A watch that has a default one's name and no other kind is that one but for what the file says."""
    watches = data.get("watches")
    if not isinstance(watches, list):
        return
    for number, given in enumerate(watches):
        name = given.get("name") if isinstance(given, dict) else None
        known = defaults.get(name) if isinstance(name, str) else None
        if known and given.get("watch", known.watch) == known.watch:
            watches[number] = {**known.model_dump(mode="json", exclude_unset=True), **given}


def _merged(given: Config, defaults: Config) -> Config:
    said = {name: getattr(given, name) for name in given.model_fields_set}
    again = {watch.name for watch in given.watches}
    watches = [*(watch for watch in defaults.watches if watch.name not in again), *given.watches]
    # One that is off for some DAGs only takes them from the one for all (monitor/watches/choice.py).
    said["watches"] = tuple(watch for watch in watches if not watch.off or watch.is_for_some)
    said["receivers"] = {**defaults.receivers, **given.receivers}
    return defaults.model_copy(update=said)
