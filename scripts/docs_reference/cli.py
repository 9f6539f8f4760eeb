"""The page docs/cli.md: every command of `windsock`, from the command line itself."""

from collections.abc import Iterator
from typing import Any

from monitor.cli.typer_app import EXIT_FAILED, EXIT_SETTINGS, every_command
from scripts.docs_reference.markdown import code, heading, joined, linked, table

ABOUT = f"""
`windsock COMMAND --help` shows the same. Settings come from the environment and `.env`
([Settings](settings.md)). Exit status: 0 where it was done, {EXIT_FAILED} where it failed,
{EXIT_SETTINGS} where a setting or an argument does not fit,
130 after Ctrl-C.
"""


def page() -> str:
    group = every_command()
    return joined((heading("Commands", "monitor/cli"), ABOUT.lstrip(), *_commands("windsock", group)))


def _commands(path: str, group: Any) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):  # not in the order of imports
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _commands(f"{path} {name}", command)
        else:
            yield _command(f"{path} {name}", command)


def _command(path: str, command: Any) -> str:
    arguments = [argument for argument in command.params if argument.param_type_name == "argument"]
    options = [
        argument
        for argument in command.params
        if argument.param_type_name == "option" and not argument.hidden
    ]
    usage = " ".join(
        [path, *(_argument(argument) for argument in arguments), *(["[OPTIONS]"] if options else [])]
    )
    rows = [(code(_argument(argument)), _default(argument), argument.help or "") for argument in arguments]
    rows += [(_option(option), _default(option), _meaning(option)) for option in options]
    text = table(("argument or option", "default", "meaning"), rows)
    return joined((f"## `{path}`\n", linked(_paragraphs(command.help)) + "\n", f"```\n{usage}\n```\n", text))


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name).upper()
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> str:
    names = ", ".join(code(name) for name in (*parameter.opts, *parameter.secondary_opts))
    return names if parameter.is_flag else f"{names} {parameter.metavar or ''}".rstrip()


def _default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return "required"
    if value in (None, "", (), []) or callable(value) or (value is False and parameter.is_flag):
        return "–"
    return code(f"{value:g}" if isinstance(value, float) else str(value))


def _meaning(parameter: Any) -> str:
    variable = parameter.envvar
    return f"{parameter.help or ''}{f' Or: `{variable}`.' if variable else ''}".strip()
