# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""How the API is asked: redirects, repetitions, pace, time and size, through a real client."""

import datetime
import email.utils
import time
import zlib
from collections.abc import Callable, Iterator

import anyio
import pytest
from apibed import PETS, answer, call, refused, serving
from world import PRIVATE, Network, Reply, Request

pytestmark = pytest.mark.anyio
SECRET = "f00dfeed-0123456789"
BEARER = {"AUTH": "bearer", "TOKEN": SECRET}


def in_turn(*replies: Reply) -> Callable[[Request], Reply]:
    """Answer with one after the other, then with the last."""
    left = list(replies)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.promise("API-2")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(network: Network, status: int) -> None:
    """Neither to another host, which would get the credentials, nor on the same one."""
    host, other = f"c1-{status}.example", f"evil{status}.example"
    network.route(other, lambda request: answer({}))
    for target, location in (
        ("/a", f"https://{other}/x"), ("/b", f"//{other}/x"), ("/c", "/v1/ok"),
        ("/d", f"http://{host}/v1/ok"), ("/e", "https://[bad"), ("/f", f"https://{host}@{other}/"),
    ):  # fmt: skip
        network.page(host, f"/v1{target}", b"", status=status, headers={"Location": location})
    async with serving(network, host, **BEARER) as client:
        for target in "abcdef":
            told = await refused(client, "api_request", path=f"/{target}")
            assert str(status) in told
            assert "redirects are not followed" in told
            assert other not in told
            assert ("on the same server" in told) is (target == "c")
        assert (await call(client, "get_api_status"))["reachable"]
    assert not network.requests(other)
    assert len(network.requests(host)) == 7


@pytest.mark.promise("API-3")
@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_reading_is_repeated(network: Network, status: int) -> None:
    """After a while; nothing that writes is."""
    host = f"c2-{status}.example"
    failing = Reply(b"", status)
    network.route(host, in_turn(failing, failing, answer({"a": 1}), failing))
    async with serving(network, host, PETS, SERVER_READ_ONLY="false", RETRIES="2") as client:
        assert (await call(client, "stock"))["data"] == {"a": 1}
        assert len(network.requests(host)) == 3
        assert str(status) in await refused(client, "addPet", body={"id": 1})
        assert len(network.requests(host)) == 4
        await refused(client, "stock")
        assert len(network.requests(host)) == 7
    first, second, third = network.requests(host)[:3]
    assert third.time - second.time > second.time - first.time - 0.15 > 0


@pytest.mark.promise("API-3")
@pytest.mark.setting("API__RETRIES")
async def test_nothing_is_repeated_without_retries(network: Network) -> None:
    """Nor what would not get better."""
    network.route("c3.example", lambda request: Reply(b"", 503))
    network.route("c3-b.example", lambda request: Reply(b"", 500))
    async with serving(network, "c3.example", RETRIES="0") as client:
        await refused(client, "api_request", path="/x")
    async with serving(network, "c3-b.example") as client:
        await refused(client, "api_request", path="/x")
    assert len(network.requests("c3.example")) == len(network.requests("c3-b.example")) == 1


@pytest.mark.promise("API-3")
async def test_a_connection_that_breaks_is_tried_again(network: Network) -> None:
    """For what reads; what writes says that it may have taken effect."""
    count = [0]

    def breaks(request: Request) -> Reply | Iterator[bytes]:
        count[0] += 1
        return answer({"n": count[0]}) if count[0] == 3 else iter([b"HTTP/1.1 200 OK\r\nConte"])

    network.route("c4.example", breaks)
    async with serving(network, "c4.example", PETS, SERVER_READ_ONLY="false") as client:
        assert (await call(client, "stock"))["data"] == {"n": 3}
        told = await refused(client, "addPet", body={"id": 1})
    assert told.startswith("unavailable")
    assert "may have taken effect" in told
    assert count[0] == 4


@pytest.mark.promise("API-3")
async def test_retry_after_is_honoured(network: Network) -> None:
    """In seconds and as a date; a long one is told, and holds back all that follows."""

    def by_date(request: Request) -> Reply:
        """Ask for a rest until three seconds from now, the first time."""
        if len(network.requests("c5-d.example")) > 1:
            return answer({})
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3)
        return answer({}, 503, Retry_After=email.utils.format_datetime(soon, usegmt=True))

    network.route("c5.example", in_turn(answer({}, 503, Retry_After="1"), answer({})))
    network.route("c5-d.example", by_date)
    async with serving(network, "c5.example") as client:
        await call(client, "api_request", path="/x")
    async with serving(network, "c5-d.example") as client:
        await call(client, "api_request", path="/x")
    first, second = (each.time for each in network.requests("c5.example"))
    assert 0.95 < second - first < 3
    first, second = (each.time for each in network.requests("c5-d.example"))
    assert 1.5 < second - first < 5
    network.route("c5-b.example", lambda request: answer({}, 429, Retry_After="60"))
    async with serving(network, "c5-b.example", PETS) as client:
        told = await refused(client, "stock")
        assert "60 s" in told
        assert told.startswith("busy")
        assert told != await refused(client, "listPets")
        assert len(network.requests("c5-b.example")) == 1
    for odd in ("x", "-5", "9" * 400, "1e9", "Thu, 99 Foo 2020 00:00:00 GMT"):
        network.route("c5-c.example", in_turn(answer({}, 503, Retry_After=odd), answer({})))
        async with serving(network, "c5-c.example") as client:
            await call(client, "api_request", path="/x")


@pytest.mark.promise("API-3")
@pytest.mark.setting("API__RATE")
@pytest.mark.setting("API__BURST")
async def test_the_rate_is_one_for_all_tools(network: Network) -> None:
    """Whatever the tool and the spelling."""
    network.route("c6.example", lambda request: answer({}))
    async with serving(network, "c6.example", PETS, RATE="5", BURST="2") as client:
        for tool, arguments in (
            ("stock", {}), ("listPets", {}), ("getPet", {"id": "1"}), ("getPet", {"id": "%41"}),
            ("get_api_status", {}), ("validate_auth", {}),
        ):  # fmt: skip
            await client.call_tool(tool, arguments)
    times = [each.time for each in network.requests("c6.example")]
    assert len(times) == 6
    assert times[1] - times[0] < 0.15
    assert 0.7 < times[5] - times[1] < 2


@pytest.mark.promise("API-3")
@pytest.mark.setting("API__MAX_WAIT")
async def test_a_turn_that_is_far_away_is_not_waited_for(network: Network) -> None:
    """The call is refused at once, with the seconds."""
    network.route("c7.example", lambda request: answer({}))
    async with serving(network, "c7.example", RATE="0.2", BURST="1", MAX_WAIT="1") as client:
        await call(client, "api_request", path="/x")
        began = time.monotonic()
        told = await refused(client, "api_request", path="/x")
        assert time.monotonic() - began < 1
    assert told.startswith("busy")
    assert "5 s" in told
    assert len(network.requests("c7.example")) == 1


def dripping(request: Request) -> Iterator[bytes]:
    """Send a byte now and then, without end."""
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n["
    while True:
        time.sleep(0.2)
        yield b" "


@pytest.mark.promise("API-3")
@pytest.mark.setting("API__TIMEOUT")
async def test_the_time_is_that_of_the_whole_call(network: Network) -> None:
    """Dripping bodies, dripping headers, repetitions and a turn in the queue included."""

    def slow_head(request: Request) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        for number in range(100):
            time.sleep(0.2)
            yield f"X-{number}: y\r\n".encode()

    network.route("c8.example", dripping)
    network.route("c8-b.example", slow_head)
    network.route("c8-c.example", lambda request: answer({}, 503, Retry_After="1"))
    for host in ("c8.example", "c8-b.example", "c8-c.example"):
        async with serving(network, host, TIMEOUT="1.5", RETRIES="9") as client:
            began = time.monotonic()
            told = await refused(client, "api_request", path="/x")
            assert 1.2 < time.monotonic() - began < 2.5, host
            assert told.startswith("timeout"), told


@pytest.mark.promise("API-4")
@pytest.mark.setting("API__MAX_BYTES")
async def test_the_size_is_counted_while_it_comes_in(network: Network) -> None:
    """Endless bodies, long ones, and those that are long once they are decompressed."""

    def endless(request: Request) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
        while True:
            yield b"x" * 65536

    bomb = zlib.compress(b" " * 50_000_000)
    network.route("c9.example", endless)
    kinds = {"content_type": "application/json", "headers": {"Content-Encoding": "deflate"}}
    network.page("c9.example", "/v1/bomb", bomb, **kinds)
    network.page("c9.example", "/v1/long", b" " * 2001 + b"1", content_type="application/json")
    network.page("c9.example", "/v1/fits", b" " * 1999 + b"1", content_type="application/json")
    async with serving(network, "c9.example", MAX_BYTES="2000") as client:
        for path in ("/endless", "/bomb", "/long"):
            began = time.monotonic()
            assert "too_large" in await refused(client, "api_request", path=path)
            assert time.monotonic() - began < 3
        assert (await call(client, "api_request", path="/fits"))["data"] == 1


async def test_the_operators_base_url_may_be_private(network: Network) -> None:
    """At any port, by http; but only that one, with its own host and port."""
    network.route(PRIVATE, lambda request: answer({"target": request.target}))
    url = f"http://{PRIVATE}:8080/deep/v1/"
    async with serving(network, PRIVATE, BASE_URL=url) as client:
        found = await call(client, "api_request", path="/x")
    assert found["data"] == {"target": "/deep/v1/x"}
    (request,) = network.requests(PRIVATE)
    assert (request.address, request.port, request.tls) == (PRIVATE, 8080, False)


async def test_calls_at_once_do_not_mix(network: Network) -> None:
    """Fifty at once, each with its own answer."""
    network.route("c10.example", lambda request: answer({"target": request.target}))
    found: dict[int, str] = {}
    async with serving(network, "c10.example", RATE="1000", BURST="1000") as client:

        async def ask(number: int) -> None:
            told = await call(client, "api_request", path=f"/{number}")
            found[number] = told["data"]["target"]

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(ask, number)
    assert found == {number: f"/v1/{number}" for number in range(50)}
