"""The spool: whole events or none, in order, bounded, and nothing foreign can hold it up."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from airflow_windsock.spool import MAX_BAD, MAX_EVENT_BYTES, Full, Spool
from tests.plugin.forks import in_child


def event(number: int, padding: int = 0) -> bytes:
    return json.dumps({"id": f"event:{number}", "pad": "x" * padding}).encode()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 1_000, 10_000_000)


def ids(spool: Spool) -> list[str]:
    return [letter.event_id for name in spool.names() if (letter := spool.read(name))]


def test_events_come_back_in_the_order_they_were_put(spool: Spool) -> None:
    for number in range(100):
        spool.add(event(number))
    assert ids(spool) == [f"event:{number}" for number in range(100)]


def test_only_this_user_can_read_it(spool: Spool) -> None:
    spool.add(event(1))
    for directory in (spool.root, *(spool.root / name for name in ("tmp", "new", "bad"))):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (spool.root / "new").iterdir()} == {0o600}
    assert stat.S_IMODE((spool.root / "usage").stat().st_mode) == 0o600


def test_threads_and_processes_put_at_the_same_time(spool: Spool) -> None:
    def many() -> None:
        for number in range(50):
            spool.add(event(number))

    children = [in_child(many) for _ in range(3)]
    threads = [threading.Thread(target=many) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for child in children:
        os.waitpid(child, 0)
    assert len(ids(spool)) == 300


def test_a_writer_killed_before_the_rename_leaves_nothing_to_send(spool: Spool) -> None:
    spool.add(event(1))
    reader, writer = os.pipe()

    def killed_between_write_and_rename() -> None:
        (spool.root / "tmp" / draft).write_bytes(event(2)[:7])
        os.write(writer, b".")
        signal.pause()

    draft = "00000000000000000001-1-0-20.json"
    child = in_child(killed_between_write_and_rename)
    assert os.read(reader, 1) == b"."
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    assert ids(spool) == ["event:1"]
    spool.recover()
    assert (spool.root / "tmp" / draft).exists(), "a young draft may still be written"
    os.utime(spool.root / "tmp" / draft, (0, 0))
    spool.recover()
    assert ids(spool) == ["event:1"]
    assert list((spool.root / "tmp").iterdir()) == [], "what is not whole is swept away"


def test_a_whole_draft_of_a_dead_writer_is_sent(spool: Spool) -> None:
    name = spool.add(event(1))
    (spool.root / "new" / name).rename(spool.root / "tmp" / name)
    os.utime(spool.root / "tmp" / name, (0, 0))
    spool.recover()
    assert ids(spool) == ["event:1"]


def foreign(new: Path) -> None:
    size = "01795352657924511380-1-{}-{}.json"
    (new / "notes.txt").write_text("not ours")
    (new / size.format(0, 4)).write_bytes(b"")  # what a power loss leaves
    (new / size.format(1, 4)).write_bytes(b"nope")
    (new / size.format(2, 2)).write_bytes(b"[]")
    (new / size.format(3, 9)).write_bytes(b'{"id": 1}')
    (new / size.format(4, 4)).write_bytes(b"\xff\xfe\x00\x01")
    (new / size.format(5, 4)).mkdir()
    (new / size.format(6, 4)).symlink_to("/etc/passwd")
    os.mkfifo(new / size.format(7, 4))
    (new / size.format(8, MAX_EVENT_BYTES + 1)).write_bytes(b"x")
    (new / size.format(9, 20_000)).write_bytes(b"[" * 20_000)


def test_foreign_and_broken_files_are_set_aside_with_the_reason(spool: Spool) -> None:
    spool.add(event(1))
    foreign(spool.root / "new")
    (spool.root / "new" / ".nfs0001").write_text("NFS does this")
    spool.add(event(2))
    assert ids(spool) == ["event:1", "event:2"]
    assert len(spool.names()) == 2
    bad = list((spool.root / "bad").iterdir())
    assert len(bad) == 22
    assert all(path.read_text().strip() for path in bad if path.suffix == ".reason")


def test_bad_is_bounded(spool: Spool) -> None:
    name = spool.add(event(1))
    for number in range(MAX_BAD + 2):
        (spool.root / "bad" / f"{number:020d}-1-0-2.json").write_text("{}")
        (spool.root / "bad" / f"{number:020d}-1-0-2.json.reason").write_text("old")
    spool.set_aside(name, "unknown type")
    kept = sorted(path.name for path in (spool.root / "bad").iterdir())
    assert len(kept) == 2 * MAX_BAD
    assert name in kept, "the newest are kept"


def test_at_the_bound_it_refuses_and_counts(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 3, 10_000)
    for number in range(3):
        spool.add(event(number))
    for _ in range(2):
        with pytest.raises(Full, match="spool_max_events"):
            spool.add(event(9))
    assert int(spool.refused) == 2
    assert (tmp_path / "refused").stat().st_size == 2
    for name in spool.names():
        spool.remove(name)
    assert spool.names() == []
    spool.add(event(10))


def test_bytes_are_bounded(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1_000, 1_000)
    spool.add(event(1, padding=900))
    with pytest.raises(Full):
        spool.add(event(2, padding=100))
    with pytest.raises(Full):
        Spool(tmp_path, 10, 10**9).add(b"x" * (MAX_EVENT_BYTES + 1))


def test_a_process_knows_what_others_have_put(tmp_path: Path) -> None:
    for number in range(3):
        Spool(tmp_path, 3, 10_000).add(event(number))
    os.utime(tmp_path / "usage", (0, 0))  # nobody drains on this host, and the count is old
    with pytest.raises(Full):
        Spool(tmp_path, 3, 10_000).add(event(4))


@pytest.mark.parametrize("text", ["", "a b", "1", "-"])
def test_a_broken_count_is_counted_anew(tmp_path: Path, text: str) -> None:
    Spool(tmp_path, 3, 10_000).add(event(1))
    (tmp_path / "usage").write_text(text)
    Spool(tmp_path, 3, 10_000).add(event(2))
    assert (tmp_path / "usage").read_text().split()[0] == "1"


def test_a_disk_that_takes_nothing_is_counted(spool: Spool) -> None:
    spool.add(event(1))
    (spool.root / "tmp").rename(spool.root / "gone")
    with pytest.raises(OSError, match="No such file"):
        spool.add(event(2))
    assert int(spool.refused) == 1


def test_two_readers_share_without_a_quarrel(spool: Spool) -> None:
    name = spool.add(event(1))
    spool.remove(name)
    spool.remove(name)
    spool.set_aside(name, "late")
    assert spool.read(name) is None


def test_a_spool_that_was_never_used_is_empty(spool: Spool) -> None:
    spool.recover()
    assert spool.names() == []
    assert not spool.root.exists()


@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_bytes_in_new_can_stop_a_reader(body: bytes, size: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        spool = Spool(Path(folder), 10, 10_000)
        spool.add(event(1))
        (spool.root / "new" / f"01795352657924511380-1-0-{size}.json").write_bytes(body)
        assert [found for found in ids(spool) if found == "event:1"] == ["event:1"]


class Account(RuleBasedStateMachine):
    """Whatever is put, taken and set aside: nothing is lost, nothing doubled, all in order."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory(dir="/tmp")
        self.spool = Spool(Path(self.folder.name), 1_000, 1_000_000)
        self.waiting: list[tuple[str, str]] = []
        self.count = 0

    @rule()
    def put(self) -> None:
        self.count += 1
        self.waiting.append((self.spool.add(event(self.count)), f"event:{self.count}"))

    @rule(position=st.integers(0, 20), aside=st.booleans())
    def take(self, position: int, aside: bool) -> None:
        if position < len(self.waiting):
            name, _ = self.waiting.pop(position)
            self.spool.set_aside(name, "rejected") if aside else self.spool.remove(name)

    @rule()
    def another_process(self) -> None:
        self.spool = Spool(Path(self.folder.name), 1_000, 1_000_000)

    @invariant()
    def adds_up(self) -> None:
        assert ids(self.spool) == [event_id for _, event_id in self.waiting]

    def teardown(self) -> None:
        self.folder.cleanup()


TestAccount = Account.TestCase
