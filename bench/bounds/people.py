"""Requests of somebody who signs in, or tries to."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx

from bench.bounds.peers import DAG, answer
from bench.bounds.requests import counted, opened
from bench.bounds.stage import Stage, Strained
from bench.bounds.trial import Trial
from monitor.notifications import silences
from monitor.web.auth import tokens
from monitor.web.auth.rate_limit import FAILURES
from monitor.web.auth.sessions import MAX_OF_ONE_USER

GUESSES = 100
REFUSED = answer(b'{"detail": "Invalid credentials"}', status="401 Unauthorized")


def guesses(stage: Stage) -> str:
    """Wrong passwords for one name, side by side."""
    stage.peers.say("/auth/token", REFUSED)
    try:
        with (
            httpx.Client(base_url=stage.guarded.url, timeout=120, trust_env=False) as browser,
            ThreadPoolExecutor(20) as threads,
        ):
            answers = threads.map(lambda n: stage.guarded.guess(browser, f"wrong {n}"), range(GUESSES))
            return counted(Counter(str(answer.status_code) for answer in answers))
    finally:
        stage.peers.say("/auth/token", None)


def sessions(stage: Stage) -> str:
    """Sign-ins of one user; how many of them still hold."""
    browsers = [stage.guarded.sign_in() for _ in range(MAX_OF_ONE_USER + 10)]
    held = Counter(str(browser.get("/runs").status_code) for browser in browsers)
    for browser in browsers:
        browser.close()
    return counted(held)


def feeds(stage: Stage, number: int) -> str:
    """Feeds of one user."""
    with closing(stage.guarded.sign_in()) as browser:
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        request = f"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n".encode()
        return opened(stage.guarded, number, request)


def made(monitor: Strained, path: str, body: Mapping[str, object], number: int) -> str:
    return counted(
        Counter(
            str(monitor.client.post(path, json={**body, "name": f"n{n}"}).status_code) for n in range(number)
        )
    )


def silenced(monitor: Strained, number: int) -> str:
    def one(n: int) -> int:
        match = {"deployment": ["local"], "dag_id": [DAG], "task_id": [f"task_{n}"]}
        body = {"match": match, "reason": "bound", "duration": "1h"}
        return monitor.client.post("/api/v1/silences", json=body).status_code

    return counted(Counter(str(one(n)) for n in range(number)))


def trials() -> Iterator[Trial]:
    def plain(surface: str, sends: str, act: Callable[[Strained], str]) -> Trial:
        return Trial(surface, sends, lambda stage: act(stage.plain))

    token = {"scopes": ["read"], "expires_in": "1d"}
    yield Trial("sessions of a user", f"{MAX_OF_ONE_USER + 10} sign-ins", sessions, True)
    yield Trial("feeds of a user", "100", lambda stage: feeds(stage, 100), True)
    yield Trial("feeds of a user", "150", lambda stage: feeds(stage, 150), True)
    yield plain("silences", f"{silences.MOST_OF_ONE + 10}", lambda m: silenced(m, silences.MOST_OF_ONE + 10))
    yield plain("tokens", f"{tokens.MOST + 10}", lambda m: made(m, "/api/v1/tokens", token, tokens.MOST + 10))


def last_trials() -> Iterator[Trial]:
    """After these nobody signs in for a while."""
    yield Trial("sign-in attempts", f"{GUESSES} at once, {FAILURES} a name", guesses, True)
