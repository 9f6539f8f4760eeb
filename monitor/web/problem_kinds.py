"""The kinds of errors that the API answers with (RFC 9457): each has a type that programs can rely on.

A type is the address of the kind's description on this monitor's /docs page; what stands behind its `#` never
changes, whatever path prefix is before it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    name: str
    status: int
    title: str
    meaning: str
    """What it tells, and what to do about it."""

    @property
    def anchor(self) -> str:
        return f"problem-{self.name}"

    def type(self, at: str) -> str:
        """Its address; `at`: the monitor's path prefix."""
        return f"{at}/docs#{self.anchor}"


SIGNATURE = Kind(
    *("signature", 401, "Wrong signature"),
    "The signature of the batch is missing or wrong, or its time is more than 5 minutes off. Keep the "
    "events; compare the secrets and the clocks of both machines.",
)
KINDS = (
    Kind("malformed", 400, "Malformed", "The request cannot be read. Sending it again does not help."),
    Kind(
        "sign-in",
        401,
        "Not signed in",
        "No session, or no bearer token that is accepted. Sign in, or send one.",
    ),
    SIGNATURE,
    Kind(
        *("forbidden", 403, "Not allowed"),
        "Your rights do not reach so far, or the request did not prove that it is your own: a session sends "
        "its CSRF token, and no page of another site may send requests.",
    ),
    Kind("not-found", 404, "Not found", "There is no such thing, or none that you may read."),
    Kind("method", 405, "Method not allowed", "The header Allow names what this address takes."),
    Kind("conflict", 409, "Conflict", "It is in a state in which this cannot be done; read it again."),
    Kind("length", 411, "Length required", "Send the header Content-Length."),
    Kind("too-large", 413, "Too large", "The body is longer than what is taken. Send less at once."),
    Kind("address", 414, "Address too long", "The address is longer than 8 KiB. Send fewer filters."),
    Kind("media-type", 415, "Unsupported media type", "The body is of a kind that is not taken here."),
    Kind(
        *("host", 421, "Not this monitor's name"),
        "Without sign-in only requests to the monitor's own names are taken: set WINDSOCK_PUBLIC_URL to how "
        "you reach it.",
    ),
    Kind(
        *("invalid", 422, "Invalid value"),
        "`errors` names each wrong parameter, or the pointer (RFC 6901) to each wrong value of the body, "
        "and why.",
    ),
    Kind("wait", 429, "Too many requests", "Come again after as many seconds as Retry-After says."),
    Kind("head", 431, "Head too large", "The request line and headers are longer than 32 KiB. Send less."),
    Kind(
        *("internal", 500, "Internal error"),
        "A defect of the monitor. Its log has the reason, under the id that `instance` names.",
    ),
    Kind(
        *("unavailable", 503, "Unavailable"),
        "Something that the answer depends on (the database, Airflow, room for one more feed or body) is not "
        "there now. Come again after as many seconds as Retry-After says.",
    ),
)
BY_STATUS = {kind.status: kind for kind in KINDS if kind is not SIGNATURE}
"""What an error of a status is where nothing else is said of it."""
