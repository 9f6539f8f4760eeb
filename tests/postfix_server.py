"""Debian's Postfix as a mail server of a test's own: STARTTLS with a certificate that was made for it, a
login by Cyrus SASL, ports on the loopback address, everything in a folder of its own. What it takes is
delivered into a maildir, or thrown away; `nobody` is unknown to it.

Postfix starts as root only: `missing()` says why it cannot run here.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Literal

import trustme

from tests import wait
from tests.ports import free_port

USERNAME = "windsock@example.com"
PASSWORD = "an app password"
DOMAIN = "example.com"
PROGRAMS = ("postfix", "saslpasswd2")
RUN_SECONDS = 60  # each of them takes a second or two; what hangs ends, and says which

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example.com
mydestination =
mynetworks =
smtpd_peername_lookup = no
disable_dns_lookups = yes
smtputf8_enable = yes
message_size_limit = 1000000
smtpd_recipient_restrictions =
  check_recipient_access inline:{{ {{ nobody@{domain} = 550 5.1.1 User unknown }} }}
  permit_sasl_authenticated, reject
smtpd_tls_security_level = {tls}
smtpd_tls_cert_file = {folder}/certificate.pem
smtpd_tls_key_file = {folder}/key.pem
smtpd_tls_auth_only = {tls_only}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {folder}/sasl
virtual_transport = {transport}
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
SASL = """
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {folder}/sasldb2
mech_list: PLAIN LOGIN
"""


def missing() -> str | None:
    """Why Postfix cannot be run here, or None."""
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    if lacking:
        return f"{' and '.join(lacking)} not found; tests/debian-packages installs Postfix"
    return None if os.geteuid() == 0 else "Postfix starts as root only"


class PostfixServer:
    """start() … mails() … stop(). `ca_file` is what a client must trust."""

    def __init__(self, keeps: bool = True, tls: Literal["encrypt", "none"] = "encrypt") -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="windsock-postfix-"))
        self.folder.chmod(0o755)  # its daemons are other users
        self.ca_file = self.folder / "ca.pem"
        owner = pwd.getpwnam("postfix")
        self._owner = (owner.pw_uid, owner.pw_gid)
        self._values = {
            "folder": self.folder,
            "port": self.port,
            "tls": tls,
            "tls_only": "yes" if tls == "encrypt" else "no",
            "transport": "virtual" if keeps else "discard",
            "domain": DOMAIN,
            "uid": owner.pw_uid,
            "gid": owner.pw_gid,
        }

    def start(self) -> "PostfixServer":
        for name, content in (("main.cf", MAIN), ("master.cf", MASTER), ("sasl/smtpd.conf", SASL)):
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content.format(**self._values))
        for name in ("queue", "data", "mail"):
            (self.folder / name).mkdir()
        for name in ("data", "mail"):
            os.chown(self.folder / name, *self._owner)
        self._make_certificate()
        self._make_user()
        self._run("start")
        return self

    def stop(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def mails(self, number: int) -> list[EmailMessage]:
        """Wait for as many mails in the maildir; answers them all, oldest first."""
        box = self.folder / "mail" / "box" / "new"
        wait.until(lambda: len(list(box.glob("*"))) >= number, f"{number} mails in {box}")
        files = sorted(box.glob("*"), key=lambda path: path.stat().st_mtime_ns)
        return [message_from_bytes(path.read_bytes(), policy=policy.default) for path in files]

    def monitor_env(self) -> dict[str, str]:
        """What a monitor needs to send through this server."""
        return {
            "WINDSOCK_SMTP_HOST": "localhost",
            "WINDSOCK_SMTP_PORT": str(self.port),
            "WINDSOCK_SMTP_SECURITY": "starttls",
            "WINDSOCK_SMTP_USERNAME": USERNAME,
            "WINDSOCK_SMTP_PASSWORD": PASSWORD,
            "WINDSOCK_SMTP_CA_FILE": str(self.ca_file),
        }

    def _make_certificate(self) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(str(self.ca_file))
        certificate.private_key_pem.write_to_path(str(self.folder / "key.pem"))
        for number, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(str(self.folder / "certificate.pem"), append=number > 0)

    def _make_user(self) -> None:
        user, _, realm = USERNAME.partition("@")
        base = self.folder / "sasldb2"
        command = ["saslpasswd2", "-p", "-c", "-f", str(base), "-u", realm, user]
        subprocess.run(
            command, input=PASSWORD, text=True, check=True, capture_output=True, timeout=RUN_SECONDS
        )
        os.chown(base, *self._owner)

    def _run(self, what: str) -> None:
        try:
            subprocess.run(
                ["postfix", "-c", str(self.folder), what],
                check=True,
                capture_output=True,
                text=True,
                timeout=RUN_SECONDS,
            )
        except subprocess.CalledProcessError as error:
            raise AssertionError(f"postfix {what}: {error.stdout}{error.stderr}{self.log}") from error


@contextlib.contextmanager
def postfix(keeps: bool = True, tls: Literal["encrypt", "none"] = "encrypt") -> Iterator[PostfixServer]:
    server = PostfixServer(keeps, tls)
    try:
        yield server.start()
    finally:
        server.stop()
