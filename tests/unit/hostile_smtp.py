"""A mail server that misbehaves: each of its conversations goes by a script of its own.

A script maps a verb (CONNECT for the greeting, MESSAGE for what follows the message) to what is said: a text,
or one of the misdeeds below.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

MUTE = "mute"  # never says anything
DROP = "drop"  # cuts the connection
ENDLESS = "endless"  # an answer that has no end
SLOW = "slow:"  # before a text: a byte at a time

Script = Mapping[str, str]
USUAL: dict[str, str] = {
    "CONNECT": "220 ready",
    "EHLO": "250-here\r\n250 8BITMIME",
    "HELO": "250 here",
    "MAIL": "250 OK",
    "RCPT": "250 OK",
    "DATA": "354 go on",
    "MESSAGE": "250 taken",
    "RSET": "250 OK",
    "NOOP": "250 OK",
    "QUIT": "221 bye",
}


class HostileServer:
    """`scripts` are those of the first conversations; the later ones are as usual. `once`: what is said to
    the first of these commands, in whichever conversation it comes."""

    def __init__(self, *scripts: Script, once: Script | None = None, byte_seconds: float = 0.05) -> None:
        self.scripts = list(scripts)
        self._once = dict(once or {})
        self.port = 0
        self.heard: dict[str, list[str]] = defaultdict(list)
        self.messages: list[bytes] = []
        self.connections = 0
        self._byte_seconds = byte_seconds
        self._told = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["HostileServer"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, verb: str) -> None:
        """Until some client has said it."""
        async with self._told:
            await self._told.wait_for(lambda: self.heard[verb])

    async def until_taken(self, mails: int) -> None:
        async with self._told:
            await self._told.wait_for(lambda: len(self.messages) >= mails)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        script = self.scripts.pop(0) if self.scripts else {}
        self.connections += 1
        try:
            await self._talk(reader, writer, script)
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, script: Script) -> None:
        if not await self._say(writer, _word(script, "CONNECT")):
            return
        while line := await reader.readline():
            verb = line.decode(errors="replace").strip().upper().partition(" ")[0]
            self.heard[verb].append(line.decode(errors="replace").strip())
            await self._note()
            has_body = verb == "MAIL" and b"BODY=" in line.upper() and "MAIL BODY" in script
            answer = self._once.pop(verb, "") or _word(script, "MAIL BODY" if has_body else verb)
            if not await self._say(writer, answer):
                return
            if verb == "DATA" and answer.startswith("354"):
                self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
                await self._note()
                if not await self._say(writer, _word(script, "MESSAGE")):
                    return

    async def _note(self) -> None:
        async with self._told:
            self._told.notify_all()

    async def _say(self, writer: asyncio.StreamWriter, what: str) -> bool:
        """False: the conversation is over."""
        if what == DROP:
            return False
        if what == MUTE:
            await asyncio.Event().wait()
        if what == ENDLESS:
            while True:
                writer.write(b"250-and more\r\n")
                await writer.drain()
                await asyncio.sleep(self._byte_seconds)
        if what.startswith(SLOW):
            for byte in f"{what.removeprefix(SLOW)}\r\n".encode():
                writer.write(bytes([byte]))
                await asyncio.sleep(self._byte_seconds)
            return True
        writer.write(f"{what}\r\n".encode())
        await writer.drain()
        return True


def _word(script: Script, verb: str) -> str:
    return script.get(verb) or USUAL.get(verb, "500 what")
