"""Texts of anybody's: what is left of them, and that cleaning takes time in proportion to their length."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.airflow.task_logs import LogTail
from monitor.delivery.messages.facts import error_of
from monitor.delivery.messages.filters import header, shorten
from monitor.plain_text import line, lines

LONG = 64 * 1024
DBT = "\x1b[0m09:12:01  \x1b[31mDatabase Error in model orders (models/orders.sql)\x1b[0m"
PROGRESS = "\x1b[2K\r 50%|#####     |\r100%|##########|"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[38;5;196m\x1b[1mboom\x1b[0m", "boom"),
        (DBT, "09:12:01  Database Error in model orders (models/orders.sql)"),
        ("\x1b]8;;https://example.com\x07a link\x1b]8;;\x07 goes on", "a link goes on"),
        ("\x1b]8;id=1;https://example.com\x1b\\a link\x1b]8;;\x1b\\", "a link"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x9b31mred\x9b0m \x9d0;title\x9ctext", "red text"),
        ("\x1bPq#0;2;0;0;0\x1b\\picture \x1b_app\x1b\\\x1b^pm\x1b\\", "picture "),
        ("\x1b(B\x1b[m\x1b7\x1b8\x1b=\x1bcplain", "plain"),
        ("cut off \x1b[31", "cut off "),
        ("cut off \x1b", "cut off "),
        ("no end \x1b]0;what follows is kept", "no end 0;what follows is kept"),
        ("[31m without its escape stays", "[31m without its escape stays"),
        ("a\r\nBcc: x\u2028y\u202ez\x00", "a Bcc: x y z "),
        ("\tindented", "    indented"),
        ("größe \ud800", "größe ?"),
    ],
)
def test_a_text_as_one_line(text: str, shown: str) -> None:
    assert line(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", []),
        ("one", ["one"]),
        ("one\ntwo\r\nthree\n", ["one", "two", "three"]),
        ("one\n\ntwo", ["one", "", "two"]),
        ("a\u2028b\u2029c\x85d\x0be", ["a", "b", "c", "d", "e"]),
        (PROGRESS, ["100%|##########|"]),
        (f"start\n{PROGRESS}\r\nend", ["start", "100%|##########|", "end"]),
        ("working |\b/\b-\b\\\bdone", ["working done"]),
        ("N\bNA\bAM\bME\bE", ["NAME"]),
        ("\b\bx", ["x"]),
        (f"{DBT}\n\x1b[0m09:12:01    no such relation", [line(DBT), "09:12:01    no such relation"]),
        ("\x1b]8;;file:///x\nnext", ["8;;file:///x", "next"]),
    ],
)
def test_a_text_as_a_terminal_shows_its_lines(text: str, shown: list[str]) -> None:
    assert lines(text) == shown


def test_a_text_is_cleaned_before_it_is_cut() -> None:
    assert shorten("x" * 10 + "\x1b[31mred" + "\x1b[0m", 12) == "x" * 10 + "r…"
    assert header("a\x1b]8;;https://example.com\x07b\x1b]8;;\x07", 12) == "ab"


def test_a_tasks_error_is_clean_before_a_mail_has_it() -> None:
    traceback = f"Traceback\n  \x1b[1mboom\x1b[0m\n{PROGRESS}"
    error = error_of({"type": "\x1b[31mE", "message": f"\x1b[0m\n{DBT}\nmore", "traceback": traceback})
    assert error.headline == f"E: {line(DBT)}"
    assert error.lines == ("Traceback", "  boom", "100%|##########|")


def test_a_tasks_log_is_clean() -> None:
    tail = LogTail(5)
    tail.take(json.dumps({"level": "info", "event": f"{DBT}\n{PROGRESS}"}).encode() + b"\n")
    tail.take(f"plain {DBT}\r\n".encode())
    assert tail.text() == [f"INFO {line(DBT)}", "100%|##########|", f"plain {line(DBT)}"]


@given(st.text(st.sampled_from("\x1b\x9b\x9d\x90\x9c\x07\r\n\b[]P\\0;m a\u2028\x85"), max_size=60))
def test_whatever_it_holds_nothing_commands_a_terminal_or_breaks_a_line(text: str) -> None:
    for shown in (line(text), *lines(text)):
        assert shown.isprintable()
    assert line(line(text)) == line(text)


WORST = [
    "\x1b]",
    "\x9d",
    "\x1b[",
    "\x1bP",
    "\x1b]\x9d",
    "\x9d\x90",
    "\x1b[0",
    "\r",
    "\b",
    "\n",
    "\x00",
    " ",
    "0;",
    "a",
]
STARTS = ["", "\x1b]", "\x1b[", "\x9d", "\x1bP"]


def seconds(clean: Callable[[str], object], text: str) -> float:
    def once() -> float:
        start = time.thread_time()
        clean(text)
        return time.thread_time() - start

    return min(once() for _ in range(2))


@pytest.mark.parametrize("clean", [line, lines])
def test_eight_times_the_text_takes_about_eight_times_as_long(clean: Callable[[str], object]) -> None:
    """A quadratic pattern takes 64 times as long."""
    for start in STARTS:
        for part in WORST:
            short, long = (start + part * (size // len(part)) for size in (LONG // 8, LONG))
            ratio = seconds(clean, long) / max(seconds(clean, short), 1e-5)
            assert ratio < 30, (start, part, ratio)
