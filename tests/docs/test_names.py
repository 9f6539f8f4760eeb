"""No page names what does not exist: commands and options, metrics and labels, settings, endpoints, what to
look for in the log. Held against the code itself: the command line's parser, the app's routes.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import typer
from fastapi import FastAPI
from starlette.routing import Match

from monitor.app import create_app
from monitor.cli.typer_app import every_command
from monitor.observability.metrics import Metrics
from monitor.settings import Settings
from monitor.settings_loading import variables
from scripts.docs_reference import plugin_settings
from tests.airflow_environment import REPOSITORY
from tests.docs.names import Named, codes, commands, named, requests

NO_METRICS = {
    "windsock_airflow",  # a host, a release's name
    "windsock_client",  # the package of the feed's client
    "windsock_monitor",  # how the monitor's wheel begins
    "windsock_before_restore",  # a schema of PostgreSQL
    "windsock_hello",  # a DAG
    "windsock_omitted",  # a field of an event
    "windsock_plugin",  # the plugin's file
    "windsock_spool_",  # how metrics begin that an event's field becomes
    "windsock_url",  # a variable of templates
}
OF_THE_DAGS = {"WINDSOCK_MODELS_DIR", "WINDSOCK_TRAINING_CSV", "WINDSOCK_TRAINING_RUNS"}
OF_THE_TESTS = {"WINDSOCK_SCHEMATHESIS_EXAMPLES"}
NOT_THE_MONITORS = (
    re.compile(r"/(etc|opt|run|var)/"),  # files
    re.compile(r"/auth/token$|/dags/|^/monitor/health$"),  # Airflow's
    re.compile(r"/services/$"),  # Slack's
    re.compile(r"/airflow/x$"),  # an event's source
)
BEGINNINGS = {"/links/x", "/logs/x", "/details/x"}  # told with … where a longer path goes on
PREFIX = "/windsock"  # where docs/proxy.md puts a monitor
REQUEST_LOG = ("/api/v1/events", '"path": "/api/v1/events"', '"status": 202', "401")
"""Parts of the line of a request: tests/unit/observability/test_logging.py has its form."""


def unknown(names: Iterable[Named], is_known: Callable[[str], bool]) -> list[str]:
    return sorted({f"{name.page}: {name.text}" for name in names if not is_known(name.text)})


def test_every_command_and_its_options_are_there() -> None:
    told = list(commands())
    assert len(told) > 100
    wrong = [f"{page}: windsock {' '.join(words)}: {why}" for page, words in told for why in mistakes(words)]
    assert wrong == []


def mistakes(words: list[str]) -> Iterator[str]:
    """What the command line would say of these words, before it does anything."""
    command: Any = every_command()
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    if hasattr(command, "commands"):
        yield f"no such command: {words[:1]}"
        return
    try:
        command.make_context(command.name, words)
    except (typer.BadParameter, typer.Exit):
        pass  # a placeholder, or the bare name of a command; --help
    except typer.TyperException as error:
        yield str(error)


def test_every_metric_and_its_labels_are_there() -> None:
    described = Metrics().described
    known = {name for metric in described for name in (metric.name, *metric.series)}
    assert unknown(named(r"\bwindsock_[a-z_]+"), (known | NO_METRICS).__contains__) == []
    labels = {name: {*metric.labels, "le"} for metric in described for name in (metric.name, *metric.series)}
    for code in codes():
        for name, told in re.findall(r"\b(windsock_[a-z_]+)\{([^}]*)\}", code.text):
            assert set(re.findall(r"\b([a-z_]+)(?==|,|$)", told)) <= labels[name], f"{code.page}: {name}"


def test_every_setting_is_there() -> None:
    monitors = set(variables().values())
    options = {parameter.envvar for command in leaves(every_command()) for parameter in command.params}
    known = monitors | {f"{name}_FILE" for name in monitors} | options | OF_THE_DAGS | OF_THE_TESTS
    assert unknown(named(r"\bWINDSOCK_(?!_)[A-Z0-9_]+"), known.__contains__) == []
    plugins = {f"AIRFLOW__WINDSOCK__{name.upper()}" for name in plugin_settings.names()}
    assert unknown(named(r"\bAIRFLOW__WINDSOCK__[A-Z0-9_]+"), plugins.__contains__) == []


def leaves(command: Any) -> Iterator[Any]:
    if not hasattr(command, "commands"):
        yield command
    for each in getattr(command, "commands", {}).values():
        yield from leaves(each)


def test_every_endpoint_answers() -> None:
    app = create_app(Settings(_env_file=None, auth="none"))
    told = [one for one in requests() if not any(each.search(one.path) for each in NOT_THE_MONITORS)]
    assert len(told) > 100
    wrong = {one for one in told if one.path not in BEGINNINGS and not answers(app, one.method, one.path)}
    assert wrong == set()


def answers(app: FastAPI, method: str, path: str) -> bool:
    scope = {
        "type": "http",
        "method": method,
        "path": path.removeprefix(PREFIX),
        "root_path": "",
        "headers": [],
    }
    return any(route.matches(scope)[0] is Match.FULL for route in app.routes)


def test_what_runbooks_look_for_in_a_log_is_logged() -> None:
    code = "\n".join(
        file.read_text()
        for part in ("monitor", "plugins", "client")
        for file in (REPOSITORY / part).rglob("*.py")
    )
    loggers = {f"monitor.{file.stem}" for file in (REPOSITORY / "monitor").iterdir()}
    looked_for = [
        Named(name.page, re.sub(r"^grep (-\S+ )*|['…]", "", name.text).removeprefix("ERROR "))
        for name in named(r"\bgrep (-\S+ )*('[^']+'|\w+)")
        if name.page.startswith("runbooks/")
    ]
    assert looked_for
    assert unknown(looked_for, lambda text: text in code or text in loggers or text in REQUEST_LOG) == []
