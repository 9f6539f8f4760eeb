"""The rules that settings ask for: those of their file, or the default ones."""

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from monitor.clock import Clock
from monitor.rules.checks_receivers import CheckUrl
from monitor.rules.defaults import default_config
from monitor.rules.live import LiveRules
from monitor.rules.loading import load_config
from monitor.rules.ruleset import Rules
from monitor.settings import Settings


def live_rules(
    settings: Settings,
    environment: Mapping[str, str],
    clock: Clock,
    check_url: CheckUrl | None = None,
    templates: Collection[str] | None = None,
) -> LiveRules:
    """Raises RulesError where the file is there and wrong, or is named and not there."""
    defaults = default_config(settings.notification_email_to, settings.notify_success)
    load = partial(
        load_config, environment=environment, defaults=defaults, check_url=check_url, templates=templates
    )
    return LiveRules(settings.rules_file, load, defaults, clock, is_named=settings.config is not None)


def rules_of(
    path: Path, settings: Settings, environment: Mapping[str, str], check_url: CheckUrl | None = None
) -> Rules:
    """Those of any file: to be tried. Raises RulesError."""
    defaults = default_config(settings.notification_email_to, settings.notify_success)
    return Rules(load_config(path, environment, defaults, check_url))
