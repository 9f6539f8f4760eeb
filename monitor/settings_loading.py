"""The reading of settings.

They come from the environment, `.env`, the files of secrets, and what `windsock up` keeps."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError, model_validator

from monitor.errors import SettingsError
from monitor.renamed import require_new_names
from monitor.secret_files import (
    SECRETS,
    read_secrets,
    require_own_env_file,
    require_own_home,
    secrets_files,
)
from monitor.settings import Settings
from monitor.settings_values import describe_mistake

ENV_FILE = Path(".env")
"""The file in the folder in which the command is called. It counts only if it is this user's."""
UP_FILE = "up.env"
"""The file in the home with the settings and secrets of the monitor that `windsock up` runs. Only its user
may read it."""
DECIDING = ("WINDSOCK_AIRFLOW_URL", "WINDSOCK_AUTH")
"""The settings of a separate monitor. A user who sets one of them does not mean the monitor of `windsock
up`."""
PREFIX = "WINDSOCK_"
NO_SETTINGS = (
    *("WINDSOCK_TOKEN", "WINDSOCK_MOVE_TO"),  # options of `windsock tail` and `windsock move`
    *("WINDSOCK_MODELS_DIR", "WINDSOCK_TRAINING_CSV", "WINDSOCK_TRAINING_RUNS"),  # of this repository's DAGs
)
"""Variables that other programs read, which may share the environment or `.env` with the monitor."""


def load_environment(environ: Mapping[str, str], env_file: Path | None = ENV_FILE) -> dict[str, str]:
    """Return the variables that ${NAME} in the rules file may name: the environment, and below it `.env`.
    Raises SettingsError if `.env` is not this user's."""
    file: Mapping[str, str | None] = {}
    if env_file and env_file.is_file():
        require_own_env_file(env_file)
        file = dotenv_values(env_file)
    return {**{name: value for name, value in file.items() if value is not None}, **environ}


def unknown_variables(environment: Mapping[str, str], used: Collection[str] = ()) -> Iterator[str]:
    """Yield a sentence for each variable that begins like a setting and is none.
    A misspelt setting leaves its default in force. `used` are the names that the rules file asks for."""
    known_names = {
        *(name.upper() for name in Settings.model_fields),
        *(f"{name.upper()}_FILE" for name in SECRETS),
    }
    for name in sorted(environment):
        own = name.upper().removeprefix(PREFIX)
        if name.upper().startswith(PREFIX) and own not in known_names and name not in (*NO_SETTINGS, *used):
            near = get_close_matches(own, sorted(known_names), n=1)
            yield f"{name} is no setting" + (f"; did you mean {PREFIX}{near[0]}?" if near else "")


def variables() -> dict[str, str]:
    """Return each setting's variable by its field's name."""
    return {name: _variable(name, field.validation_alias) for name, field in Settings.model_fields.items()}


def _variable(name: str, alias: Any) -> str:
    return str(alias.choices[0]) if alias else f"{PREFIX}{name.upper()}"


def load_settings(env_file: Path | None = ENV_FILE, **overrides: Any) -> Settings:
    """Read the environment, `.env` and the secrets' files. Raises SettingsError that names each wrong
    variable."""
    return _load(env_file, overrides, load_environment(os.environ, env_file))


def load_settings_of_up() -> tuple[Settings, Path | None]:
    """Read the settings as load_settings does, or else those of the last `windsock up`.
    The latter count if the former name no Airflow and no way to sign in. Their file is returned too. The
    environment wins over it. Raises SettingsError."""
    environment = load_environment(os.environ)
    own, file = _kept_by_up(environment)
    return _load(ENV_FILE, own, environment), file


def find_mistakes() -> tuple[Settings, Path | None, list[str]]:
    """Read the settings as load_settings_of_up does, and return each mistake in them too.
    A wrong setting is left out. Raises SettingsError if the settings' files must not be read."""
    environment = load_environment(os.environ)
    own, file = _kept_by_up(environment)
    settings, mistakes = _read(_SeparateSettings, ENV_FILE, own, environment)
    wrong = {_field_of(mistake) for mistake in mistakes}
    if settings is None:
        fields = {name: field for name, field in Settings.model_fields.items() if name in wrong}
        defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
        settings, again = _read(_SeparateSettings, ENV_FILE, {**own, **defaults}, environment)
        if settings is None:
            raise SettingsError("\n".join(dict.fromkeys([*mistakes, *again])))
    # A setting that was left out fits nothing: only its own mistake is said.
    misfits = [misfit for misfit in settings.misfits() if not any(name in misfit for name in wrong)]
    return settings, file, [*mistakes, *misfits]


def _field_of(mistake: str) -> str:
    """Return the setting's field that a sentence about a mistake begins with."""
    variable = re.split(r"[: ]", mistake, maxsplit=1)[0]
    return _field(variable.upper()).removesuffix("_file")


class _SeparateSettings(Settings):
    """The settings, each of which is valid by itself. `misfits` says which of them do not fit together."""

    @model_validator(mode="after")
    def _fit_together(self) -> "_SeparateSettings":
        return self


def _kept_by_up(environment: dict[str, str]) -> tuple[dict[str, str], Path | None]:
    """Return the settings of the monitor that `windsock up` runs, and their file, if they apply."""
    file = Path(environment.get("WINDSOCK_HOME") or Settings.model_fields["home"].default) / UP_FILE
    if not file.is_file() or any(environment.get(name) for name in DECIDING):
        return {}, None
    require_own_home(file.parent)
    kept = {
        name: value for name, value in dotenv_values(file, interpolate=False).items() if value is not None
    }
    own = {_field(name): value for name, value in kept.items() if name not in os.environ}
    environment |= {name: value for name, value in kept.items() if name not in environment}
    return own, file


def list_named_files(settings: Settings, environment: Mapping[str, str]) -> dict[str, Path]:
    """Return the files and folders that settings name, by their settings."""
    files = {"WINDSOCK_CONFIG": settings.config, "WINDSOCK_TEMPLATES": settings.templates}
    return {name: path for name, path in files.items() if path} | secrets_files(environment)


def _field(variable: str) -> str:
    return variable.removeprefix("WINDSOCK_").lower()


def _load(env_file: Path | None, values: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """Read the settings.
    `environment` comes from load_environment, which refuses a file that is not this user's."""
    settings, mistakes = _read(Settings, env_file, values, environment)
    if settings is None or mistakes:
        raise SettingsError("\n".join(mistakes))
    return settings


def _read(
    kind: type[Settings], env_file: Path | None, values: Mapping[str, Any], environment: Mapping[str, str]
) -> tuple[Settings | None, list[str]]:
    """Return the settings, unless one cannot be used, and a sentence about each mistake."""
    mistakes: list[str] = []
    files: dict[str, str] = {}
    try:
        require_new_names(environment)
    except SettingsError as error:
        mistakes += str(error).split("\n")
    for name in SECRETS:
        try:
            files |= read_secrets(environment, (name,))
        except SettingsError as error:
            mistakes.append(str(error))
    try:
        return kind(_env_file=env_file, **{**files, **values}), mistakes
    except ValidationError as error:
        return None, mistakes + [describe_mistake(mistake) for mistake in error.errors()]
