"""The environment of the templates that come with Windsock: nothing is done at each mail that is the same in
all of them.

Odd on purpose: the templates say `import … with context`, as users' copies of them have to. Here it is taken
without, and so Jinja makes the parts once, not four times a mail; what the parts name of a mail they find
among the globals. That, and fewer Markups, takes two fifths of a mail's rendering away.
"""

import re
from typing import Any

from jinja2 import Environment, Template, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.environment import TemplateModule
from markupsafe import Markup, escape

from monitor.render.present import of_present
from monitor.render.story import Run, Task

_SPECIAL = re.compile("[&<>'\"]")


def shown(value: object) -> str:
    """As `escape` has it, without making a Markup of what is only put out; None is nothing."""
    if type(value) is str:
        return escape(value) if _SPECIAL.search(value) else value
    if type(value) is Markup:
        return value
    return "" if value is None else escape(value)


class _Template(Template):
    def make_module(self, *context: Any, **more: Any) -> TemplateModule:
        """With a context, as an import gives it, the same as without."""
        return self.module if context else super().make_module(*context, **more)


class _Code(CodeGenerator):
    """Puts out what `shown` makes of a value."""

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if not frame.eval_ctx.autoescape:
            super()._output_child_pre(node, frame, finalize)
            return
        self.write("environment.shown(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if not frame.eval_ctx.autoescape:
            super()._output_child_post(node, frame, finalize)
            return
        self.write(")")


class BuiltIn(Environment):
    template_class = _Template
    code_generator_class = _Code
    shown = staticmethod(shown)

    def __init__(self, **options: Any) -> None:
        # They are part of the program: none changes while it runs, so none is looked at, or compiled, again.
        super().__init__(**options, auto_reload=False)
        self.globals.update(task_url=_task_url, run_url=_run_url)


def _task_url(run: Run | None, task: Task) -> str | None:
    url: str | None = of_present("task_url")(run, task)
    return url


def _run_url(run: Run | None) -> str | None:
    url: str | None = of_present("run_url")(run)
    return url
