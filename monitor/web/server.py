"""The HTTP server: uvicorn, told to end the open feeds before it waits for the open requests."""

import socket

import uvicorn
from fastapi import FastAPI

SHUTDOWN_SECONDS = 5  # for requests under way to be answered; feeds are told to end and take no time


class Server(uvicorn.Server):
    """One app on one address. A feed never ends by itself, and the lifespan ends only after the requests."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        proxies = app.state.services.settings.trusted_proxies
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),  # left alone, it would believe whoever asks from this machine
                forwarded_allow_ips=list(proxies),
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.services.feeds.close()
        await super().shutdown(sockets)
