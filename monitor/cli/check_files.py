"""The parts of `windsock check` that need no connection: settings, rules and templates."""

from collections.abc import Mapping
from dataclasses import dataclass

from monitor.clock import utc_now
from monitor.notifications.incident_signals import occasions_of
from monitor.notifications.outbox.records import TEMPLATES
from monitor.rules.loader import default_config, load_rules, variables_asked_for
from monitor.rules.ruleset import find_idle
from monitor.rules.validation import CheckUrl
from monitor.rules.yaml_source import RulesError, format_mistake
from monitor.settings import Settings
from monitor.settings_loading import unknown_variables


@dataclass(frozen=True)
class CheckResult:
    """The result of one check. `remedy` is empty if all is well."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    is_warning: bool = False
    """True if the part works (`ok`), but probably not as intended."""

    @property
    def sign(self) -> tuple[str, str]:
        """The word that begins the line, and its color."""
        if self.is_warning:
            return "warning", "yellow"
        return ("ok     ", "green") if self.ok else ("broken ", "red")


def check_variables(
    settings: Settings, environment: Mapping[str, str], mistakes: list[str]
) -> list[CheckResult]:
    """Return the results about the settings: their mistakes, and variables that are not read."""
    unknown = list(unknown_variables(environment, variables_asked_for(settings.rules_file)))
    found = []
    if mistakes:
        remedy = "Mend each (docs/settings.md). The connections are tried once the settings can be used."
        found.append(CheckResult("settings", False, "\n".join(mistakes), remedy))
    if unknown:
        remedy = "Correct each name, or take the variable away (docs/settings.md has every name)."
        found.append(CheckResult("settings", False, "; ".join(unknown), remedy))
    return found or [CheckResult("settings", True, "every WINDSOCK_… variable is one that is read")]


def check_rules(
    settings: Settings, environment: Mapping[str, str], check_url: CheckUrl | None
) -> list[CheckResult]:
    """Return the results about the rules file, or about the default rules if there is no file."""
    file = settings.rules_file
    defaults = default_config(settings.notification_email_to, settings.notify_success)
    if settings.config is None and not file.exists():
        says = CheckResult("rules", True, f"no file at {file}: the {len(defaults.rules)} default rules hold")
        nobody = "the default rules notify nobody: no address is set"
        remedy = "Set NOTIFICATION_EMAIL_TO, or write a rules file (docs/rules.md)."
        warned = [] if settings.notification_email_to else [_warning(nobody, remedy)]
        return [says, *warned]
    try:
        found = load_rules(file, environment, defaults, check_url, _template_names(settings))
    except RulesError as error:
        remedy = "Mend each line (docs/rules.md). A monitor that runs keeps to the last good file until then."
        return [CheckResult("rules", False, f"{file} cannot be used:\n{error}", remedy)]
    config = found.config
    counts = {"rules": config.rules, "receivers": config.receivers, "watches": config.watches}
    says = CheckResult(
        "rules", True, f"{file}: " + ", ".join(f"{name} {len(of)}" for name, of in counts.items())
    )
    idle = (
        format_mistake(file.name, found.source.mistake(("rules", number), reason, show=False))
        for number, reason in find_idle(config, occasions_of)
    )
    return [says, *(_warning(reason, "Mend the rule, or take it out (docs/rules.md).") for reason in idle)]


def _warning(detail: str, remedy: str) -> CheckResult:
    return CheckResult("rules", True, detail, remedy, is_warning=True)


def _template_names(settings: Settings) -> set[str]:
    own = settings.templates.glob("*.j2") if settings.templates else ()
    return {*TEMPLATES, *(file.name.partition(".")[0] for file in own)}


def check_templates(settings: Settings) -> list[CheckResult]:
    """Return the results about every template that the user's folder changes, with made-up data."""
    if settings.templates is None:
        return [CheckResult("templates", True, "no WINDSOCK_TEMPLATES is set: the built-in ones are used")]
    from monitor.delivery.messages.renderer import Renderer

    renderer = Renderer(
        settings.sender, settings.url, settings.airflow_pages, utc_now, overrides=settings.templates
    )
    found = renderer.templates()
    if problems := [template.problem for template in found if template.problem]:
        remedy = "Mend it: `windsock preview` shows it. Until then notifications use the built-in template."
        return [CheckResult("templates", False, f"{settings.templates}: {'; '.join(problems)}", remedy)]
    own = sum(template.overridden for template in found)
    return [CheckResult("templates", True, f"{settings.templates}: {own} of your own can be used")]
