"""Settings: what is wrong is said with its remedy, and never becomes an exception or a secret in a log."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_windsock.settings import Endpoint, Settings, load

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
GOOD = {"monitor_url": "http://127.0.0.1:8000", "ingest_secret": SECRET}
HOME = Path("/home/airflow")


def loaded(**values: str) -> tuple[Settings | None, tuple[str, ...]]:
    return load(lambda name: {**GOOD, **values}.get(name, ""), HOME)


def settings_of(**values: str) -> Settings:
    settings, problems = loaded(**values)
    assert problems == ()
    assert settings is not None
    return settings


def test_without_a_url_the_plugin_is_inert() -> None:
    assert loaded(monitor_url=" ") == (None, ())


def test_defaults() -> None:
    settings = settings_of()
    assert settings.sends
    assert settings.source == "/airflow/local"
    assert settings.spool_dir == HOME / "windsock-spool"
    assert (settings.include, settings.exclude) == ((), ())
    assert settings.secrets == (b"k" * 32,)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://windsock", Endpoint(False, "windsock", 80, "/api/v1/events")),
        ("https://windsock.example/base/", Endpoint(True, "windsock.example", 443, "/base/api/v1/events")),
        ("http://[::1]:8000", Endpoint(False, "::1", 8000, "/api/v1/events")),
    ],
)
def test_urls(url: str, endpoint: Endpoint) -> None:
    assert settings_of(monitor_url=url).endpoint == endpoint


@pytest.mark.parametrize(
    "url",
    [
        "windsock:8000",
        "ftp://windsock",
        "http://",
        "http://h:99999",
        "http://u:p@h",
        "http://h/?a=b",
        "http://h/é",
    ],
)
def test_a_wrong_url_keeps_events_in_the_spool(url: str) -> None:
    settings, (problem,) = loaded(monitor_url=url)
    assert settings is not None
    assert not settings.sends
    assert problem.startswith("[windsock] monitor_url")
    assert "Write it like" in problem


def test_several_secrets_are_all_used() -> None:
    other = "whsec_" + base64.b64encode(b"n" * 24).decode()
    assert settings_of(ingest_secret=f"{SECRET}\n {other}").secrets == (b"k" * 32, b"n" * 24)


@pytest.mark.parametrize(
    "secret", ["hunter2hunter2", "whsec_***", "whsec_aGk=", SECRET.removeprefix("whsec_")]
)
def test_a_wrong_secret_is_named_by_its_place_and_never_shown(secret: str) -> None:
    settings, (problem, *more) = loaded(ingest_secret=f"{SECRET} {secret}")
    assert settings is not None
    assert settings.secrets == (b"k" * 32,)
    assert not more
    assert "secret 2" in problem
    assert secret not in problem
    assert SECRET not in problem


def test_without_a_secret_events_stay_in_the_spool() -> None:
    settings, (problem,) = loaded(ingest_secret="")
    assert settings is not None
    assert not settings.sends
    assert "ingest_secret is not set" in problem


def test_the_secret_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    assert settings_of(ingest_secret="", ingest_secret_file=str(path)).secrets == (b"k" * 32,)


def test_a_secret_that_is_given_twice_or_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "none")
    settings, (problem,) = loaded(ingest_secret_file=path)
    assert settings is not None
    assert settings.secrets == (b"k" * 32,)
    assert "take one away" in problem
    settings, (problem, _) = loaded(ingest_secret="", ingest_secret_file=path)
    assert settings is not None
    assert not settings.sends
    assert f"ingest_secret_file is {path!r} and cannot be read" in problem


def test_secrets_are_not_in_the_repr() -> None:
    assert "kkkk" not in repr(settings_of())


@pytest.mark.parametrize("name", ["two words", "a/b", "x" * 101, "é"])
def test_a_wrong_deployment_makes_it_inert(name: str) -> None:
    settings, (problem,) = loaded(deployment=name)
    assert settings is None
    assert "[windsock] deployment" in problem


@pytest.mark.parametrize("text", ["many", "-1", "0", "nan", "inf"])
def test_a_wrong_number_is_replaced_by_the_default(text: str) -> None:
    settings, (problem,) = loaded(spool_max_events=text)
    assert settings is not None
    assert settings.max_events == 50_000
    assert "spool_max_events" in problem
    assert "50000 is used" in problem


def test_globs_and_paths() -> None:
    settings = settings_of(include="etl_*, ml_? ,", exclude="etl_tmp", spool_dir="/var/spool/windsock")
    assert settings.include == ("etl_*", "ml_?")
    assert settings.exclude == ("etl_tmp",)
    assert settings.spool_dir == Path("/var/spool/windsock")
    assert settings_of(spool_dir="spool").spool_dir == HOME / "spool"


@given(
    st.dictionaries(
        st.sampled_from(["monitor_url", "ingest_secret", "deployment", "spool_max_bytes"]), st.text()
    )
)
def test_no_text_makes_it_raise(values: dict[str, str]) -> None:
    settings, problems = loaded(**values)
    assert settings is None or isinstance(settings, Settings)
    assert all(problem.startswith("[windsock] ") for problem in problems)


def test_the_environment_serves_where_airflow_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_windsock.settings import from_airflow, from_environment

    monkeypatch.setenv("AIRFLOW__WINDSOCK__MONITOR_URL", "http://127.0.0.1:1234")
    monkeypatch.setenv("AIRFLOW__WINDSOCK__INGEST_SECRET", SECRET)
    monkeypatch.setenv("AIRFLOW__WINDSOCK__DEPLOYMENT", "prod")
    assert from_environment() == from_airflow()
    settings, _ = from_environment()
    assert settings is not None
    assert settings.deployment == "prod"
    assert settings.spool_dir == Path(os.environ["AIRFLOW_HOME"]) / "windsock-spool"
