"""The list of the pages that are generated from the code; a test compares each with its file."""

from collections.abc import Callable
from pathlib import Path

from scripts.docs_reference import api, bounds, cli, event_types, settings

DOCS = Path(__file__).parents[2] / "docs"

PAGES: dict[str, Callable[[], str]] = {
    "api-reference.md": api.page,
    "cli.md": cli.page,
    "event-types.md": event_types.page,
    "settings.md": settings.page,
    "threat-model.md": bounds.page,
}
