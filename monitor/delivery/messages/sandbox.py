"""The environment of users' templates: Jinja's sandbox, with a bound on the work of each rendering.

`Meter` counts work in steps, which are the same on every machine. Each piece of a body is a step each time it
runs (a loop's round, a macro's call, an include). Each value that is used or made is a step, and so are
`CHARACTERS` characters of a text. An operation that could make one step long (`'x' * 10**9`,
`|center(10**9)`) is counted before it is done. If the steps run out, the template fails like a template that
divides by zero.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from enum import Enum
from functools import wraps
from itertools import chain
from string import Formatter
from typing import Any, TypeGuard

from jinja2 import Environment, TemplateRuntimeError, nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.nodes import EvalContext
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from markupsafe import Markup

MAX_STEPS = 300_000  # about 0.15 s of CPU. The built-in templates take about half for the longest mail
MAX_NODES = 6_000  # of one file's syntax tree: 0.2 s to compile. The longest built-in file has a third
MAX_BODIES = 500  # blocks, macros, loops, conditions of one file: Jinja writes a function's worth for each
CHARACTERS = 100  # of a text that are one step when it is put out, joined or compared
CALLED = 4  # of a text that count as one step of a method or of a filter in PLAIN. Others go sign by sign
MAX_BITS = 4096  # of a number. No value in a mail is as long
CALL = 3  # steps of one call, of a filter or a test too, beside the steps for its arguments
INCLUDE = 30  # steps of one, for it looks at its file
MAX_WIDTH = 1000  # columns that a format may ask for. A mail has 78
BY_NUMBERS = frozenset(
    ("batch", "center", "expandtabs", "indent", "ljust", "rjust", "slice", "tojson", "zfill")
)
"""Filters and methods whose result may be as long as their text is, times a number that they are given."""
BY_TEXTS = frozenset(
    (
        *("groupby", "indent", "join", "lstrip", "map", "max", "min", "reject", "rejectattr", "replace"),
        *("rstrip", "select", "selectattr", "sort", "strip", "sum", "trim", "unique", "wordwrap"),
    )
)
"""The filters and methods that use one text for each piece of another."""
BY_THEMSELVES = frozenset(("pprint", "striptags", "urlize", "wordwrap"))
"""The filters that may go over the whole text for each piece."""
HANDING_ON = frozenset(
    (
        *("batch", "count", "first", "items", "last", "length", "list", "map", "reject", "rejectattr"),
        *("reverse", "select", "selectattr", "slice"),
    )
)
"""Filters that hand on what a list holds, and do not look into it."""
PLAIN = frozenset(
    (
        *("counted", "d", "default", "e", "escape", "forceescape", "length", "lower", "replace", "safe"),
        *("shortened", "spaced", "string", "told", "trim", "upper"),
    )
)
"""Filters that go over a text in C, or not at all."""
BODIES = (
    *(nodes.Block, nodes.Macro, nodes.CallBlock, nodes.For, nodes.If),
    *(nodes.With, nodes.FilterBlock, nodes.AssignBlock),
)
"""The statements that hold others."""
_TEXT_METHODS = frozenset(
    (
        *("capitalize", "casefold", "center", "count", "endswith", "expandtabs", "find", "format", "index"),
        *("isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "islower", "isnumeric", "isprintable"),
        *("isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip", "partition", "removeprefix"),
        *("removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split"),
        *("splitlines", "startswith", "strip", "swapcase", "title", "upper", "zfill"),
    )
)
_DATE_METHODS = frozenset(("isoformat", "isocalendar", "isoweekday", "replace", "strftime", "weekday"))
_MOMENT_METHODS = frozenset(("astimezone", "date", "dst", "time", "timestamp", "tzname", "utcoffset"))
METHODS: Mapping[type, frozenset[str]] = {
    Markup: _TEXT_METHODS | {"striptags", "unescape"},
    str: _TEXT_METHODS,
    bytes: frozenset(("decode", "hex")),
    bool: frozenset(),
    int: frozenset(("bit_length",)),
    float: frozenset(("is_integer",)),
    datetime: _DATE_METHODS | _MOMENT_METHODS,
    date: _DATE_METHODS,
    time: frozenset(("isoformat", "strftime", "tzname", "utcoffset", "dst")),
    timedelta: frozenset(("total_seconds",)),
    tzinfo: frozenset(),
    Mapping: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
    frozenset: frozenset(("isdisjoint", "issubset", "issuperset")),
    set: frozenset(("isdisjoint", "issubset", "issuperset")),
    range: frozenset(("count", "index")),
    Enum: frozenset(),
}
"""The methods that templates may use, by the type of a value. A class stands before its bases. The work of
any other method is unknown."""
MAX_DATE_FORMAT = 200  # characters of strftime's format: a date and a time take some tens
_DATE_DIRECTIVE = re.compile(r"%(?!-?[a-zA-Z%])")
"""A directive with a width, such as glibc's `%999Y`, whose result is as long as it says."""
_WIDTHS = re.compile(r"%(?:\([^)]*\))?[-#0 +]*(\*|\d+)?(?:\.(\*|\d+))?")
_NUMBERS = re.compile(r"\d+|[{}]")


class TooMuchWork(TemplateRuntimeError):
    """A template of the user's takes more steps than it may."""


class Meter:
    """The steps that are left."""

    def __init__(self) -> None:
        self.left = MAX_STEPS

    @property
    def spent(self) -> int:
        """The steps that were taken."""
        return MAX_STEPS - self.left

    def spend(self, steps: int = 1) -> None:
        """Spend steps. Raises TooMuchWork beyond MAX_STEPS."""
        self.left -= steps
        if self.left < 0:
            raise TooMuchWork(f"it takes more than {MAX_STEPS:,} steps; have it do less")

    def weigh(self, value: object) -> int:
        """Spend what it takes to go over this value once, and all that it holds."""
        before, found = self.left, [value]
        while found:
            item = found.pop()
            self.spend()
            if isinstance(item, str | bytes):
                self.spend(len(item) // CHARACTERS)
            elif isinstance(item, int):
                if item.bit_length() > MAX_BITS:
                    raise TooMuchWork(f"a number has more than {MAX_BITS} bits")
            else:
                found.extend(_held(item))
        return before - self.left

    def count(self, value: object) -> int:
        """Spend what it takes to hand on what this value holds."""
        if isinstance(value, str) or not _is_many(value):
            return self.weigh(value)
        self.spend(1 + len(value))
        return 1 + len(value)

    def multiply(self, *factors: int) -> None:
        """Spend what a text of so many characters takes."""
        product = 1
        for factor in factors:
            product *= max(1, abs(factor))
        self.spend(product // CHARACTERS)


_meter: ContextVar[Meter] = ContextVar("the steps of the writing that is going on")


@contextmanager
def metered() -> Iterator[Meter]:
    """Count the steps of the block."""
    meter = Meter()
    token = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(token)


def _held(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return chain(value.keys(), value.values())
    if isinstance(value, Namespace):
        held: dict[str, object] = object.__getattribute__(value, "_Namespace__attrs")
        return held.values()
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in fields(value)]
    return value if _is_many(value) else ()


def _is_many(value: object) -> TypeGuard[Collection[object]]:
    """Return True for a collection. An undefined name looks like one, but raises when it is looked into."""
    return isinstance(value, Collection) and not isinstance(value, Undefined)


class _MeteredCode(CodeGenerator):
    """The code generator that counts.
    It has each body spend its steps before it runs, and weighs what Jinja computes itself."""

    _weighed: frozenset[int] = frozenset()

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802
        if sum(1 for _ in node.find_all(nodes.Node)) > MAX_NODES:
            raise TooMuchWork(f"{self.name} is too long: its syntax tree has more than {MAX_NODES:,} nodes")
        if sum(1 for _ in node.find_all(BODIES)) > MAX_BODIES:
            raise TooMuchWork(
                f"{self.name} is too long: it has more than {MAX_BODIES} blocks, macros, loops, …"
            )
        self._weighed = frozenset(id(weighed) for weighed in _to_weigh(node))
        super().visit_Template(node, frame)

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        if id(node) not in self._weighed:
            return super().visit(node, *args, **kwargs)
        self.write("environment.weighed(")
        super().visit(node, *args, **kwargs)
        return self.write(")")

    def blockvisit(self, body: Iterable[nodes.Node], frame: Frame) -> None:
        body = list(body)
        self.writeline(f"environment.spend({1 + _size(body)})")
        super().blockvisit(body, frame)

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802
        if node.test is not None:  # it is run also for what it leaves out
            spend = nodes.EnvironmentAttribute("spend", lineno=node.lineno)
            steps = [nodes.Const(1 + _size([node.test]), lineno=node.lineno)]
            spent = nodes.Call(spend, steps, [], None, None, lineno=node.lineno)
            node.test = nodes.And(nodes.Not(spent, lineno=node.lineno), node.test, lineno=node.lineno)
        super().visit_For(node, frame)


def _size(body: Iterable[nodes.Node]) -> int:
    """Return the number of nodes that run with these. Bodies inside count for themselves."""
    return sum(1 + _size(node.iter_child_nodes(exclude=("body", "else_"))) for node in body)


def _to_weigh(tree: nodes.Template) -> Iterator[nodes.Node]:
    for operation in tree.find_all((nodes.Concat, nodes.Compare, nodes.Operand)):
        for operand in operation.iter_child_nodes():
            if isinstance(operand, nodes.Expr) and not isinstance(operand, nodes.Const):
                yield operand
    for made in tree.find_all((nodes.List, nodes.Dict, nodes.Tuple, nodes.Getitem)):
        is_slice = isinstance(made, nodes.Getitem) and isinstance(made.arg, nodes.Slice)
        if is_slice or (not isinstance(made, nodes.Getitem) and getattr(made, "ctx", "load") == "load"):
            yield made


class MeteredEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox of users' templates, which counts their work."""

    code_generator_class = _MeteredCode
    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self, filters: Mapping[str, Callable[..., Any]], **options: Any) -> None:
        # Nothing is computed when a template is compiled: that would be counted in its first writing alone.
        super().__init__(**options, optimized=False, finalize=_put_out)
        all_filters: dict[str, Any] = {**self.filters, **filters}
        self.filters = {name: _counted(name, function) for name, function in all_filters.items()}
        tests: dict[str, Any] = dict(self.tests)
        self.tests = {name: _counted(name, function) for name, function in tests.items()}
        del self.globals["lipsum"]

    def spend(self, steps: int) -> None:
        """Spend steps of the present rendering."""
        _meter.get().spend(steps)

    def weighed(self, value: Any) -> Any:
        """Count the size of a value and return it."""
        _meter.get().weigh(value)
        return value

    def concat(self, parts: Iterable[str]) -> str:
        """Join the parts, counting their number and length."""
        texts = list(parts)
        self.spend(len(texts) + sum(map(len, texts)) // CHARACTERS)
        return "".join(texts)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Return False for a method that is not in METHODS, and for every attribute of a type."""
        if isinstance(obj, type) or not super().is_safe_attribute(obj, attr, value):
            return False
        allowed = next((names for kind, names in METHODS.items() if isinstance(obj, kind)), None)
        return allowed is None or attr in allowed or not callable(value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Return `str.format` with its work counted."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        text = str(value.__self__)

        @wraps(wrapped)
        def formatted(*args: Any, **kwargs: Any) -> str:
            specs = [spec or "" for _, _, spec, _ in Formatter().parse(text)]
            # A date's spec is strftime's format. A number's may end in %, for percent.
            _check_date_format(spec for spec in specs if "%" in spec[:-1])
            widths = [width for spec in specs for width in _NUMBERS.findall(spec)]
            _check_format(widths, text.count("{"), (args, kwargs))
            return wrapped(*args, **kwargs)

        return formatted

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute an operator, with a bound on the result."""
        meter = _meter.get()
        meter.weigh((left, right))
        if operator == "*":
            for many, number in ((left, right), (right, left)):
                if isinstance(number, int) and isinstance(many, str | bytes | list | tuple):
                    meter.multiply(len(many) * (1 if isinstance(many, str | bytes) else CHARACTERS), number)
        are_whole = isinstance(left, int) and isinstance(right, int)
        if operator == "**" and are_whole and left.bit_length() * right > MAX_BITS:
            raise TooMuchWork(f"a number has more than {MAX_BITS} bits")
        if operator == "%" and isinstance(left, str | bytes):
            _check_percent(left, right)
        return self.weighed(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call a function of the template, with its work counted."""
        is_own = getattr(__obj, "__func__", None) is MeteredEnvironment.spend
        if is_own or isinstance(__obj, Macro | BlockReference | LoopContext):
            return super().call(__context, __obj, *args, **kwargs)  # their bodies count for themselves
        name, owner = getattr(__obj, "__name__", ""), getattr(__obj, "__self__", None)
        subject = (owner,) if isinstance(owner, str | bytes | int) else ()
        _count(name, (*subject, *args), kwargs, CALLED)
        if name == "strftime":
            _check_date_format((*args, *kwargs.values()))
        return _made(name, super().call(__context, __obj, *args, **kwargs))

    def get_template(self, *args: Any, **kwargs: Any) -> Any:
        """Load a template, counting an include."""
        self.spend(INCLUDE)
        return super().get_template(*args, **kwargs)

    def select_template(self, names: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        """Load the first template that exists, counting an include for each name."""
        candidates = list(names)
        self.spend(INCLUDE * len(candidates))
        return super().select_template(candidates, *args, **kwargs)


@pass_context
def _put_out(_context: Context, value: Any) -> Any:
    """Return the text that Jinja makes of a value. None is nothing. Texts are safe already (filters.py)."""
    if value is None:
        return ""
    _meter.get().weigh(value)
    if isinstance(value, str) or hasattr(value, "__html__"):
        return value
    text = str(value)
    _meter.get().weigh(text)
    return text


def _counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the filter or test with its work counted.
    What is made one by one is made at once, within the steps."""

    characters = CALLED if name in PLAIN else 1

    @wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        args = tuple(list(arg) if isinstance(arg, Iterator) else arg for arg in args)
        # The argument that Jinja passes first to some of them is not iterated.
        is_given = isinstance(args[0], Context | EvalContext | Environment)
        _count(name, args[1:] if is_given else args, kwargs, characters)
        return _made(name, function(*args, **kwargs))

    return counted


def _count(name: str, args: Iterable[Any], kwargs: Mapping[str, Any], characters: int) -> None:
    """Spend what a call takes, before it is made. `characters` of a text are one step of it."""
    meter = _meter.get()
    meter.spend(CALL)
    values = (*args, *kwargs.values())
    weigh = meter.count if name in HANDING_ON else meter.weigh
    weights = [weigh(value) for value in values]
    meter.spend(sum(len(value) for value in values if isinstance(value, str | bytes)) // characters)
    factors = [_factor(value, weight, name) for value, weight in zip(values, weights, strict=True)]
    if name in BY_NUMBERS or name in BY_TEXTS:
        meter.multiply(*factors)
    if name in BY_THEMSELVES:
        meter.spend(sum(weights) ** 2 // 10)
    if name == "format":
        texts = [value for value in values if isinstance(value, str)]
        _check_percent(texts[0] if texts else "", values)


def _factor(value: object, weight: int, name: str) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, int):
        return value if name in BY_NUMBERS else 1
    return weight * CHARACTERS if _is_many(value) else 1


def _made(name: str, result: Any) -> Any:
    meter = _meter.get()
    weigh = meter.count if name in HANDING_ON else meter.weigh
    if isinstance(result, Iterator):
        items = []
        for item in result:
            meter.spend()
            weigh(item)
            items.append(item)
        return items
    weigh(result)
    return result


def _check_date_format(values: Iterable[object]) -> None:
    """Raise TooMuchWork if strftime could write more than a line."""
    for text in values:
        if isinstance(text, str) and (len(text) > MAX_DATE_FORMAT or _DATE_DIRECTIVE.search(text)):
            raise TooMuchWork(
                f"strftime's format has at most {MAX_DATE_FORMAT} characters, each % of it with a letter and "
                "no width"
            )


def _check_percent(text: str | bytes, values: object) -> None:
    pattern = text if isinstance(text, str) else text.decode("latin-1")
    widths = [width for pair in _WIDTHS.findall(pattern) for width in pair if width]
    _check_format(widths, pattern.count("%"), values)


def _check_format(widths: Iterable[str], places: int, values: object) -> None:
    """Raise TooMuchWork for what a format would make. `places` is the number of values that it puts in."""
    meter = _meter.get()
    for width in widths:
        if not width.isdecimal() or len(width) > len(str(MAX_WIDTH)) or int(width) > MAX_WIDTH:
            raise TooMuchWork(f"a format asks for a width of {width[:20]}; write a number up to {MAX_WIDTH}")
        meter.multiply(int(width))
    meter.multiply(places, CHARACTERS * meter.weigh(values))
