"""What the README, and the texts beside it, link to."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("text", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_picture_and_page_that_it_links_to_is_there(text: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / text).read_text()):
        assert (ROOT / target).exists(), target
