"""`python -m bench.mail [--mails 500] [--rounds 3]`: deliveries per second through the whole outbox (SQLite,
durable at each step), beside a bare aiosmtplib loop over one kept connection that sends the same mails to the
same server, and Airflow's SmtpHook; the processor time that each needs for a mail, without the server's;
and the time from an event to the server's 250. On a busy machine the processor time says more.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiosmtplib

from bench.mail.outbox_side import SENDER, TO, Collecting, Side
from monitor.delivery.channels.smtp import SmtpMailer
from monitor.delivery.channels.smtp_connection import SmtpServer
from tests.ports import free_port
from tests.postfix_server import PASSWORD, USERNAME, PostfixServer, missing

AIRFLOW = Path(__file__).resolve().parents[2] / ".windsock" / "env" / "airflow-3.3.2" / "bin" / "python"
RACED = 200  # events whose way is timed
FAR = 0.01  # seconds: a mail server in the same country; Gmail's takes longer
PAUSE = 0.02  # seconds between them: an Airflow that is busy, and no queue


@dataclass(frozen=True)
class Taken:
    """What a number of mails took, in seconds."""

    wall: float
    processor: float


class Watch:
    """A stopwatch of this process: `taken()` is what has gone since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def taken(self) -> Taken:
        return Taken(time.perf_counter() - self._began[0], time.process_time() - self._began[1])


@dataclass(frozen=True)
class Sink:
    name: str
    server: SmtpServer

    def client(self) -> aiosmtplib.SMTP:
        at = self.server
        is_tls = at.security == "starttls"
        context = at.tls_context() if is_tls else None
        login = {"username": at.username, "password": at.password} if at.username else {}
        return aiosmtplib.SMTP(
            hostname=at.host,
            port=at.port,
            start_tls=is_tls,
            tls_context=context,
            **login,  # type: ignore[arg-type]
        )

    def connection(self) -> dict[str, Any]:
        """As Airflow has it."""
        extra = {"disable_ssl": True, "disable_tls": self.server.security != "starttls"}
        base = {"conn_type": "smtp", "host": self.server.host, "port": self.server.port, "extra": extra}
        login = {"login": self.server.username, "password": self.server.password}
        return {**base, **login} if self.server.username else base


def main() -> None:
    options = _options()
    with TemporaryDirectory(prefix="windsock-mail-") as folder:
        mails = asyncio.run(_written(Path(folder) / "written", options.mails))
        size = statistics.median(len(mail.as_bytes()) for mail in mails)
        print(f"{options.mails} mails of about {size / 1024:.0f} kB, {options.rounds} rounds, medians\n")
        for sink in _sinks():
            _measure(sink, mails, options.rounds, Path(folder) / sink.name)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.mail", description=__doc__)
    parser.add_argument("--mails", type=int, default=500, help="in each round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each (%(default)s)")
    return parser.parse_args()


def _measure(sink: Sink, mails: list[EmailMessage], rounds: int, folder: Path) -> None:
    taken: dict[str, list[Taken]] = {"bare": [], "plain": [], "outbox": [], "written": []}
    plain = [_plain(mail) for mail in mails]
    for number in range(rounds):
        taken["bare"].append(asyncio.run(_bare(sink, mails)))
        taken["plain"].append(asyncio.run(_bare(sink, plain)))
        taken["outbox"].append(asyncio.run(_outbox(sink, len(mails), folder / f"all-{number}")))
        taken["written"].append(asyncio.run(_outbox(sink, len(mails), folder / f"written-{number}", mails)))
    bare = _median(taken["bare"])
    print(f"{'to ' + sink.name:44}mails/s   of the bare loop   processor ms")
    _print("aiosmtplib, one kept connection", len(mails), bare, bare)
    _print("the same, of Python's own EmailMessages", len(mails), _median(taken["plain"]), bare)
    _print("Windsock: claim, write, send, settle", len(mails), _median(taken["outbox"]), bare)
    _print("Windsock, the mails written before", len(mails), _median(taken["written"]), bare)
    for name, of_hook in _hook(sink, mails).items():
        _print(f"Airflow's SmtpHook, {name}", len(mails), of_hook, bare)
    delays = sorted(asyncio.run(_raced(sink, folder / "raced")))
    p99 = delays[int(len(delays) * 0.99) - 1]
    print(
        f"  from event to 250: median {1e3 * statistics.median(delays):.1f} ms, p99 {1e3 * p99:.1f} ms, "
        f"worst {1e3 * delays[-1]:.1f} ms (n={len(delays)})\n"
    )


def _plain(mail: EmailMessage) -> EmailMessage:
    """The same mail as a script would have it: Windsock's own headers write themselves, and faster."""
    plain = message_from_bytes(mail.as_bytes(policy=policy.SMTP), policy=policy.default)
    assert isinstance(plain, EmailMessage)
    return plain


def _median(rounds: Sequence[Taken]) -> Taken:
    return Taken(
        statistics.median(taken.wall for taken in rounds),
        statistics.median(taken.processor for taken in rounds),
    )


def _print(name: str, number: int, taken: Taken, bare: Taken) -> None:
    rate, ratio, each = number / taken.wall, bare.wall / taken.wall, 1e3 * taken.processor / number
    print(f"  {name:40}{rate:8.0f}   {ratio:6.2f}   {each:21.1f}")


async def _written(folder: Path, number: int) -> list[EmailMessage]:
    collecting = Collecting()
    side = Side(folder, collecting)
    side.fail(number)
    await side.emptied(number)
    side.database.close()
    return collecting.mails


async def _bare(sink: Sink, mails: list[EmailMessage]) -> Taken:
    async with sink.client() as client:
        watch = Watch()
        for mail in mails:
            await client.send_message(mail, sender=SENDER, recipients=[TO])
        return watch.taken()


async def _outbox(sink: Sink, number: int, folder: Path, mails: Sequence[EmailMessage] = ()) -> Taken:
    mailer = SmtpMailer(sink.server)
    side = Side(folder, mailer, mails)
    side.fail(number)
    try:
        watch = Watch()
        await side.emptied(number)
        return watch.taken()
    finally:
        await mailer.close()
        side.database.close()


async def _raced(sink: Sink, folder: Path) -> list[float]:
    mailer = SmtpMailer(sink.server)
    side = Side(folder, mailer)
    try:
        return await side.raced(RACED, PAUSE)
    finally:
        await mailer.close()
        side.database.close()


def _hook(sink: Sink, mails: list[EmailMessage]) -> dict[str, Taken]:
    if not AIRFLOW.exists():
        print("  (Airflow's environment is not there: make envs)")
        return {}
    request = {"connection": sink.connection(), "mails": [_for_hook(mail) for mail in mails]}
    env = {**os.environ, "SSL_CERT_FILE": str(sink.server.ca_file)} if sink.server.ca_file else {**os.environ}
    with TemporaryDirectory(prefix="windsock-hook-") as home:
        done = subprocess.run(
            [str(AIRFLOW), str(Path(__file__).with_name("hook.py"))],
            input=json.dumps(request),
            env={**env, "AIRFLOW_HOME": home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"},
            text=True,
            stdout=subprocess.PIPE,
            check=True,
        )
    found = json.loads(done.stdout.splitlines()[-1])
    return {"a connection a mail": Taken(*found["a_mail"]), "one kept connection": Taken(*found["kept"])}


def _for_hook(mail: EmailMessage) -> dict[str, str]:
    html = mail.get_body(("html",))
    return {"to": TO, "subject": mail["Subject"], "html": html.get_content() if html else ""}


def _sinks() -> Iterator[Sink]:
    for name, seconds in (("aiosmtpd", 0.0), (f"aiosmtpd that answers after {1e3 * FAR:.0f} ms", FAR)):
        with _aiosmtpd(seconds) as port:
            yield Sink(name, SmtpServer("127.0.0.1", port, "none", SENDER))
    if why := missing():
        print(f"(without Postfix: {why})")
        return
    server = PostfixServer(keeps=False)
    try:
        server.start()
        at = SmtpServer(
            "localhost", server.port, "starttls", SENDER, USERNAME, PASSWORD, ca_file=server.ca_file
        )
        yield Sink("Postfix, STARTTLS and a login", at)
    finally:
        server.stop()


@contextlib.contextmanager
def _aiosmtpd(seconds: float) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "bench.mail.sink", str(port), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield port
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
