# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The HTTP transport: streamable HTTP of both protocol eras on one endpoint, for this machine only.

A web page can make its reader's browser send requests to this address, and make a name of its own
point here (DNS rebinding). So Host and Origin must be exactly ours, port included, on every path
(MCP 2026-07-28, Transports, Security). Other programs of this machine can connect: there is no
authentication in this release, which is why no other address is served.

uvicorn has no limit on how long or how large a request's head may be, nor on how slowly a body
arrives; ``Connection`` and ``Gate`` add these.

It stops on SIGINT and SIGTERM: running calls have GRACE_SECONDS to end, the lifespan cleans up, and
the process ends with status 0. A second signal ends it immediately, and SIGALRM ends it with
whatever is still running STOP_SECONDS after the grace.
"""

import asyncio
import os
import socket
import sys
from types import FrameType
from typing import Any

import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ConfigError
from .prefix import PREFIX
from .wire import MessageError, cancel_all_but, decode, leave_within

try:  # the extra "fast"
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as HTTPProtocol
except ImportError:
    from uvicorn.protocols.http.h11_impl import (  # type: ignore[assignment]
        H11Protocol as HTTPProtocol,
    )

PATH = "/mcp"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_CONNECTIONS = 100
MAX_SESSIONS = 1000  # of the older protocol, which has sessions; idle ones end after 30 minutes
MAX_HEAD_BYTES = 16 * 1024
HEAD_SECONDS = 10.0
BODY_SECONDS = 30.0
GRACE_SECONDS = 5
CANCEL_SECONDS = 1.0
STOP_SECONDS = 4.0  # the SDK alone takes up to one to tell the caller of a cancelled call


def listen(host: str, port: int) -> socket.socket:
    """Open the port here rather than in uvicorn, which would log a failure and exit.

    Args:
        host: one of LOOPBACK.
        port: TCP port; 0 takes a free one.

    Raises:
        ConfigError: the host is not a loopback address; the port is taken, or reserved for the
            administrator.
    """
    if host not in LOOPBACK:
        raise ConfigError(
            f"{PREFIX}HOST: write 127.0.0.1, localhost or ::1; other addresses are served in a "
            "later release, together with authentication"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"{PREFIX}PORT: cannot listen on port {port} of {host} "
            f"({os.strerror(error.errno or 0)}); choose another, or 0 for any free one"
        ) from None


def run(server: MCPServer[Any], *, listener: socket.socket, max_body_bytes: int) -> None:
    """Serve clients on this machine over HTTP until a signal arrives.

    To be called from the main thread, as the last thing the process does. Says on stderr where it
    listens.

    Args:
        server: what to serve.
        listener: from `listen`.
        max_body_bytes: largest request body in bytes; a larger one is answered with status 413.
    """
    host, port = listener.getsockname()[:2]
    security = allowed(port)
    server.custom_route("/health", methods=["GET"])(_health)
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=max_body_bytes,
        max_sessions=MAX_SESSIONS,
        transport_security=security,
    )
    config = uvicorn.Config(
        Gate(app, security, max_body_bytes),
        http=Connection,
        ws="none",
        lifespan="off",  # _serve has it, so that an error at the start keeps its one line
        log_config=None,
        access_log=False,
        proxy_headers=False,  # any local program could claim to be a proxy
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(app, Uvicorn(config, url), listener))


async def _serve(app: Starlette, web: uvicorn.Server, listener: socket.socket) -> None:
    async with app.router.lifespan_context(app):
        await web.serve(sockets=[listener])
        # For the case that a tool still blocks its thread, which the lifespan would wait for.
        loop = asyncio.get_running_loop()
        loop.call_later(CANCEL_SECONDS, cancel_all_but, asyncio.current_task())


def allowed(port: int) -> TransportSecuritySettings:
    """Return the only values of Host and Origin that are accepted.

    The SDK's own default would take ``127.0.0.1:*``, thus any text after the colon and a page of
    any other server on this machine.
    """
    names = ("127.0.0.1", "localhost", "[::1]")
    hosts = [f"{name}:{port}" for name in names]
    if port == 80:  # the port that clients leave out
        hosts += names
    return TransportSecuritySettings(
        allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts]
    )


class Uvicorn(uvicorn.Server):
    """uvicorn's server, which says where it listens and stops as stdio.py does."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        print(f"listening on {self._url}", file=sys.stderr, flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal. uvicorn's own would repeat it before the lifespan's clean-up."""
        if self.should_exit:
            os._exit(128 + sig)
        leave_within(GRACE_SECONDS + STOP_SECONDS)
        self.should_exit = True


class Connection(HTTPProtocol):
    """uvicorn's connection, closed when the head of a request is too slow or too large.

    Otherwise idle connections alone, up to the limit on connections, would shut everybody out.
    """

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Watch the head until it is complete; from there, ``Gate`` watches the body."""
        super().data_received(data)
        if self._serving():
            self._head_done()
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.transport.abort()
        elif self._timer is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._head_done()
        super().connection_lost(exc)

    def _serving(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever its annotation says
        return cycle is not None and not cycle.response_complete

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _head_done(self) -> None:
        self._head_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Gate:
    """Lets a request pass when Host, Origin and body are in order.

    The SDK would check the first two on its own path only, wait for a body without end, take
    ``NaN`` for a number, and quote a wrong body in its error.
    """

    def __init__(
        self, app: ASGIApp, security: TransportSecuritySettings, max_body_bytes: int
    ) -> None:
        self._app = app
        self._security = TransportSecurityMiddleware(security)
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3, HTTP)."""
        request = Request(scope)
        refusal = await self._security.validate_request(request)
        if any(len(request.headers.getlist(name)) > 1 for name in ("host", "origin")):
            refusal = PlainTextResponse("Host and Origin may be there once", 400)  # one is judged
        elif request.headers.get("origin") == "":
            refusal = PlainTextResponse("Invalid Origin header", 403)
        body = refusal or await self._body(receive)
        if isinstance(body, bytes) and scope["method"] == "POST" and scope["path"] == PATH:
            try:
                decode(body)
            except MessageError as error:
                text = error.answer.model_dump_json(by_alias=True, exclude_unset=True)
                body = Response(text, 400, media_type="application/json")
        if isinstance(body, Response):
            await body(scope, receive, send)
        else:
            await self._app(scope, _replay(body, receive), send)

    async def _body(self, receive: Receive) -> bytes | Response:
        """Read the body, or return why it is refused."""
        body = bytearray()
        # What was not read of the body must not be taken for the next request.
        close = {"connection": "close"}
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while (message := await receive())["type"] == "http.request":
                    body += message.get("body", b"")
                    if len(body) > self._max_body_bytes:
                        problem = f"The body may have {self._max_body_bytes} bytes"
                        return PlainTextResponse(problem, 413, close)
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            return PlainTextResponse("The body took too long", 408, close)
        return PlainTextResponse("", 400, close)  # the client has gone: nobody will read this


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that begins with the body that has been read."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


async def _health(_: Request) -> Response:
    """Answer that the server runs, and nothing about it."""
    return PlainTextResponse("ok")
