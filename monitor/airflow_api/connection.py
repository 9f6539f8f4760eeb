"""Requests to one Airflow: signed in, bounded in size and time, their failures in the monitor's own words."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from monitor.airflow_api.failures import TokenRefused, no_answer, refusal, too_long, unreadable
from monitor.airflow_api.passed_over import PassedOver
from monitor.airflow_api.token import Token
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
from monitor.errors import AirflowRefused
from monitor.events.values import moment_from

MAX_ANSWER = 8 * 1024 * 1024  # bytes, unpacked; a hundred tasks with long rendered fields are about 2 MB
MAX_TOKEN_ANSWER = 64 * 1024  # bytes of a sign-in's answer: a token and a few words
MAX_REFUSAL = 64 * 1024  # bytes of a refusal that are read for its reason; a proxy's page may be longer
MAX_TIMEOUTS = 6  # a whole answer may take so many times what each of its parts may
REFUSED_PAUSE = timedelta(seconds=30)  # a refused password is not tried again at once: accounts get locked
MAX_AHEAD = timedelta(days=1)
"""By so much Airflow's clock may be ahead. What it says beyond is not believed: the watermark goes by it, and
what Airflow changes from then on would be taken for compared."""
TOKEN_PATH = "/auth/token"  # noqa: S105 (a path)
JSON = "application/json"

Params = dict[str, Any]
T = TypeVar("T")
Reading = Callable[[httpx.Response, int], Coroutine[Any, Any, bytes]]


@dataclass(frozen=True)
class _Asked:
    """One request of the signed-in API."""

    method: str
    path: str
    params: Params | None = None
    body: Params | None = None
    accept: str = JSON
    named: Collection[str] = ()

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Connection:
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
        self._token: Token | None = None
        self._refused: tuple[datetime, AirflowRefused] | None = None

    async def close(self) -> None:
        await self._http.aclose()

    async def sign_in(self, username: str, password: str) -> str:
        """A token for this user. Raises AirflowRefused where name or password are wrong."""
        login = {"username": username, "password": password}
        request = self._http.build_request("POST", self.url + TOKEN_PATH, json=login)
        answer, _ = await self._in_time(self._decoded(request, MAX_TOKEN_ANSWER), "POST " + TOKEN_PATH)
        token = answer.get("access_token")
        if not isinstance(token, str):
            raise unreadable(self.url, "POST " + TOKEN_PATH, "it has no access_token")
        return token

    async def get(
        self,
        path: str,
        params: Params | None = None,
        token: str | None = None,
        named: Collection[str] = (),
    ) -> tuple[dict[str, Any], datetime]:
        """The decoded answer, and the moment at which Airflow gave it by its own clock (in whole seconds).

        `path` begins behind /api/v2. `token` unset: as the monitor's own user. Raises AirflowError and what
        is derived from it: AirflowNotFound only where Airflow's own word names all that is `named`.
        """
        asked = _Asked("GET", path, params=params, named=named)
        return await self._in_time(self._answer(asked, token), str(asked))

    async def post(self, path: str, body: Params) -> tuple[dict[str, Any], datetime]:
        """The same for a listing whose question is its body."""
        asked = _Asked("POST", path, body=body)
        return await self._in_time(self._answer(asked, None), str(asked))

    async def get_public(self, path: str) -> dict[str, Any]:
        """The same for what Airflow tells everybody."""
        request = self._http.build_request("GET", f"{self.url}/api/v2{path}")
        answer, _ = await self._in_time(self._decoded(request), f"GET {path}")
        return answer

    @asynccontextmanager
    async def stream(
        self, path: str, params: Params, accept: str, named: Collection[str] = ()
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """An answer in pieces, as they come. Their number is the caller's to bound."""
        response = await self._open_signed(_Asked("GET", path, params, None, accept, named), None)
        try:
            yield pieces(response)
        except httpx.HTTPError as error:
            raise no_answer(self.url, f"GET {path}", error) from error
        except UnreadableBody as error:
            raise unreadable(self.url, f"GET {path}", str(error)) from error
        finally:
            await response.aclose()

    async def _answer(self, asked: _Asked, token: str | None) -> tuple[dict[str, Any], datetime]:
        return await self._decode(await self._open_signed(asked, token))

    async def _open_signed(self, asked: _Asked, token: str | None) -> httpx.Response:
        """Ask with a token: somebody's, or the monitor's own, which is renewed once where it is refused."""
        bearer = token or await self._own_token()
        try:
            return await self._open(self._signed(asked, bearer), asked.named)
        except TokenRefused:
            if token:
                raise
            renewed = await self._own_token(refused=bearer)
            return await self._open(self._signed(asked, renewed), asked.named)

    def _signed(self, asked: _Asked, bearer: str) -> httpx.Request:
        headers = {"Authorization": f"Bearer {bearer}", "Accept": asked.accept}
        url = f"{self.url}/api/v2{asked.path}"
        return self._http.build_request(
            asked.method, url, params=asked.params, json=asked.body, headers=headers
        )

    async def _own_token(self, refused: str | None = None) -> str:
        """The monitor's token; a new one where it ends soon or is the one that was refused."""
        async with self._signing_in:
            now = self.clock()
            if self._token and self._token.text != refused and self._token.lasts(now):
                return self._token.text
            if self._refused and now - self._refused[0] < REFUSED_PAUSE:
                raise self._refused[1]
            try:
                self._token = Token.read(await self.sign_in(self._username, self._password), now)
            except AirflowRefused as error:
                named = AirflowRefused(
                    f"{error}. Check WINDSOCK_AIRFLOW_USERNAME and WINDSOCK_AIRFLOW_PASSWORD"
                )
                self._refused = (now, named)
                raise named from error
            self._refused = None
            return self._token.text

    async def _open(self, request: httpx.Request, named: Collection[str] = ()) -> httpx.Response:
        """Send; answers a success that is yet to be read."""
        asked = _named(request)
        try:
            response = await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise no_answer(self.url, asked, error) from error
        if response.is_success:
            return response
        detail = _detail(await self._read(response, read_beginning, MAX_REFUSAL))
        signing_in = request.url.path.endswith(TOKEN_PATH)
        raise refusal(self.url, asked, response.status_code, detail, signing_in, named)

    async def _decoded(
        self, request: httpx.Request, most: int = MAX_ANSWER
    ) -> tuple[dict[str, Any], datetime]:
        return await self._decode(await self._open(request), most)

    async def _decode(
        self, response: httpx.Response, most: int = MAX_ANSWER
    ) -> tuple[dict[str, Any], datetime]:
        asked = _named(response.request)
        try:
            body = await self._read(response, read, most)
            async with self._decoding:
                await asyncio.sleep(0)
                answer = loads(body)
        except TooMuch as error:
            raise too_long(self.url, asked, str(error)) from error
        except ValueError as error:
            raise unreadable(self.url, asked, "it is not JSON") from error
        if not isinstance(answer, dict):
            raise unreadable(self.url, asked, "it is not a JSON object")
        return answer, self._moment(response)

    async def _read(self, response: httpx.Response, reading: Reading, most: int) -> bytes:
        """The whole body or its beginning, of so many bytes at most."""
        try:
            return await reading(response, most)
        except TooLongBody as error:
            raise too_long(self.url, _named(response.request), str(error)) from error
        except UnreadableBody as error:
            raise unreadable(self.url, _named(response.request), str(error)) from error
        except httpx.HTTPError as error:
            raise no_answer(self.url, _named(response.request), error) from error
        finally:
            await response.aclose()

    def _moment(self, response: httpx.Response) -> datetime:
        """When Airflow answered by its own clock: what its `updated_at` is to be compared with."""
        now = self.clock()
        try:
            given = parsedate_to_datetime(response.headers["Date"]).isoformat()
            return min(moment_from(given), now + MAX_AHEAD)
        except (
            KeyError,
            ValueError,
            TypeError,
            OverflowError,
        ):  # the last two: parsedate's, of a wrong header
            return now

    async def _in_time(self, asking: Coroutine[Any, Any, T], asked: str) -> T:
        try:
            return await asyncio.wait_for(asking, self._timeout * MAX_TIMEOUTS)
        except asyncio.TimeoutError as error:
            raise no_answer(self.url, asked, error) from error


def _named(request: httpx.Request) -> str:
    return f"{request.method} {request.url.path}"


def _detail(body: bytes) -> str:
    """Airflow's own word for why."""
    try:
        answer = loads(body)
    except ValueError:
        return ""
    detail = answer.get("detail") if isinstance(answer, dict) else None
    return detail if isinstance(detail, str) else json.dumps(detail) if detail else ""
