"""Which licences are allowed, and that what is vendored has one of them."""

import pytest

from scripts.release.licences import EXCEPTIONS, problems
from scripts.release.licences import allowed as is_allowed


@pytest.mark.parametrize(
    "licence",
    [
        "MIT",
        "Apache Software License; MIT License",
        "Apache-2.0 OR BSD-3-Clause",
        "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
        "MIT OR GPL-3.0-only",
        "(MIT OR GPL-3.0-only) AND Apache-2.0",
        "DFSG approved; MIT License",
        "ISC License (ISCL)",
        "GNU Library or Lesser General Public License (LGPL)",
    ],
)
def test_what_is_on_the_list(licence: str) -> None:
    assert is_allowed(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "UNKNOWN",
        "",
        "GPL-3.0-only",
        "MIT AND GPL-3.0-only",
        "GNU Affero General Public License v3",
        "Apache-2.0 AND (GPL-2.0-only OR Proprietary)",
        "Other/Proprietary License; MIT License",
    ],
)
def test_what_is_not(licence: str) -> None:
    assert not is_allowed(licence)


def test_a_package_is_named_with_its_licence() -> None:
    found = problems(
        {("good", "1"): "MIT", ("bad", "2"): "AGPL-3.0-only", (next(iter(EXCEPTIONS)), "3"): "GPL"}
    )
    assert found == ["bad 2: 'AGPL-3.0-only' is not an allowed licence"]


def test_what_is_vendored_and_what_tests_take_from_npm_is_allowed() -> None:
    assert problems({}) == []
