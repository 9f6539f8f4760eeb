"""What the golden files do not show: retries, hostile errors, odd names."""

from __future__ import annotations

import enum
import json
import uuid
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_windsock import error_text
from airflow_windsock.events import digest, serialize, timestamp
from tests.plugin.conftest import built

SOURCE = "/airflow/local"
NOW = datetime(2026, 11, 22, 10, tzinfo=timezone.utc)


class State(enum.Enum):
    FAILED = "failed"
    UP_FOR_RETRY = "up_for_retry"
    RUNNING = "running"


def task(**more: Any) -> SimpleNamespace:
    given: dict[str, Any] = {
        "dag_id": "etl",
        "run_id": "r",
        "task_id": "load",
        "try_number": 1,
        "id": uuid.uuid4(),
    }
    return SimpleNamespace(**{**given, **more})


def failed(ti: Any, error: object = None, previous: object = "running") -> Any:
    return built("on_task_instance_failed", SOURCE, previous, ti, error)


@pytest.mark.parametrize("state", [State.UP_FOR_RETRY, "up_for_retry"])
def test_a_failed_try_with_a_retry_left_is_not_told_as_a_failure(state: object) -> None:
    event = failed(task(state=state))
    assert event["type"] == "airflow.task_instance.up_for_retry"
    assert event["id"].endswith(":up_for_retry")
    assert event["data"]["state"] == "up_for_retry"


@pytest.mark.parametrize("state", [State.RUNNING, None])
def test_a_failure_is_never_guessed(state: object) -> None:
    with pytest.raises(ValueError, match="not failed or up_for_retry"):
        failed(task(state=state))


def test_failed_by_hand_is_failed_whatever_the_object_still_says() -> None:
    assert failed(task(state=State.RUNNING), "set by hand", None)["data"]["state"] == "failed"


def test_the_scheduler_s_retry_is_told_under_the_id_of_the_try_that_failed() -> None:
    """Airflow's own model, as TaskInstance.fetch_handle_failure_context leaves it before the hook."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy.orm import attributes, configure_mappers

    ran, following = uuid.uuid4(), uuid.uuid4()
    configure_mappers()
    ti = TaskInstance.__new__(TaskInstance)
    attributes.manager_of_class(TaskInstance).setup_instance(ti)
    for name, value in {
        "dag_id": "etl",
        "run_id": "r",
        "task_id": "load",
        "try_number": 1,
        "id": ran,
    }.items():
        attributes.set_committed_value(ti, name, value)
    assert failed_id(ti, "failed") == f"task:{ran}:failed"
    ti.id = following
    assert failed_id(ti, "up_for_retry") == f"task:{ran}:up_for_retry"


def failed_id(ti: Any, state: str) -> str:
    ti.state = state
    return str(failed(ti)["id"])


def test_what_an_old_version_lacks_is_null() -> None:
    data = built("on_task_instance_success", SOURCE, "running", task())["data"]
    assert (data["start_date"], data["end_date"], data["hostname"], data["map_index"]) == (
        None,
        None,
        None,
        -1,
    )


def test_what_has_no_identity_is_not_told() -> None:
    with pytest.raises(ValueError, match="a SimpleNamespace without dag_id"):
        built("on_dag_run_success", SOURCE, SimpleNamespace(run_id="r"), "")
    with pytest.raises(ValueError, match="without try_number"):
        built("on_task_instance_success", SOURCE, "running", task(try_number=None))


def test_a_value_that_json_has_no_form_for() -> None:
    run = SimpleNamespace(dag_id="etl", run_id="r", run_type=State.RUNNING, start_date=NOW)
    data = built("on_dag_run_success", SOURCE, run, "")["data"]
    assert (data["run_type"], data["start_date"]) == ("running", "2026-11-22T10:00:00.000000Z")
    with pytest.raises(TypeError, match="a set is not told"):
        built("on_dag_run_success", SOURCE, SimpleNamespace(dag_id="etl", run_id="r", run_type={1}), "")


def test_times_are_utc_whatever_the_zone() -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    assert timestamp(NOW.astimezone(there)) == "2026-11-22T10:00:00.000000Z"
    assert timestamp(NOW.replace(tzinfo=None)) == "2026-11-22T10:00:00.000000Z"


@given(st.lists(st.text(st.characters(codec=None)), max_size=3), st.text(st.characters(codec=None)))
def test_any_name_gives_a_digest_and_valid_utf_8(parts: list[str], text: str) -> None:
    assert len(digest(*parts)) == 32
    assert json.loads(serialize({"id": text}).decode("utf-8"))


def raised(error: BaseException) -> BaseException:
    try:
        raise error  # noqa: TRY301 (for its traceback)
    except BaseException as caught:  # noqa: BLE001 (that is what is tested)
        return caught


class Hostile(Exception):
    def __str__(self) -> str:
        raise SystemExit("from __str__")


def test_a_hostile_error_still_has_its_type() -> None:
    described = error_text.describe(raised(Hostile()))
    assert described is not None
    assert described["type"] == "Hostile"
    assert "SystemExit" in str(described["message"])


def test_error_text_is_bounded_and_keeps_the_end_of_the_trace() -> None:
    described = error_text.describe(raised(ValueError("x" * 1_000_000 + "the end")))
    assert described is not None
    assert described["message"] is not None
    assert len(described["message"]) == error_text.MAX_MESSAGE
    assert described["traceback"] is not None
    assert len(described["traceback"]) == error_text.MAX_TRACE
    assert described["traceback"].endswith("the end\n")


@pytest.mark.parametrize("masker", error_text.MASKERS)
def test_secrets_are_masked_as_airflow_masks_them_before_the_text_is_cut(masker: str) -> None:
    import importlib

    secrets_masker = importlib.import_module(masker)
    secret = "correct-horse-battery-staple"
    secrets_masker.mask_secret(secret)
    try:
        padding = "x" * (error_text.MAX_MESSAGE - 10)
        described = error_text.describe(raised(ValueError(f"{padding}{secret} tail")))
        told = json.dumps([described, error_text.describe(f"killed with {secret}")])
        stacktrace = built("on_new_dag_import_error", SOURCE, "f.py", f"password={secret}")["data"][
            "stacktrace"
        ]
    finally:
        secrets_masker.reset_secrets_masker()
    assert secret not in told
    assert secret[:9] not in told
    assert stacktrace == "password=***"


def test_nul_cannot_reach_a_database() -> None:
    assert error_text.describe("a\x00b") == {"type": None, "message": "a\ufffdb", "traceback": None}


def test_import_errors_differ_by_the_whole_trace() -> None:
    ids = {
        built("on_new_dag_import_error", SOURCE, "f.py", first + "x" * 100_000)["id"] for first in ("a", "b")
    }
    assert len(ids) == 2


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_it_is_json_as_the_standard_library_writes_it(document: Any) -> None:
    plain = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    assert serialize(document) == plain.encode("utf-8", "replace")
