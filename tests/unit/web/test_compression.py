"""Compressed pages and files: what is compressed, what is not, and the token that is never the same twice."""

import gzip
import re
from collections.abc import Iterator

import httpx
import pytest

from monitor.settings import Settings
from monitor.web.compression import mask, unmask
from monitor.web.paths import FOR_GOOD
from tests.sample import run_event
from tests.unit.web_support import Served, SignInAirflow, hidden, serving, with_sign_in

GZIP = {"Accept-Encoding": "gzip", "Accept": "text/html"}
TOKEN = "0123456789abcdef-_Az"


@pytest.fixture(params=["", "/windsock"])
def prefix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def monitor(settings: Settings, prefix: str) -> Iterator[Served]:
    public = f"http://127.0.0.1:8000{prefix}" if prefix else None
    with serving(settings.model_copy(update={"public_url": public})) as monitor:
        monitor.post([run_event("failed", f"dag_{number}") for number in range(9)])
        yield monitor


def raw(monitor: Served, path: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """Return an answer and its bytes as they came."""
    with monitor.client.stream("GET", path, headers=GZIP | headers) as answer:
        return answer, b"".join(answer.iter_raw())


def test_pages_and_files_are_compressed(monitor: Served, prefix: str) -> None:
    page, body = raw(monitor, f"{prefix}/")
    text = gzip.decompress(body).decode()
    assert len(body) < len(text) / 4
    assert page.headers["content-length"] == str(len(body))
    assert "Accept-Encoding" in page.headers["vary"]
    assert page.headers["cache-control"] == "no-store"
    script = re.search(r'src="([^"]*/page\.js)"', text)
    style = re.search(r'href="([^"]*/windsock\.css)"', text)
    assert script
    assert style
    for file in (script[1], style[1]):
        answer, body = raw(monitor, file)
        whole = monitor.client.get(file, headers={"Accept-Encoding": "identity"})
        assert answer.headers["cache-control"] == FOR_GOOD == whole.headers["cache-control"]
        assert (gzip.decompress(body) if len(whole.content) > 1_000 else body) == whole.content
        again = monitor.client.get(file, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
    assert answer.headers["etag"] == f"W/{whole.headers['etag']}"


def test_a_page_that_has_not_changed_is_not_sent_again(monitor: Served, prefix: str) -> None:
    first, _ = raw(monitor, f"{prefix}/runs")
    assert first.headers["etag"].startswith("W/")
    again, body = raw(monitor, f"{prefix}/runs", **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, body) == (304, b"")


@pytest.mark.parametrize("path", ["/api/v1/runs", "/metrics", "/links/silence/none"])
def test_what_has_secrets_or_is_read_by_programs_is_not_compressed(monitor: Served, path: str) -> None:
    answer, _ = raw(monitor, path)
    assert "content-encoding" not in answer.headers


def test_the_feed_is_neither_compressed_nor_held_back(monitor: Served) -> None:
    with monitor.client.stream("GET", "/events?after=0", headers={"Accept-Encoding": "gzip"}) as answer:
        assert "content-encoding" not in answer.headers
        assert next(answer.iter_raw())


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_learn_nothing_from_lengths(monitor: Served, prefix: str, site: str) -> None:
    answer, _ = raw(monitor, f"{prefix}/", **{"Sec-Fetch-Site": site})
    assert "content-encoding" not in answer.headers
    own, _ = raw(monitor, f"{prefix}/", **{"Sec-Fetch-Site": "same-origin"})
    assert own.headers["content-encoding"] == "gzip"


def test_the_manifest_has_icons_and_begins_below_the_prefix(monitor: Served, prefix: str) -> None:
    page = monitor.client.get(f"{prefix}/", headers=GZIP).text
    link = re.search(r'rel="manifest" href="([^"]*)"', page)
    assert link
    answer = monitor.client.get(link[1])
    assert answer.headers["content-type"].startswith("application/manifest+json")
    manifest = answer.json()
    at = httpx.URL(f"http://monitor{link[1]}")
    assert at.join(manifest["start_url"]).path == f"{prefix}/" == at.join(manifest["scope"]).path
    for icon in manifest["icons"]:
        shown = monitor.client.get(at.join(icon["src"]).path)
        assert shown.headers["content-type"] == icon["type"]
        assert shown.headers["cache-control"] == FOR_GOOD
    assert "manifest-src 'self'" in answer.headers["content-security-policy"]


def test_a_token_is_masked_anew_in_each_answer(settings: Settings) -> None:
    with SignInAirflow().serving() as airflow:
        airflow.add("alice", "secret", ["etl"])
        with serving(with_sign_in(settings, airflow)) as monitor, httpx.Client(base_url=monitor.url) as alice:
            form = {
                "username": "alice",
                "password": "secret",
                "csrf": hidden("csrf", alice.get("/login").text),
                "next": "/",
            }
            assert alice.post("/login", data=form).status_code == 303
            pages = [alice.get("/runs", headers=GZIP) for _ in range(2)]
            tokens = [hidden("csrf", page.text) for page in pages]
            assert tokens[0] != tokens[1]
            assert pages[0].headers["etag"] == pages[1].headers["etag"]
            assert unmask(tokens[0]) == unmask(tokens[1])
            assert unmask(tokens[0]) not in pages[0].text
            for wrong in (unmask(tokens[0]), "zz", ""):
                assert alice.post("/logout", data={"csrf": wrong}).status_code == 403
            assert alice.post("/logout", data={"csrf": tokens[0]}).status_code == 303


def test_a_masked_token_shares_nothing_with_another() -> None:
    one, other = mask(TOKEN), mask(TOKEN)
    assert one != other
    assert unmask(one) == unmask(other) == TOKEN
    assert [unmask(wrong) for wrong in ("", "0", "not hex")] == ["", "", ""]
