"""`${NAME}` in the file's texts: what is secret, or another on each machine, stays in the environment."""

import re
from collections.abc import Mapping

_VARIABLE = re.compile(r"(\$?)\$\{([^{}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class VariableError(ValueError):
    """A variable is not set, or it is none. Its words name no value."""


def names_in(text: str) -> set[str]:
    """Return the names of the variables that a text asks for."""
    found = (match.groups() for match in _VARIABLE.finditer(text))
    return {name for escape, name, end in found if end and not escape and _NAME.fullmatch(name)}


def filled(text: str, environment: Mapping[str, str]) -> str:
    """The text with each `${NAME}` replaced; `$${` stands for `${`. Values are not looked through again: a
    password may hold what it likes. Raises VariableError."""

    def value(found: "re.Match[str]") -> str:
        escape, name, end = found.groups()
        if escape:
            return found[0][1:]
        if not end or not _NAME.fullmatch(name):
            raise VariableError(
                "holds ${ without a name and }; write ${NAME}, or $${ for these two letters themselves"
            )
        if name not in environment:
            raise VariableError(
                f"needs the variable {name}, which is not set; set it in the environment or in .env"
            )
        return environment[name]

    return _VARIABLE.sub(value, text)
