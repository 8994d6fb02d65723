# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""What clients get of pages, through a real client."""

import gzip
import json
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import anyio
import pytest
from conftest import text_of
from mcp import Client, MCPError
from scraping import call, refusal, scraping, targets
from world import Network, Reply, Request

pytestmark = pytest.mark.anyio
TOOLS = {"fetch", "extract_links", "get_page_info", "sitemap", "check_robots_txt", "crawl"}
LONG = "".join(f"<h2>Part {number}</h2><p>ä€😀 text {number}.</p>" for number in range(400))


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for all, so that one client can serve several tests."""
    return "asyncio"


@pytest.fixture(scope="module")
async def client(network: Network) -> AsyncIterator[Client]:
    """A client of a server with the default configuration."""
    async with scraping(network, timeout=300) as made:
        yield made


async def test_the_tools_describe_themselves(client: Client) -> None:
    """All four annotations, every argument, a schema of the answer, and whose words it is."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools.keys() >= TOOLS
    for name in TOOLS:
        hints = tools[name].annotations
        assert hints is not None
        assert (hints.read_only_hint, hints.destructive_hint) == (True, False)
        assert (hints.idempotent_hint, hints.open_world_hint) == (True, True)
        assert tools[name].output_schema
        assert "untrusted data" in (tools[name].description or "")
        for argument in tools[name].input_schema["properties"].values():
            assert argument["description"]


async def test_fetch_takes_what_the_reference_takes(client: Client) -> None:
    """The same arguments with the same defaults; one more, and none that weakens anything."""
    (fetch,) = [each for each in (await client.list_tools()).tools if each.name == "fetch"]
    properties = fetch.input_schema["properties"]
    defaults = {name: each.get("default") for name, each in properties.items()}
    assert defaults == {
        "url": None, "max_length": 5000, "start_index": 0, "raw": False, "selector": ""
    }  # fmt: skip
    assert fetch.input_schema["required"] == ["url"]


@pytest.mark.promise("GEN-1")
@pytest.mark.parametrize("arguments", [
    {"max_length": 0}, {"max_length": 1_000_000}, {"start_index": -1}, {"selector": "x" * 301},
    {"selector": "p", "raw": True}, {"selector": "<<<"}, {"ignore_robots": True}, {"url": ""},
    {"url": "http://t.example/" + "x" * 9000}, {"timeout": 1000}, {"max_length": "many"},
], ids=str)  # fmt: skip
async def test_arguments_are_checked(
    network: Network, client: Client, arguments: dict[str, Any]
) -> None:
    """Bounds hold, and what does not exist is refused."""
    network.page("t-bounds.example", "/", "<p>x")
    answer = await client.call_tool("fetch", {"url": "http://t-bounds.example/", **arguments})
    assert answer.is_error
    assert text_of(answer).startswith(("invalid_arguments", "invalid_url"))


async def test_fetch(network: Network, client: Client) -> None:
    """The text block is the content; all the rest is structure."""
    page = "<title>A title</title><main><h1>Head</h1><p>Some <b>text</b>.</main>"
    network.page("t-fetch.example", "/new", page)
    network.page("t-fetch.example", "/old", "", status=301, headers={"Location": "/new#part"})
    answer = await client.call_tool("fetch", {"url": "http://t-fetch.example/old"})
    found = answer.structured_content
    assert text_of(answer) == found["content"]
    assert "# Head" in found["content"]
    assert "**text**" in found["content"]
    assert time.time() - 60 < _seconds(found.pop("fetched_at")) < time.time() + 60
    assert found == {
        "url": "http://t-fetch.example/new", "status": 200, "title": "A title",
        "content_type": "text/html; charset=utf-8", "content": found["content"], "start_index": 0,
        "next_index": None, "total_chars": len(found["content"]), "from_cache": False,
    }  # fmt: skip


def _seconds(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone


async def test_the_parts_joined_are_the_whole(network: Network, client: Client) -> None:
    """Characters are counted, and the page is asked for once."""
    network.page("t-parts.example", "/", f"<main>{LONG}</main>")
    url = "http://t-parts.example/"
    whole = await call(client, "fetch", url, max_length=999_999)
    parts, index = [], 0
    while index is not None:
        part = await call(client, "fetch", url, max_length=777, start_index=index)
        assert part["start_index"] == index
        assert len(part["content"]) <= 777
        assert part["total_chars"] == whole["total_chars"] == len(whole["content"])
        parts.append(part["content"])
        index = part["next_index"]
    assert "".join(parts) == whole["content"]
    assert "ä€😀 text 399" in whole["content"]
    assert targets(network, "t-parts.example") == ["/robots.txt", "/"]
    answer = await client.call_tool("fetch", {"url": url, "start_index": 999_999})
    assert "Nothing is left at 999999" in text_of(answer)
    assert answer.structured_content["next_index"] is None


async def test_a_second_part_is_not_converted_again(network: Network, client: Client) -> None:
    """The text is kept with the page."""
    network.page("t-again.example", "/", "<p>x</p>" * 100_000)
    times = []
    for index in (0, 5000):
        began = time.monotonic()
        await call(client, "fetch", "http://t-again.example/", start_index=index)
        times.append(time.monotonic() - began)
    assert times[1] < times[0] / 3


async def test_raw_and_selector(network: Network, client: Client) -> None:
    """The source as it is, and only what is chosen."""
    page = '<title>T</title><p class="a">one</p><p class="b">two</p>'
    network.page("t-raw.example", "/", page)
    url = "http://t-raw.example/"
    assert (await call(client, "fetch", url, raw=True))["content"] == page
    assert (await call(client, "fetch", url, selector=".b"))["content"].strip() == "two"
    assert "not_found" in await refusal(client, url, selector=".c")


@pytest.mark.parametrize(("kind", "body", "expected"), [
    ("text/html; charset=iso-8859-1", "<p>ä".encode("latin-1"), "ä"),
    ("text/html; charset=shift_jis", "<p>日本".encode("shift_jis"), "日本"),
    ("text/html", "<meta charset=windows-1251><p>Привет".encode("cp1251"), "Привет"),
    ("text/html", "\ufeff<p>ä".encode("utf-16"), "ä"),
    ("text/html", "<p>ä€".encode(), "ä€"),
    ("text/plain", b"a < b & c", "a < b & c"),
    ("application/json", b'{"a": "\xc3\xa4"}', '{"a": "ä"}'),
], ids=str)  # fmt: skip
async def test_encodings(
    network: Network, client: Client, kind: str, body: bytes, expected: str
) -> None:
    """The header's, the page's own, or what the bytes say."""
    host = f"t-code{abs(hash((kind, body)))}.example"
    network.page(host, "/", body, content_type=kind)
    assert (await call(client, "fetch", f"http://{host}/"))["content"].strip() == expected


async def test_extract_links(network: Network, client: Client) -> None:
    """In full, each once; chosen by site and pattern, and never more than asked for."""
    page = (
        '<a href="/a">A</a><a href="/a#x">again</a><a href="https://b.t-links.example/b">B</a>'
        '<a href="https://xt-links.example/c">C</a><a href="javascript:alert(1)">J</a>'
        '<a href="mailto:a@b.example">M</a><a rel=nofollow href="d?e=1">D</a>'
    )
    network.page("t-links.example", "/x/", page)
    url = "http://t-links.example/x/"
    found = await call(client, "extract_links", url)
    assert [link["url"] for link in found["links"]] == [
        "http://t-links.example/a", "https://b.t-links.example/b", "https://xt-links.example/c",
        "http://t-links.example/x/d?e=1",
    ]  # fmt: skip
    assert found["links"][3] == {
        "url": "http://t-links.example/x/d?e=1", "text": "D", "rel": "nofollow"
    }  # fmt: skip
    assert (found["total"], found["truncated"]) == (4, False)
    own = await call(client, "extract_links", url, same_site=True)
    assert [link["text"] for link in own["links"]] == ["A", "B", "D"]
    for pattern, texts in (("*/x/*", ["D"]), ("https://*", ["B", "C"]), ("*t-links.example/?", []),
                           ("/a", []), ("*", ["A", "B", "C", "D"])):  # fmt: skip
        found = await call(client, "extract_links", url, pattern=pattern)
        assert [link["text"] for link in found["links"]] == texts, pattern
    found = await call(client, "extract_links", url, limit=1)
    assert (len(found["links"]), found["total"], found["truncated"]) == (1, 4, True)


async def test_a_hostile_pattern_takes_no_time(network: Network, client: Client) -> None:
    """It is not a regular expression."""
    page = "".join(f'<a href="/{number}{"a" * 400}">x</a>' for number in range(5000))
    network.page("t-pattern.example", "/", page)
    url = "http://t-pattern.example/"
    began = time.monotonic()
    found = await call(client, "extract_links", url, pattern="*a" * 149 + "b")
    assert found["links"] == []
    assert time.monotonic() - began < 5


async def test_get_page_info(network: Network, client: Client) -> None:
    """What a page says about itself."""
    page = (
        '<html lang=en><title>T</title><meta name=description content="D"><meta property="og:type" '
        'content="article"><link rel=canonical href="/c"><script type="application/ld+json">'
        '{"@type": "Article", "datePublished": "2026-01-02"}</script><h1>H</h1>'
    )
    network.page("t-info.example", "/", page)
    info = await call(client, "get_page_info", "http://t-info.example/")
    assert (info["title"], info["description"], info["language"]) == ("T", "D", "en")
    assert info["canonical"] == "http://t-info.example/c"
    assert info["open_graph"] == {"type": "article"}
    assert info["json_ld_types"] == ["Article"]
    assert info["published"] == "2026-01-02"
    assert info["headings"] == [{"level": 1, "text": "H"}]


# --- Sitemaps.

NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def urlset(*addresses: str) -> str:
    """Return a sitemap."""
    entries = (f"<url><loc>{each}</loc><lastmod>2026-01-02</lastmod></url>" for each in addresses)
    return f'<?xml version="1.0"?><urlset {NAMESPACE}>{"".join(entries)}</urlset>'


async def test_sitemap(network: Network, client: Client) -> None:
    """Those that robots.txt names, one level of an index, compressed or not."""
    host = "http://s-map.example"
    rules = f"Sitemap: {host}/index.xml\nSitemap: /more.xml.gz\n"
    network.page("s-map.example", "/robots.txt", rules, content_type="text/plain")
    index = f"<sitemapindex {NAMESPACE}><sitemap><loc>{host}/one.xml</loc></sitemap></sitemapindex>"
    network.page("s-map.example", "/index.xml", index, content_type="application/xml")
    network.page(
        "s-map.example", "/one.xml", urlset(f"{host}/1", "javascript:x"), content_type="text/xml"
    )
    packed = gzip.compress(urlset(f"{host}/2?a=1&amp;b=2").encode())
    network.page("s-map.example", "/more.xml.gz", packed, content_type="application/x-gzip")
    found = await call(client, "sitemap", f"{host}/any/page")
    assert found == {
        "sitemaps": [f"{host}/index.xml", "/more.xml.gz", f"{host}/one.xml"],
        "urls": [
            {"url": f"{host}/2?a=1&b=2", "last_modified": "2026-01-02"},
            {"url": f"{host}/1", "last_modified": "2026-01-02"},
        ],
        "truncated": False, "failed": [],
    }  # fmt: skip
    found = await call(client, "sitemap", f"{host}/any/page", limit=1)
    assert (len(found["urls"]), found["truncated"]) == (1, True)


async def test_the_usual_sitemap(network: Network, client: Client) -> None:
    """Where robots.txt names none, and where it is asked for by its own address."""
    body = urlset(*(f"http://s-usual.example/{number}" for number in range(10)))
    network.page("s-usual.example", "/sitemap.xml", body, content_type="text/xml")
    for url in ("http://s-usual.example/a", "http://s-usual.example/sitemap.xml"):
        assert len((await call(client, "sitemap", url))["urls"]) == 10
    found = await call(client, "sitemap", "http://s-usual.example/", limit=5)
    assert (len(found["urls"]), found["truncated"]) == (5, True)
    assert targets(network, "s-usual.example") == ["/robots.txt", "/sitemap.xml"]


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>' + urlset("http://a.example/&b;")
HOSTILE = {
    "laughs": (LAUGHS.replace('<?xml version="1.0"?>', "").encode(), "document type"),
    "hidden": (f'<?xml version="1.0" encoding="utf-16"?>{LAUGHS[:-9]}'.replace(
        '<?xml version="1.0"?>', "").encode("utf-16"), "document type"),
    "external": (b'<!DOCTYPE x SYSTEM "http://10.0.0.5/x.dtd"><urlset/>', "document type"),
    "deep": (b"<urlset>" * 10_000, "nested"),
    "html": (b"<html><p>x</p></html>", "no sitemap"),
    "broken": (b"<urlset><url>", "no valid XML"),
    "bomb": (gzip.compress(b" " * 50_000_000), "more than"),
    "no gzip": (b"\x1f\x8bxxxx", "broken"),
    "undeclared": (b"<urlset><url><loc>&x;</loc></url></urlset>", "no valid XML"),
}  # fmt: skip


@pytest.mark.promise("WEB-4")
@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_sitemaps(network: Network, client: Client, name: str) -> None:
    """No document type, no entity, no depth, no bomb."""
    body, why = HOSTILE[name]
    host = f"s-{name.replace(' ', '-')}.example"
    network.page(host, "/sitemap.xml", body, content_type="text/xml")
    began, before = time.monotonic(), len(network.connections)
    assert why in await refusal(client, f"http://{host}/sitemap.xml", "sitemap")
    assert time.monotonic() - began < 3
    assert all(address != "10.0.0.5" for address, _ in network.connections[before:])


async def test_a_sitemap_is_no_page_and_a_page_no_sitemap(network: Network, client: Client) -> None:
    """What one tool may fetch does not come to another through the cache."""
    packed = gzip.compress(urlset("http://s-kind.example/").encode())
    network.page("s-kind.example", "/a.xml.gz", packed, content_type="application/gzip")
    await call(client, "sitemap", "http://s-kind.example/a.xml.gz")
    assert "type_not_allowed" in await refusal(client, "http://s-kind.example/a.xml.gz")


# --- Crawls.


def site_of(network: Network, host: str, pages: int) -> None:
    """Make a site whose first page links to all others, and each of these to one more."""
    links = "".join(f'<a href="/{number}">{number}</a>' for number in range(pages))
    network.page(host, "/", f"<title>Start</title>{links}<a href='http://c-other.example/'>o</a>")
    for number in range(pages):
        network.page(host, f"/{number}", f"<title>{number}</title><a href='/{number}/deep'>d</a>")
        network.page(host, f"/{number}/deep", "<title>deep</title>")


async def test_crawl(network: Network) -> None:
    """Breadth first, within the site, as deep and as many as asked for."""
    site_of(network, "c-site.example", 3)
    network.page("c-other.example", "/", "<p>other")
    async with scraping(network, RATE="100", BURST="100") as client:
        url = "http://c-site.example/"
        found = await call(client, "crawl", url, max_depth=1)
        assert [page["title"] for page in found["pages"]] == ["Start", "0", "1", "2"]
        assert [page["depth"] for page in found["pages"]] == [0, 1, 1, 1]
        assert (found["failed"], found["stopped_by"]) == ([], "")
        found = await call(client, "crawl", url, max_depth=2, max_pages=5)
        assert [page["url"] for page in found["pages"]][-1] == "http://c-site.example/0/deep"
        assert found["stopped_by"] == "pages"
        found = await call(client, "crawl", url, pattern="*/1")
        assert [page["title"] for page in found["pages"]] == ["Start", "1"]
        found = await call(client, "crawl", url, max_depth=0)
        assert len(found["pages"]) == 1
    assert targets(network, "c-other.example") == []


async def test_a_crawl_stays_in_its_site(network: Network) -> None:
    """A page that redirects elsewhere is not followed there."""
    network.page("c-stay.example", "/", "<a href=/out>x</a><a href=/gone>y</a>")
    to = {"Location": "http://c-away.example/"}
    network.page("c-stay.example", "/out", "", status=302, headers=to)
    network.page("c-away.example", "/", "<p>away")
    async with scraping(network, RATE="100") as client:
        found = await call(client, "crawl", "http://c-stay.example/")
    assert [each["error"].split(":")[0] for each in found["failed"]] == ["denied", "upstream"]
    assert targets(network, "c-away.example") == []


@pytest.mark.promise("WEB-2")
async def test_a_crawl_keeps_the_pace_and_its_time(network: Network) -> None:
    """It returns what it has when its time is up."""
    site_of(network, "c-pace.example", 20)
    async with scraping(network, TIMEOUT="4", RATE="2", BURST="1") as client:
        began = time.monotonic()
        found = await call(client, "crawl", "http://c-pace.example/", max_pages=20)
        assert time.monotonic() - began < 5
    assert found["stopped_by"] == "time"
    assert 2 <= len(found["pages"]) <= 8
    times = [request.time for request in network.requests("c-pace.example")]
    assert min(after - before for before, after in pairwise(times)) > 0.4


# --- Prompt and resource.


async def test_the_prompt(network: Network, client: Client) -> None:
    """A page, for the conversation; a refusal is an error."""
    network.page("p-prompt.example", "/", "<p>some text")
    (prompt,) = (await client.list_prompts()).prompts
    assert (prompt.name, [each.name for each in prompt.arguments or ()]) == ("fetch", ["url"])
    got = await client.get_prompt("fetch", {"url": "http://p-prompt.example/"})
    assert "some text" in got.messages[0].content.text
    with pytest.raises(MCPError, match="denied"):
        await client.get_prompt("fetch", {"url": "http://10.0.0.5/"})


async def test_the_resource(network: Network) -> None:
    """The limits that hold, and nothing of private servers or of what is blocked."""
    rules = {"ALLOWED_ORIGINS": "http://10.0.0.5", "BLOCKED_DOMAINS": "secret.example"}
    async with scraping(network, RATE="7", **rules) as client:
        text = (await client.read_resource("scraper://config")).contents[0].text
    config = json.loads(text)
    assert (config["rate"], config["max_bytes"], config["robots"]) == (7, 5 * 1024 * 1024, True)
    assert "10.0.0.5" not in text
    assert "secret" not in text


async def test_many_calls_at_once(network: Network) -> None:
    """One slow site does not hold up the others."""

    def slow(_: Request) -> Iterator[bytes]:
        time.sleep(3)
        yield Reply(b"<p>late").sent("GET")

    network.page("m-slow.example", "/robots.txt", "", status=404)
    network.route("m-slow.example", slow)
    for number in range(10):
        network.page(f"m-{number}.example", "/", f"<p>page {number}")
    async with scraping(network) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(call, client, "fetch", "http://m-slow.example/")
        began = time.monotonic()
        async with anyio.create_task_group() as others:
            for number in range(10):
                others.start_soon(call, client, "fetch", f"http://m-{number}.example/")
        assert time.monotonic() - began < 3
