"""A real nginx that runs the configuration of docs/proxy.md, with the test's own ports and certificates."""

import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
from pathlib import Path

import trustme

from tests import wait
from tests.airflow_environment import REPOSITORY
from tests.ports import free_port

PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PAGE = REPOSITORY / "docs" / "proxy.md"
STOP_SECONDS = 20
PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
"""Folders that nginx was compiled with and only root may write to."""


def told_configurations() -> list[str]:
    """What the page tells to write: the whole configuration, and the line that cuts the path off."""
    return re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)


class NginxServer:
    """start() … kill() … start() … stop(). `cuts`: the path is cut off before the monitor."""

    def __init__(self, monitor_port: int, cuts: bool) -> None:
        assert PROGRAM, "nginx is missing: apt-get install nginx"
        self.monitor_port = monitor_port
        self.folder = Path(tempfile.mkdtemp(prefix="windsock-nginx-"))
        self.http_port, self.port = free_port(), free_port()
        self.url = f"https://localhost:{self.port}/windsock"
        authority = trustme.CA()
        self.trusted = ssl.create_default_context()
        authority.configure_trust(self.trusted)
        certificate = authority.issue_cert("localhost")
        certificate.private_key_and_cert_chain_pem.write_to_path(self.folder / "both.pem")
        (self.folder / "nginx.conf").write_text(self._configuration(monitor_port, cuts))
        self._process: subprocess.Popen[bytes] | None = None

    def _configuration(self, monitor_port: int, cuts: bool) -> str:
        whole, cutting = told_configurations()
        changes = {
            "127.0.0.1:8090": f"127.0.0.1:{monitor_port}",
            "listen 80;": f"listen 127.0.0.1:{self.http_port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "/etc/ssl/ops.example.com.pem": str(self.folder / "both.pem"),
            "/etc/ssl/ops.example.com.key": str(self.folder / "both.pem"),
        }
        if cuts:
            changes["            proxy_pass http://windsock;\n"] = cutting
        for told, ours in changes.items():
            assert whole.count(told) == 1, f"docs/proxy.md has {told!r} {whole.count(told)} times"
            whole = whole.replace(told, ours)
        paths = "".join(f"    {name}_temp_path {self.folder / name};\n" for name in PATHS)
        return whole.replace("http {\n", f"http {{\n    access_log off;\n{paths}", 1)

    def start(self) -> "NginxServer":
        user = "user root; " if os.geteuid() == 0 else ""  # its workers have to read this folder
        directives = f"{user}daemon off; pid {self.folder / 'pid'};"
        options = [
            "-p",
            str(self.folder),
            "-c",
            str(self.folder / "nginx.conf"),
            "-e",
            "stderr",
            "-g",
            directives,
        ]
        self._process = subprocess.Popen([str(PROGRAM), *options], start_new_session=True)
        wait.until(self._answers, "nginx to listen")
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "nginx ended"
        probe = subprocess.run(
            ["curl", "-sk", "--max-time", "5", "-o", "/dev/null", f"https://localhost:{self.port}/"]
        )
        return probe.returncode == 0

    def kill(self) -> None:
        """SIGKILL, its workers too: nobody says goodbye to anybody."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        if self._process is not None:
            self._end(signal.SIGTERM)
        shutil.rmtree(self.folder)

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, how)
        self._process.wait(STOP_SECONDS)
        self._process = None
