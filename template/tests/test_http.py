# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""The HTTP transport: this machine only, exact Host and Origin, bounded, and gone when told."""

import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from conftest import PACKAGE, module, var
from mcp import Client
from transport_probe import (
    INVALID_REQUEST,
    NOT_JSON,
    NOT_JSONRPC,
    PARSE_ERROR,
    WITH_AN_ID,
    Probe,
    call,
    probe,
    script,
    until,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

LIMIT = 20_000
ERAS = {
    "2026-07-28": {
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "echo",
    },
    "2025-11-25": {"MCP-Protocol-Version": "2025-11-25"},
}
HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


def http(folder: Path, **options: Any) -> AbstractContextManager[Probe]:
    """Start a server for one test."""
    run = {"host": "127.0.0.1", "port": 0, "max_body_bytes": LIMIT, **options.pop("run", {})}
    return probe(script(PACKAGE, "http", folder, run=run, **options), folder)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of one server for the tests that must leave it alive."""
    with http(tmp_path_factory.mktemp("shared"), constants={"BODY_SECONDS": 0.3}) as server:
        yield server.port()


def ask(
    port: int, body: Any = None, path: str = "/mcp", method: str = "POST", **headers: str
) -> tuple[HTTPResponse, str]:
    """Send one request as a client of 2026-07-28 would, with other headers where given."""
    sent = {**HEADERS, **ERAS["2026-07-28"]}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        return response, response.read().decode()


def works(port: int) -> bool:
    """Say whether the server still serves."""
    response, text = ask(port, call(1, "echo", text="still here"))
    return response.status == 200 and "still here" in text


def raw(port: int, data: bytes, seconds: float = 5) -> tuple[bytes, float]:
    """Send bytes, and return what comes until the server closes, and how long that took."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        begin = time.monotonic()
        connection.sendall(data)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
        return answer, time.monotonic() - begin


@pytest.mark.promise("GEN-1")
@pytest.mark.parametrize("path", ["/mcp", "/health"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.1:*",
        "127.0.0.1:{port}.evil.example",
        "127.0.0.1:evil.example",
        "127.0.0.1:{port}@evil.example",
        "localhost.evil.example:{port}",
        "localhost:{port}:{port}",
        "[::1]:{port}0",
        "0.0.0.0:{port}",
        "",
    ],
)
def test_another_host_is_refused(port: int, path: str, host: str) -> None:
    """Only this server's own names with its own port pass, on every path (DNS rebinding)."""
    method = "POST" if path == "/mcp" else "GET"
    body = call(1, "echo", text="canary")
    response, text = ask(port, body, path, method, Host=host.format(port=port))
    assert response.status in {400, 421}
    assert "canary" not in text
    assert "ok" not in text


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}"])
def test_the_names_of_this_machine_are_served(port: int, host: str) -> None:
    """A client may spell this machine in any of the usual ways, with the port."""
    own = host.format(port=port)
    response, text = ask(port, call(1, "echo", text="hi"), Host=own, Origin=f"http://{own}")
    assert (response.status, "hi" in text) == (200, True)
    response, text = ask(port, None, "/health", "GET", Host=own)
    assert (response.status, text) == (200, "ok")


@pytest.mark.promise("GEN-1")
@pytest.mark.parametrize("path", ["/mcp", "/health"])
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://127.0.0.1:*",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1:{port}.evil.example",
        "http://localhost:{port}@evil.example",
        "",
    ],
)
def test_another_origin_is_refused(port: int, path: str, origin: str) -> None:
    """A web page of anybody else, another port of this machine too, is refused on every path."""
    method = "POST" if path == "/mcp" else "GET"
    body = call(1, "echo", text="canary")
    response, text = ask(port, body, path, method, Origin=origin.format(port=port))
    assert response.status == 403
    assert "canary" not in text


@pytest.mark.promise("GEN-1")
@pytest.mark.parametrize("name", ["Host", "Origin"])
def test_a_header_that_decides_is_there_once(port: int, name: str) -> None:
    """Of two, one would be judged and the other believed by somebody else."""
    own = f"127.0.0.1:{port}"
    head = f"GET /health HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n"
    good = f"http://{own}" if name == "Origin" else own
    for pair in ((good, "evil.example"), ("evil.example", good), (good, good)):
        lines = "".join(f"{name}: {value}\r\n" for value in pair)
        answer, _ = raw(port, f"{head}{lines}\r\n".encode())
        assert answer.split()[1] in {b"400", b"403", b"421"}


@pytest.mark.promise("GEN-1", "GEN-6")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("body", [b"", *NOT_JSON, *NOT_JSONRPC])
def test_a_body_that_is_no_message_is_answered(port: int, era: str, body: bytes) -> None:
    """Both eras refuse a bad body with the same JSON-RPC error, which repeats nothing of it."""
    response, text = ask(port, body, **ERAS[era])
    error = json.loads(text)
    code = PARSE_ERROR if body in ["", b"", *NOT_JSON] else INVALID_REQUEST
    assert (response.status, error["id"], error["error"]["code"]) == (400, None, code)
    assert "canary" not in text


@pytest.mark.promise("GEN-1", "GEN-6")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("body", "number"), WITH_AN_ID)
def test_a_bad_request_with_a_good_id_is_answered_to_it(
    port: int, era: str, body: bytes, number: int | str
) -> None:
    """Whoever sent a request that is wrong elsewhere learns which one it was."""
    response, text = ask(port, body, **ERAS[era])
    error = json.loads(text)
    code = PARSE_ERROR if b"\\ud800" in body else INVALID_REQUEST
    assert (response.status, error["id"], error["error"]["code"]) == (400, number, code)
    assert "canary" not in text


@pytest.mark.promise("GEN-1")
def test_a_body_may_be_as_large_as_the_limit_and_no_larger(port: int) -> None:
    """The limit is exact, is in the refusal, and holds for a body that declares no length."""
    frame = len(call(1, "echo", text=""))
    assert ask(port, call(1, "echo", text="x" * (LIMIT - frame)))[0].status == 200
    over = call(1, "echo", text="x" * (LIMIT - frame + 1))
    for body in (over, iter([over[:9000], over[9000:]])):
        response, text = ask(port, body)
        assert response.status == 413
        assert str(LIMIT) in text
        assert response.getheader("connection") == "close"
    assert works(port)


@pytest.mark.promise("GEN-1")
def test_a_body_without_end_is_cut_off(port: int) -> None:
    """A body that goes on for ever is refused at the limit and its connection closed."""
    head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode())
        with pytest.raises(ConnectionError):
            connection.sendall(chunk * 10_000)
    assert works(port)


@pytest.mark.promise("GEN-1")
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_a_body_that_never_arrives_is_given_up(port: int, method: str) -> None:
    """A client that declares a body and sends only a part of it is told so and disconnected."""
    head = f"{method} /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 500\r\n\r\npart"
    answer, seconds = raw(port, head.encode())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert seconds < 3


@pytest.mark.promise("GEN-1")
def test_a_head_that_is_too_large_is_cut_off(port: int) -> None:
    """Headers without end are refused after some kilobytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            connection.sendall((b"X: " + b"x" * 1000 + b"\r\n") * 40_000)
    assert works(port)


@pytest.mark.promise("GEN-1")
def test_idle_connections_cannot_shut_others_out(tmp_path: Path) -> None:
    """Connections are limited, and those that send no complete head are closed to make room."""
    limits = {"MAX_CONNECTIONS": 6, "HEAD_SECONDS": 0.8}
    with http(tmp_path, constants=limits) as server:
        port = server.port()
        working = hold(server, "2026-07-28", "slow", seconds=1.5)
        health = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        starts = [health + b"GET /heal", b"", b"GET /heal", health[:-2], b"\r\n"]
        idle = []
        for start in starts:
            connection = socket.create_connection(("127.0.0.1", port), timeout=20)
            connection.sendall(start)
            idle.append(connection)
            assert health not in start or connection.recv(12) == b"HTTP/1.1 200"
        assert until(lambda: not works(port), 0.6)
        begin = time.monotonic()
        closed = [trickle(connection) for connection in idle]
        assert all(closed)
        assert time.monotonic() - begin < 4  # uvicorn alone closes some of them after 5 seconds
        assert works(port)
        with closing(working):  # the clock was for its head only
            assert "done" in working.getresponse().read().decode()


def trickle(connection: socket.socket) -> bool:
    """Send a byte now and then until the server closes, and say whether it did."""
    with connection, suppress(ConnectionError):
        connection.settimeout(0.2)
        for _ in range(10):
            connection.sendall(b"x")
            with suppress(TimeoutError):
                while connection.recv(1000):
                    pass
                return True
        return False
    return True


@pytest.mark.promise("GEN-6")
def test_nothing_says_what_software_answers(port: int) -> None:
    """No Server header, not even in an error, and nothing about the server in /health."""
    answers = [ask(port, call(1, "echo", text="x")), ask(port, None, "/nowhere", "GET")]
    answers += [ask(port, b"{"), ask(port, None, "/health", "GET")]
    for response, text in answers:
        assert response.getheader("server") is None
        assert "uvicorn" not in text.lower()


def test_no_websocket_is_opened(port: int) -> None:
    """The transport has one way in; an upgrade is not another."""
    head = (
        f"GET /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade, close\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n"
    )
    assert b" 101 " not in raw(port, head.encode())[0].splitlines()[0]


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_both_eras_are_served_on_one_endpoint(port: int, mode: str) -> None:
    """A client of either protocol era lists and calls the tools."""
    async with Client(f"http://127.0.0.1:{port}/mcp", mode=mode) as client:
        assert "echo" in {tool.name for tool in (await client.list_tools()).tools}
        result = await client.call_tool("echo", {"text": "héllo\nworld"})
        assert result.structured_content == {"result": "héllo\nworld"}


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_calls_finish_and_exits_with_0(tmp_path: Path, number: int) -> None:
    """A running call is answered, the lifespan cleans up, and the port is free."""
    with http(tmp_path) as server:
        port = server.port()
        with closing(hold(server, "2026-07-28", "slow", seconds=0.3)) as connection:
            server.process.send_signal(number)
            assert "done" in connection.getresponse().read().decode()
        assert server.wait() == 0
        assert server.cleaned_up
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def hold(server: Probe, era: str, tool: str, seconds: float = 60) -> HTTPConnection:
    """Begin a call that takes a while, and leave it running."""
    connection = HTTPConnection("127.0.0.1", server.port(), timeout=20)
    headers = {**HEADERS, **ERAS[era], "Mcp-Name": tool}
    if era == "2025-11-25":
        client = {"name": "test", "version": "1"}
        given = {"protocolVersion": era, "capabilities": {}, "clientInfo": client}
        begin = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": given}
        connection.request("POST", "/mcp", json.dumps(begin), HEADERS)
        response = connection.getresponse()
        response.read()
        session = response.getheader("mcp-session-id") or ""
        headers = {**HEADERS, **ERAS[era], "Mcp-Session-Id": session}
    body = json.loads(call(1, tool, seconds=seconds))
    if era == "2025-11-25":
        del body["params"]["_meta"]
    connection.request("POST", "/mcp", json.dumps(body), headers)
    assert server.begun()
    return connection


@posix
def test_the_grace_is_bounded(tmp_path: Path) -> None:
    """A call that takes longer than the grace is cancelled, and the server ends in order."""
    with http(tmp_path, constants={"GRACE_SECONDS": 0.3}) as server:
        with closing(hold(server, "2026-07-28", "slow")):
            server.process.send_signal(signal.SIGTERM)
            assert server.wait() == 0
        assert server.cleaned_up


@posix
@pytest.mark.parametrize("era", ERAS)
def test_a_stuck_tool_prevents_neither_the_clean_up_nor_the_exit(tmp_path: Path, era: str) -> None:
    """A tool that blocks its thread is left behind after the clean-up, in bounded time."""
    times = {"GRACE_SECONDS": 0.2, "CANCEL_SECONDS": 0.2, "STOP_SECONDS": 2.3}
    with http(tmp_path, constants=times) as server:
        with closing(hold(server, era, "stuck")):
            server.process.send_signal(signal.SIGTERM)
            assert until(lambda: server.cleaned_up, 2.4)
        assert server.wait() == -signal.SIGALRM


@posix
def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """Whoever cannot wait for the calls does not have to."""
    with http(tmp_path) as server, closing(hold(server, "2026-07-28", "slow")):
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() in {128 + signal.SIGTERM, -signal.SIGTERM}


@pytest.mark.promise("GEN-1")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.com", "127.1"])
def test_only_loopback_is_served(host: str) -> None:
    """Any other address stops the start with one line that names the setting and the reason."""
    error = module("errors").ConfigError
    with pytest.raises(error, match="authentication") as raised:
        module("http").listen(host, 0)
    assert str(raised.value).startswith(var("HOST"))
    assert "\n" not in str(raised.value)


def test_a_port_in_use_stops_the_start(port: int) -> None:
    """A taken port is one line that names the setting."""
    error = module("errors").ConfigError
    with pytest.raises(error, match="in use") as raised:
        module("http").listen("127.0.0.1", port)
    assert str(raised.value).startswith(var("PORT"))
    assert "\n" not in str(raised.value)


def test_the_other_loopback_is_served_too(tmp_path: Path) -> None:
    """With ::1 the server listens there, says so, and nowhere else."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with http(tmp_path, run={"host": "::1"}) as server:
        port = server.port()
        assert f"listening on http://[::1]:{port}/mcp\n" in server.log
        with closing(HTTPConnection("::1", port, timeout=20)) as connection:
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b"ok"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def test_port_80_may_be_left_out() -> None:
    """Clients leave out the default port, so there its names pass without one."""
    settings = module("http").allowed(80)
    assert {"127.0.0.1", "localhost", "[::1]", "127.0.0.1:80"} <= set(settings.allowed_hosts)
    assert "http://localhost" in settings.allowed_origins
    assert all("*" not in name for name in module("http").allowed(8000).allowed_hosts)
