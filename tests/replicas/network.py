"""A host of its own, as far as the network is concerned: a namespace that hangs on this one by a cable."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

HERE, THERE = "10.203.77.1", "10.203.77.2"


def can_be_made() -> bool:
    """Whether this user may; in a container mostly not."""
    if os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode == 0


class Host:
    """One that can be cut off: no packet goes, and nobody is told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.within = ["ip", "netns", "exec", name]

    def make(self) -> None:
        near, far = f"{self.name}-a", f"{self.name}-b"
        _run("ip", "netns", "add", self.name)
        _run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", self.name)
        _run("ip", "addr", "add", f"{HERE}/30", "dev", near)
        _run("ip", "link", "set", near, "up")
        _run(*self.within, "ip", "addr", "add", f"{THERE}/30", "dev", far)
        _run(*self.within, "ip", "link", "set", far, "up")
        _run(*self.within, "ip", "link", "set", "lo", "up")

    def cut(self) -> None:
        # Not "link down": the kernel would tell the sockets. So packets vanish, as behind a dead switch.
        for chain in ("INPUT", "OUTPUT"):
            _run(
                *self.within,
                "iptables",
                "-I",
                chain,
                "!",
                "-i" if chain == "INPUT" else "-o",
                "lo",
                "-j",
                "DROP",
            )

    def mend(self) -> None:
        _run(*self.within, "iptables", "-F")

    def remove(self) -> None:
        # The cable too: sockets that wait for an answer keep the namespace, and its end of it, for a while.
        _run("ip", "link", "del", f"{self.name}-a")
        _run("ip", "netns", "del", self.name)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


@contextmanager
def other_host() -> Iterator[Host]:
    host = Host(f"ws{os.getpid() % 100_000}")
    host.make()
    try:
        yield host
    finally:
        host.remove()
