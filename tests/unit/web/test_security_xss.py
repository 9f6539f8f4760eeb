"""No page, found by the app's own routes, lets out of its text what Airflow's users and Windsock's wrote."""

from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import quote

import httpx
import pytest

from monitor.settings import Settings
from tests.unit.conftest import FakeClock
from tests.unit.hostile_names import ATTACK, MARK, SUM, fill
from tests.unit.surfaces import surfaces
from tests.unit.web_support import Served, serving

ADDRESSES = {"href", "src", "action", "formaction", "data", "srcdoc", "poster", "background", "xlink:href"}
HARMLESS = ("/", "#", "?", "http://", "https://", "data:image/")
OF_PAGES = {
    "script",
    "style",
    "link",
    "meta",
    "base",
    "iframe",
    "object",
    "embed",
    "svg",
    "use",
    "form",
    "img",
}
"""Elements that only a template may write: none of them bears what data said."""


@pytest.fixture
def monitor(settings: Settings, clock: FakeClock) -> Iterator[Served]:
    with serving(settings, clock) as monitor:
        monitor.client.headers["Accept"] = "text/html"
        yield monitor


class Page(HTMLParser):
    """What a browser makes of a page: collects whatever came out of its place."""

    def __init__(self, page: str, is_mail: bool) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self._is_mail = is_mail  # its styles are its own, and its frame runs nothing
        self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self._in_script = tag == "script"
        if tag == "script" and not str(values.get("src")).startswith("/static/"):
            self.wrong.append(f"script {values}")
        if tag == "svg" and "class" not in values:
            self.wrong.append(f"svg {values}")
        for name, value in attributes:
            self._look_at(tag, name, value or "")

    def _look_at(self, tag: str, name: str, value: str) -> None:
        bare = "".join(sign for sign in value.lower() if sign > " ")
        if name.startswith("on") or MARK in name or (name == "style" and not self._is_mail):
            self.wrong.append(f"{tag} {name}={value[:60]}")
        if name in ADDRESSES and not bare.startswith(HARMLESS):
            self.wrong.append(f"{tag} {name}={value[:60]}")
        if tag in OF_PAGES - {"form"} and MARK in value:
            self.wrong.append(f"{tag} {name}={value[:60]}")

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.wrong.append(f"inline script {data[:60]}")
        self._in_script = False


def wrong_with(answer: httpx.Response, is_mail: bool) -> list[str]:
    wrong = Page(answer.text, is_mail).wrong
    return wrong + (["a template took data for its own"] if SUM in answer.text else [])


def test_no_page_lets_out_what_was_written_into_names_errors_notes_conf_and_assets(monitor: Served) -> None:
    values = fill(monitor)
    found, shown = {}, 0
    asked = quote(ATTACK, safe="")
    for surface in surfaces(monitor.app):
        if surface.is_effect or surface.path == "/events":
            continue
        for query in (
            "",
            f"dag_id={asked}",
            f"asset={asked}",
            f"next={asked}",
            f"state={asked}",
            f"{asked}=1",
        ):
            answer = monitor.client.get(surface.at(values, query))
            assert answer.status_code < 500, surface.name
            if not answer.headers.get("content-type", "").startswith("text/html"):
                assert answer.headers["x-content-type-options"] == "nosniff"
                continue
            shown += MARK in answer.text
            is_mail = surface.path.endswith("/html")
            if wrong := wrong_with(answer, is_mail):
                found[surface.name + query[:12]] = wrong
    assert found == {}
    assert shown > 12  # or it would have proved nothing


def test_a_form_that_is_shown_again_lets_nothing_out_either(monitor: Served) -> None:
    fill(monitor)
    sent = {
        "dag_id": ATTACK,
        "reason": ATTACK,
        "until": ATTACK,
        "own_end": ATTACK,
        "name": ATTACK[:90],
        "dags": ATTACK,
    }
    for path in ("/silences", "/tokens", "/incidents/1/acknowledge"):
        answer = monitor.client.post(path, data={**sent, "scope": "read", "days": "7"})
        assert wrong_with(answer, is_mail=False) == []
