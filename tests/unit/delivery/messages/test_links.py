"""Signed links: one purpose each, for a while, by a clock that is handed in; and the key that signs them."""

import logging
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from monitor.delivery.messages.links import ACKNOWLEDGE, EXPIRY, SILENCE, UNSUBSCRIBE, LinkError, Links
from monitor.errors import SettingsError
from monitor.secret_files import key_at
from monitor.settings import Settings
from tests.unit.conftest import FakeClock

BASE = "https://windsock.example"


@pytest.fixture
def links(clock: FakeClock) -> Links:
    return Links(BASE, ["a key"], clock)


def written(links: Links) -> dict[str, str]:
    """A token of each purpose."""
    urls = {
        SILENCE: links.silence("local", "etl"),
        ACKNOWLEDGE: links.acknowledge(42),
        UNSUBSCRIBE: links.unsubscribe("ünï+x@example.com", "every failure"),
    }
    for purpose, url in urls.items():
        assert url.startswith(f"{BASE}/links/{purpose}/")
        assert urlsplit(url).path == url.removeprefix(BASE)  # nothing that a mail program would have to quote
    return {purpose: url.rpartition("/")[2] for purpose, url in urls.items()}


def why_not(links: Links, purpose: str, token: str) -> str:
    with pytest.raises(LinkError) as refused:
        links.read(purpose, token)
    return refused.value.why


def test_a_link_says_what_it_is_for(links: Links) -> None:
    tokens = written(links)
    assert links.read(SILENCE, tokens[SILENCE]) == {"deployment": "local", "dag_id": "etl"}
    assert links.read(ACKNOWLEDGE, tokens[ACKNOWLEDGE]) == {"incident_id": 42}
    expected = {"address": "ünï+x@example.com", "rule": "every failure"}
    assert links.read(UNSUBSCRIBE, tokens[UNSUBSCRIBE]) == expected
    asset = links.silence("local", asset="file:///model.pkl").rpartition("/")[2]
    assert links.read(SILENCE, asset) == {"deployment": "local", "asset": "file:///model.pkl"}
    incident = links.silence_incident(42).rpartition("/")[2]
    assert links.read(SILENCE, incident) == {"incident_id": 42}


@pytest.mark.parametrize("purpose", list(EXPIRY))
def test_a_link_expires(links: Links, clock: FakeClock, purpose: str) -> None:
    token = written(links)[purpose]
    clock.forward(EXPIRY[purpose].total_seconds())
    links.read(purpose, token)
    clock.forward(1)
    assert why_not(links, purpose, token) == "expired"


@pytest.mark.parametrize("purpose", list(EXPIRY))
def test_a_link_is_for_one_purpose_alone(links: Links, clock: FakeClock, purpose: str) -> None:
    token = written(links)[purpose]
    others = [other for other in EXPIRY if other != purpose]
    assert [why_not(links, other, token) for other in others] == ["other_purpose", "other_purpose"]


def test_what_was_not_signed_here_is_refused(links: Links, clock: FakeClock) -> None:
    token = written(links)[SILENCE]
    other = Links(BASE, ["another key"], clock).silence("local", "etl").rpartition("/")[2]
    content, moment, signature = token.split(".")
    again = written(links)[UNSUBSCRIBE].split(".")[0]
    for forged in (
        "",
        "nonsense",
        "..",
        token[:-1],
        other,
        f"{again}.{moment}.{signature}",
        f"{content}.{moment[::-1]}.{signature}",
        f"{content}.{moment}.",
        f"{content}.{moment}.ünï",
        "x" * 10_000,
    ):
        assert why_not(links, SILENCE, forged) == "forged", forged


def test_a_key_outlives_the_process(settings: Settings, clock: FakeClock) -> None:
    token = Links(BASE, settings.link_keys, clock).acknowledge(1).rpartition("/")[2]
    assert Links(BASE, settings.link_keys, clock).read(ACKNOWLEDGE, token)
    file = settings.home / "link.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(settings.home.iterdir()) == [file]


def test_a_key_of_the_session_secret(settings: Settings) -> None:
    first = settings.model_copy(update={"session_secret": (SecretStr("s" * 40),)})
    second = settings.model_copy(update={"session_secret": (SecretStr("t" * 40),)})
    assert first.link_keys == first.model_copy(update={"home": settings.home / "other"}).link_keys
    assert len({*first.link_keys, *second.link_keys, "s" * 40}) == 3
    assert not (settings.home / "link.key").exists()


def test_links_outlive_the_secret_that_signed_them_while_both_are_named(
    settings: Settings, clock: FakeClock
) -> None:
    def links(*secrets: str) -> Links:
        keys = settings.model_copy(update={"session_secret": tuple(map(SecretStr, secrets))}).link_keys
        return Links(BASE, keys, clock)

    of_the_home, of_old = links().acknowledge(1), links("old" * 10).acknowledge(2)
    both = links("new" * 10, "old" * 10)
    assert both.read(ACKNOWLEDGE, of_the_home.rpartition("/")[2])["incident_id"] == 1
    assert both.read(ACKNOWLEDGE, of_old.rpartition("/")[2])["incident_id"] == 2
    of_new = both.acknowledge(3).rpartition("/")[2]
    assert links("new" * 10).read(ACKNOWLEDGE, of_new)["incident_id"] == 3
    with pytest.raises(LinkError):
        links("new" * 10).read(ACKNOWLEDGE, of_old.rpartition("/")[2])


def test_a_key_that_others_can_read_is_closed_to_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "link.key"
    key = key_at(path)
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        assert key_at(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "others could read it (mode 644)" in caplog.text
    assert key not in caplog.text


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    for name, content in (("short", "ab12\n"), ("text", "x" * 64), ("empty", ""), ("binary", "\udcff" * 64)):
        path = tmp_path / name
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(SettingsError, match="delete it"):
            key_at(path)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real.key")
    with pytest.raises(SettingsError, match="cannot be read"):
        key_at(link)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="is no file"):
        key_at(tmp_path / "pipe")
    with pytest.raises(SettingsError):
        key_at(tmp_path / "short" / "link.key")


def test_monitors_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(lambda _: key_at(tmp_path / "link.key"), range(32)))
    assert len(keys) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["link.key"]
