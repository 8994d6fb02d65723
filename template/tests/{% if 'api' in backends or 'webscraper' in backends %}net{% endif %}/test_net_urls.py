# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""An address has one reading, or none."""

import itertools

import pytest
from conftest import module

urls = module("net.urls")
Refused = module("errors").Refused

# Two readers of any of these have been known to see two hosts.
AMBIGUOUS = [
    "",
    "example.com",
    "//example.com/",
    "http:example.com",
    "http:/example.com",
    "http:///example.com",
    "http://",
    "http://?x",
    "http://#x",
    "http://:80/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "data:text/html,x",
    "httpx://example.com/",
    "http+unix://socket/",
    " http://example.com/",
    "http://example.com/ ",
    "\thttp://example.com/",
    "http://example.com/a b",
    "http://exam\tple.com/",
    "http://exam\nple.com/",
    "http://example.com/\r\nHost: evil.example",
    "http://example.com/\0",
    "http://example.com\x7f/",
    "http://example.com\\@evil.example/",
    "http://example.com/\\..\\x",
    "http:\\\\example.com/",
    "http://evil.example\\.example.com/",
    "http://user@example.com/",
    "http://user:password@example.com/",
    "http://@example.com/",
    "http://:@example.com/",
    "http://example.com@evil.example/",
    "http://example.com:80@evil.example/",
    "http://a@b@example.com/",
    "http://example.com%40evil.example/",
    "http://exa%6dple.com/",
    "http://example%2ecom/",
    "http://127%2e0%2e0%2e1/",
    "http://example.com:/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:99999/",
    "http://example.com:080808/",
    "http://example.com:+80/",
    "http://example.com:-80/",
    "http://example.com:8 0/",
    "http://example.com:\u0668\u0660/",
    "http://example.com:80:80/",
    "http://exa\u00admple.com/",
    "http://example.com\u200b/",
    "http://example.com/\u202e",
    "http://example.com\ufeff/",
    "http://\ud800.com/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://127.0.0.01/",
    "http://0000000177.0.0.1/",
    "http://127.0.0.256/",
    "http://127.0.0.1.5/",
    "http://1.1.1.1.1/",
    "http://example.0x/",
    "http://example.1/",
    "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
    "http://[::1/",
    "http://::1/",
    "http://[::1%25lo]/",
    "http://[::1%lo]/",
    "http://[127.0.0.1]/",
    "http://[::ffff:127.0.0.1.1]/",
    "http://[v1.x]/",
    "http://[::1]x/",
    "http://[::1]:x/",
    "http://[]/",
    "http://a[::1]/",
    "http://..example.com/",
    "http://example..com/",
    "http://example.com../",
    "http://.example.com/",
    "http://-example.com/",
    "http://example-.com/",
    f"http://{'a' * 64}.example/",
    f"http://{'a.' * 127}example/",
    f"http://example.com/{'a' * 8192}",
    "http://example.com;evil.example/",
    "http://example.com,evil.example/",
    "http://exam!ple.com/",
    "http://exam$ple.com/",
    "http://exam'ple.com/",
    "http://(example.com)/",
    "http://exam|ple.com/",
    "http://exam^ple.com/",
    "http://exam<ple.com/",
    "http://*.example.com/",
    "http://xn--\u00e9.example/",
    "http://\u0430pple..example/",
]


@pytest.mark.promise("WEB-3", "API-1")
@pytest.mark.parametrize("text", AMBIGUOUS, ids=ascii)
def test_what_two_readers_could_take_for_two_hosts_is_refused(text: str) -> None:
    """Not repaired: a check and a connection would have to repair it in the same way."""
    with pytest.raises(Refused, match=r"^invalid_url: this is not an address"):
        urls.parse(text)


@pytest.mark.promise("WEB-2", "WEB-3")
@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("HTTP://EXAMPLE.com", "http://example.com/"),
        ("http://example.com.", "http://example.com/"),
        ("http://example.com:80/", "http://example.com/"),
        ("http://example.com:00080/", "http://example.com/"),
        ("https://example.com:443", "https://example.com/"),
        ("HTTPS://example.com:80/", "https://example.com:80/"),
        ("http://example.com?q", "http://example.com/?q"),
        ("http://example.com/#fragment", "http://example.com/"),
        ("http://example.com#@evil.example/", "http://example.com/"),
        ("http://example.com?@evil.example/", "http://example.com/?@evil.example/"),
        ("http://example.com/a/../b/./c", "http://example.com/b/c"),
        ("http://example.com/a/%2e%2E/b", "http://example.com/b"),
        ("http://example.com/a/.%2e/b?%2e%2e", "http://example.com/b?%2e%2e"),
        ("http://example.com/../../x", "http://example.com/x"),
        ("http://example.com/\u00e9?\u00e9", "http://example.com/%C3%A9?%C3%A9"),
        ("http://example.com/%2F%zz", "http://example.com/%2F%zz"),
        ("http://M\u00fcnchen.example/", "http://xn--mnchen-3ya.example/"),
        ("http://127\u30020\uff0e0\uff611/", "http://127.0.0.1/"),
        ("http://127.0.0.1./", "http://127.0.0.1/"),
        ("http://[0:0:0:0:0:0:0:1]:8080/", "http://[::1]:8080/"),
        ("http://[::FFFF:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
        ("http://a_b.example/", "http://a_b.example/"),
    ],
)
def test_spellings_of_one_address_become_one(text: str, one: str) -> None:
    """So that rules, rates and caches, which compare texts, see the same host as the connection."""
    assert str(urls.parse(text)) == one
    assert urls.parse(one) == urls.parse(text)  # and that one is its own


@pytest.mark.promise("WEB-3")
@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ("/x", "http://a.example/x"),
        ("x", "http://a.example/d/x"),
        ("?x", "http://a.example/d/p?x"),
        ("#x", "http://a.example/d/p?q"),
        ("../../../x", "http://a.example/x"),
        ("//b.example/x", "http://b.example/x"),
        ("https://b.example", "https://b.example/"),
        ("", "http://a.example/d/p?q"),
        ("/%2e%2e/%2e%2e/x", "http://a.example/x"),
    ],
)
def test_a_reference_is_resolved_as_the_rfc_says(reference: str, target: str) -> None:
    """RFC 3986, section 5.4; and what comes of it is read as strictly as any address."""
    assert str(urls.parse("http://a.example/d/p?q").join(reference)) == target


@pytest.mark.promise("WEB-3")
@pytest.mark.parametrize(
    "reference",
    [
        "/\\evil.example", "\\\\evil.example", "//user@evil.example/", "javascript:x", "http://[::1",
        "http://127.1/", "\t//evil.example", "//evil.example\n", "https:/evil.example", "//[x]/",
        "mailto:a@b.example", "//evil.example:99999", "http://\x00", "///evil.example/..//",
    ],
)  # fmt: skip
def test_a_reference_that_leads_astray_is_refused(reference: str) -> None:
    """As browsers have followed such ones to a host that the server did not see."""
    base = urls.parse("http://a.example/d/p?q")
    try:
        target = base.join(reference)
    except Refused:
        return
    assert target.origin == base.origin


def test_no_text_makes_a_host_that_is_not_one() -> None:
    """All short texts of the characters that addresses are made of: refused, or a plain host."""
    for letters in itertools.product("a1.:@/\\[]%#?-", repeat=4):
        try:
            host = urls.parse(f"http://{''.join(letters)}").host
        except Refused:
            continue
        assert host.strip("abcdefghijklmnopqrstuvwxyz0123456789.-_:") == ""
        assert not set(host) & set("@/\\%#?[]")


@pytest.mark.parametrize(
    "text", ["http://10.0.0.5/x", "http://10.0.0.5?x", "10.0.0.5", "http://u@10.0.0.5", "*"]
)
def test_an_origin_is_exact(text: str) -> None:
    """The operator's exception has no path, no wildcard and no range."""
    with pytest.raises(ValueError, match=r"^write an origin"):
        urls.parse_origin(text)


def test_an_origin_is_written_in_one_way() -> None:
    """So that the address of a call can be compared with it."""
    assert urls.parse_origin("HTTP://INTRANET.Example.:80/") == "http://intranet.example"
    assert urls.parse_origin("https://[fd00:0::5]:8443") == "https://[fd00::5]:8443"
