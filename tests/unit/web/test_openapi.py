"""docs/api.md: its commands do what they say, and its table of errors is the code's."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from monitor.settings import Settings
from monitor.web.problems import KINDS
from tests import wait
from tests.sample import asset_event, run_event
from tests.unit.web_support import serving

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not there")
def test_the_commands_do_what_they_say(settings: Settings) -> None:
    said = []
    with serving(settings) as monitor:
        monitor.post([run_event("failed"), asset_event(1)])
        wait.until(
            lambda: monitor.client.get("/api/v1/deliveries?state=sent").json()["deliveries"], "the mail"
        )
        for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
            shell = ["bash", "-euc", block]
            ran = subprocess.run(
                shell, env={"MONITOR": monitor.url, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
            )
            assert ran.returncode == 0, ran.stderr
            said.append(ran.stdout)
    assert len(said) == 4
    lists, polled, changes, error = said
    assert lists.count('"next":null') == 5
    assert polled == "304\n"
    assert '"status":4' not in lists + changes  # no problem
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    answered, written = json.loads(error), json.loads(shown)
    assert answered.pop("request_id")
    assert written.pop("request_id")
    assert answered == written


def test_the_table_of_errors_is_the_codes() -> None:
    told = re.findall(r"\| `#problem-([a-z-]+)` \| (\d+) \|", PAGE)
    assert told == [(kind.name, str(kind.status)) for kind in KINDS]
