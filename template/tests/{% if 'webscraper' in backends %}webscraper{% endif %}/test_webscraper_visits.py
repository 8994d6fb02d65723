# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""The one way to a page: where it may lead, how often, how much, and of which type.

After each refusal the log of the network shows that nothing arrived where it must not.
"""

import time
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from conftest import module, run, text_of, var
from mcp import Client
from scraping import call, refusal, scraping, targets
from world import OTHER, PRIVATE, PUBLIC, Network, Reply, Request

pytestmark = pytest.mark.anyio
setting = pytest.mark.setting


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for all, so that one client can serve several tests."""
    return "asyncio"


@pytest.fixture(scope="module")
async def client(network: Network) -> AsyncIterator[Client]:
    """A client of a server with the default configuration."""
    async with scraping(network, timeout=300) as made:
        yield made


def pages(network: Network, *hosts: str, targets: tuple[str, ...] = ("/",)) -> None:
    """Let hosts answer."""
    for host in hosts:
        for target in targets:
            network.page(host, target, f"<p>page {target} of {host}")


OTHERS = ["extract_links", "get_page_info", "sitemap", "check_robots_txt", "crawl"]


# --- WEB-3: where to.

FORBIDDEN = [
    "http://127.0.0.1/", "http://127.0.0.1:8080/", "http://127.1/", "http://2130706433/",
    "http://0x7f000001/", "http://017700000001/", "http://0x7f.0.0.1/", "http://0/",
    "http://127.0.0.1./", "http://localhost/", "http://localhost./", "http://LOCALHOST:80/",
    "http://10.0.0.5/", "http://10.0.0.5:80/", "https://10.0.0.5/", "http://010.0.0.5/",
    "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data/", "http://100.100.100.200/",
    "http://[::1]/", "http://[0:0:0:0:0:0:0:1]/", "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a00:5]/", "http://[::127.0.0.1]/", "http://[64:ff9b::a00:5]/",
    "http://[2002:7f00:1::1]/", "http://[fd00::5]/", "http://[fe80::1%25lo]/", "http://[fe80::1]/",
    "http://v.example@10.0.0.5/", "http://10.0.0.5@v.example/", "http://user:pw@v.example/",
    "http://v.example\\@10.0.0.5/", "http://v.example:22/", "http://v.example:8080/",
    "https://v.example:8443/", "http://v.example:443@10.0.0.5/", "http://127\u30020\u30020\u30021/",
    "http://\uff11\uff12\uff17.0.0.1/", "http://127.0.0.1%2f@v.example/", "file:///etc/passwd",
    "ftp://v.example/", "gopher://10.0.0.5/", "http:10.0.0.5", "//10.0.0.5/", "http:///10.0.0.5/",
    "http://v-private.example/", "http://v-mixed.example/", "http://v-mapped.example/",
    "http://v-six.example/", "http://v-metadata.example/", "javascript:alert(1)", "data:,x",
    "http://v.example/\r\nHost: 10.0.0.5", " http://10.0.0.5/", "http://10.0.0.5\t/",
]  # fmt: skip


def _names(network: Network) -> None:
    network.name("v-private.example", PRIVATE)
    network.name("v-mixed.example", PUBLIC, PRIVATE)
    network.name("v-mapped.example", "::ffff:10.0.0.5")
    network.name("v-six.example", "fd00::5")
    network.name("v-metadata.example", "169.254.169.254")


@pytest.mark.promise("WEB-3", "GEN-6")
async def test_nothing_forbidden_is_reached(network: Network) -> None:
    """In no spelling, and no name that leads there."""
    _names(network)
    before = len(network.connections)
    async with scraping(network, RATE="1000", BURST="1000") as client:
        for url in FORBIDDEN:
            told = await refusal(client, url)
            assert told.split(":")[0] in ("invalid_url", "denied", "robots", "unavailable"), told
            assert not any(word in told for word in ("10.0.0.5", "169.254", "Errno", "Traceback"))
    assert network.connections[before:] == []


@pytest.mark.promise("WEB-3")
@pytest.mark.parametrize(
    "tool", ["extract_links", "get_page_info", "sitemap", "check_robots_txt", "crawl"]
)
async def test_no_other_tool_reaches_it(network: Network, tool: str) -> None:
    """A private address, name and port are refused everywhere."""
    _names(network)
    before = len(network.connections)
    async with scraping(network) as client:
        for url in ("http://10.0.0.5/a.xml", "http://v.example:22/", "http://user@v.example/"):
            await refusal(client, url, tool)
        answer = await client.call_tool(tool, {"url": "http://v-private.example/a.xml"})
        assert answer.is_error or answer.structured_content["allowed"] is False
    assert network.connections[before:] == []


@pytest.mark.promise("WEB-3")
async def test_no_redirect_reaches_it(network: Network) -> None:
    """Whatever scheme, host, port or status it names; also after a harmless hop."""
    _names(network)
    ends = [*FORBIDDEN[:34], "//10.0.0.5/", "http://v-private.example/", "http://v-mixed.example/",
            "file:///etc/passwd"]  # fmt: skip
    statuses = (301, 302, 303, 307, 308)
    for number, end in enumerate(ends):
        to = {"Location": end.encode("ascii", "replace").decode()}
        network.page(
            "v-redirect.example", f"/{number}", "", status=statuses[number % 5], headers=to
        )
        over = {"Location": f"https://v-redirect.example/{number}"}
        network.page("v-first.example", f"/{number}", "", status=302, headers=over)
    before = len(network.connections)
    async with scraping(network, RATE="1000", BURST="1000") as client:
        for number in range(len(ends)):
            await refusal(client, f"http://v-first.example/{number}")
    assert {address for address, _ in network.connections[before:]} == {PUBLIC}
    assert {port for _, port in network.connections[before:]} == {80, 443}


@pytest.mark.promise("WEB-3")
@pytest.mark.parametrize("turns", [
    [(PUBLIC,), (PRIVATE,)], [(PUBLIC,), (PUBLIC, PRIVATE)], [(PUBLIC,), (PUBLIC,), (PRIVATE,)],
    [(PRIVATE,), (PUBLIC,)], [(PUBLIC, OTHER), (PRIVATE, OTHER)], [(PUBLIC,), ("127.0.0.1",)],
    [(PUBLIC,), ("::1",)], [(PUBLIC,), ("fd00::5", PUBLIC)],
], ids=str)  # fmt: skip
async def test_dns_that_changes_its_mind(network: Network, turns: list[Any]) -> None:
    """The address that is looked at is the one that is connected to (rebinding)."""
    host = f"v-rebind{abs(hash(str(turns)))}.example"
    network.name(host, *turns)
    network.route(host, lambda _: Reply(b"<p>x", headers={"Connection": "close"}))
    before = len(network.connections)
    async with scraping(network, RATE="1000", BURST="1000", CACHE_BYTES="0") as client:
        for number in range(5):
            await client.call_tool("fetch", {"url": f"http://{host}/{number}"})
    reached = {address for address, _ in network.connections[before:]}
    assert reached <= {PUBLIC, OTHER}


@pytest.mark.promise("WEB-3")
async def test_no_downgrade_and_no_loop(network: Network, client: Client) -> None:
    """From https to http is refused; a loop ends."""
    down = {"Location": "http://v-down.example/b"}
    network.page("v-down.example", "/a", "", status=302, headers=down)
    pages(network, "v-down.example", targets=("/b",))
    assert "denied" in await refusal(client, "https://v-down.example/a")
    assert targets(network, "v-down.example") == ["/robots.txt", "/a"]
    network.page("v-loop.example", "/", "", status=302, headers={"Location": "/"})
    assert "redirects more than 5 times" in await refusal(client, "http://v-loop.example/")


@pytest.mark.promise("WEB-3")
@setting("WEBSCRAPER__ALLOWED_DOMAINS")
async def test_allowed_domains(network: Network) -> None:
    """On the boundary of a label, in any spelling; also after a redirect."""
    pages(network, "v-allow.example", "a.v-allow.example", "xv-allow.example")
    pages(network, "xn--bcher-kva.example", "v-allow.example.v-evil.example")
    to = {"Location": "http://xv-allow.example/"}
    network.page("v-allow.example", "/out", "", status=302, headers=to)
    domains = '["V-Allow.example.", "bücher.example"]'
    async with scraping(network, ALLOWED_DOMAINS=domains, BURST="100") as client:
        for host in ("v-allow.example", "A.v-allow.example.", "bücher.example"):
            await call(client, "fetch", f"http://{host}/")
        for host in ("xv-allow.example", "v-allow.example.v-evil.example", "example", PUBLIC):
            for tool in ("fetch", "sitemap", "check_robots_txt"):
                assert "denied" in await refusal(client, f"http://{host}/", tool)
        assert "denied" in await refusal(client, "http://v-allow.example/out")
    assert targets(network, "xv-allow.example") == []
    assert targets(network, "v-allow.example.v-evil.example") == []


@pytest.mark.promise("WEB-3")
@setting("WEBSCRAPER__BLOCKED_DOMAINS")
async def test_blocked_domains(network: Network) -> None:
    """Stronger than allowed; a page that leads there is refused, too."""
    pages(network, "v-open.example", "b.v-open.example", "xb.v-open.example")
    to = {"Location": "http://B.v-open.example./"}
    network.page("v-open.example", "/in", "", status=302, headers=to)
    robots = {"Location": "http://b.v-open.example/robots.txt"}
    network.page("c.v-open.example", "/robots.txt", "", status=302, headers=robots)
    rules = {"ALLOWED_DOMAINS": "v-open.example", "BLOCKED_DOMAINS": "b.v-open.example"}
    async with scraping(network, BURST="100", **rules) as client:
        for host in ("v-open.example", "xb.v-open.example"):
            await call(client, "fetch", f"http://{host}/")
        for url in (
            "http://b.v-open.example/",
            "https://a.B.v-open.example/",
            "http://v-open.example/in",
        ):
            assert "denied: this domain is blocked" in await refusal(client, url)
        assert "robots" in await refusal(client, "http://c.v-open.example/")
    assert targets(network, "b.v-open.example") == []


@pytest.mark.promise("WEB-3")
@setting("WEBSCRAPER__ALLOWED_ORIGINS")
async def test_allowed_origins(network: Network) -> None:
    """A private server that the operator names: exactly that, and beside allowed_domains."""
    pages(network, "10.0.0.5", "192.168.1.1")
    rules = {"ALLOWED_ORIGINS": "http://10.0.0.5:8080", "ALLOWED_DOMAINS": "v-other.example"}
    async with scraping(network, BURST="100", **rules) as client:
        found = await call(client, "fetch", "http://10.0.0.5:8080/")
        assert "page / of 10.0.0.5" in found["content"]
        before = len(network.connections)
        for url in (
            "http://10.0.0.5/",
            "https://10.0.0.5/",
            "http://192.168.1.1/",
            "https://10.0.0.5:8080/",
        ):
            assert "denied" in await refusal(client, url)
        assert "10.0.0.5" not in str(await client.read_resource("scraper://config"))
    assert network.connections[before:] == []


@pytest.mark.promise("WEB-3")
@setting("WEBSCRAPER__PORTS")
async def test_ports(network: Network) -> None:
    """Only these; the default ones are not added."""
    pages(network, "v-ports.example")
    async with scraping(network, PORTS="[80, 8080]") as client:
        await call(client, "fetch", "http://v-ports.example:8080/")
        assert "port 443" in await refusal(client, "https://v-ports.example/")


@setting("WEBSCRAPER__MAX_REDIRECTS")
async def test_max_redirects(network: Network) -> None:
    """None at 0; robots.txt is not counted."""
    network.page("v-moved.example", "/a", "", status=301, headers={"Location": "/b"})
    pages(network, "v-moved.example", targets=("/b",))
    async with scraping(network, MAX_REDIRECTS="0") as client:
        assert "more than 0" in await refusal(client, "http://v-moved.example/a")
    async with scraping(network, MAX_REDIRECTS="1") as client:
        found = await call(client, "fetch", "http://v-moved.example/a")
    assert found["url"] == "http://v-moved.example/b"


@pytest.mark.parametrize(("name", "value"), [
    ("ALLOWED_DOMAINS", "http://a.example"), ("ALLOWED_DOMAINS", "a.example/x"),
    ("ALLOWED_DOMAINS", "*.a.example"), ("BLOCKED_DOMAINS", ""), ("BLOCKED_DOMAINS", "a b"),
    ("BLOCKED_DOMAINS", "a.example:80"), ("ALLOWED_ORIGINS", "10.0.0.5"),
    ("ALLOWED_ORIGINS", "http://10.0.0.5/x"), ("ALLOWED_ORIGINS", "http://10.0.0.0/8"),
    ("PORTS", "0"), ("PORTS", "x"), ("USER_AGENT", "a\nb"), ("USER_AGENT", "1/x"), ("RATE", "0"),
    ("RATE", "nan"), ("TIMEOUT", "inf"), ("NONSENSE", "1"),
])  # fmt: skip
def test_an_invalid_setting_stops_the_start(tmp_path: Path, name: str, value: str) -> None:
    """With one line that names it."""
    done = run("--check", home=tmp_path, env={var(f"WEBSCRAPER__{name}"): value})
    assert done.returncode == 1
    assert var(f"WEBSCRAPER__{name}") in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_start_warns(tmp_path: Path) -> None:
    """Of what has no effect or is ignored."""
    env = {var("WEBSCRAPER__TIMEOUT"): "30", var("WEBSCRAPER__ROBOTS"): "false"}
    done = run("--check", home=tmp_path, env=env)
    assert done.returncode == 0
    told = done.stdout + done.stderr
    assert f"{var('WEBSCRAPER__TIMEOUT')} has no effect" in told
    assert f"{var('WEBSCRAPER__ROBOTS')} is off" in told
    assert "webscraper: all public sites, robots.txt ignored, 6 tools" in told


def test_whose_a_host_is() -> None:
    """By the Public Suffix List; an address is its own."""
    sites = module("webscraper.sites")
    known = {"a.b.example.com": "example.com", "a.b.co.uk": "b.co.uk", "co.uk": "co.uk",
             "10.0.0.5": "10.0.0.5", "::1": "::1", "localhost": "localhost"}  # fmt: skip
    assert {host: sites.site(host) for host in known} == known
    assert sites.site_of("https://A.example.com.:8/x") == "example.com"
    assert sites.site_of("https://bücher.example/") == "xn--bcher-kva.example"
    assert sites.site_of("https://[") == ""


# --- WEB-2: how often.


@pytest.mark.promise("WEB-2")
async def test_no_spelling_gets_around_the_rate(network: Network) -> None:
    """Port, case, scheme, subdomain, trailing dot, redirects: the same site has the same rate."""
    hosts = ["w-rate.example", "a.w-rate.example", "b.w-rate.example"]
    pages(network, *hosts, targets=("/", "/1", "/2", "/3"))
    network.page(
        "w-rate.example", "/r", "", status=302, headers={"Location": "//c.w-rate.example/"}
    )
    urls = [
        "http://w-rate.example/", "http://W-RATE.example/1", "http://w-rate.example./2",
        "http://w-rate.example:80/3", "https://w-rate.example/1", "http://a.w-rate.example/",
        "http://B.w-rate.example/", "http://w-rate.example/r", "http://user@w-rate.example/",
    ]  # fmt: skip
    async with scraping(network, MAX_WAIT="0.5") as client:
        answers = [await client.call_tool("fetch", {"url": url}) for url in urls]
    told = [text_of(answer) for answer in answers if answer.is_error]
    assert all("busy" in text or "invalid_url" in text for text in told), told
    arrived = sum(len(targets(network, f"{each}w-rate.example")) for each in ("", "a.", "b.", "c."))
    assert arrived == 3  # robots.txt, and two pages
    assert "try again in" in told[0]


@pytest.mark.promise("WEB-2")
@setting("WEBSCRAPER__RATE")
async def test_rate(network: Network) -> None:
    """Requests of one site go at the rate, those of another at once."""
    pages(network, "w-slow.example", "w-else.example", targets=("/a",))
    for number in range(6):
        pages(network, "w-slow.example", targets=(f"/{number}",))
    began = time.monotonic()
    async with scraping(network, RATE="4") as client:
        for number in range(6):
            await call(client, "fetch", f"http://w-slow.example/{number}")
        times = [request.time for request in network.requests("w-slow.example")]
        await call(client, "fetch", "http://w-else.example/a")
    assert 0.9 < times[6] - times[0] < 3  # seven requests, three at once
    assert time.monotonic() - began < 10


@pytest.mark.promise("WEB-2")
@setting("WEBSCRAPER__BURST")
@setting("WEBSCRAPER__MAX_WAIT")
async def test_burst_and_max_wait(network: Network) -> None:
    """One request at once, and nobody waits longer than the setting says."""
    pages(network, "w-burst.example", "w-wait.example", targets=("/a", "/b", "/c"))
    async with scraping(network, BURST="1", MAX_WAIT="0.2", RATE="0.5") as client:
        assert "busy" in await refusal(client, "http://w-burst.example/a")
    assert targets(network, "w-burst.example") == ["/robots.txt"]
    async with scraping(network, BURST="2", MAX_WAIT="5", RATE="0.5") as client:
        await call(client, "fetch", "http://w-wait.example/a")
        await call(client, "fetch", "http://w-wait.example/b")
    times = [request.time for request in network.requests("w-wait.example")]
    assert 1.8 < times[2] - times[0] < 5


@pytest.mark.promise("WEB-1", "WEB-2")
async def test_a_busy_site_is_not_one_without_robots(network: Network) -> None:
    """When its robots.txt has to wait, the call is told so, and the next one asks for it."""
    pages(network, "w-busy.example")
    async with scraping(network, BURST="1", MAX_WAIT="0.2", RATE="1") as client:
        assert (await refusal(client, "http://w-busy.example/")).startswith("busy")
        assert (await refusal(client, "https://w-busy.example/")).startswith("busy")
        await anyio.sleep(2.5)
        await call(client, "check_robots_txt", "https://w-busy.example/")
    assert targets(network, "w-busy.example") == ["/robots.txt", "/robots.txt"]


@pytest.mark.promise("WEB-2")
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after(network: Network, client: Client, status: int) -> None:
    """A site that asks for a pause gets it."""
    host = f"w-after{status}.example"
    network.page(host, "/a", "no", status=status, headers={"Retry-After": "100"})
    pages(network, host, targets=("/b",))
    assert f"status {status}" in await refusal(client, f"http://{host}/a")
    assert "in 100 s" in await refusal(client, f"http://{host}/b")
    assert targets(network, host) == ["/robots.txt", "/a"]


# --- WEB-4: how much, and what.

TYPES = [
    ("text/html", True), ("TEXT/HTML; charset=x", True), ("application/xhtml+xml", True),
    ("text/plain", True), ("text/csv", True), ("application/json", True), ("application/xml", True),
    ("application/ld+json", True), ("application/atom+xml", True), ("", True),
    ("application/pdf", False), ("image/png", False), ("application/octet-stream", False),
    ("image/svg+xml", False), ("video/mp4", False), ("application/zip", False),
    ("text/html, application/pdf", False), ("x", False), ("application/x-gzip", False),
]  # fmt: skip


@pytest.mark.promise("WEB-4")
@pytest.mark.parametrize(("kind", "accepted"), TYPES)
async def test_types(network: Network, client: Client, kind: str, accepted: bool) -> None:
    """Text is fetched; of anything else the body is not even read."""
    host = f"x-type{abs(hash(kind))}.example"

    def endless(_: Request) -> Iterator[bytes]:
        yield f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode()
        for _ in range(300):
            yield b"x" * 65_536

    network.page(host, "/robots.txt", "", status=404)
    network.page(host, "/a", "some text", content_type=kind)
    if accepted:
        assert "some text" in (await call(client, "fetch", f"http://{host}/a"))["content"]
        return
    network.route(host, endless)
    for target in ("/a", "/endless"):
        told = await refusal(client, f"http://{host}{target}")
        assert told.startswith("type_not_allowed: it is of type")


@pytest.mark.promise("WEB-4")
async def test_what_is_no_text_and_has_no_type(network: Network, client: Client) -> None:
    """Is not taken for one."""
    network.page("x-binary.example", "/", b"\x7fELF\0\0\0", content_type="")
    assert "type_not_allowed" in await refusal(client, "http://x-binary.example/")


@pytest.mark.promise("WEB-4", "GEN-6")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 500, 503])
async def test_the_body_of_an_error_is_not_shown(
    network: Network, client: Client, status: int
) -> None:
    """Only its status."""
    host = f"x-error{status}.example"
    network.page(host, "/", "SECRET of the server", status=status)
    told = await refusal(client, f"http://{host}/")
    assert told.startswith(f"upstream: the page answers with status {status}")
    assert "SECRET" not in told


def _bomb() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"
    squeezed = zlib.compressobj(9, wbits=31)
    for _ in range(400):
        yield squeezed.compress(bytes(1024 * 1024))
    yield squeezed.flush()


def _long() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
    for _ in range(4000):
        yield b"x" * 65_536


def _long_headers() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    for number in range(100_000):
        yield f"X-{number}: {'x' * 1000}\r\n".encode()


def _many_encodings() -> Iterator[bytes]:
    body = bytes(1024 * 1024)
    for _ in range(3):
        squeezed = zlib.compressobj(9, wbits=31)
        body = squeezed.compress(body) + squeezed.flush()
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip, gzip, gzip\r\n\r\n"
    )
    yield head + body


def _broken() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\nno gzip"


ENDLESS = {
    "bomb": (_bomb, "too_large"),
    "long": (_long, "too_large"),
    "broken": (_broken, "unavailable"),
    "headers": (_long_headers, "unavailable"),
    "encodings": (_many_encodings, "unavailable"),
}


@pytest.mark.promise("WEB-4")
@pytest.mark.parametrize("name", ENDLESS)
async def test_what_never_ends(network: Network, client: Client, name: str) -> None:
    """Is stopped at the limit, and the server serves the next page."""
    answer, code = ENDLESS[name]
    host = f"x-{name}.example"
    network.page(host, "/robots.txt", "", status=404)
    network.page(host, "/ok", "<p>ok")
    network.route(host, lambda _: answer())
    began = time.monotonic()
    assert (await refusal(client, f"http://{host}/")).startswith(code)
    assert "ok" in (await call(client, "fetch", f"http://{host}/ok"))["content"]
    assert time.monotonic() - began < 8


@pytest.mark.promise("WEB-4")
@setting("WEBSCRAPER__TIMEOUT")
async def test_one_time_for_all(network: Network) -> None:
    """A body that drips, and redirects that each take a while, end at the same time."""

    def slow(request: Request) -> Any:
        if request.target.startswith("/hop"):
            time.sleep(0.6)
            number = int(request.target[4:] or 0) + 1
            return Reply(status=302, headers={"Location": f"/hop{number}"})
        return _drip() if request.target == "/drip" else Reply(status=404)

    network.route("x-drip.example", slow)
    network.route("x-hops.example", slow)
    async with scraping(network, TIMEOUT="2", RATE="100") as client:
        for url in ("http://x-drip.example/drip", "http://x-hops.example/hop"):
            began = time.monotonic()
            assert (await refusal(client, url)).startswith("timeout")
            assert 1.8 < time.monotonic() - began < 3


def _drip() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
    for _ in range(100):
        time.sleep(0.1)
        yield b"x"


@pytest.mark.promise("WEB-4")
@setting("WEBSCRAPER__MAX_BYTES")
async def test_max_bytes(network: Network) -> None:
    """Decompressed bytes."""
    network.page("x-bytes.example", "/a", b"x" * 2048)
    network.page("x-bytes.example", "/b", b"x" * 2049)
    async with scraping(network, MAX_BYTES="2048") as client:
        assert (await call(client, "fetch", "http://x-bytes.example/a"))["total_chars"] >= 2048
        assert "more than 2048 bytes" in await refusal(client, "http://x-bytes.example/b")


@setting("WEBSCRAPER__CONVERT_TIMEOUT")
async def test_convert_timeout(network: Network) -> None:
    """A page that cannot be converted in time is given up."""
    network.page("x-convert.example", "/", "<p>x" * 100_000)
    async with scraping(network, CONVERT_TIMEOUT="0.01") as client:
        assert (await refusal(client, "http://x-convert.example/")).startswith("timeout")


@setting("WEBSCRAPER__WORKERS")
async def test_workers(network: Network) -> None:
    """With one, a second page waits for the first."""
    for number in range(4):
        network.page(f"x-work{number}.example", "/", "<p>x</p>" * 100_000)

    async def fetch(client: Client, number: int) -> None:
        await call(client, "fetch", f"http://x-work{number}.example/")

    for workers, most in (("1", 1), ("4", 4)):
        async with scraping(network, WORKERS=workers, CACHE_BYTES="0") as client:
            started = await _processes(client, fetch)
        assert 1 <= started <= most
        assert (started > 1) is (most > 1)


async def _processes(client: Client, fetch: Any) -> int:
    """Fetch four pages at once and return how many processes converted them."""
    most = 0
    others = set(filter(_is_worker, Path("/proc").glob("[0-9]*/cmdline")))
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(fetch, client, number)
        for _ in range(40):
            found = filter(_is_worker, Path("/proc").glob("[0-9]*/cmdline"))
            most = max(most, len(set(found) - others))
            await anyio.sleep(0.02)
    return most


def _is_worker(cmdline: Path) -> bool:
    try:
        return cmdline.read_bytes().rstrip(b"\0").endswith(b"webscraper.reader_worker")
    except OSError:
        return False


# --- The cache.


async def test_a_page_that_has_not_changed_is_not_sent_again(network: Network) -> None:
    """It is asked for with its ETag or date; a changed one is sent."""
    version = ["one"]

    def serve(request: Request) -> Reply:
        if request.target == "/robots.txt":
            return Reply(status=404)
        tag = f'"{version[0]}"'
        same = request.headers.get("if-none-match") == tag
        return Reply(
            b"" if same else version[0].encode(), 304 if same else 200, headers={"ETag": tag}
        )

    network.route("y-etag.example", serve)
    async with scraping(network, CACHE_TTL="0", RATE="100") as client:
        first = await call(client, "fetch", "http://y-etag.example/")
        second = await call(client, "fetch", "http://y-etag.example/")
        version[0] = "two"
        third = await call(client, "fetch", "http://y-etag.example/")
    assert [each["from_cache"] for each in (first, second, third)] == [False, True, False]
    assert [each["content"].strip() for each in (first, second, third)] == ["one", "one", "two"]
    told = [each.headers.get("if-none-match") for each in network.requests("y-etag.example")[1:]]
    assert told == [None, '"one"', '"one"']


@setting("WEBSCRAPER__CACHE_TTL")
async def test_cache_ttl(network: Network) -> None:
    """A fresh page is not asked for; by default for a minute, unless the site says no."""
    for target, headers in (("/a", {}), ("/b", {"Cache-Control": "no-store"}),
                            ("/c", {"Cache-Control": "No-Cache"})):  # fmt: skip
        network.page("y-ttl.example", target, "<p>x", headers=headers)
    async with scraping(network, RATE="100") as client:
        for target in ("/a", "/a", "/b", "/b", "/c", "/c"):
            await call(client, "fetch", f"http://y-ttl.example{target}")
    assert targets(network, "y-ttl.example") == ["/robots.txt", "/a", "/b", "/b", "/c", "/c"]
    async with scraping(network, CACHE_TTL="0") as client:
        for _ in range(2):
            await call(client, "fetch", "http://y-ttl.example/a")
    assert targets(network, "y-ttl.example").count("/a") == 3


@setting("WEBSCRAPER__CACHE_BYTES")
async def test_cache_bytes(network: Network) -> None:
    """At 0 nothing is kept; otherwise what was not used for longest goes."""
    pages(network, "y-bytes.example", targets=("/a", "/b", "/c"))
    async with scraping(network, CACHE_BYTES="0", RATE="100") as client:
        for _ in range(2):
            assert not (await call(client, "fetch", "http://y-bytes.example/a"))["from_cache"]
    network.page("y-grow.example", "/", b"x" * 3000)
    async with scraping(network, CACHE_BYTES="6000", RATE="100") as client:
        for _ in range(2):  # with its text it is too large
            await call(client, "fetch", "http://y-grow.example/")
        assert targets(network, "y-grow.example") == ["/robots.txt", "/", "/"]
        for target in ("/a", "/b", "/a", "/c", "/a", "/b"):
            await call(client, "fetch", f"http://y-bytes.example{target}")
    assert targets(network, "y-bytes.example")[4:] == ["/a", "/b", "/c", "/b"]


def test_a_cache_is_bounded() -> None:
    """By bytes and by entries, whatever is put there again."""
    cache = module("webscraper.cache").Cache(100)
    for number in range(50):
        cache.put("same", number, 60)
        cache.put(str(number), number, 30)
    assert cache.get("same") == 49
    cache.put("large", 0, 101)
    assert cache.get("large") is None
    assert sum(cache.get(str(number)) is not None for number in range(50)) == 1
    many = module("webscraper.cache").Cache(10**9)
    for number in range(5000):
        many.put(str(number), number, 1)
    assert sum(many.get(str(number)) is not None for number in range(5000)) == 2000
