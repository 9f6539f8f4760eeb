"""Every endpoint of the app, by the app's own routes: a new one cannot be forgotten by the security tests."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
OPEN = {
    "GET /openapi.json": "tells of no run",
    "GET /docs": "the same as a page",
    "GET /livez": "for what restarts it",
    "GET /readyz": "for what routes to it",
    "GET /health": "whether all is well; details for those who are signed in",
    "GET /metrics": "numbers, and no name of a DAG, a run or a person",
    "GET /login": "where one signs in",
    "POST /login": "by name and password",
    "POST /api/v1/events": "by a signature or a token of the scope ingest",
    "GET /links/silence/{token}": "the signed token is the right",
    "POST /links/silence/{token}": "the signed token is the right",
    "GET /links/acknowledge/{token}": "the signed token is the right",
    "POST /links/acknowledge/{token}": "the signed token is the right",
    "GET /links/unsubscribe/{token}": "the signed token is the right",
    "POST /links/unsubscribe/{token}": "the signed token is the right",
}
"""What needs no sign-in, and why. All else has to refuse strangers."""
BODIES: dict[str, dict[str, object]] = {
    "POST /api/v1/incidents/{incident_id}/acknowledgement": {"reason": "seen"},
    "POST /api/v1/incidents/{incident_id}/close": {"reason": "over"},
    "POST /api/v1/silences": {
        "match": {"deployment": "local", "dag_id": "etl"},
        "reason": "x",
        "duration": "1h",
    },
    "POST /api/v1/tokens": {"name": "t", "scopes": ["read"]},
}
"""What an effect of the API needs to be told before it looks at who asks for it."""
FORMS = {
    "POST /tokens": {"name": "t", "scope": "read"},
    "POST /incidents/{incident_id}/close": {"reason": "over"},
}


BY_QUERY = {
    "/assets/{deployment}": ("uri",),
    "/api/v1/assets/updates": ("deployment", "uri"),
    "/logs/{deployment}/{dag_id}/{run_id:path}": ("task_id", "map_index"),
}
"""Pages that are asked for one thing by the query as well as by the path."""


@dataclass(frozen=True)
class Surface:
    method: str
    path: str

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_open(self) -> bool:
        return self.name in OPEN

    @property
    def is_effect(self) -> bool:
        return self.method != "GET"

    @property
    def is_for_programs(self) -> bool:
        return self.path.startswith("/api") or self.path == "/events"

    @property
    def parameters(self) -> list[str]:
        return PARAMETER.findall(self.path)

    def at(self, values: Mapping[str, object], query: str = "") -> str:
        """The path and its query, filled in. `query`: more of it, without a question mark."""
        path = PARAMETER.sub(lambda found: quote(str(values[found[1]]), safe=""), self.path)
        own = urlencode({name: str(values[name]) for name in BY_QUERY.get(self.path, ())})
        return "?".join(part for part in (path, "&".join(part for part in (own, query) if part)) if part)

    @property
    def sent(self) -> dict[str, object]:
        """The body of a request, as httpx takes it."""
        if not self.is_effect:
            return {}
        return (
            {"json": BODIES.get(self.name, {})}
            if self.is_for_programs
            else {"data": FORMS.get(self.name, {})}
        )


def surfaces(app: FastAPI) -> list[Surface]:
    return sorted(_all(app), key=lambda one: one.name)


def _all(app: FastAPI) -> Iterator[Surface]:
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, Mount):
            assert route.path == "/static", f"a mount that nobody looks at: {route.path}"
            continue
        assert route.path is not None
        assert route.methods is not None
        yield from (Surface(method, route.path) for method in route.methods if method != "HEAD")
