"""What pip-audit says is never taken for better than it is."""

import json

import pytest

from scripts.release.advisories import UnusableAdvisoriesError
from scripts.release.holes import judged, locks, require_advisories, ships

HOLE: dict[str, object] = {"id": "PYSEC-2026-1", "fix_versions": ["3.1.7"], "description": "…"}


def test_a_hole_is_named_with_what_mends_it() -> None:
    found = {"dependencies": [{"name": "jinja2", "version": "3.1.6", "vulns": [HOLE]}]}
    looked = judged("monitor.txt", json.dumps(found), "")
    assert looked.holes == ("jinja2 3.1.6: PYSEC-2026-1, mended in 3.1.7",)
    assert not looked.unchecked


def test_nothing_found_says_how_many_were_asked_for() -> None:
    found = {"dependencies": [{"name": "jinja2", "version": "3.1.6", "vulns": []}]}
    assert judged("monitor.txt", json.dumps(found), "").describe() == "monitor.txt: 1 packages, no known hole"


def test_what_was_skipped_was_not_checked() -> None:
    found = {"dependencies": [{"name": name, "skip_reason": "not found"} for name in "abcde"]}
    looked = judged("monitor.txt", json.dumps(found), "")
    assert looked.unchecked == "the advisory service knows nothing of a, b, c and 2 more"
    assert "NOT CHECKED" in looked.describe()


def test_a_failure_was_not_checked() -> None:
    looked = judged("monitor.txt", "", "Traceback …\nConnectionError: no such host\n")
    assert looked.unchecked == "pip-audit failed: ConnectionError: no such host"


def test_what_was_skipped_hides_no_hole_of_another_package() -> None:
    skipped = {"name": "a", "skip_reason": "not found"}
    found = {"dependencies": [skipped, {"name": "jinja2", "version": "3.1.6", "vulns": [HOLE]}]}
    told = judged("monitor.txt", json.dumps(found), "").describe()
    assert "NOT CHECKED" in told
    assert "jinja2 3.1.6: PYSEC-2026-1" in told


def test_a_service_that_knows_no_hole_at_all_has_not_checked() -> None:
    """A mirror may pass on packages without their advisories: everything would look clean."""

    def printed(holes: list[dict[str, object]]) -> str:
        return json.dumps({"dependencies": [{"name": "jinja2", "version": "2.4.1", "vulns": holes}]})

    require_advisories(printed([HOLE]), "")
    with pytest.raises(UnusableAdvisoriesError, match="knows of no hole in jinja2"):
        require_advisories(printed([]), "")
    with pytest.raises(
        UnusableAdvisoriesError, match=r"pip-audit failed: no such host\. .*--advisories FOLDER"
    ):
        require_advisories("", "no such host")


def test_holes_of_locks_that_nobody_is_given_do_not_hold_a_release_up() -> None:
    shipped = {lock.stem for lock in locks() if ships(lock)}
    assert shipped == {"airflow-3.3.2", "dev", "docs", "monitor", "release", "uv"}
