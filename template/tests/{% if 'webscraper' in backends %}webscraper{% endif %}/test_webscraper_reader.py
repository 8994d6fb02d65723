# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""The processes that convert pages: whatever a page does to one, the server goes on."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest import module

reader_module = module("webscraper.reader")
Refused = module("errors").Refused
Task = reader_module.Task

pytestmark = pytest.mark.anyio

# A tag of quoted attributes: not counted beforehand, and takes the parser a minute.
SLOW = b"<p x='>' " + b" ".join(b"a%d" % n for n in range(200_000)) + b">x"
# Each line is repeated with all its quotation marks: much more text than the page has.
HUGE = b"<blockquote>" * 400 + b"x<br>" * 400_000


def task(body: bytes, want: str = "content", **more: Any) -> Any:
    return Task(body=body, content_type="text/html", url="https://example.org/", want=want, **more)


@pytest.fixture
async def reader() -> AsyncIterator[Any]:
    made = reader_module.Reader(size=2, timeout=2.0)
    made.start()
    yield made
    made.close()


def workers(reader: Any) -> list[int]:
    return [each._process.pid for each in reader._all]


async def test_pages_are_converted(reader: Any) -> None:
    """All that can be wanted, and refusals word for word, by a process that is kept."""
    result = await reader.read(task("<title>é</title><h1>漢</h1>".encode()))
    assert (result["title"], result["text"]) == ("é", "# 漢")
    process = workers(reader)
    assert (await reader.read(task(b"<b hidden>x", "raw")))["text"] == "<b hidden>x"
    assert (await reader.read(task(b"<a href=/x>y", "links")))["links"][0]["text"] == "y"
    assert (await reader.read(task(b"<h1>x", "info")))["headings"]
    with pytest.raises(Refused, match=r"^invalid_arguments: selector"):
        await reader.read(task(b"x", selector="["))
    assert workers(reader) == process


@pytest.mark.promise("WEB-4")
async def test_a_page_that_takes_too_long(reader: Any) -> None:
    """It is given up, its process killed; others are read meanwhile and afterwards."""
    begin = time.monotonic()
    slow = asyncio.create_task(reader.read(task(SLOW)))
    await asyncio.sleep(0.3)
    assert (await reader.read(task(b"<h1>x")))["text"] == "# x"
    assert not slow.done()
    with pytest.raises(Refused, match=r"^timeout: .*2 s"):
        await slow
    assert time.monotonic() - begin < 5
    assert len(workers(reader)) <= 2
    assert (await reader.read(task(b"<h1>y")))["text"] == "# y"


async def test_a_selector_that_takes_too_long() -> None:
    """A caller cannot hold up the server with one either."""
    reader = reader_module.Reader(size=1, timeout=1.0)
    try:
        slow = task(b"<p>x</p>" * 19_000, selector=":nth-last-child(2n+1 of p)")
        with pytest.raises(Refused, match=r"^timeout: "):
            await reader.read(slow)
        with pytest.raises(Refused, match=r"^(invalid_arguments|not_found): "):
            await reader.read(task(b"<p>x</p>", selector=":has(" * 49 + "p" + ")" * 49))
        assert (await reader.read(task(b"<h1>y")))["text"] == "# y"
    finally:
        reader.close()


@pytest.mark.promise("WEB-4")
async def test_a_page_that_takes_too_much_memory() -> None:
    """It is refused, and the next page is converted."""
    reader = reader_module.Reader(size=1, timeout=10, max_memory=128 * 1024 * 1024)
    try:
        with pytest.raises(Refused, match=r"^too_large: "):
            await reader.read(task(HUGE))
        assert (await reader.read(task(b"<h1>y")))["text"] == "# y"
    finally:
        reader.close()


@pytest.mark.promise("WEB-4")
@pytest.mark.parametrize(
    "body",
    [
        b"<div>" * 60_000,
        b"<br>" * 1_000_000,
        b"<i>x</i>" * 600_000,
        b"<p title='" + b"x" * 5_000_000,
        b"<!--" * 1_200_000,
        b"<" * 5_000_000,
        b"<table><tr><td>" * 300_000,
        b"<select>" + b"<option>x" * 300_000,
        b"&#8238;" * 700_000,
        b"<b><p>" * 20_000,
        b"<style>" + b".a{display:none}" * 300_000,
        b"\xff" * 5_000_000,
    ],
    ids=lambda body: body[:9].decode("latin-1"),
)
async def test_what_a_page_may_hold(reader: Any, body: bytes) -> None:
    """Whatever it is, it is answered or refused in time, and the next page is converted."""
    begin = time.monotonic()
    code = "answered"
    try:
        await reader.read(task(body))
    except Refused as refused:
        code = refused.code
    assert code in ("answered", "too_large", "timeout")
    assert time.monotonic() - begin < 6
    assert (await reader.read(task(b"<h1>y")))["text"] == "# y"


async def test_the_server_is_not_held_up(reader: Any) -> None:
    """While large pages are sent and received, the event loop goes on."""
    longest = 0.0
    body = b"<p>" + "é text of a page ".encode() * 250_000
    await reader.read(task(b"x"))
    work = asyncio.create_task(reader.read(task(body)))
    while not work.done():
        begin = time.monotonic()
        await asyncio.sleep(0.001)
        longest = max(longest, time.monotonic() - begin)
    assert len((await work)["text"]) > 4_000_000
    assert longest < 0.25


async def test_a_cancelled_read_ends_its_process(reader: Any) -> None:
    """Nobody waits for what nobody wants."""
    await reader.read(task(b"x"))
    before = workers(reader)
    work = asyncio.create_task(reader.read(task(SLOW)))
    await asyncio.sleep(0.3)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert not set(before) & set(workers(reader))
    begin = time.monotonic()
    assert (await reader.read(task(b"<h1>y")))["text"] == "# y"
    assert time.monotonic() - begin < 2


async def test_a_process_that_died_idle_is_replaced(reader: Any) -> None:
    """The next page does not notice."""
    await reader.read(task(b"x"))
    for pid in workers(reader):
        os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.1)
    assert (await reader.read(task(b"<h1>y")))["text"] == "# y"


async def test_no_more_processes_than_it_may_have() -> None:
    """Reads wait for one another, up to a limit."""
    reader = reader_module.Reader(size=1, timeout=1.0)
    try:
        await reader.read(task(b"x"))
        first = asyncio.create_task(reader.read(task(b"<h1>1")))
        second = await reader.read(task(b"<h1>2"))
        assert ((await first)["text"], second["text"]) == ("# 1", "# 2")
        assert len(workers(reader)) == 1
    finally:
        reader.close()


async def test_processes_end(reader: Any) -> None:
    """All are gone after `close`, which may be called twice; nothing is read any more."""
    await reader.read(task(b"x"))
    pids = workers(reader)
    reader.close()
    reader.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(Refused, match=r"^unavailable: "):
        await reader.read(task(b"x"))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
async def test_a_process_knows_nothing(reader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the server's and no file but the pipe reaches what parses hostile pages."""
    monkeypatch.setenv("SOME_TOKEN", "much-too-secret")
    other = reader_module.Reader(size=1)
    try:
        await other.read(task(b"x"))
        [pid] = workers(other)
        assert b"much-too-secret" not in Path(f"/proc/{pid}/environ").read_bytes()
        opened = {os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()}
        assert all(each.startswith("socket:") or each == "/dev/null" for each in opened)
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert f"{512 * 1024 * 1024}" in limits
    finally:
        other.close()
