"""Those whom the monitor asks (receivers, Airflow, mail servers), and who sends it mail."""

import asyncio
import gzip
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from itertools import count

from bench.bounds.peers import DAG, MIB, UNPACKED, answer, bomb, many_values, packed
from bench.bounds.requests import counted
from bench.bounds.stage import Stage, failed_run
from bench.bounds.trial import Trial
from monitor.airflow.connection import MAX_ANSWER
from monitor.bounded_json import MAX_VALUES
from monitor.delivery.channels.mailbox_server import MAX_MAIL
from tests import wait
from tests.unit.hostile_smtp import ENDLESS

SETTLED = frozenset({"sent", "dead", "uncertain", "parked"})
MAILS = 3
ASKED = 3  # answers of a kind that are waited for
_numbers = count()


def delivered(stage: Stage, dag_id: str, path: str, reply: bytes) -> str:
    """One failure's delivery, to somebody who answers so."""
    monitor, number = stage.plain, next(_numbers)
    stage.peers.say(path, reply)
    try:
        monitor.report([failed_run(dag_id, f"delivered-{number}")])
        return _attempt(stage, dag_id, number)
    finally:
        stage.peers.say(path, None)


def mailed(stage: Stage, **script: str) -> str:
    """One mail, to a server that says so."""
    number = next(_numbers)
    stage.peers.mail.scripts[:] = [script] * 10
    try:
        stage.plain.report([failed_run("mail", f"delivered-{number}")])
        return _attempt(stage, "mail", number)
    finally:
        stage.peers.mail.scripts.clear()


def _attempt(stage: Stage, dag_id: str, number: int) -> str:
    run = {"dag_id": dag_id, "run_id": f"delivered-{number}"}

    def first() -> str:
        found = stage.plain.client.get("/api/v1/deliveries", params=run).json()["deliveries"]
        if not found:
            return ""
        delivery = stage.plain.client.get(f"/api/v1/deliveries/{found[0]['id']}").json()
        attempts = [attempt["answer"] for attempt in delivery["ledger"]]
        return f"{delivery['state']}: {' '.join(str(attempts[-1]).split())[:60]}" if attempts else ""

    return wait.until(first, f"the delivery of {dag_id}", 60, pause=0.2)


def reconciled(stage: Stage, reply: bytes, path: str = "/api/v2/") -> str:
    """What the reconciler asks Airflow, answered so a few times."""
    before = stage.peers.asked.total()
    stage.peers.say(path, reply)
    try:
        wait.until(lambda: stage.peers.asked.total() >= before + ASKED, "Airflow to be asked", 60)
        time.sleep(1)  # the last answer is read
        return f"{stage.peers.asked.total() - before} times, and goes on"
    finally:
        stage.peers.say(path, None)


def page_of_airflows(stage: Stage, path: str, reply: bytes) -> str:
    """A page that asks Airflow while somebody waits."""
    stage.guarded.report([failed_run(DAG)])
    stage.peers.say(f"/api/v2/dags/{DAG}/dagRuns/", reply)
    try:
        with closing(stage.guarded.sign_in()) as browser:
            found = browser.get(f"{path}/local/{DAG}/manual__1", params={"task_id": "load", "try_number": 1})
            return f"{found.status_code}, {len(found.content) / 1024:.0f} KiB"
    finally:
        stage.peers.say(f"/api/v2/dags/{DAG}/dagRuns/", None)


def sign_in(stage: Stage, reply: bytes) -> str:
    stage.peers.say("/auth/token", reply)
    try:
        with closing(stage.guarded.client.__class__(base_url=stage.guarded.url, timeout=120)) as browser:
            return str(stage.guarded.guess(browser, "any").status_code)
    finally:
        stage.peers.say("/auth/token", None)


def posted(stage: Stage, clients: int, line: bytes, size: int) -> str:
    """Mails to the embedded mailbox, made of such lines, all at once."""

    async def one() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.mailbox_port)
        with suppress(OSError):
            await reader.readline()
            for verb in (b"EHLO x", b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.com>", b"DATA"):
                writer.write(verb + b"\r\n")
                while (reply_line := await reader.readline())[3:4] == b"-":
                    pass
            piece = line * (64 * 1024 // len(line))
            for _ in range(size // len(piece)):
                writer.write(piece)
                await writer.drain()
            writer.write(b".\r\n")
            reply_line = await reader.readline()
            writer.close()
            return reply_line[:3].decode() or "cut"
        return "cut"

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(one() for _ in range(clients)))

    return counted(Counter(asyncio.run(all_of_them())))


def trials() -> Iterator[Trial]:
    gib = f"{UNPACKED / 1024 / MIB:.1f} GiB, packed"
    ends = {"500 bytes": answer(b"x" * 500), gib: packed(bomb()), "64 MiB": answer(b"x" * 64 * MIB)}
    for sends, reply in ends.items():
        yield Trial(
            "a webhook's answer", sends, partial(delivered, dag_id="webhook", path="/hook", reply=reply)
        )
    for sends, reply in ends.items():
        yield Trial(
            "Apprise's answer", sends, partial(delivered, dag_id="apprise", path="/apprise", reply=reply)
        )
    endless = {"EHLO": ENDLESS}
    yield Trial("a mail server's answer", "no end of lines", lambda stage: mailed(stage, **endless))
    spaces = b'{"dags": []}' + b" " * (MAX_ANSWER - 100)
    for sends, reply in (
        (f"{MAX_ANSWER // MIB} MiB of spaces", packed(gzip.compress(spaces, 1))),
        (f"{MAX_VALUES:,} values", packed(many_values(3 * MAX_VALUES // 2 - 100))),
        ("32 MiB of values", packed(many_values(32 * MIB))),
        (gib, packed(bomb())),
        ("64 MiB", answer(b"x" * 64 * MIB)),
        (f"a refusal of {gib}", bomb_refusal()),
    ):
        yield Trial("Airflow's answer", sends, partial(reconciled, reply=reply), True)
    log = packed(bomb())
    yield Trial("a task's log", gib, lambda stage: page_of_airflows(stage, "/logs", log), True)
    lines = packed(gzip.compress(b'{"event":"x"}\n' * (4 * MIB), 1))
    yield Trial(
        "a task's log", "56 MiB of lines", lambda stage: page_of_airflows(stage, "/logs", lines), True
    )
    yield Trial("sign-in's answer", gib, lambda stage: sign_in(stage, packed(bomb())), True)
    yield Trial(
        "mailbox",
        f"a mail of {MAX_MAIL // MIB} MiB",
        lambda s: posted(s, 1, b"x" * 70 + b"\r\n", MAX_MAIL - MIB),
        True,
    )
    yield Trial("mailbox", "64 MiB", lambda s: posted(s, 1, b"x" * 70 + b"\r\n", 64 * MIB), True)
    yield Trial(
        "mailbox", f"{MAILS} of empty lines", lambda s: posted(s, MAILS, b"\r\n", MAX_MAIL - MIB), True
    )


def bomb_refusal() -> bytes:
    return packed(bomb()).replace(b"200 OK", b"500 Oops", 1)
