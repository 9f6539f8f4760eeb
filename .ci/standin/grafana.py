"""A stand-in for Grafana, of which Debian has no package: it shows no dashboard.

It reads the provisioning files and the dashboards as strictly as a test can wish, ends with what is wrong,
and else answers /api/health as Grafana does, and /api/datasources and /api/search with what it has read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

PROVISIONING = Path("/etc/grafana/provisioning")
PORT = 3000


class Wrong(Exception):
    """A file that Grafana would refuse, or take and show nothing of."""


def need(found: dict[str, Any], where: str, **kinds: type) -> None:
    """Each of these fields is there and of its kind. Raises Wrong."""
    for name, kind in kinds.items():
        if not isinstance(found.get(name), kind):
            raise Wrong(f"{where}: {name} is {found.get(name)!r} and should be {kind.__name__}")


def documents(folder: str, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries under `key` of each provisioning file of this kind."""
    for path in sorted((PROVISIONING / folder).glob("*.y*ml")):
        content = yaml.safe_load(path.read_text())
        need(content, str(path), apiVersion=int, **{key: list})
        for entry in content[key]:
            yield f"{path}: {entry.get('name')!r}", entry


def datasources() -> list[dict[str, Any]]:
    """Those that are provisioned. Raises Wrong."""
    found = []
    for where, entry in documents("datasources", "datasources"):
        need(entry, where, name=str, type=str, uid=str, url=str, access=str)
        found.append(entry)
    if not found:
        raise Wrong(f"{PROVISIONING}/datasources provisions none")
    return found


def dashboards(uids: set[str]) -> list[dict[str, Any]]:
    """Those that are provisioned, by datasources of these uids. Raises Wrong."""
    found: dict[str, dict[str, Any]] = {}
    for where, provider in documents("dashboards", "providers"):
        need(provider, where, name=str, type=str, options=dict)
        folder = Path(provider["options"]["path"])
        paths = sorted(folder.rglob("*.json"))
        if not paths:
            raise Wrong(f"{where}: {folder} has no dashboard")
        for path in paths:
            board = json.loads(path.read_text())
            check(board, str(path), uids)
            if board["uid"] in found:
                raise Wrong(f"{path}: uid {board['uid']!r} is another dashboard's")
            found[board["uid"]] = {"uid": board["uid"], "title": board["title"], "type": "dash-db"}
    if not found:
        raise Wrong(f"{PROVISIONING}/dashboards provisions none")
    return list(found.values())


def check(board: dict[str, Any], where: str, uids: set[str]) -> None:
    """The dashboard's panels ask a datasource that there is. Raises Wrong."""
    need(board, where, uid=str, title=str, schemaVersion=int, panels=list)
    variables = {f"${{{each['name']}}}" for each in board.get("templating", {}).get("list", [])}
    ids = set()
    for panel in board["panels"]:
        at = f"{where}: panel {panel.get('title')!r}"
        need(panel, at, id=int, type=str, title=str, gridPos=dict)
        if panel["id"] in ids:
            raise Wrong(f"{at}: id {panel['id']} is another panel's")
        ids.add(panel["id"])
        if panel["type"] in ("row", "text"):
            continue
        need(panel, at, targets=list)
        for target in panel["targets"]:
            need(target, at, expr=str, refId=str)
            source = target.get("datasource") or panel.get("datasource") or {}
            if source.get("uid") not in uids | variables:
                raise Wrong(f"{at}: datasource {source!r} is not provisioned: {sorted(uids)}")


class Answers(BaseHTTPRequestHandler):
    """Gives what was read."""

    told: dict[str, Any]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        body = json.dumps(self.told.get(path, {"message": "Not found"})).encode()
        self.send_response(200 if path in self.told else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Health checks are no news."""


def main() -> None:
    """Serves until it is ended; ends with a sentence where a file is wrong."""
    try:
        sources = datasources()
        boards = dashboards({source["uid"] for source in sources})
    except (Wrong, OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        sys.exit(f"stand-in for Grafana: {error!r}")
    health = {"database": "ok", "version": "stand-in"}
    Answers.told = {"/api/health": health, "/api/datasources": sources, "/api/search": boards}
    print(f"stand-in for Grafana: {len(sources)} datasource(s), {len(boards)} dashboard(s)", flush=True)  # noqa: T201
    ThreadingHTTPServer(("", PORT), Answers).serve_forever()


if __name__ == "__main__":
    main()
