"""`windsock tail` as its users run it: a process, its output, its exit status."""

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from monitor.cli.typer_app import cli
from monitor.clock import utc_now
from monitor.settings import Settings
from tests import wait
from tests.feed.canned import Canned, answer
from tests.feed.conftest import Started
from tests.feed.log import Log
from tests.monitor_process import PYTHONPATH, WINDSOCK, MonitorProcess
from tests.sample import run_event
from tests.unit.conftest import settings
from tests.unit.web_support import SignInAirflow, serving, with_sign_in

__all__ = ["settings"]

ENV = {"PATH": "/usr/bin:/bin", "PYTHONPATH": PYTHONPATH, "TZ": "Asia/Kolkata", "LANG": "C.UTF-8"}
ENDS_WITHIN = 30.0
COLOUR = re.compile(r"\x1b\[(?:\d+;)*[39]\d")  # ECMA-48's: bold and dim are none


def tail(*options: str, **env: str) -> Result:
    """Its end, in this process: starting one takes longer than all that it does."""
    return CliRunner().invoke(cli, ["tail", *options], env={"WINDSOCK_TOKEN": "", **env})


def as_process(*options: str, **env: str) -> "subprocess.CompletedProcess[bytes]":
    """Run it to its end as a program, its output a pipe."""
    command = [str(WINDSOCK), "tail", *options]
    return subprocess.run(command, env=ENV | env, cwd="/", capture_output=True, timeout=ENDS_WITHIN)


class Running:
    """One that follows, and what it has written so far."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [WINDSOCK, "tail", *options], env=ENV, cwd="/", stdout=out, stderr=err
            )

    @property
    def lines(self) -> list[str]:
        return self._out.read_text().splitlines()

    @property
    def said(self) -> list[str]:
        return self._err.read_text().splitlines()


@contextmanager
def following(folder: Path, *options: str) -> Iterator[Running]:
    running = Running(folder, *options)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def seqs(lines: list[str]) -> list[int]:
    return [int(json.loads(line)["id"].rpartition("-")[2]) for line in lines]


@pytest.mark.slow
def test_it_resumes_after_a_restart_and_says_so_once(monitors: Started, tmp_path: Path) -> None:
    monitor, log = monitors()
    log.append(3)
    monitor.start()
    options = ("--url", monitor.url, "--after", log.cursor(0), "--json")
    with following(tmp_path, *options) as running:
        wait.until(lambda: len(running.lines) == 3, "the first events")
        monitor.kill()
        log.append(3)
        wait.until(lambda: running.said, "a word about it")
        monitor.start()
        wait.until(lambda: len(running.lines) == 6, "the others")
    assert seqs(running.lines) == [1, 2, 3, 4, 5, 6]
    lost, back = running.said
    assert lost.startswith("windsock: connection lost (")
    assert lost.endswith("trying again …")
    assert back == "windsock: back; going on from where it was cut off"


def test_a_reset_is_told_on_both_sides(filled: tuple[MonitorProcess, Log]) -> None:
    monitor, _ = filled
    as_json = tail("--url", monitor.url, "--after", "abcdef-7", "--limit", "2", "--json")
    told = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert told[0]["reset"] == {"reason": "the cursor is of another log (epoch)"}
    assert [sorted(each) for each in told] == [["id", "reset"], ["event", "id"], ["event", "id"]]
    people = tail("--url", monitor.url, "--after", "abcdef-7", "--limit", "2").stdout
    assert "events may have been missed: the cursor is of another log" in people


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--deployment", "loc*"], 20),
        (["--deployment", "elsewhere"], 0),
        (["--type", "airflow.dag_run.*"], 10),
        (["--dag-id", "etl", "--dag-id", "x"], 20),
        (["--run-id", "manual__?"], 20),
        (["--task-id", "lo*"], 10),
        (["--state", "running"], 5),
        (["--state", "running", "--state", "failed", "--task-id", "load"], 5),
        (["--asset", "*"], 0),
        (["--limit", "7"], 7),
        (["--since", "1h"], 20),
        (["--since", "2999-01-01T00:00:00Z"], 0),
    ],
)
def test_what_the_log_has(filled: tuple[MonitorProcess, Log], options: list[str], expected: int) -> None:
    """Each filter, and an end: with the last event that matches, or at once where none does."""
    monitor, _ = filled
    done = tail("--url", monitor.url, "--no-follow", "--json", *options)
    assert (done.exit_code, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == expected


def test_since_a_while(monitors: Started) -> None:
    monitor, log = monitors()
    log.append(5, utc_now() - timedelta(hours=3))
    log.append(5, utc_now() - timedelta(hours=1))
    monitor.start()
    done = tail("--url", monitor.url, "--no-follow", "--json", "--since", "1h30m")
    assert seqs(done.stdout.splitlines()) == [6, 7, 8, 9, 10]


def in_a_terminal(*options: str, **env: str) -> str:
    """What it writes where its output is a terminal."""
    ours, theirs = pty.openpty()
    command = [str(WINDSOCK), "tail", *options]
    subprocess.run(command, env=ENV | env, cwd="/", stdout=theirs, timeout=ENDS_WITHIN, check=True)
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65_536):
            written += chunk
    except OSError:  # Linux's way to say that the other end is closed
        pass
    os.close(ours)
    return written.decode()


@pytest.mark.slow
def test_colours_are_for_terminals_that_want_them(filled: tuple[MonitorProcess, Log]) -> None:
    monitor, _ = filled
    options = ("--url", monitor.url, "--no-follow", "--limit", "1")
    assert COLOUR.search(in_a_terminal(*options, TERM="xterm-256color"))
    assert not COLOUR.search(in_a_terminal(*options, TERM="xterm-256color", NO_COLOR="1"))
    assert "\x1b" not in in_a_terminal(*options, TERM="dumb")
    assert b"\x1b" not in as_process(*options, TERM="xterm-256color").stdout


def test_it_says_what_was_sent_to_whom(settings: Settings) -> None:
    with serving(settings) as monitor:
        monitor.post([run_event("failed", run_id="broken")])

        def output() -> str:
            return tail("--url", monitor.url, "--no-follow", "--dag-id", "etl").stdout

        wait.until(lambda: "✉ sent" in output(), "the notification")
        assert "to email ops@example.com" in output()
        assert "✉" not in tail("--url", monitor.url, "--no-follow", "--dag-id", "other").stdout


def test_times_are_local_and_a_past_day_is_named(filled: tuple[MonitorProcess, Log]) -> None:
    monitor, _ = filled
    done = as_process("--url", monitor.url, "--no-follow", "--limit", "2", "--task-id", "load")
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "── Sunday 2026-11-22 ──"
    assert all(line.startswith("15:30:05 IST  ") for line in lines[1:])  # 10:00:05 UTC, in Kolkata
    assert len(lines) == 3


REFUSALS: list[tuple[list[str], int, str]] = [
    (["--after", "nonsense"], 1, "'nonsense' is not of the form epoch-seq"),
    (["--since", "yesterday"], 2, "'yesterday' is neither a moment such as"),
    (["--limit", "0"], 2, "--limit"),
    (["--dag-id", ""], 1, "dag_id"),
]


@pytest.mark.parametrize(("options", "status", "words"), REFUSALS)
def test_a_wrong_option_is_named(
    filled: tuple[MonitorProcess, Log], options: list[str], status: int, words: str
) -> None:
    done = tail("--url", filled[0].url, *options)
    assert (done.exit_code, done.stdout) == (status, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("options", [[], ["--no-follow"]])
@pytest.mark.parametrize(
    ("told", "words"),
    [
        (answer("200 OK", b"<html>", Content_Type="text/html"), "is this the monitor's address?"),
        (answer("302 Found", Location="/login"), "redirects to /login"),
        (answer("404 Not Found", b"{}"), "404 Not Found"),
        (answer("401 Unauthorized", b'{"detail": "sign in"}'), "401 sign in"),
    ],
)
def test_what_is_no_monitor_is_said(told: bytes, words: str, options: list[str]) -> None:
    with Canned(told) as server:
        done = tail("--url", server.url, *options)
    assert (done.exit_code, done.stdout) == (1, "")
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("options", [[], ["--no-follow"]])
def test_nobody_there_at_all_is_an_error(options: list[str]) -> None:
    with Canned() as nobody:
        url = nobody.url
    done = tail("--url", url, *options)
    assert done.exit_code == 1
    assert f"no feed from {url}" in done.stderr
    assert "Is the monitor running" in done.stderr


def test_any_bearer_token(settings: Settings) -> None:
    """By the environment, so that it is in no list of processes; one that is wrong is said."""
    airflow = SignInAirflow()
    airflow.add("ann", "pw", ["etl"])
    with airflow.serving(), serving(with_sign_in(settings, airflow)) as monitor:
        monitor.post([run_event(), run_event(dag_id="secret")])
        options = ("--url", monitor.url, "--no-follow", "--json")
        done = tail(*options, WINDSOCK_TOKEN=f"{airflow.token('ann')}\n")
        assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == [run_event()]
        refused = tail(*options, WINDSOCK_TOKEN="wst_unknown")
        assert refused.exit_code == 1
        assert "token" in refused.stderr
        assert "wst_unknown" not in refused.stderr


def test_the_monitors_own_user_is_shown_to_no_other_address(settings: Settings) -> None:
    airflow = SignInAirflow()
    with airflow.serving(), Canned(answer("401 Unauthorized")) as server:
        env = {
            "WINDSOCK_AIRFLOW_URL": airflow.url,
            "WINDSOCK_AIRFLOW_USERNAME": "monitor",
            "WINDSOCK_AIRFLOW_PASSWORD": airflow.passwords["monitor"],
        }
        assert tail("--url", server.url, **env).exit_code == 1
        assert "authorization" not in server.requests[0].lower()
        assert airflow.logins == 0


def test_ctrl_c_ends_it_without_a_word(filled: tuple[MonitorProcess, Log], tmp_path: Path) -> None:
    monitor, log = filled
    with following(tmp_path, "--url", monitor.url, "--after", log.cursor(0)) as running:
        wait.until(lambda: running.lines, "the first line")
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(ENDS_WITHIN) == 130
        assert running.said == []


@pytest.mark.parametrize("form", ["", "--json"])
def test_a_reader_that_has_seen_enough_ends_it(filled: tuple[MonitorProcess, Log], form: str) -> None:
    monitor, log = filled
    script = f"{WINDSOCK} tail --url {monitor.url} --after {log.cursor(0)} {form} | head -1; exit $PIPESTATUS"
    with subprocess.Popen(
        ["bash", "-c", script], env=ENV, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout
        assert shell.stdout.readline()
        wait.until(lambda: _more(log) and shell.poll() is not None, "its end")
        assert (shell.returncode, shell.stderr.read() if shell.stderr else "") == (0, "")


def _more(log: Log) -> bool:
    """It finds its output closed when it has something to write."""
    log.append(1)
    return True
