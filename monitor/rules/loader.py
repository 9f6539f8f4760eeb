"""The loader of the rules file, and the rules that apply without a file.

`default_config` gives the rules without a file. A success that closes an incident is reported as
`recovered`, and not by a `success` rule too. The `recovered` message also says what had failed, and for how
long. The engine does so for every rules file. Recipients that only the `success` rule reaches are notified
by that rule."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from monitor.rules.model import Config, Group, Match, Receiver, Rule, Watch
from monitor.rules.targets import SUCCESS, TAG
from monitor.rules.validation import CheckContext, CheckUrl, mistakes_in, mistakes_of
from monitor.rules.yaml_source import KeyPath, Mistake, RulesError, Source, UnreadableSource, names_in, read
from monitor.secret_files import PREFIX, SECRETS

OWN_SECRETS = frozenset(f"{PREFIX}{name.upper()}" for name in SECRETS)
AIRFLOW_VARIABLES = "AIRFLOW__"  # how variables of Airflow's configuration begin: keys, databases
MAX_BYTES = 256 * 1024  # a thousand rules. The file is read whole, and again after each change


@dataclass(frozen=True)
class LoadedRules:
    """The rules in force, and the place of each in the file."""

    config: Config
    source: Source


def load_config(
    path: Path,
    environment: Mapping[str, str],
    defaults: Config,
    check_url: CheckUrl | None = None,
    templates: Collection[str] | None = None,
) -> Config:
    """Return the rules of a file.
    Raises RulesError.

    `environment` holds the values of ${NAME}. `check_url` returns why an Apprise URL cannot be used, or
    None. `templates` are the names that a rule may give, or None for any name."""
    return load_rules(path, environment, defaults, check_url, templates).config


def load_rules(
    path: Path,
    environment: Mapping[str, str],
    defaults: Config,
    check_url: CheckUrl | None = None,
    templates: Collection[str] | None = None,
) -> LoadedRules:
    """Return the rules of a file with their places in it. Raise RulesError that names every mistake.

    A value that cannot be read hides no other mistake: the rest of the file is checked without it.
    """
    try:
        text = _text(path)
        source = read(text, environment)
    except UnreadableSource as refused:
        raise RulesError(path.name, [refused.mistake]) from None
    if source.data is None and not source.mistakes:
        return LoadedRules(defaults, source)
    config, wrong = _validate(source, defaults)
    mistakes = [*source.mistakes, *_check_variables(source)]
    unread = {mistake.where for mistake in mistakes}  # what could not be read is not wrong once more
    mistakes += [mistake for mistake in mistakes_of(source, wrong) if mistake.where not in unread]
    if config is not None:
        merged = _merge(config, defaults)
        left_out = [_path(error) for error in wrong]
        found = mistakes_in(CheckContext(config, merged, source, check_url, templates), left_out)
        mistakes += [mistake for mistake in found if mistake.where not in unread]
    if mistakes or config is None:
        raise RulesError(path.name, sorted(mistakes, key=lambda mistake: mistake.line or 0))
    return LoadedRules(merged, source)


def _check_variables(source: Source) -> Iterator[Mistake]:
    """Yield the places that name a secret of the monitor or of Airflow.

    A rule's name stands on pages and in mails, and a receiver gets its URL. Authors of rules would read the
    secret there, and show it to every reader.
    """
    for path, place in source.places.items():
        for name in sorted(names_in(place.written or "")):
            if name in OWN_SECRETS or name.startswith(AIRFLOW_VARIABLES):
                yield source.mistake(
                    path,
                    f"names {name}, a secret of the monitor or of Airflow, which no rules file may show; "
                    "give the receiver a secret of its own, in a variable of another name",
                    show=False,
                )


def variables_asked_for(path: Path) -> set[str]:
    """Return the names of the variables in a rules file, or none if the file cannot be read."""
    try:
        return names_in(_text(path))
    except UnreadableSource:
        return set()


def _text(path: Path) -> str:
    """Return the file's text. Raises UnreadableSource."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, for ever
            raise UnreadableSource(Mistake(None, "", "is no file; set WINDSOCK_CONFIG to one"))
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or repr(error)
        raise UnreadableSource(
            Mistake(None, "", f"cannot be read ({reason}); put it there, or set WINDSOCK_CONFIG to another")
        ) from None
    if len(raw) > MAX_BYTES:
        raise UnreadableSource(
            Mistake(None, "", f"is larger than {MAX_BYTES // 1024} KiB, which no rules file needs")
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UnreadableSource(Mistake(line, "", "is not in UTF-8; save it in that encoding")) from None


MAX_ROUNDS = 4  # a value left out may leave out what is required, and a second round finds hardly anything
STAND_INS: Mapping[str, Any] = {
    "watch": "missing",
    "start": "22:00",
    "end": "06:00",
    "url": "https://stand-in.invalid",
    "secret": "whsec_" + "A" * 32,
}
"""Values of required fields, for a file that is refused anyway: so the rest of it is checked."""


def _validate(source: Source, defaults: Config) -> tuple[Config | None, list[Any]]:
    """Return the file's content without what is wrong in it, and pydantic's errors about that.

    Return None if too much is wrong for the rest to be checked.
    """
    if isinstance(source.data, dict):
        _inherit(source.data, {watch.name: watch for watch in defaults.watches})
    first: list[Any] = []
    for _ in range(MAX_ROUNDS):
        try:
            return Config.model_validate(source.data), first
        except ValidationError as error:
            found = error.errors(include_url=False)
        first = first or found
        if not isinstance(source.data, dict):
            break
        for error_found in found:
            _leave_out(source.data, _path(error_found), error_found["type"])
    return None, first


def _path(error: Any) -> KeyPath:
    return tuple(part for part in error["loc"] if part != "[key]")


def _leave_out(data: dict[str, Any], path: KeyPath, kind: str) -> None:
    """Remove the field that holds a wrong value. A required field gets a stand-in."""
    holder: dict[Any, Any] = data
    key, inner = path[0], cast("Any", data)
    for part in path:
        try:
            value = inner[part]
        except (KeyError, IndexError, TypeError):
            break
        if isinstance(inner, dict):
            holder, key = inner, part
        elif not isinstance(value, dict) and inner in (data.get("rules"), data.get("watches")):
            inner[part] = {}  # not taken away: the others keep their numbers
            return
        inner = value
    if kind == "missing" and isinstance(inner, dict):
        name = str(path[-1])
        inner[name] = STAND_INS.get(name, f"{path[0]}[{path[1]}]" if len(path) > 1 else name)
    else:
        holder.pop(key, None)


def _inherit(data: dict[str, Any], defaults: Mapping[str, Watch]) -> None:
    """Fill in a default watch's fields if a watch of the file has its name and no other kind."""
    watches = data.get("watches")
    if not isinstance(watches, list):
        return
    for number, entry in enumerate(watches):
        name = entry.get("name") if isinstance(entry, dict) else None
        inherited = defaults.get(name) if isinstance(name, str) else None
        if inherited and entry.get("watch", inherited.watch) == inherited.watch:
            watches[number] = {**inherited.model_dump(mode="json", exclude_unset=True), **entry}


def _merge(config: Config, defaults: Config) -> Config:
    fields = {name: getattr(config, name) for name in config.model_fields_set}
    again = {watch.name for watch in config.watches}
    watches = [*(watch for watch in defaults.watches if watch.name not in again), *config.watches]
    # One that is off for some DAGs only takes them from the one for all (monitor/watches/thresholds.py).
    fields["watches"] = tuple(watch for watch in watches if not watch.off or watch.is_for_some)
    fields["receivers"] = {**defaults.receivers, **config.receivers}
    return defaults.model_copy(update=fields)


DEFAULT_RECEIVER = "default"
"""The receiver of NOTIFICATION_EMAIL_TO. A file with a receiver of this name replaces the recipients of the
default rules."""

_TO = (DEFAULT_RECEIVER,)
WATCHES_WAIT = timedelta(seconds=10)  # what one look found comes within a second
_WATCHES = (
    Watch(name="missing", watch="missing", after=timedelta(minutes=15)),
    Watch(name="stuck", watch="stuck"),
    Watch(name="auto_paused", watch="auto_paused"),
    Watch(name="component", watch="component", after=timedelta(minutes=2)),
    Watch(name="unreachable", watch="unreachable", after=timedelta(minutes=5)),
    Watch(name="mail", watch="mail", after=timedelta(minutes=10)),
)


def default_config(recipients: Sequence[str], notify_success: Sequence[str]) -> Config:
    """Return the default rules.
    They report failures and their ends, findings of watches, and successes of the DAGs that ask for it or
    are named."""
    return Config(
        receivers={DEFAULT_RECEIVER: Receiver(email=tuple(recipients))},
        rules=(
            Rule(
                name="failures",
                match=Match(type=("airflow.dag_run.failed", "airflow.dag_run.success")),
                notify_on=("first_failure", "recovered"),
                to=_TO,
            ),
            Rule(name="successes", match=_successes(notify_success), notify_on=("success",), to=_TO),
            Rule(
                name="import-errors",
                match=Match(type=("airflow.dag.import_error", "airflow.dag.import_error_mended")),
                notify_on=("first_failure", "recovered"),
                to=_TO,
            ),
            Rule(
                name="watches",
                match=Match(type=("windsock.*", "airflow.component.*")),
                notify_on=("first_failure", "recovered", "notice"),
                to=_TO,
                # A dead scheduler makes a missing run of each DAG: one mail reports all.
                group=Group(by=("deployment", "type"), wait=WATCHES_WAIT),
            ),
        ),
        watches=_WATCHES,
    )


def _successes(notify_success: Sequence[str]) -> Match:
    matches = [Match(dag_id=tuple(notify_success))] if notify_success else []
    return Match(type=("airflow.dag_run.success",), any_of=(Match(tags=(f"{TAG}{SUCCESS}",)), *matches))
