"""A component that behaves as its first argument says. Each process that comes of it leaves its id in a
folder, so that a test knows them all.

    python actor.py BEHAVIOUR FOLDER
"""

import os
import signal
import socket
import sys
from pathlib import Path


def main() -> None:
    behaviour, folder = sys.argv[1], Path(sys.argv[2])
    BEHAVIOURS[behaviour](folder)


def _sleep(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    while True:
        signal.pause()


def _deaf(folder: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _sleep(folder)


def _listen(folder: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    (folder / "port").write_text(str(server.getsockname()[1]))
    _sleep(folder)


def _family(folder: Path) -> None:
    """A child in a session of its own, and a deaf orphan of a child that is gone."""
    if not os.fork():
        os.setsid()
        _sleep(folder)
    middle = os.fork()
    if not middle:
        os.setsid()
        if os.fork():
            os._exit(0)
        _deaf(folder)
    os.waitpid(middle, 0)
    _sleep(folder)


def _crash(folder: Path) -> None:
    """Dies once its orphan is there."""
    if not os.fork():
        os.setsid()
        _deaf(folder)
    while not list(folder.iterdir()):
        signal.sigtimedwait([], 0.01)
    sys.stdout.write("the last words\n")
    sys.stdout.flush()
    os._exit(3)


def _segfault(folder: Path) -> None:
    sys.stdout.write("about to fall\n")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGSEGV)


BEHAVIOURS = {
    "sleep": _sleep,
    "deaf": _deaf,
    "listen": _listen,
    "family": _family,
    "crash": _crash,
    "segfault": _segfault,
}

if __name__ == "__main__":
    main()
