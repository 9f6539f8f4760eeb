"""Where the templates are: beside the package in a checkout, inside it in a wheel (see pyproject.toml)."""

from pathlib import Path

from monitor.errors import SettingsError

_PACKAGE = Path(__file__).resolve().parents[1]
_PLACES = (_PACKAGE / "_templates", _PACKAGE.parent / "templates")


def templates_folder() -> Path:
    """The folder that holds `email/` and `web/`. Raises SettingsError where it is missing."""
    for place in _PLACES:
        if (place / "email").is_dir():
            return place
    raise SettingsError(f"templates: none at {' or '.join(map(str, _PLACES))}; install Windsock anew")
