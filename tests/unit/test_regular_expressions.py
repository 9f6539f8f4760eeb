"""Every regular expression of the project takes time that grows as its text does, whatever the text is.

Whoever sends a text of 64 kB must not stop the event loop. The expressions are found in the source, so that a
new one is covered. Each is fed with repetitions of its own parts, and the slowest of them are made longer:
the bound is the ratio of two lengths' times, so that a slow machine fails nothing.
"""

import ast
import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from itertools import product
from pathlib import Path
from time import thread_time
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    from re import _parser as parser  # type: ignore[attr-defined]
else:
    import sre_parse as parser

ROOT = Path(__file__).parents[2]
FILES = [
    path for folder in ("monitor", "plugins", "client") for path in sorted((ROOT / folder).rglob("*.py"))
]
COMPILING = frozenset(
    ("compile", "match", "search", "sub", "subn", "split", "findall", "finditer", "fullmatch")
)
ANCHORED = frozenset(("match", "fullmatch"))
UNITS = 10  # parts of an expression that its texts are made of
PROBE, SHORT, MIDDLE, LONG = 300, 4_000, 16_000, 64_000  # characters
EXPONENTIAL = (
    12,
    16,
    20,
    24,
)  # characters: an expression that doubles its time with each would never end PROBE
SLOW = 0.1  # seconds: nothing but an exponential expression takes that for so few
SLOWEST = 3  # texts of each expression that are made long
GROWTH = 2.0  # times what a linear expression takes; a quadratic one takes 4 times that from SHORT to MIDDLE
TRIES = 4  # of which the machine may disturb all but one
SIGNS = tuple(map(chr, (*range(97, 123), *range(9, 97), *range(123, 0x300), *range(0x2000, 0x2800))))
NO_FIT = "\x00\n!"  # an end that few expressions take
FAST = 0.02  # seconds: no quadratic expression is through with MIDDLE by then, and clocks are coarse

GLOB = translate("*a*ab*b?" * 5)
MADE_AT_RUN_TIME: dict[str, Sequence[tuple[str, str]]] = {
    "monitor/airflow/connection.py": [("search", r"""(?:^|\s)[`'"]?aab[`'"]?,?(?:\s|$)""")],
    "monitor/observability/logging.py": [("sub", f"{'a' * 60}b|{'a' * 50}c|abab")],
    "monitor/rules/field_types.py": [("match", "a.a.a.ab"), ("match", GLOB)],
    "monitor/rules/yaml_source.py": [("match", r"(?:[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?)\Z")],
    "plugins/airflow_windsock/listener.py": [("match", GLOB), ("match", GLOB)],
}
"""Of expressions that are no constants, in their files' order: how each is applied, and an example at its
worst."""


@dataclass(frozen=True)
class Expression:
    where: str
    pattern: "re.Pattern[str]"
    use: str
    """How it is applied: match, fullmatch, or sub for all that look through a whole text."""

    def seconds(self, text: str, rounds: int) -> float:
        return min(self._once(text) for _ in range(rounds))

    def _once(self, text: str) -> float:
        arguments = ("", text) if self.use == "sub" else (text,)
        apply = getattr(self.pattern, self.use)
        began = thread_time()
        apply(*arguments)
        return thread_time() - began


def expressions() -> Iterator[Expression]:
    trees = {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in FILES}
    uses = _uses(trees.values())
    for where, tree in trees.items():
        names = {
            id(node.value): node.targets[0].id
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        calls: list[Any] = sorted(filter(_is_of_re, ast.walk(tree)), key=_line)
        made = iter(MADE_AT_RUN_TIME.get(where, ()))
        for call in calls:
            named = uses.get(names.get(id(call), ""), {"sub"})
            used = named if call.func.attr == "compile" else {call.func.attr}
            source = _constant(where, call.args[0])
            if source is None:
                use, source = next(made, ("", ""))
                assert use, f"{where}:{call.lineno}: add an example of this expression to MADE_AT_RUN_TIME"
                used = {use}
            for use in sorted({one if one in ANCHORED else "sub" for one in used}):
                yield Expression(f"{where}:{call.lineno}", re.compile(source, _flags(call)), use)


def _line(node: Any) -> int:
    return int(node.lineno)


def _is_of_re(node: Any) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr in COMPILING
    )


def _flags(call: Any) -> int:
    given = [*call.args[1:], *(one.value for one in call.keywords if one.arg == "flags")]
    names = {node.attr for one in given for node in ast.walk(one) if isinstance(node, ast.Attribute)}
    return sum(getattr(re, name) for name in names if isinstance(getattr(re, name, None), re.RegexFlag))


def _constant(where: str, argument: ast.expr) -> str | None:
    """The expression's text, where it is written out or made of what its module holds."""
    if isinstance(argument, ast.Constant):
        return str(argument.value)
    if where == "plugins/airflow_windsock/listener.py":  # it imports Airflow
        return None
    module = importlib.import_module(where.removesuffix(".py").replace("/", "."))
    try:
        return str(eval(ast.unparse(argument), dict(vars(module))))  # noqa: S307 (the project's own source)
    except NameError:
        return None


def _uses(trees: Iterable[ast.AST]) -> dict[str, set[str]]:
    """How each name is applied, in whichever module."""
    found: dict[str, set[str]] = {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Attribute) and node.attr in COMPILING and isinstance(node.value, ast.Name):
            found.setdefault(node.value.id, set()).add(node.attr)
    return found


@dataclass(frozen=True)
class Text:
    """Something again and again, behind a beginning and before an end."""

    before: str
    pump: str
    after: str

    def of(self, length: int) -> str:
        return self.before + self.pump * (length // len(self.pump)) + self.after


def texts(expression: Expression) -> Iterator[Text]:
    parts: list[str] = []
    sample = _sample(parser.parse(expression.pattern.pattern, expression.pattern.flags), parts)
    units = list(dict.fromkeys((*filter(None, (sample, sample[:-1])), *parts, "a", " ")))[:UNITS]
    pumps = dict.fromkeys((*units, *map("".join, product(units, units))))
    return (
        Text(before, pump, after)
        for pump, (before, after) in product(pumps, (("", ""), ("", NO_FIT), (sample[:-1], NO_FIT)))
    )


def _sample(tree: Any, parts: list[str]) -> str:  # noqa: C901 (a case for each kind of part)
    """A short text that the expression may take; `parts` gets each of its words and signs."""
    text = ""
    for code, argument in tree:
        match str(code):
            case "LITERAL":
                text += chr(argument)
            case "NOT_LITERAL":
                text += "b" if argument == ord("a") else "a"
            case "ANY":
                text += "a"
            case "IN":
                signs = _of_set(argument)
                text += signs[0]
                parts += signs
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                text += _sample(argument[2], parts) * max(argument[0], 1)
            case "SUBPATTERN":
                text += _sample(argument[3], parts)
            case "ATOMIC_GROUP":
                text += _sample(argument, parts)
            case "BRANCH":
                first, *_others = [_sample(one, parts) for one in argument[1]]
                text += first
            case "ASSERT":
                inner = _sample(argument[1], parts)
                text += inner if argument[0] < 0 and not text else ""
    if text:
        parts.append(text)
    return text


def _of_set(items: Any) -> list[str]:
    """A letter or digit of the set, and another sign: between them a word ends."""
    allowed = re.compile(_class(items))
    found = [sign for sign in SIGNS if allowed.match(sign)]
    return [sign for kind in (str.isalnum, str.isspace, _is_mark) for sign in [*filter(kind, found)][:1]] or [
        "a"
    ]


def _is_mark(sign: str) -> bool:
    return not sign.isalnum() and not sign.isspace()


def _class(items: Any) -> str:
    named = {
        "CATEGORY_DIGIT": r"\d",
        "CATEGORY_SPACE": r"\s",
        "CATEGORY_WORD": r"\w",
        "CATEGORY_NOT_WORD": r"\W",
        "CATEGORY_NOT_SPACE": r"\S",
        "CATEGORY_NOT_DIGIT": r"\D",
    }
    text = ""
    for code, argument in items:
        match str(code):
            case "NEGATE":
                text += "^"
            case "LITERAL":
                text += re.escape(chr(argument))
            case "RANGE":
                text += f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}"
            case "CATEGORY":
                text += named[str(argument)]
    return f"[{text}]"


def check(expression: Expression) -> None:
    for text in texts(expression):
        for length in EXPONENTIAL:
            tries = (expression.seconds(text.of(length), 1) for _ in range(TRIES))
            assert any(seconds < SLOW for seconds in tries), f"{_told(expression)} {text}, {length} signs"
    slowest = sorted(texts(expression), key=lambda text: -expression.seconds(text.of(PROBE), 2))[:SLOWEST]
    for text in slowest:
        before = expression.seconds(text.of(SHORT), 5)
        for length in (MIDDLE, LONG):
            bound = max(FAST, before * length / SHORT * GROWTH)
            tries = (expression.seconds(text.of(length), 1) for _ in range(TRIES))
            assert any(seconds < bound for seconds in tries), f"{_told(expression)} {text}, {length} signs"


def _told(expression: Expression) -> str:
    return f"{expression.where}: {expression.pattern.pattern!r} takes too long over"


EXPRESSIONS = list(expressions())


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=[f"{one.where} {one.use}" for one in EXPRESSIONS])
def test_takes_time_as_its_text_is_long(expression: Expression) -> None:
    check(expression)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "use"),
    [
        (r"(\b[a-z][a-z0-9+.-]*://)[^\s/@]+@", "sub"),  # tried from each letter, each time to the end
        (r"\s+$", "sub"),
        (r"\w*[0-9]\w*!", "match"),
        (r"(a+)+b", "match"),  # exponential
        (r"(\w+|\d+)*-", "fullmatch"),
    ],
)
def test_an_expression_that_takes_too_long_is_found(pattern: str, use: str) -> None:
    with pytest.raises(AssertionError, match="takes too long"):
        check(Expression("here", re.compile(pattern), use))


def test_no_expression_is_hidden_from_this_test() -> None:
    """What is found is `re.something(…)`: so nothing goes by another name, or by another library."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            imported = [one for one in getattr(node, "names", ()) if isinstance(one, ast.alias)]
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ("re", "regex"), f"{path}: import re itself"
                assert node.module != "fnmatch" or {one.name for one in imported} == {"translate"}, path
            elif isinstance(node, ast.Import):
                assert all(one.name != "regex" for one in imported), path
                assert all(one.asname is None for one in imported if one.name == "re"), path
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.value.id != "fnmatch" or node.attr == "translate", f"{path}:{node.lineno}"
