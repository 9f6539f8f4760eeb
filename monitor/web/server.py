"""The HTTP server: uvicorn with bounds, which ends the open feeds before it waits for open requests."""

import asyncio
import socket
from functools import partial
from typing import cast

import uvicorn
from fastapi import FastAPI

from monitor.feed.connections import connection_room
from monitor.web.http_protocol import (
    BODY_SECONDS,
    HEAD_SECONDS,
    IDLE_SECONDS,
    MAX_UNREAD,
    WRITE_SECONDS,
    BoundedHttpProtocol,
    ConnectionLimit,
)

SHUTDOWN_SECONDS = 5  # for requests under way to be answered. Feeds end at once


class HttpServer(uvicorn.Server):
    """The server of one app on one address.
    A feed never ends by itself, and the lifespan ends only after the requests."""

    def __init__(
        self,
        app: FastAPI,
        host: str,
        port: int,
        *,
        most_connections: int | None = None,
        head_seconds: float = HEAD_SECONDS,
        body_seconds: float = BODY_SECONDS,
        write_seconds: float = WRITE_SECONDS,
        most_unread: int = MAX_UNREAD,
        idle_seconds: int = IDLE_SECONDS,
    ) -> None:
        """Set up the server. `most_connections` None means as many as this process may open."""
        services = app.state.services
        proxies = services.settings.trusted_proxies
        protocol = partial(
            BoundedHttpProtocol,
            limit=ConnectionLimit(most_connections or connection_room(), services.metrics, most_unread),
            head_seconds=head_seconds,
            body_seconds=body_seconds,
            write_seconds=write_seconds,
        )
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=cast("type[asyncio.Protocol]", protocol),
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),  # left alone, it would trust any client on this machine
                forwarded_allow_ips=list(proxies),
                timeout_keep_alive=idle_seconds,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the feeds, then shut the server down."""
        self._app.state.services.feed_server.close()
        await super().shutdown(sockets)
