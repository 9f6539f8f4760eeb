"""The README's table of settings names every setting, and no other."""

import re
from pathlib import Path

from monitor.settings import Settings

README = (Path(__file__).parents[2] / "README.md").read_text()
NOT_THE_MONITORS = {"WINDSOCK_MODELS_DIR", "WINDSOCK_TRAINING_CSV"}
BY_ANOTHER_NAME = {"WINDSOCK_NOTIFICATION_EMAIL_TO"}  # told as NOTIFICATION_EMAIL_TO


def test_every_setting_is_told() -> None:
    settings = {f"WINDSOCK_{name.upper()}" for name in Settings.model_fields} - BY_ANOTHER_NAME
    told = set(re.findall(r"\bWINDSOCK_[A-Z0-9_]+\b", README)) - NOT_THE_MONITORS
    assert settings == told
    assert "`NOTIFICATION_EMAIL_TO`" in README


def test_every_picture_and_page_that_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parents[2] / target).exists(), target
