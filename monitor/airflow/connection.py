"""The HTTP connection to one Airflow: its token, its retries, its errors, and its skipped rows.

`AirflowConnection` keeps the connections and the monitor's own token, and sends one token request at a time.
`AirflowToken` says when to ask for the next token. Airflow verifies the token, and the monitor reads only the
token's dates, so the signature does not matter to the monitor.

`refusal`, `no_answer`, `unreadable`, `too_long` and `unaddressable` build the errors. The class of an error
says whether to try again, and the message says what to mend. No message holds a secret, because `redact_url`
shows URLs without user and query.

`PassedOver` remembers the rows of listings that were too long to read, for metrics and the health report.
"""

import asyncio
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from monitor.bounded_http import (
    ACCEPT,
    LOOPBACK,
    BoundedClient,
    TooLongBody,
    UnreadableBody,
    pieces,
    read,
    read_beginning,
)
from monitor.bounded_json import TooMuch, loads
from monitor.clock import Clock
from monitor.errors import (
    AirflowAnswerTooLong,
    AirflowError,
    AirflowNotFound,
    AirflowRefused,
    AirflowUnaddressable,
    AirflowUnreachable,
)
from monitor.events.data import moment_from
from monitor.plain_text import line, remove_secrets

RENEW_AT = 0.9  # of its life: a token must not end between the asking and the answer


@dataclass(frozen=True)
class AirflowToken:
    """A JWT.
    `renew_at` is None if the token does not say when it ends, and then the token is used until it is
    refused."""

    text: str = field(repr=False)
    renew_at: datetime | None = None

    @classmethod
    def read(cls, text: str, now: datetime) -> "AirflowToken":
        """Return the token with the moment to renew it.
        Its lifetime is taken from its own dates, because clocks may differ from Airflow's."""
        claims = _claims(text)
        end, begin = claims.get("exp"), claims.get("iat", now.timestamp())
        if not isinstance(end, int | float) or not isinstance(begin, int | float):
            return cls(text)
        try:
            return cls(text, now + timedelta(seconds=max(0.0, end - begin) * RENEW_AT))
        except (OverflowError, ValueError):  # a life without an end, or no number
            return cls(text)

    def lasts(self, now: datetime) -> bool:
        """Return True if the token need not be renewed yet."""
        return self.renew_at is None or now < self.renew_at


def subject_of(text: str) -> str | None:
    """Return the user that a JWT names.
    Its signature is not checked, so the token must be one that Airflow has accepted."""
    subject = _claims(text).get("sub")
    return str(subject) if isinstance(subject, str | int) else None


def _claims(text: str) -> dict[str, object]:
    """Return a JWT's middle part, decoded, or nothing if the text is no JWT."""
    parts = text.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}


NOT_KNOWN = ("not found", "Unable to obtain")  # the second: Airflow 3.0 of a DAG that was deleted
SHOWN_DETAIL = 200  # characters of Airflow's own text: a proxy's answer may be a whole page


class TokenRefused(AirflowRefused):
    """The token itself was refused: it may only have ended."""


def redact_url(url: str) -> str:
    """Return the address without what could be secret in it."""
    bare = httpx.URL(url)
    return str(bare.copy_with(username=None, password=None, query=None, fragment=None))


def refusal(
    url: str, request: str, status: int, detail: str, signing_in: bool, path_ids: Collection[str] = ()
) -> AirflowError:
    """Return the error for an answer that is not a success.
    `path_ids` are the names that Airflow's own "not found" has to mention."""
    where = f"Airflow at {redact_url(url)} answered {request} with {status}"
    where += f" ({line(detail[:SHOWN_DETAIL])})" if detail else ""
    if status == httpx.codes.UNAUTHORIZED and signing_in:
        return AirflowRefused(f"{where}: name or password are wrong")
    # A token signed with another secret, as after a change of it, is a 403 to Airflow: "Invalid JWT token".
    if status == httpx.codes.UNAUTHORIZED or (status == httpx.codes.FORBIDDEN and "JWT" in detail):
        return TokenRefused(f"{where}: the token is not valid. If it is new, the servers' JWT secrets differ")
    if status == httpx.codes.FORBIDDEN:
        return AirflowRefused(f"{where}: give this user a role that may read it, such as Viewer")
    if status == httpx.codes.NOT_FOUND and path_ids and all(_names(detail, name) for name in path_ids):
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
    """Return True if Airflow's text is about this very name.
    An example is "The DagRun with dag_id: `a` and run_id: `b` was not found". Its quotes differ from version
    to version."""
    return any(phrase in detail for phrase in NOT_KNOWN) and bool(
        re.search(rf"(?:^|\s)[`'\"]?{re.escape(name)}[`'\"]?,?(?:\s|$)", detail)
    )


def no_answer(url: str, request: str, error: Exception) -> AirflowUnreachable:
    """Return the error for a connection that failed or took too long."""
    reason = str(error) or type(error).__name__
    return AirflowUnreachable(
        f"no answer from Airflow at {redact_url(url)} to {request}: {reason[:SHOWN_DETAIL]}. "
        "Is its api-server up, and WINDSOCK_AIRFLOW_URL right?"
    )


def unreadable(url: str, request: str, reason: str) -> AirflowError:
    """Return the error for an answer that is not Airflow's."""
    return AirflowError(
        f"the answer of {redact_url(url)} to {request} cannot be read: {reason}. "
        "Is WINDSOCK_AIRFLOW_URL the address of an Airflow?"
    )


def too_long(url: str, request: str, reason: str) -> AirflowAnswerTooLong:
    """Return the error for an answer that is longer than the monitor reads."""
    return AirflowAnswerTooLong(f"the answer of {redact_url(url)} to {request} is too long: {reason}")


def unaddressable(url: str, run_id: str) -> AirflowUnaddressable:
    """Return the error for a request that needs a path, about a run whose id cannot stand in a path."""
    return AirflowUnaddressable(
        f"Airflow at {redact_url(url)} has no address for this of the run {run_id[:SHOWN_DETAIL]!r}. Keep to "
        "its default [core] allowed_run_id_pattern, which lets no / into a run's id"
    )


SHOWN_FOR = timedelta(minutes=30)
"""Longer than any listing waits to be asked again: what was not met since is gone, or was made shorter."""


@dataclass(frozen=True)
class SkippedRow:
    """The row of a listing that was met last."""

    offset: int
    at: datetime


@dataclass
class PassedOver:
    """The rows that were skipped in one Airflow's answers, by the listing's name in those answers."""

    counted: Callable[[str], None] = lambda _listing: None
    """A function that counts each skipped row for the metrics."""
    _met: dict[str, SkippedRow] = field(default_factory=dict)

    def note(self, listing: str, offset: int, now: datetime) -> None:
        """Record a skipped row."""
        self._met[listing] = SkippedRow(offset, now)
        self.counted(listing)

    def lately(self, now: datetime) -> Mapping[str, SkippedRow]:
        """Return the last skipped row of each listing, if it is recent."""
        return {listing: met for listing, met in self._met.items() if now - met.at < SHOWN_FOR}


MAX_ANSWER = 8 * 1024 * 1024  # bytes, unpacked: a hundred tasks with long rendered fields are about 2 MB
MAX_TOKEN_ANSWER = 64 * 1024  # bytes of a sign-in's answer: a token and a few words
MAX_REFUSAL = 64 * 1024  # bytes of a refusal that are read for its reason: a proxy's page may be longer
MAX_TIMEOUTS = 6  # a whole answer may take so many times what each of its parts may
REFUSED_PAUSE = timedelta(seconds=30)  # a refused password is not tried again at once: accounts get locked
MAX_AHEAD = timedelta(days=1)
"""The time by which Airflow's clock may be ahead. A later time is not believed. The watermark follows
Airflow's clock, so what Airflow changes from then on would count as compared."""
TOKEN_PATH = "/auth/token"  # noqa: S105 (a path)
JSON = "application/json"

Params = dict[str, Any]
T = TypeVar("T")
Reading = Callable[[httpx.Response, int], Coroutine[Any, Any, bytes]]


@dataclass(frozen=True)
class _ApiRequest:
    """A request of the signed-in API."""

    method: str
    path: str
    params: Params | None = None
    body: Params | None = None
    accept: str = JSON
    path_ids: Collection[str] = ()

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class AirflowConnection:
    """The kept connections to Airflow and the monitor's own token. One token request at a time."""

    def __init__(self, url: str, username: str, password: str, timeout: float, clock: Clock) -> None:
        self.url = url.rstrip("/")
        self._username = username
        self._password = password
        self._timeout = timeout
        self.clock = clock
        # A proxy named in the environment is for what lies beyond this machine.
        trust_env = httpx.URL(self.url).host not in LOOPBACK
        self._http = BoundedClient(timeout=timeout, trust_env=trust_env, headers=ACCEPT)
        self.passed_over = PassedOver()
        self._signing_in = asyncio.Lock()
        self._decoding = asyncio.Lock()  # one at a time: others have their turn between two answers
        self._token: AirflowToken | None = None
        self._refused: tuple[datetime, AirflowRefused] | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def sign_in(self, username: str, password: str) -> str:
        """Return a token for this user. Raises AirflowRefused if name or password are wrong."""
        login = {"username": username, "password": password}
        request = self._http.build_request("POST", self.url + TOKEN_PATH, json=login)
        answer, _ = await self._enforce_timeout(
            self._fetch_json(request, MAX_TOKEN_ANSWER), "POST " + TOKEN_PATH
        )
        token = answer.get("access_token")
        if not isinstance(token, str):
            raise unreadable(self.url, "POST " + TOKEN_PATH, "it has no access_token")
        return token

    async def get(
        self,
        path: str,
        params: Params | None = None,
        token: str | None = None,
        path_ids: Collection[str] = (),
    ) -> tuple[dict[str, Any], datetime]:
        """Return the decoded answer, and the moment of the answer by Airflow's clock (in whole seconds).

        `path` begins behind /api/v2. Without `token` the request is the monitor's own user's. Raises
        AirflowError and its subclasses. AirflowNotFound is raised only if Airflow's own text names all of
        `path_ids`."""
        api_request = _ApiRequest("GET", path, params=params, path_ids=path_ids)
        return await self._enforce_timeout(self._answer(api_request, token), str(api_request))

    async def post(self, path: str, body: Params) -> tuple[dict[str, Any], datetime]:
        """Return the answer to a body, as `get` does: of a listing whose question it is, or of a new run."""
        api_request = _ApiRequest("POST", path, body=body)
        return await self._enforce_timeout(self._answer(api_request, None), str(api_request))

    async def get_public(self, path: str) -> dict[str, Any]:
        """Return the answer to a request that needs no sign-in."""
        request = self._http.build_request("GET", f"{self.url}/api/v2{path}")
        answer, _ = await self._enforce_timeout(self._fetch_json(request), f"GET {path}")
        return answer

    @asynccontextmanager
    async def stream(
        self, path: str, params: Params, accept: str, path_ids: Collection[str] = ()
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield an answer in pieces, as they come. The caller has to bound their number."""
        response = await self._open_signed(_ApiRequest("GET", path, params, None, accept, path_ids), None)
        try:
            yield pieces(response)
        except httpx.HTTPError as error:
            raise no_answer(self.url, f"GET {path}", error) from error
        except UnreadableBody as error:
            raise unreadable(self.url, f"GET {path}", str(error)) from error
        finally:
            await response.aclose()

    async def _answer(self, api_request: _ApiRequest, token: str | None) -> tuple[dict[str, Any], datetime]:
        return await self._decode(await self._open_signed(api_request, token))

    async def _open_signed(self, api_request: _ApiRequest, token: str | None) -> httpx.Response:
        """Send a request with the given token or the monitor's own.
        The monitor's own is renewed once if it is refused."""
        bearer = token or await self.own_token()
        try:
            return await self._open(self._build_request(api_request, bearer), api_request.path_ids)
        except TokenRefused:
            if token:
                raise
            renewed = await self.own_token(refused=bearer)
            return await self._open(self._build_request(api_request, renewed), api_request.path_ids)

    def _build_request(self, api_request: _ApiRequest, bearer: str) -> httpx.Request:
        headers = {"Authorization": f"Bearer {bearer}", "Accept": api_request.accept}
        url = f"{self.url}/api/v2{api_request.path}"
        return self._http.build_request(
            api_request.method, url, params=api_request.params, json=api_request.body, headers=headers
        )

    async def own_token(self, refused: str | None = None) -> str:
        """Return the monitor's token. A token that ends soon or was refused is replaced."""
        async with self._signing_in:
            now = self.clock()
            if self._token and self._token.text != refused and self._token.lasts(now):
                return self._token.text
            if self._refused and now - self._refused[0] < REFUSED_PAUSE:
                raise self._refused[1]
            try:
                self._token = AirflowToken.read(await self.sign_in(self._username, self._password), now)
            except AirflowRefused as error:
                own_error = AirflowRefused(
                    f"{error}. Check WINDSOCK_AIRFLOW_USERNAME and WINDSOCK_AIRFLOW_PASSWORD"
                )
                self._refused = (now, own_error)
                raise own_error from error
            self._refused = None
            return self._token.text

    async def _open(self, request: httpx.Request, path_ids: Collection[str] = ()) -> httpx.Response:
        """Send the request and return a successful answer whose body is yet to be read."""
        description = _describe_request(request)
        try:
            response = await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise no_answer(self.url, description, error) from error
        if response.is_success:
            return response
        detail = _detail(await self._read(response, read_beginning, MAX_REFUSAL))
        # FastAPI repeats a body that it cannot read, a password too, and these words reach pages and logs.
        detail = remove_secrets(detail, _secrets_of(request))
        signing_in = request.url.path.endswith(TOKEN_PATH)
        raise refusal(self.url, description, response.status_code, detail, signing_in, path_ids)

    async def _fetch_json(
        self, request: httpx.Request, most: int = MAX_ANSWER
    ) -> tuple[dict[str, Any], datetime]:
        return await self._decode(await self._open(request), most)

    async def _decode(
        self, response: httpx.Response, most: int = MAX_ANSWER
    ) -> tuple[dict[str, Any], datetime]:
        description = _describe_request(response.request)
        try:
            body = await self._read(response, read, most)
            async with self._decoding:
                await asyncio.sleep(0)
                answer = loads(body)
        except TooMuch as error:
            raise too_long(self.url, description, str(error)) from error
        except ValueError as error:
            raise unreadable(self.url, description, "it is not JSON") from error
        if not isinstance(answer, dict):
            raise unreadable(self.url, description, "it is not a JSON object")
        return answer, self._moment(response)

    async def _read(self, response: httpx.Response, reading: Reading, most: int) -> bytes:
        """Read the whole body or its beginning, at most so many bytes."""
        try:
            return await reading(response, most)
        except TooLongBody as error:
            raise too_long(self.url, _describe_request(response.request), str(error)) from error
        except UnreadableBody as error:
            raise unreadable(self.url, _describe_request(response.request), str(error)) from error
        except httpx.HTTPError as error:
            raise no_answer(self.url, _describe_request(response.request), error) from error
        finally:
            await response.aclose()

    def _moment(self, response: httpx.Response) -> datetime:
        """Return when Airflow answered by its own clock.
        Airflow's `updated_at` is compared with this moment."""
        now = self.clock()
        try:
            moment = parsedate_to_datetime(response.headers["Date"]).isoformat()
            return min(moment_from(moment), now + MAX_AHEAD)
        except (
            KeyError,
            ValueError,
            TypeError,
            OverflowError,
        ):  # the last two: parsedate's, of a wrong header
            return now

    async def _enforce_timeout(self, asking: Coroutine[Any, Any, T], description: str) -> T:
        try:
            return await asyncio.wait_for(asking, self._timeout * MAX_TIMEOUTS)
        except asyncio.TimeoutError as error:
            raise no_answer(self.url, description, error) from error


def _describe_request(request: httpx.Request) -> str:
    return f"{request.method} {request.url.path}"


def _secrets_of(request: httpx.Request) -> list[str]:
    """Return the token and the password that a request holds."""
    secrets = [request.headers.get("Authorization", "").removeprefix("Bearer ")]
    if request.url.path.endswith(TOKEN_PATH):
        secrets.append(str(json.loads(request.content)["password"]))
    return secrets


def _detail(body: bytes) -> str:
    """Return Airflow's own explanation."""
    try:
        answer = loads(body)
    except ValueError:
        return ""
    detail = answer.get("detail") if isinstance(answer, dict) else None
    return detail if isinstance(detail, str) else json.dumps(detail) if detail else ""
