"""What is printed where there is no terminal, or nobody who reads."""

import os
import subprocess
import sys
from io import StringIO

from rich.console import Console

from monitor.cli.up.report import Screen

PRINTS = """
from monitor.cli.up.report import Screen
screen = Screen()
for _ in range(3):
    screen.say("somebody is there?")
with screen.step("goes on"):
    pass
raise SystemExit(7)
"""


def test_plain_lines_where_there_is_no_terminal() -> None:
    told = StringIO()
    screen = Screen(Console(file=told, soft_wrap=True, width=20))
    with screen.step("one"), screen.step("two, which is longer than the line"):
        pass
    screen.refuse("[red]no markup[/red]")
    lines = told.getvalue().splitlines()
    assert [line.split(" …")[0] for line in lines] == [
        "windsock  two, which is longer than the line",
        "windsock  one",
        "windsock  [red]no markup[/red]",
    ]


def test_a_spinner_for_all_that_is_being_done() -> None:
    told = StringIO()
    screen = Screen(Console(file=told, force_terminal=True, width=60))
    with screen.step("one"), screen.step("two"):
        screen.say("beside them")
    assert "one, two" in told.getvalue()
    assert "beside them" in told.getvalue()


def test_nobody_who_reads_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run([sys.executable, "-c", PRINTS], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (7, b"")
