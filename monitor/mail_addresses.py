"""The mail addresses: their only test, senders with a display name, and the form of both in SMTP.

`is_address` and `check_address` are the test. DAG authors name addresses too, so an accepted address is safe
in a header and in a command without any change.

`SenderAddress` reads a sender with a display name. `ascii_address` writes an address as SMTP servers without
SMTPUTF8 take it, and `greeting` builds the name in EHLO.
"""

import re
from dataclasses import dataclass
from email.errors import MessageDefect, NonASCIILocalPartDefect, ObsoleteHeaderDefect
from email.header import Header
from email.headerregistry import Address
from email.policy import default
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any

import idna

MAX_ADDRESS = 254  # RFC 5321: a path of 256 octets holds the angle brackets too
MAX_LOCAL = 64  # RFC 5321, section 4.5.3.1.1
MAX_DOMAIN = 255  # RFC 5321, section 4.5.3.1.2
MAX_SENDER = 1_000  # characters of a sender's name and address: more is a mistake
DOMAINS = 1_000  # that are kept in ASCII: a monitor's recipients
STATE = "{state}"
"""The place in a display name for the state of a mail's problem."""
NAME = f"{STATE} · Windsock"
"""The display name of a sender without one."""

# No quoted local parts, no comments, no literals: such addresses do not occur, and each form is a way to
# smuggle a second address in. Letters beyond ASCII are accepted (SMTPUTF8), but never control characters and
# spaces.
_LOCAL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+")
_LABEL = re.compile(r"[^\W_]([\w-]*[^\W_])?")
_HOST_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")  # RFC 1123, section 2.1
_TOLERATED = (ObsoleteHeaderDefect, NonASCIILocalPartDefect)
"""The defects that are accepted. `A. Bot <a@example.com>` lacks quotes and has one meaning. is_address looks
at the local part."""


def is_address(text: str) -> bool:
    """Return True if this is one mail address, and nothing else."""
    local, at, domain = text.rpartition("@")
    return (
        bool(at)
        and len(text.encode("utf-8", "replace")) <= MAX_ADDRESS
        and len(local.encode("utf-8", "replace")) <= MAX_LOCAL
        and not local.startswith(".")
        and not local.endswith(".")
        and ".." not in local
        and bool(_LOCAL.fullmatch(local))
        and all(_LABEL.fullmatch(label) for label in domain.split("."))
        and (domain.isascii() or ascii_domain(domain) is not None)
    )


def check_address(text: str) -> str:
    """Return the address. Raises ValueError, which names the value and the remedy."""
    if is_address(text):
        return text
    raise ValueError(
        f"{text!r} is not a mail address; write it like ops@example.com, without a name, quotes or brackets"
    )


def same(address: str) -> str:
    """Return an address in the form that all its spellings share.
    In practice no server distinguishes them."""
    return address.lower()


def domain_of(address: str) -> str:
    """Return the address's domain."""
    return address.rpartition("@")[2].lower()


@lru_cache(maxsize=DOMAINS)
def ascii_domain(domain: str) -> str | None:
    """Return a domain in ASCII (IDNA 2008, UTS 46), or None if it cannot be written so."""
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        return None


def ascii_address(address: str) -> str:
    """Return the address with its domain in ASCII, so that no server needs SMTPUTF8 for it.

    An address whose local part is not ASCII stays as it is: only SMTPUTF8 can carry it.
    """
    local, at, domain = address.rpartition("@")
    if not at or not local.isascii():
        return address
    return f"{local}@{ascii_domain(domain) or domain}"


@dataclass(frozen=True)
class SenderAddress:
    """The sender of the mails: a display name and an address."""

    name: str
    address: str

    @classmethod
    def parse(cls, text: str) -> "SenderAddress":
        """Read `windsock@example.com` or `"Data, Platform" <windsock@example.com>` by the rules of RFC 5322.

        Raises ValueError, which names the remedy.
        """
        remedy = 'write it like "Data, Platform" <windsock@example.com>, with quotes round the name'
        if len(text) > MAX_SENDER or not text.isprintable():
            raise ValueError(f"is too long or holds control characters; {remedy}")
        try:
            header = default.header_factory("From", text)
        except (ValueError, IndexError) as error:  # the parser of email.policy raises both for some texts
            raise ValueError(f"cannot be read as a sender ({error}); {remedy}") from None
        found = _only_address(header)
        if found is None or ("(" in text and "(" not in found.display_name):  # a comment, which would be lost
            raise ValueError(f"is not one sender; {remedy}")
        if not is_address(found.addr_spec):
            raise ValueError(f"{found.addr_spec!r} in it is not a mail address; {remedy}")
        return cls(found.display_name or NAME, found.addr_spec)

    @property
    def envelope(self) -> str:
        """The address as MAIL FROM has it."""
        return ascii_address(self.address)

    @property
    def domain(self) -> str:
        """The address' domain in ASCII: the right side of Message-IDs and of List-Id."""
        domain = self.address.rpartition("@")[2]
        return ascii_domain(domain) or domain

    def header(self, state: str = "") -> str:
        """Return the value of From, in ASCII unless the address needs SMTPUTF8.

        A name with `{state}` in it is completed by the state. Any other name is fixed.

        The value is complete: quoted if needed, and encoded (RFC 2047) without the email package's own
        folding, which loses the quotes of long names in some versions of Python."""
        name = self.name.replace(STATE, state).strip(" ·|-") if STATE in self.name else self.name
        if name.isascii():
            local, _, domain = self.envelope.rpartition("@")
            return str(Address(name, local, domain))
        phrase = Header(name, "utf-8", header_name="From").encode(linesep="")
        return f"{phrase} <{self.envelope}>"


def _only_address(header: Any) -> Address | None:
    """Return the address of a header that holds one, in no group and without a defect."""
    if any(map(_is_wrong, header.defects)):
        return None
    groups = header.groups
    if len(groups) != 1 or groups[0].display_name is not None or len(groups[0].addresses) != 1:
        return None
    found: Address = groups[0].addresses[0]
    return found


def _is_wrong(defect: MessageDefect) -> bool:
    return not isinstance(defect, _TOLERATED)


def is_host_name(name: str) -> bool:
    """Return True if a host may call itself that (RFC 1123), with or without a domain."""
    return len(name) <= MAX_DOMAIN and all(_HOST_LABEL.fullmatch(label) for label in name.split("."))


def is_greeting(text: str) -> bool:
    """Return True if EHLO may give this name: a host name or an address literal (RFC 5321, 4.1.3)."""
    if not (text.startswith("[") and text.endswith("]")):
        return is_host_name(text)
    inner = text[1:-1]
    try:
        if inner.startswith("IPv6:"):
            IPv6Address(inner.removeprefix("IPv6:"))
        else:
            IPv4Address(inner)
    except AddressValueError:
        return False
    return True


def greeting(host: str, own_address: str) -> str:
    """Return what EHLO says: the host's full name, or the connection's own address as a literal.

    Servers refuse names with signs such as `_` and names without a domain, as containers have them.
    """
    if is_host_name(host) and "." in host and not host.startswith("localhost."):
        return host
    bare = own_address.partition("%")[0]  # without the zone of a link-local address
    return f"[IPv6:{bare}]" if ":" in bare else f"[{bare}]"
