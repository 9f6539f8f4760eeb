"""What went wrong between the monitor and Airflow: the error's class says whether to try again, its message
what to mend. No message holds a secret: URLs are shown without user and query.
"""

import re
from collections.abc import Collection

import httpx

from monitor.errors import (
    AirflowAnswerTooLong,
    AirflowError,
    AirflowNotFound,
    AirflowRefused,
    AirflowUnaddressable,
    AirflowUnreachable,
)

NOT_KNOWN = ("not found", "Unable to obtain")  # the second: Airflow 3.0 of a DAG that was deleted
SHOWN_DETAIL = 200  # characters of Airflow's own word; a proxy's answer may be a whole page


class TokenRefused(AirflowRefused):
    """The token itself was refused: it may only have ended."""


def shown(url: str) -> str:
    """The address without what could be secret in it."""
    bare = httpx.URL(url)
    return str(bare.copy_with(username=None, password=None, query=None, fragment=None))


def refusal(
    url: str, request: str, status: int, detail: str, signing_in: bool, named: Collection[str] = ()
) -> AirflowError:
    """The error for an answer that is not a success. `named`: what Airflow's own "not found" names."""
    where = f"Airflow at {shown(url)} answered {request} with {status}"
    where += f" ({detail[:SHOWN_DETAIL]})" if detail else ""
    if status == httpx.codes.UNAUTHORIZED and signing_in:
        return AirflowRefused(f"{where}: name or password are wrong")
    # A token signed with another secret, as after a change of it, is a 403 to Airflow: "Invalid JWT token".
    if status == httpx.codes.UNAUTHORIZED or (status == httpx.codes.FORBIDDEN and "JWT" in detail):
        return TokenRefused(f"{where}: the token is not valid. If it is new, the servers' JWT secrets differ")
    if status == httpx.codes.FORBIDDEN:
        return AirflowRefused(f"{where}: give this user a role that may read it, such as Viewer")
    if status == httpx.codes.NOT_FOUND and named and all(_names(detail, name) for name in named):
        return AirflowNotFound(where)
    if status == httpx.codes.NOT_FOUND:
        return AirflowUnreachable(
            f"{where}, which is no word of Airflow's about it: it comes of a proxy whose Airflow is away, or "
            "of a wrong path. Is WINDSOCK_AIRFLOW_URL the address of an Airflow?"
        )
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return AirflowUnreachable(f"{where}: trying again later")
    if 300 <= status < 400:
        return AirflowError(f"{where}: set WINDSOCK_AIRFLOW_URL to the address that it redirects to")
    return AirflowError(where)


def _names(detail: str, name: str) -> bool:
    """Whether Airflow's word is about this very one: "The DagRun with dag_id: `a` and run_id: `b` was not
    found". Its quotes differ from version to version."""
    return any(word in detail for word in NOT_KNOWN) and bool(
        re.search(rf"(?:^|\s)[`'\"]?{re.escape(name)}[`'\"]?,?(?:\s|$)", detail)
    )


def no_answer(url: str, request: str, error: Exception) -> AirflowUnreachable:
    """The error for a connection that failed or took too long."""
    reason = str(error) or type(error).__name__
    return AirflowUnreachable(
        f"no answer from Airflow at {shown(url)} to {request}: {reason[:SHOWN_DETAIL]}. "
        "Is its api-server up, and WINDSOCK_AIRFLOW_URL right?"
    )


def unreadable(url: str, request: str, reason: str) -> AirflowError:
    """The error for an answer that is not Airflow's."""
    return AirflowError(
        f"the answer of {shown(url)} to {request} cannot be read: {reason}. "
        "Is WINDSOCK_AIRFLOW_URL the address of an Airflow?"
    )


def too_long(url: str, request: str, reason: str) -> AirflowAnswerTooLong:
    """The error for an answer of which the monitor reads no more."""
    return AirflowAnswerTooLong(f"the answer of {shown(url)} to {request} is too long: {reason}")


def unaddressable(url: str, run_id: str) -> AirflowUnaddressable:
    """The error for what Airflow shows by a path alone, of a run whose id cannot stand in one."""
    return AirflowUnaddressable(
        f"Airflow at {shown(url)} has no address for this of the run {run_id[:SHOWN_DETAIL]!r}. Keep to its "
        "default [core] allowed_run_id_pattern, which lets no / into a run's id"
    )
