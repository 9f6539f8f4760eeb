"""The loader of the rules file, and the rules that apply without a file.

`default_config` gives the rules without a file. A success that closes an incident is reported as
`recovered`, and not by a `success` rule too. The `recovered` message also says what had failed, and for how
long. The engine does so for every rules file. People whom only the `success` rule reaches are notified by
that rule.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from monitor.rules.model import Config, Group, Match, Receiver, Rule, Watch
from monitor.rules.targets import SUCCESS, TAG
from monitor.rules.validation import CheckContext, CheckUrl, mistakes_in, mistakes_of
from monitor.rules.yaml_source import Mistake, RulesError, Source, UnreadableSource, names_in, read

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
    except UnreadableSource as refused:
        raise RulesError(path.name, [refused.mistake]) from None
    if source.mistakes:
        raise RulesError(path.name, source.mistakes)
    if source.data is None:
        return defaults
    given = _validate(path.name, source, defaults)
    merged = _merge(given, defaults)
    mistakes = mistakes_in(CheckContext(given, merged, source, check_url, templates))
    if mistakes:
        raise RulesError(path.name, mistakes)
    return merged


def variables_asked_for(path: Path) -> set[str]:
    """Return the names of the variables in a rules file; none of one that cannot be read."""
    try:
        return names_in(_text(path))
    except UnreadableSource:
        return set()


def _text(path: Path) -> str:
    """Raises UnreadableSource."""
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


def _validate(name: str, source: Source, defaults: Config) -> Config:
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


def _merge(given: Config, defaults: Config) -> Config:
    said = {name: getattr(given, name) for name in given.model_fields_set}
    again = {watch.name for watch in given.watches}
    watches = [*(watch for watch in defaults.watches if watch.name not in again), *given.watches]
    # One that is off for some DAGs only takes them from the one for all (monitor/watches/thresholds.py).
    said["watches"] = tuple(watch for watch in watches if not watch.off or watch.is_for_some)
    said["receivers"] = {**defaults.receivers, **given.receivers}
    return defaults.model_copy(update=said)


DEFAULT_RECEIVER = "default"
"""NOTIFICATION_EMAIL_TO. A file that gives a receiver of this name says anew whom the default rules tell."""

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
    """Failures and what ends them, successes of the DAGs that ask for it or are named, what watches find."""
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
                # A scheduler that is dead makes a missing run of each DAG: one mail tells of all.
                group=Group(by=("deployment", "type"), wait=WATCHES_WAIT),
            ),
        ),
        watches=_WATCHES,
    )


def _successes(notify_success: Sequence[str]) -> Match:
    named = [Match(dag_id=tuple(notify_success))] if notify_success else []
    return Match(type=("airflow.dag_run.success",), any_of=(Match(tags=(f"{TAG}{SUCCESS}",)), *named))
