"""`python -m bench.mail.sink PORT SECONDS`: a mail server in a process of its own, which takes everything,
keeps nothing, and answers each command after so many seconds, as one across a network does.
"""

import asyncio
import sys
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Nowhere:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        await self._wait()
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        await self._wait()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def _wait(self) -> None:
        if self._seconds:
            await asyncio.sleep(self._seconds)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        await self._wait()
        await self._wait()  # for the 354 before the message, which no hook sees
        return "250 2.0.0 OK"


def main() -> None:
    controller = Controller(Nowhere(float(sys.argv[2])), hostname="127.0.0.1", port=int(sys.argv[1]))
    controller.start()
    print("ready", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
