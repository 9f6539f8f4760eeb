"""The programs that bench/feed starts: the monitor, nginx with nchan, and the readers in C."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests import wait
from tests.ports import free_port

HERE = Path(__file__).parent
NCHAN = """
worker_processes 1;
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log;
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
worker_rlimit_nofile 20000;
events {{ worker_connections 15000; }}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  nchan_shared_memory_size 512M;
  keepalive_requests 10000000;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /pub {{
      nchan_publisher;
      nchan_channel_id $arg_id;
      nchan_message_buffer_length 20000;
      nchan_message_timeout 10m;
    }}
    location = /sub {{
      nchan_subscriber eventsource;
      nchan_channel_id $arg_id;
      nchan_subscriber_first_message newest;
    }}
  }}
}}
"""


def build(folder: Path, name: str) -> Path:
    """Compile one of the C programs."""
    program = folder / name
    subprocess.run(["cc", "-O2", "-Wall", "-o", program, HERE / f"{name}.c"], check=True)
    return program


@dataclass
class Peer:
    """A hub under measurement: where it listens, and the process that serves."""

    name: str
    port: int
    process: psutil.Process

    def memory(self) -> int:
        """Bytes of memory that are its own."""
        return int(self.process.memory_full_info().uss)

    def cpu(self) -> float:
        used = self.process.cpu_times()
        return float(used.user + used.system)


@contextmanager
def nchan(home: Path) -> Iterator[Peer]:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert nginx, "nginx with nchan is needed: tests/debian-packages installs it"
    port = free_port()
    home.mkdir()
    (home / "nginx.conf").write_text(NCHAN.format(home=home, port=port))
    with subprocess.Popen([nginx, "-p", home, "-c", home / "nginx.conf"]) as master:
        try:
            children = psutil.Process(master.pid).children
            wait.until(lambda: bool(children()), "nginx's worker")
            yield Peer("nchan", port, children()[0])
        finally:
            master.terminate()


@contextmanager
def flood(program: Path, frame: bytes, frames: int, rounds: int) -> Iterator[int]:
    """A server that writes a frame so many times at once, to everyone, round after round; gives its port."""
    port = free_port()
    with subprocess.Popen([program, str(port), str(frames), str(rounds)], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(frame)
        process.stdin.close()
        wait.until(lambda: _listens(process.pid, port), "the flood to listen")
        yield port


def _listens(pid: int, port: int) -> bool:
    return any(socket.laddr.port == port for socket in psutil.Process(pid).net_connections())


@dataclass
class Crowd:
    """The readers, under way."""

    process: "subprocess.Popen[str]"

    def result(self) -> dict[str, Any]:
        """What they counted, once each has all or their time is over."""
        assert self.process.stdout is not None
        with self.process:
            return dict(json.loads(self.process.stdout.readline()))


def crowd(program: Path, port: int, readers: int, expect: int, seconds: float, path: str) -> Crowd:
    """Open so many feeds; answers once every one has been answered."""
    arguments = [str(value) for value in (program, port, readers, expect, seconds, path)]
    process = subprocess.Popen([*arguments, "Accept: text/event-stream"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    ready = process.stdout.readline().split()
    assert ready == ["ready", str(readers)], f"{readers} readers were wanted: {ready}"
    return Crowd(process)
