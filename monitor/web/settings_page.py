"""`/settings`: the rules in force, in words, and what is wrong with a rules file that is not.

Rules name DAGs and people, so this page is for those who may read every DAG.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor import unsubscribed
from monitor.rules import Config, LiveRules
from monitor.rules.durations import written
from monitor.web import broken_rules, rules_told
from monitor.web.pages import live
from monitor.web.reader import PageReader
from monitor.web.rendering import render
from monitor.web.services import Here

router = APIRouter(include_in_schema=False)


@router.get("/settings")
async def settings(request: Request, here: Here, reader: PageReader) -> HTMLResponse:
    """Rules, receivers, quiet hours, watches, the budget; mistakes first."""
    if not await here.gate.reads_every_dag(reader):
        raise HTTPException(
            403, "The rules name DAGs and people: this page is for those who may read every DAG in Airflow."
        )
    problem = here.rules.problem
    mistakes = await asyncio.to_thread(broken_rules.shown, here.rules.path, problem) if problem else []

    def look(connection: Connection) -> dict[str, Any]:
        return live(connection) | {"unsubscribed": unsubscribed.page(connection)}

    shown = await here.database.read(look)
    told = _told(here.rules.current.config)
    return render(
        request, "settings.html", reader, mistakes=mistakes, source=_source(here.rules), **told, **shown
    )


def _source(rules: LiveRules) -> dict[str, Any]:
    has_file = rules.path is not None and rules.path.is_file()
    path = str(rules.path) if rules.path else None
    return {"path": path, "has_file": has_file, "read_at": rules.read_at, "problem": rules.problem}


def _told(config: Config) -> dict[str, Any]:
    quiet = config.quiet_hours.items()
    return {
        "config": config,
        "rules": [rules_told.rule(one) for one in config.rules],
        "receivers": [rules_told.receiver(name, one) for name, one in config.receivers.items()],
        "quiet_hours": [rules_told.quiet_hours(name, one, config) for name, one in quiet],
        "watches": [rules_told.watch(one) for one in config.watches if not one.off],
        "digest_every": written(config.budget.digest_every),
    }
