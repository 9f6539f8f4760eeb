"""Which watch takes what, from a file to the watch."""

from pathlib import Path

import pytest

from monitor.rules.loader import default_config, load_config
from monitor.watches.thresholds import WatchSelector

FILE = """
watches:
  - {name: stuck, watch: stuck, after: 6h}
  - {name: loads, watch: stuck, dag_id: "load_*", after: 3h}
  - {name: nightly, watch: stuck, tags: [nightly, "batch_*"], after: 9h}
  - {name: streams, watch: stuck, tags: stream, off: true}
  - {name: elsewhere, watch: late, deployment: other}
  - {name: any model, watch: stale, asset: "*.pkl", after: 2d}
  - {name: one model, watch: stale, asset: "s3://models/best.pkl", after: 1d}
  - {name: mine, watch: unconsumed, dag_id: release}
"""


@pytest.fixture
def choice(tmp_path: Path, request: pytest.FixtureRequest) -> WatchSelector:
    (tmp_path / "windsock.yaml").write_text(FILE)
    config = load_config(tmp_path / "windsock.yaml", {}, default_config((), ()))
    return WatchSelector(config.watches, request.param, "local")


@pytest.mark.parametrize("choice", ["stuck"], indirect=True)
@pytest.mark.parametrize(
    ("dag_id", "tags", "name"),
    [
        ("etl", [], "stuck"),
        ("load_all", [], "loads"),
        ("load_all", ["nightly"], "loads"),  # the first that names something
        ("etl", ["batch_7"], "nightly"),
        ("etl", ["stream"], None),
        ("etl", ["Nightly"], "stuck"),
    ],
)
def test_one_that_names_something_goes_before_the_one_for_all(
    choice: WatchSelector, dag_id: str, tags: list[str], name: str | None
) -> None:
    watch = choice.find_for_dag(dag_id, tags)
    assert (watch.name if watch else None) == name


@pytest.mark.parametrize("choice", ["stale"], indirect=True)
def test_an_asset_is_named_by_its_name_or_uri(choice: WatchSelector) -> None:
    for name, uri, expected in (
        ("best.pkl", "file:///x", "any model"),
        ("best", "s3://models/best.pkl", "any model"),
        ("table", "postgres://x", None),
    ):
        watch = choice.find_for_asset(name, uri, None, ())
        assert (watch.name if watch else None) == expected


@pytest.mark.parametrize("choice", ["unconsumed"], indirect=True)
def test_an_asset_of_no_dag_is_of_no_watch_that_names_one(choice: WatchSelector) -> None:
    assert choice.find_for_asset("a", "b", None, ()) is None
    assert choice.find_for_asset("a", "b", "release", ()) is not None


@pytest.mark.parametrize(("choice", "is_watched"), [("late", False), ("missing", True)], indirect=["choice"])
def test_whether_anything_is_watched(choice: WatchSelector, is_watched: bool) -> None:
    assert bool(choice) == is_watched
