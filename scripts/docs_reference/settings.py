"""The page docs/settings.md: the monitor's settings, from monitor/settings.py, and the plugin's."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from monitor.settings import Settings
from monitor.settings_loading import variables
from monitor.settings_values import AirflowSettings
from scripts.docs_reference import plugin_settings
from scripts.docs_reference.markdown import code, heading, joined, linked

SECTIONS = {
    "home": "The monitor",
    "airflow_url": "Airflow",
    "smtp_host": "Mail",
}
"""The field that each section begins with, in the order of the class."""

ABOUT = """
The monitor reads its settings from the environment, and beneath it from `.env` in the folder where it is
started. The environment wins. A wrong value stops it at the start, with the variable's name, the value
and the remedy. `windsock check` tries what they say. The plugin's settings are Airflow's own: see [The
plugin](#the-plugin).
"""
VARIABLE = re.compile(r"\b(WINDSOCK|AIRFLOW|NOTIFICATION|OTEL)_[A-Z0-9_]+(=\w+)?")
DAGS = """## The DAGs of this repository

They read `WINDSOCK_MODELS_DIR` (default `models` in `AIRFLOW_HOME`), `WINDSOCK_TRAINING_CSV` (default: the
file beside them), `WINDSOCK_TRAINING_RUNS` (how many training runs go on at once; default 2) and
`NOTIFICATION_EMAIL_TO`, from the environment of Airflow's processes.
"""
BOUNDS = {"gt": "above {}", "ge": "{} or more", "lt": "below {}", "le": "at most {}"}


def page() -> str:
    return joined(
        (
            heading("Settings", "monitor/settings.py"),
            ABOUT.lstrip(),
            *_monitor(),
            plugin_settings.section(),
            DAGS,
        )
    )


def _monitor() -> Iterator[str]:
    meanings, names = docstrings(Settings), variables()
    for name, field in Settings.model_fields.items():
        if name in SECTIONS:
            yield f"## {SECTIONS[name]}\n"
        lines = [f"### `{names[name]}`\n", _kind(field) + "\n"]
        yield joined((*lines, linked(sentence(meanings[name])) if name in meanings else ""))


def _kind(field: FieldInfo) -> str:
    """What a value is, what it may be, and the default."""
    bounds = [
        words.format(f"{getattr(bound, key):g}")
        for bound in field.metadata
        for key, words in BOUNDS.items()
        if hasattr(bound, key)
    ]
    kind = ", ".join([_type(field.annotation), *bounds]) + _default(field.default)
    return kind[0].upper() + kind[1:]


def _type(annotation: Any) -> str:
    if isinstance(annotation, type) and not get_args(annotation):
        return {Path: "a path", int: "a whole number", float: "a number", str: "text", SecretStr: "a secret"}[
            annotation
        ]
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    if all(isinstance(kind, str) for kind in kinds):
        return " or ".join(code(kind) for kind in kinds)
    if get_origin(annotation) is dict:
        return "JSON"
    if get_origin(annotation) is tuple:
        several = "secrets" if kinds[0] is SecretStr else "words"
        return f"{several}, separated by commas or spaces"
    return _type(kinds[0])


def _default(value: Any) -> str:
    if value in (None, "", (), {}):
        return ""
    shown = (
        " ".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else value
    )
    return f"; default {code(str(shown))}"


def docstrings(model: type) -> dict[str, str]:
    """What stands below each field of a class."""
    body: ast.ClassDef = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]  # type: ignore[assignment]
    pairs = zip(body.body, body.body[1:], strict=False)
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairs
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def sentence(text: str) -> str:
    """A docstring as one paragraph that ends with a full stop, variables set as code."""
    flat = VARIABLE.sub(r"`\g<0>`", " ".join(text.split()))
    return flat if flat.endswith((".", "…")) else f"{flat}."


def undocumented() -> list[str]:
    """The settings that say nothing of themselves."""
    documented = docstrings(Settings) | docstrings(AirflowSettings)
    return [name for name in Settings.model_fields if name not in documented]
