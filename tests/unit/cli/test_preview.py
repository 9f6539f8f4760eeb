"""`windsock preview`: in a folder, or in the terminal."""

from pathlib import Path

import pytest

from monitor.cli.explain import show_previews
from monitor.delivery.messages.renderer import Renderer
from monitor.errors import SettingsError
from monitor.notifications.outbox.records import TEMPLATES
from tests.unit.conftest import FakeClock


def renderer(overrides: Path | None = None) -> Renderer:
    return Renderer("a@example.com", "http://m", {"production": "http://a"}, FakeClock(), overrides=overrides)


def test_every_template_is_written_into_a_folder(tmp_path: Path) -> None:
    said: list[str] = []
    assert show_previews(renderer(), None, tmp_path / "new", False, said.append)
    files = {path.name for path in (tmp_path / "new").iterdir()}
    assert files == {f"{name}.{kind}" for name in TEMPLATES for kind in ("html", "txt")}
    assert len(said) == len(TEMPLATES)


def test_without_a_folder_the_text_is_said() -> None:
    said: list[str] = []
    assert show_previews(renderer(), "digest", None, False, said.append)
    [text] = said
    assert text.startswith("Subject: Digest · 26 events")
    assert "nightly_sales" in text


def test_a_template_that_fails_is_named(tmp_path: Path) -> None:
    (tmp_path / "digest.html.j2").write_text("{{ nothing }}")
    said: list[str] = []
    assert not show_previews(renderer(tmp_path), "digest", tmp_path / "out", True, said.append)
    assert any("your template digest: UndefinedError" in line for line in said)
    assert (tmp_path / "out" / "digest.html").exists()


def test_a_name_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match="there is no template 'nope': write one of run_failed, "):
        show_previews(renderer(), "nope", None, True, lambda _text: None)
