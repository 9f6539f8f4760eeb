"""A wrong filter in a list's address is named on its page with what is accepted; nothing is listed."""

from collections.abc import Iterator

import pytest

from monitor.settings import Settings
from tests.sample import run_event
from tests.unit.web_support import Served, serving

STATES = "Accepted are &#39;pending&#39;, &#39;sending&#39;, &#39;sent&#39;"


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    with serving(settings) as monitor:
        yield monitor


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "/runs?state=fialed",
            "state: &#39;fialed&#39; is not accepted. Accepted are running, success, failed",
        ),
        (
            "/runs?stat=failed",
            "There is no filter &#39;stat&#39;. The filters are deployment, dag_id, state,",
        ),
        ("/runs?since=yesterday", "since: &#39;yesterday&#39; is not accepted"),
        (
            "/events/list?type=airflow.run.failed",
            "Accepted are airflow.dag_run.running, airflow.dag_run.success",
        ),
        ("/events/list?x=1", "The filters are deployment, type, dag_id, run_id, task_id, state, asset."),
        ("/mail?state=snet", f"state: &#39;snet&#39; is not accepted. {STATES}"),
        ("/mail?incident_id=x", "incident_id: &#39;x&#39; is not accepted"),
        (
            "/incidents?status=over",
            "status: &#39;over&#39; is not accepted. Accepted are &#39;open&#39;, &#39;acknowledged&#39;",
        ),
        (
            "/incidents?owned_by=jane",
            "There is no filter &#39;owned_by&#39;. The filters are state, deployment",
        ),
        ("/mail?channel=<b>", "channel: &#39;&lt;b&gt;&#39; is not accepted. Accepted are &#39;email&#39;"),
    ],
)
def test_a_wrong_filter_is_named_with_what_is_accepted(monitor: Served, path: str, message: str) -> None:
    monitor.post([run_event("failed")])
    answer = monitor.client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 422
    assert message in answer.text
    assert 'aria-label="Pages"' in answer.text
    assert "data-feed" not in answer.text
    assert '<li class="row' not in answer.text
    assert "Clear the filters" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/runs?dag_id=e*&state=failed",
        "/runs?state=&dag_id=",
        "/events/list?type=*.dag_run.*",
        "/incidents?search=&dag_id=&status=open&since=2026-11-22T09:00",
    ],
)
def test_globs_and_empty_fields_are_no_mistakes(monitor: Served, path: str) -> None:
    monitor.post([run_event("failed")])
    answer = monitor.client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert '<li class="row' in answer.text


@pytest.mark.parametrize("path", ["/runs?limit=0", "/mail?cursor=x"])
def test_what_is_no_filter_value_is_refused(monitor: Served, path: str) -> None:
    assert monitor.client.get(path, headers={"Accept": "text/html"}).status_code == 422
