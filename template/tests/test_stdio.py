# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""The stdio transport: bounded, never silent, never interrupted by a tool, and gone when told."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from conftest import PACKAGE, module
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
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

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes of POSIX")

LIMIT = 20_000
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    """One server for the tests that must leave it alive."""
    folder = tmp_path_factory.mktemp("shared")
    with stdio(folder) as server:
        yield server


def stdio(
    folder: Path, stdin: Any = subprocess.PIPE, stdout: Any = subprocess.PIPE, **options: Any
) -> AbstractContextManager[Probe]:
    """Start a server for one test."""
    command = script(PACKAGE, "stdio", folder, run={"max_line_bytes": LIMIT}, **options)
    return probe(command, folder, stdin, stdout)


@pytest.mark.promise("GEN-1", "GEN-6")
@pytest.mark.parametrize("line", NOT_JSON)
def test_a_line_that_is_not_json_is_answered(shared: Probe, line: bytes) -> None:
    """What is not JSON gets a parse error that repeats nothing of it, and the next line works."""
    answer = shared.ask(line + b"\n")
    assert (answer["jsonrpc"], answer["id"], answer["error"]["code"]) == ("2.0", None, PARSE_ERROR)
    assert "canary" not in json.dumps(answer)
    assert shared.works()


@pytest.mark.promise("GEN-1", "GEN-6")
@pytest.mark.parametrize("line", NOT_JSONRPC)
def test_json_that_is_no_message_is_answered(shared: Probe, line: bytes) -> None:
    """JSON that is not one JSON-RPC message is an invalid request, and the next line works."""
    answer = shared.ask(line + b"\n")
    assert (answer["id"], answer["error"]["code"]) == (None, INVALID_REQUEST)
    assert "canary" not in json.dumps(answer)
    assert shared.works()


@pytest.mark.promise("GEN-1", "GEN-6")
@pytest.mark.parametrize(("line", "number"), WITH_AN_ID)
def test_a_bad_request_with_a_good_id_is_answered_to_it(
    shared: Probe, line: bytes, number: int | str
) -> None:
    """Whoever sent a request that is wrong elsewhere learns which one it was."""
    answer = shared.ask(line + b"\n")
    code = PARSE_ERROR if b"\\ud800" in line else INVALID_REQUEST
    assert (answer["id"], answer["error"]["code"]) == (number, code)
    assert "canary" not in json.dumps(answer)


def test_what_needs_no_answer_gets_none(shared: Probe) -> None:
    """Empty lines, notifications and answers of the client are taken in silence."""
    quiet = [
        b"\n",
        b"\r\n",
        b" \t \n",
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}\n',
        b'{"jsonrpc":"2.0","method":"notifications/unheard-of"}\n',
        b'{"jsonrpc":"2.0","id":99,"result":{}}\n',
        b'{"jsonrpc":"2.0","id":99,"error":{"code":1,"message":"no"}}\n',
        b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"no"}}\n',
    ]
    shared.send(*quiet)
    assert shared.works()


@pytest.mark.promise("GEN-1")
def test_a_line_may_be_as_long_as_the_limit_and_no_longer(shared: Probe) -> None:
    """The limit is exact, and the error says it."""
    frame = len(call(1, "echo", text="")) - 1
    fits = shared.ask(call(1, "echo", text="x" * (LIMIT - frame)))
    assert fits["result"]["isError"] is False
    over = shared.ask(call(1, "echo", text="x" * (LIMIT - frame + 1)))
    assert (over["id"], over["error"]["code"]) == (1, INVALID_REQUEST)
    assert str(LIMIT) in over["error"]["message"]
    assert shared.works()


@pytest.mark.promise("GEN-6")
def test_a_result_that_is_not_unicode_becomes_an_error(shared: Probe) -> None:
    """A result that JSON cannot carry is answered without its text, and the server lives."""
    answer = shared.ask(call(5, "half_a_pair"))
    assert answer["id"] == 5
    assert answer["error"]["code"] == -32603
    assert "udcff" not in json.dumps(answer)
    assert shared.works()


@pytest.mark.promise("GEN-6")
def test_prints_and_children_never_reach_the_wire(shared: Probe) -> None:
    """What a tool or its child prints goes to the log, and a child's stdin is empty."""
    answer = shared.ask(call(6, "loud"))
    assert answer["result"]["structuredContent"]["result"] == "''\n"
    assert shared.works()
    assert "printed by a tool\nwritten by a tool\nchild ['0', '1', '2', '3']" in shared.log


@pytest.mark.promise("GEN-1")
def test_lines_are_cut_the_same_however_they_arrive() -> None:
    """Where the chunks end makes no difference, to long lines neither."""
    lines = [b"", b"a", b"b" * 9, b"c" * 10, b"d" * 11, b"e" * 50, b"\xc3\xa9", b"tail"]
    whole = b"\n".join(lines)
    expected = [line if len(line) <= 10 else None for line in lines]
    chance = random.Random(7)
    for _ in range(300):
        cutter = module("stdio").Lines(10)
        found, rest = [], whole
        while rest:
            size = chance.randint(1, 20)
            found += cutter.feed(rest[:size])
            rest = rest[size:]
        found += cutter.last()
        assert [line if isinstance(line, bytes) else None for line in found] == expected


@pytest.mark.promise("GEN-1")
@pytest.mark.parametrize(
    ("line", "request_id"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":"%s"}}', 7),
        (b'{"jsonrpc": "2.0", "id": "a-7", "method": "m", "params": {"a": "%s"}}', "a-7"),
        (b'{"method":"m","params":{"a":"%s"},"jsonrpc":"2.0","id":7}', 7),
        (b'{"method":"m","params":{"a":"%s","jsonrpc":"2.0","id":7}}', None),
        (b'{"params":{"a":"%s"},"jsonrpc":"2.0","id":7}', None),
        (b'{"jsonrpc":"2.0","id":7,"result":{"a":"%s"}}', None),
        (b'{"params":{"jsonrpc":"2.0","id":7,"method":"m"},"a":"%s"}', None),
        (b'{"jsonrpc":"2.0","id":%s}', None),
    ],
)
def test_a_request_that_is_too_long_is_answered_by_its_id(
    line: bytes, request_id: int | str | None
) -> None:
    """Its sender would wait for ever otherwise; the id of anything else is not taken for one."""
    cutter = module("stdio").Lines(1000)
    (answer,) = cutter.feed(line.replace(b"%s", b"9" * 5000) + b"\n")
    assert answer.id == request_id
    assert "1000 bytes" in answer.error.message


@pytest.mark.promise("GEN-1")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_line_without_end_takes_no_memory(tmp_path: Path) -> None:
    """64 MiB without a newline are skipped in the memory that the server has anyway."""
    with stdio(tmp_path) as server:
        assert server.works()
        before = server.peak_memory()
        for _ in range(64):
            server.send(b"x" * MIB)
        assert server.ask(b"\n")["error"]["code"] == INVALID_REQUEST
        assert server.works()
        assert server.peak_memory() - before < 8 * MIB


@pytest.mark.promise("GEN-1")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize(
    "flood", [call(1, "large", size=10_000), b"canary\n"], ids=["calls", "bad lines"]
)
def test_a_client_that_only_sends_cannot_fill_the_memory(tmp_path: Path, flood: bytes) -> None:
    """A client that reads no answers is held up by its own full pipe; memory stays bounded."""
    with stdio(tmp_path) as server:
        assert server.works()
        before = server.peak_memory()
        assert send_until_it_takes_no_more(server, flood)
        assert server.peak_memory() - before < 16 * MIB


def send_until_it_takes_no_more(server: Probe, flood: bytes) -> bool:
    """Send as fast as the pipe takes it, and say whether it took nothing for a good while."""
    assert server.process.stdin
    pipe = server.process.stdin.fileno()
    os.set_blocking(pipe, False)
    begin = taken = time.monotonic()
    while taken - begin < 10:  # how soon depends on how busy this machine is
        try:
            os.write(pipe, flood * (4096 // len(flood)))
            taken = time.monotonic()
        except BlockingIOError:
            if time.monotonic() - taken > 0.5:
                return True
            time.sleep(0.01)
    return False


@pytest.mark.promise("GEN-1")
def test_requests_beyond_the_limit_are_told_so(tmp_path: Path) -> None:
    """The number of requests being worked on is bounded; those above it are refused at once."""
    with stdio(tmp_path, constants={"MAX_CALLS": 3}) as server:
        assert server.works()
        server.send(*[call(number, "slow", seconds=0.3) for number in range(5)])
        answers = [server.answer() for _ in range(5)]
        busy = {answer["id"] for answer in answers if "error" in answer}
        assert busy == {3, 4}
        assert all("wait" in answer["error"]["message"] for answer in answers[:2])
        assert server.works()


def test_a_cancelled_request_makes_room_again(tmp_path: Path) -> None:
    """A request that the client cancels is no longer counted."""
    with stdio(tmp_path, constants={"MAX_CALLS": 1}) as server:
        assert server.works()
        for number in range(3):
            (tmp_path / "begun").unlink(missing_ok=True)
            server.send(call(number, "slow", seconds=30))
            assert server.begun()
            cancelled = {"method": "notifications/cancelled", "params": {"requestId": number}}
            server.send(json.dumps({"jsonrpc": "2.0", **cancelled}).encode() + b"\n")
            assert until(server.works)


def test_end_of_input_lets_received_calls_finish(tmp_path: Path) -> None:
    """Calls received before the end are answered, also one without a newline; then it is 0."""
    with stdio(tmp_path) as server:
        received = call(1, "slow", seconds=0.2), call(2, "large", size=MIB)
        server.send(*received, call(3, "echo", text="last").rstrip())
        server.close()
        assert server.begun()
        time.sleep(0.5)
        answers = [server.answer() for _ in range(3)]
        assert {answer["id"] for answer in answers if "result" in answer} == {1, 2, 3}
        assert server.wait() == 0
        assert server.cleaned_up


def test_the_grace_at_the_end_of_input_is_bounded(tmp_path: Path) -> None:
    """A call that takes longer than the grace is cancelled, and its caller told."""
    with stdio(tmp_path, constants={"GRACE_SECONDS": 0.3}) as server:
        server.send(call(1, "slow", seconds=30))
        server.close()
        assert "error" in server.answer()
        assert server.wait() == 0
        assert server.cleaned_up


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_cleans_up_and_exits_with_0(tmp_path: Path, number: int) -> None:
    """A signal ends the server in order, although a call runs and stdin stays open."""
    inherited = signal.signal(number, signal.SIG_DFL)  # under nohup, SIGHUP would be ignored
    with stdio(tmp_path) as server:
        signal.signal(number, inherited)
        server.send(call(1, "slow", seconds=30))
        assert server.begun()
        server.process.send_signal(number)
        assert "error" in server.answer()
        assert server.wait() == 0
        assert server.cleaned_up


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """Whoever cannot wait for the clean-up does not have to."""
    with stdio(tmp_path, clean_up_seconds=30) as server:
        assert server.works()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.stdout
        time.sleep(0.3)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM
        assert not server.cleaned_up


@pytest.mark.parametrize("how", ["signal", "end of input"])
def test_a_stuck_tool_prevents_neither_the_clean_up_nor_the_exit(tmp_path: Path, how: str) -> None:
    """A tool that blocks its thread is left behind after the clean-up, in bounded time."""
    times = {"GRACE_SECONDS": 0.2, "CANCEL_SECONDS": 0.2, "STOP_SECONDS": 1.2}
    with stdio(tmp_path, constants=times) as server:
        server.send(call(1, "stuck", seconds=60))
        assert server.begun()
        if how == "signal":
            server.process.send_signal(signal.SIGTERM)
        else:
            server.close()
        assert until(lambda: server.cleaned_up, 1.1)
        assert server.wait() == -signal.SIGALRM


def test_a_clean_up_that_hangs_is_left_behind(tmp_path: Path) -> None:
    """The time between the first signal and the end is bounded."""
    with stdio(tmp_path, clean_up_seconds=60, constants={"STOP_SECONDS": 0.3}) as server:
        assert server.works()
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGALRM


def test_a_client_that_does_not_read_cannot_prevent_the_end(tmp_path: Path) -> None:
    """With the pipe full and more to write, a signal still stops the server in order."""
    with stdio(tmp_path, constants={"CANCEL_SECONDS": 0.3}) as server:
        server.send(call(1, "large", size=4 * MIB), call(2, "echo", text="x"))
        assert until((tmp_path / "lifespan").exists)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.cleaned_up


def test_a_large_answer_arrives_whole(tmp_path: Path) -> None:
    """An answer larger than the pipe is written as the client reads, whole and in order."""
    with stdio(tmp_path) as server:
        server.send(call(1, "large", size=4 * MIB), call(2, "echo", text="after"))
        answers = {answer["id"]: answer for answer in (server.answer(), server.answer())}
        assert len(answers[1]["result"]["structuredContent"]["result"]) == 4 * MIB
        assert answers[2]["result"]["structuredContent"]["result"] == "after"


def test_a_client_that_closes_its_end_is_gone(tmp_path: Path) -> None:
    """When nobody reads any more, the server ends in order, although stdin stays open."""
    with stdio(tmp_path) as server:
        assert server.works()
        assert server.process.stdout
        server.process.stdout.close()
        server.send(call(1, "slow", seconds=30), call(2, "echo", text="x"))
        assert server.wait() == 0
        assert server.cleaned_up


def test_stdin_and_stdout_may_be_files(tmp_path: Path) -> None:
    """A file of requests gives a file of answers."""
    asked, told = tmp_path / "asked", tmp_path / "told"
    asked.write_bytes(call(1, "echo", text="a") + b"canary\n" + call(2, "large", size=200_000))
    with (
        asked.open("rb") as stdin,
        told.open("wb") as stdout,
        stdio(tmp_path, stdin=stdin, stdout=stdout) as server,
    ):
        assert server.wait() == 0
    answers = [json.loads(line) for line in told.read_text().splitlines()]
    assert sorted(answer["id"] or 0 for answer in answers) == [0, 1, 2]


def test_stdin_and_stdout_may_be_a_socket(tmp_path: Path) -> None:
    """Clients on Node.js talk through sockets."""
    ours, theirs = socket.socketpair()
    with ours, stdio(tmp_path, stdin=theirs, stdout=theirs) as server:
        theirs.close()
        ours.settimeout(20)
        ours.sendall(call(1, "large", size=2 * MIB))
        with ours.makefile("rb") as lines:
            assert len(json.loads(lines.readline())["result"]["structuredContent"]["result"]) > MIB
        ours.shutdown(socket.SHUT_WR)
        assert server.wait() == 0
        assert server.cleaned_up


def test_stdin_and_stdout_may_be_a_terminal(tmp_path: Path) -> None:
    """Typed by hand, a request is answered and ^D ends it."""
    ours, theirs = os.openpty()
    with stdio(tmp_path, stdin=theirs, stdout=theirs) as server:
        os.close(theirs)
        os.write(ours, call(1, "echo", text="typed"))
        shown = b""
        while b'"result":"typed"' not in shown:
            shown += os.read(ours, 65_536)
        os.write(ours, b"\x04")
        assert server.wait() == 0
    os.close(ours)


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_closed_stream_stops_the_start_with_one_line(tmp_path: Path, closed: str) -> None:
    """Without stdin or stdout there is nobody to serve, and one line says so."""
    command = script(PACKAGE, "stdio", tmp_path, run={"max_line_bytes": LIMIT})
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "closed" in done.stderr


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_sdks_own_client_is_served(tmp_path: Path, mode: str) -> None:
    """A client of either protocol era lists and calls the tools."""
    command = script(PACKAGE, "stdio", tmp_path, run={"max_line_bytes": LIMIT})
    started = StdioServerParameters(command=command[0], args=command[1:])
    async with Client(stdio_client(started), mode=mode) as client:
        assert "echo" in {tool.name for tool in (await client.list_tools()).tools}
        result = await client.call_tool("echo", {"text": "héllo\nworld"})
        assert result.structured_content == {"result": "héllo\nworld"}
    assert (tmp_path / "lifespan").read_text() == "closed"
