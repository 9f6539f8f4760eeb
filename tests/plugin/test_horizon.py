"""What must wait for its elders, and what need not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_windsock.drainer import HELD_AT_MOST, horizon
from airflow_windsock.events import complete_event
from airflow_windsock.journal import FOLDER, HEAD, Journal
from airflow_windsock.spool import Spool


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(Spool(tmp_path, 100, 100_000))
    yield journal
    journal.forget()


def spool_of(journal: Journal) -> Spool:
    return journal._spool


def test_where_no_journal_holds_anything_all_may_go(tmp_path: Path, journal: Journal) -> None:
    assert horizon(tmp_path) is None, "no journal was ever made"
    journal.append(b'{"id": "1"}')
    journal.hand_over()
    assert horizon(tmp_path) is None


def test_it_is_the_first_event_that_the_spool_lacks(tmp_path: Path, journal: Journal) -> None:
    journal.append(b'{"id": "1"}')
    journal.hand_over()
    older = spool_of(journal).add(b'{"id": "2"}')
    journal.append(b'{"id": "3"}')
    journal.append(b'{"id": "4"}')
    younger = spool_of(journal).add(b'{"id": "5"}')
    held = horizon(tmp_path)
    assert held is not None
    assert older < held < younger
    journal.hand_over()
    assert horizon(tmp_path) is None


def test_a_process_that_has_stood_still_is_not_waited_for(tmp_path: Path) -> None:
    long_ago = time.time_ns() - int((HELD_AT_MOST + 1) * 10**9)
    stopped = Journal(Spool(tmp_path, 100, 100_000, clock=lambda: long_ago))
    stopped.append(b'{"id": "1"}')
    assert horizon(tmp_path) is None
    stopped.forget()


@pytest.mark.parametrize(
    "content", [b"", b"no head\n", b"9" * 20 + b"\n", b"%020d\n" % HEAD + b"12 {}\n", b"%020d\n" % HEAD]
)
def test_what_is_no_journal_holds_nothing_up(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "0-1-aa.journal").write_bytes(content)
    (tmp_path / FOLDER / "folder").mkdir()
    (tmp_path / FOLDER / "link").symlink_to("/etc/passwd")
    assert horizon(tmp_path) is None


@pytest.mark.parametrize(
    "kept", [b"[]", b"[1", b'["run"]', b'["run","s",{}]', b'["no","s",{}]', b'["run",1,2]']
)
def test_what_is_no_report_is_set_aside_with_the_reason(
    tmp_path: Path, journal: Journal, kept: bytes
) -> None:
    assert complete_event(kept, 0) == kept
    journal.append(kept)
    journal.hand_over()
    spool = spool_of(journal)
    (name,) = spool.names()
    assert spool.read(name) is None
    assert "cannot be read as an event" in (tmp_path / "bad" / f"{name}.reason").read_text()
