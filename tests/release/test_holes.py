"""What pip-audit says is never taken for better than it is."""

import json

from release.holes import judged, locks, ships

HOLE = {"id": "PYSEC-2026-1", "fix_versions": ["3.1.7"], "description": "…"}


def test_a_hole_is_named_with_what_mends_it() -> None:
    found = {"dependencies": [{"name": "jinja2", "version": "3.1.6", "vulns": [HOLE]}]}
    looked = judged("monitor.txt", json.dumps(found), "")
    assert looked.holes == ("jinja2 3.1.6: PYSEC-2026-1, mended in 3.1.7",)
    assert not looked.unchecked


def test_nothing_found_says_how_many_were_asked_for() -> None:
    found = {"dependencies": [{"name": "jinja2", "version": "3.1.6", "vulns": []}]}
    assert judged("monitor.txt", json.dumps(found), "").told() == "monitor.txt: 1 packages, no known hole"


def test_what_was_skipped_was_not_checked() -> None:
    found = {"dependencies": [{"name": name, "skip_reason": "not found"} for name in "abcde"]}
    looked = judged("monitor.txt", json.dumps(found), "")
    assert looked.unchecked == "the service of advisories knows nothing of a, b, c and 2 more"
    assert "NOT CHECKED" in looked.told()


def test_a_failure_was_not_checked() -> None:
    looked = judged("monitor.txt", "", "Traceback …\nConnectionError: no such host\n")
    assert looked.unchecked == "pip-audit failed: ConnectionError: no such host"


def test_holes_of_locks_that_nobody_is_given_do_not_hold_a_release_up() -> None:
    shipped = {lock.stem for lock in locks() if ships(lock)}
    assert shipped == {"airflow-3.3.2", "dev", "docs", "monitor", "release", "uv"}
