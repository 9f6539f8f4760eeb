"""The page `/settings`: the rules in force, and the mistakes of a rules file that was refused.

Rules name DAGs and people, so only those who may read every DAG see this page.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.notifications import silences
from monitor.rules.field_types import format_duration
from monitor.rules.loader import MAX_BYTES
from monitor.rules.model import Config
from monitor.rules.reload import LiveRules
from monitor.rules.yaml_source import Mistake, RulesError
from monitor.web import rule_descriptions
from monitor.web.dependencies import PagePrincipal
from monitor.web.pages.events import live
from monitor.web.services import ServicesDep
from monitor.web.templating import render

SHOWN = 20  # mistakes
SHOWN_LINE = 160  # characters
HIDDEN = "…"

# A line that does not parse may hold a secret anywhere, so what looks like one goes: webhook keys, what a URL
# has behind its scheme, and the value of a field that is named for a secret.
_SECRETS = (
    re.compile(r"(whsec_)\S+"),
    re.compile(r"(://)[^\s\"',\]}]+"),
    re.compile(r"((?:secret|password|token|key)[\"']?\s*[:=]\s*)(?!\$\{\w+\}\s*$)\S.*", re.IGNORECASE),
)
_OF_SECRETS = re.compile(r"\b(apprise|webhook|secret|url)\b")
"""Places in the file whose lines are values that may be secret whatever they look like."""
_VALUE = re.compile(r"^(\s*(?:-\s+)?(?:[\w\"'-]+\s*:\s*)?)\S.*")
_IN_LIST = re.compile(r"^(\s*(?:-\s*)?apprise[\"']?\s*:\s*)\S.*", re.IGNORECASE)


@dataclass(frozen=True)
class MistakeExcerpt:
    """A mistake with its line of the file."""

    line: int | None
    text: str | None
    """The text of the line, as the file is now. None if the line does not exist."""
    where: str
    message: str


def describe_mistakes(path: Path | None, problem: RulesError) -> list[MistakeExcerpt]:
    """Return the mistakes with their lines. This reads the file anew and blocks."""
    lines = _lines(path)
    return [
        MistakeExcerpt(mistake.line, _text(lines, mistake), mistake.where, mistake.message)
        for mistake in problem.mistakes[:SHOWN]
    ]


def _lines(path: Path | None) -> list[str]:
    if path is None or not path.is_file():
        return []
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _text(lines: list[str], mistake: Mistake) -> str | None:
    number = mistake.line
    if number is None or not 0 < number <= len(lines):
        return None
    text = lines[number - 1]
    if _OF_SECRETS.search(mistake.where):
        return _VALUE.sub(rf"\g<1>{HIDDEN}", text)[:SHOWN_LINE]
    return redact_line(text)[:SHOWN_LINE]


def redact_line(text: str) -> str:
    """Return a line without what may be a secret in it."""
    for secret in (*_SECRETS, _IN_LIST):
        text = secret.sub(rf"\g<1>{HIDDEN}", text)
    return text


router = APIRouter(include_in_schema=False)


@router.get("/settings")
async def settings(request: Request, services: ServicesDep, principal: PagePrincipal) -> HTMLResponse:
    """Show the rules, receivers, quiet hours, watches and the budget, with mistakes first."""
    if not await services.authenticator.reads_every_dag(principal):
        raise HTTPException(
            403, "The rules name DAGs and people: this page is for those who may read every DAG in Airflow."
        )
    problem = services.rules.problem
    mistakes = []
    if problem:
        mistakes = await services.database.run(partial(describe_mistakes, services.rules.path, problem))

    def load(connection: Connection) -> dict[str, Any]:
        return live(connection) | {"unsubscribed": silences.unsubscriptions(connection)}

    values = await services.database.read(load)
    description = _describe_config(services.rules.current.config)
    return render(
        request,
        "settings.html",
        principal,
        mistakes=mistakes,
        source=_source(services.rules),
        **description,
        **values,
    )


def _source(rules: LiveRules) -> dict[str, Any]:
    has_file = rules.path is not None and rules.path.is_file()
    path = str(rules.path) if rules.path else None
    return {"path": path, "has_file": has_file, "read_at": rules.read_at, "problem": rules.problem}


def _describe_config(config: Config) -> dict[str, Any]:
    quiet = config.quiet_hours.items()
    return {
        "config": config,
        "rules": [rule_descriptions.rule(rule) for rule in config.rules],
        "receivers": [
            rule_descriptions.receiver(name, receiver) for name, receiver in config.receivers.items()
        ],
        "quiet_hours": [
            rule_descriptions.quiet_hours(name, quiet_hours, config) for name, quiet_hours in quiet
        ],
        "watches": [rule_descriptions.watch(watch) for watch in config.watches if not watch.off],
        "digest_every": format_duration(config.budget.digest_every),
    }
