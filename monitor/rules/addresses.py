"""What is a mail address. DAG authors name some: what is let in here stands in a mail's header as it is."""

import re

MAX_ADDRESS = 254  # RFC 5321: a path of 256 octets holds the angle brackets too
MAX_LOCAL = 64  # RFC 5321, section 4.5.3.1.1

# No quoted local parts, no comments, no literals: nobody has such an address, and each is a way to smuggle a
# second one in. Letters beyond ASCII are let in (SMTPUTF8); control characters and spaces never.
_LOCAL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+")
_LABEL = re.compile(r"[^\W_]([\w-]*[^\W_])?")


def is_address(text: str) -> bool:
    """Whether this is one mail address, and nothing else."""
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
    )


def same(address: str) -> str:
    """What two spellings of an address have in common: servers that tell them apart exist in the RFC only."""
    return address.lower()


def domain_of(address: str) -> str:
    return address.rpartition("@")[2].lower()
