"""Runs the web server inside the appliance's own nursery."""

from __future__ import annotations

import logging
import socket
import ssl
from typing import TYPE_CHECKING

import trio
from hypercorn.config import Config

from .. import __version__
from . import auth
from .app import make_app
from .livesocket import Viewers
from .state import WebState
from .transport import serve_app

if TYPE_CHECKING:
    from ..context import Context

MAX_MESSAGE_BYTES = 2**20
"""Largest WebSocket message that a browser may send."""
PING_INTERVAL_S = 20.0
"""Keeps idle WebSockets through routers alive, and finds those whose other end is gone."""


async def serve_web(
    context: Context,
    sockets: list[socket.socket],
    *,
    tls: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve pages, API and WebSockets on bound sockets until `context.stopping` is set or the task is cancelled.

    The caller binds the sockets, so that a port in use is reported before anything runs; they are closed at the end.
    """
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("nims_appliance.web.hypercorn")
    config.include_server_header = False
    config.websocket_max_message_size = MAX_MESSAGE_BYTES
    config.websocket_ping_interval = PING_INTERVAL_S
    state = WebState(context)
    viewers = Viewers(context, state, __version__)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(state.remember_results)
        nursery.start_soon(auth.tell_health, context.access, context.health.part("access"))
        nursery.start_soon(viewers.run)
        app = make_app(context, state, viewers, tls=tls is not None)
        await serve_app(app, config, sockets, stopping=context.stopping, tls=tls, task_status=task_status)
        nursery.cancel_scope.cancel()
