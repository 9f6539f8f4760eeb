"""The channel `email`: the mailer."""

from monitor.channels.contract import Parcel
from monitor.mailer import Mailer, Receipt


class MailSender:
    is_one_server = True

    def __init__(self, mailer: Mailer) -> None:
        self._mailer = mailer

    @property
    def at_once(self) -> int:
        return self._mailer.at_once

    async def open(self) -> None:
        await self._mailer.open()

    async def send(self, parcel: Parcel) -> Receipt:
        return await self._mailer.send(parcel.rendered.message, (parcel.recipient,))

    async def close(self) -> None:
        await self._mailer.close()
