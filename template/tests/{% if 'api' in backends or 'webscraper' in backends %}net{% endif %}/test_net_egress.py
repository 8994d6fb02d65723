# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""Nothing reaches an address that is not public, whatever the name, DNS and redirects say.

In a network of the tests' own, in which everything private is there and would answer.
"""

import json
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PACKAGE, environment, module
from world import OTHER, PRIVATE, PUBLIC, Network, Reply, Request

egress = module("net.egress")

FORBIDDEN = [
    "0.0.0.0", "0.1.2.3", "10.0.0.0", "10.255.255.255", "100.64.0.1", "100.100.100.200",
    "100.127.255.255", "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.0.1",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::127.0.0.1", "::10.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "64:ff9b:1::7f00:1", "100::1", "100:0:0:1::1",
    "2001::1", "2001:0:7f00:1::", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::",
    "2002:7f00:1::1", "2002:a9fe:a9fe::", "2002:c0a8:1::1", "3fff::1", "3fff:fff::1", "5f00::1",
    "fc00::1", "fd00::5", "fd00:ec2::254", "fe80::1", "fe80::1%lo", "febf::1", "fec0::1", "ff02::1",
    "ff0e::1", "2606:4700::1111%lo", "4000::1", "1::1", "2600::5efe:7f00:1",
    "2600::200:5efe:7f00:1", "2606:4700:0:0:0:5efe:10.0.0.1", "", "localhost", "example.com",
    "127.1", "1.2.3.4%lo",
]  # fmt: skip
ALLOWED = [
    "1.1.1.1", "8.8.8.8", "93.184.215.14", "9.255.255.255", "11.0.0.0", "100.63.255.255",
    "100.128.0.0", "126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17",
    "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0",
    "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "2000::1", "2001:200::1", "2001:4860:4860::8888", "2001:db7::1", "2001:db9::1", "2003::1",
    "2606:4700::1111", "2a00:1450::1", "3ffe::1", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8",
]  # fmt: skip


@pytest.mark.promise("WEB-3")
@pytest.mark.parametrize("address", FORBIDDEN)
def test_this_address_is_not_public(address: str) -> None:
    """Special purposes, and every form that leads to an IPv4 address behind it."""
    assert not egress.is_public(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_this_address_is_public(address: str) -> None:
    """The neighbours of what is forbidden are not."""
    assert egress.is_public(address)


class Asked:
    """What came of some requests.

    Attributes:
        results: of each: ``status``, ``body``, ``size``, or ``code`` and ``message``.
        memory: KiB that the process took at most.
        arrived: the connections that arrived meanwhile, as address and port.
    """

    def __init__(self, results: list[Any], memory: int, arrived: list[tuple[str, int]]) -> None:
        self.results, self.memory, self.arrived = results, memory, arrived

    @property
    def codes(self) -> list[Any]:
        return [each.get("code", each.get("status")) for each in self.results]


def ask(network: Network, *urls: str, together: bool = False, **options: Any) -> Asked:
    """Send a GET to each, inside the network; ``private`` and the like are the egress's own."""
    own = {name: options.pop(name) for name in ("private", "ports", "only") if name in options}
    send = [[options.get("method", "GET"), url, _limits(options)] for url in urls]
    before = len(network.connections)
    done = subprocess.run(
        network.command(sys.executable, str(Path(__file__).with_name("asking.py")), PACKAGE),
        input=json.dumps({"egress": own, "send": send, "together": together}),
        env={
            **environment("/tmp"), "SSL_CERT_FILE": str(network.ca_file),
            **options.get("env", {}),
        },
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results, memory = json.loads(done.stdout)
    time.sleep(0.05)
    return Asked(results, memory, network.connections[before:])


def _limits(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in ("method", "env")}


def test_the_private_addresses_are_there(network: Network) -> None:
    """Or the refusals below would prove nothing: with the operator's word they answer."""
    network.page("10.0.0.5", "/", "secret")
    places = ["http://10.0.0.5", "http://127.0.0.1:8080", "http://169.254.169.254", "http://[::1]"]
    asked = ask(network, *places, private=places)
    assert asked.codes == [200, 404, 404, 404]
    assert asked.arrived == [
        ("10.0.0.5", 80), ("127.0.0.1", 8080), ("169.254.169.254", 80), ("::1", 80)
    ]  # fmt: skip


@pytest.mark.promise("WEB-3")
def test_no_literal_reaches_a_private_address(network: Network) -> None:
    """In whatever spelling; the origin's own log shows that nothing arrived."""
    hosts = [f"[{each}]" if ":" in each else each for each in FORBIDDEN if each]
    hosts += ["127.0.0.1.", "127\u30020\u30020\u30021", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:a00:5]"]
    asked = ask(network, *(f"{scheme}://{host}/" for host in hosts for scheme in ("http", "https")))
    assert set(asked.codes) <= {"denied", "invalid_url", "unavailable", 404}
    # One of them is a public name.
    assert [urls for urls in asked.results if urls.get("status")] == []
    assert asked.arrived == []


@pytest.mark.promise("WEB-3")
def test_no_name_reaches_a_private_address(network: Network) -> None:
    """All answers of DNS have to be public: one private among them would be enough to get there."""
    network.name("n1.example", PRIVATE)
    network.name("n2.example", PUBLIC, PRIVATE)
    network.name("n3.example", PRIVATE, PUBLIC, OTHER)
    network.name("n4.example", "fd00::5")
    network.name("n5.example", PUBLIC, "fd00::5")
    network.name("n6.example", "2002:7f00:1::1", PUBLIC)
    network.name("n7.example", "::ffff:10.0.0.5")
    network.name("n8.example", "127.0.0.1", "::1")
    network.name("n9.example", "0.0.0.0")
    names = [f"n{number}.example" for number in range(1, 10)]
    asked = ask(network, *(f"http://{name}/" for name in [*names, "localhost", "LOCALHOST."]))
    assert set(asked.codes) == {"unavailable"}
    assert asked.arrived == []


@pytest.mark.promise("WEB-3")
def test_a_private_name_is_told_apart_from_none_by_nothing(network: Network) -> None:
    """Or a client could find out which names there are inside."""
    network.name("inside.example", PRIVATE)
    asked = ask(network, "http://inside.example/", "http://there-is-no-such.name/")
    first, second = asked.results
    assert first["code"] == second["code"]
    assert first["message"] == second["message"]


@pytest.mark.promise("WEB-3")
@pytest.mark.parametrize(
    "turns",
    [
        [(PUBLIC,), (PRIVATE,)],
        [(PUBLIC,), ("127.0.0.1",), (PUBLIC,), ("127.0.0.1",)],
        [(PUBLIC,), (PUBLIC, "169.254.169.254")],
        [(PUBLIC,), ("::1",), (OTHER,), ("fd00::5",)],
    ],
)
def test_a_name_that_changes_its_mind_reaches_nothing_private(
    network: Network, turns: list[tuple[str, ...]]
) -> None:
    """DNS rebinding: what was checked is what is dialled, and the next dial is checked anew."""
    name = f"r{abs(hash(str(turns)))}.example"
    network.name(name, *turns)
    network.route(name, lambda _: Reply(b"public", headers={"Connection": "close"}))
    asked = ask(network, *[f"http://{name}/"] * 8)
    assert asked.codes[0] == 200
    assert "unavailable" in asked.codes
    assert {address for address, _ in asked.arrived} <= {PUBLIC, OTHER}


@pytest.mark.promise("WEB-3", "API-2")
def test_no_redirect_reaches_a_private_address(network: Network) -> None:
    """Across schemes, hosts and ports; each hop is an address like any other."""
    network.name("hidden.example", PRIVATE)
    targets = [
        "http://10.0.0.5/", "https://10.0.0.5/", "//10.0.0.5/", "http://127.0.0.1:8080/",
        "http://[::1]/", "http://[::ffff:10.0.0.5]/", "http://hidden.example/", "http://0/",
        "http://user@10.0.0.5/", "http://2130706433/", "file:///etc/passwd", "http:\\\\10.0.0.5",
        "http://first.example:22/", "http://169.254.169.254/latest/meta-data/", "//localhost/",
    ]  # fmt: skip
    for number, target in enumerate(targets):
        headers = {"Location": target, "Connection": "close"}
        status = (301, 302, 303, 307, 308)[number % 5]
        network.page("first.example", f"/{number}", "", status=status, headers=headers)
    asked = ask(network, *(f"http://first.example/{n}" for n in range(len(targets))), follow=5)
    assert set(asked.codes) <= {"denied", "unavailable", "invalid_url"}
    assert asked.arrived == [(PUBLIC, 80)] * len(targets)


@pytest.mark.promise("WEB-3")
def test_a_port_is_one_of_the_usual_ones(network: Network) -> None:
    """Others belong to services that a request could talk to by accident."""
    asked = ask(network, "http://p.example:22/", "http://p.example:8080/", "https://p.example:80/")
    assert asked.codes == ["denied", "denied", "unavailable"]
    assert ("93.184.215.14", 22) not in asked.arrived
    assert ask(network, "http://p.example:8080/", ports=[8080]).codes == [404]


@pytest.mark.promise("WEB-3")
@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.5:8080/",
        "http://10.0.0.5/",
        "http://10.0.0.5:8443/",
        "http://192.168.1.1:8080/",
    ],
)
def test_the_operators_exception_is_one_origin(network: Network, url: str) -> None:
    """Not its neighbours: another scheme, another port, another address."""
    asked = ask(network, url, private=["http://10.0.0.5:8080"])
    assert asked.codes == ["denied"]
    assert asked.arrived == []


@pytest.mark.promise("API-1", "API-2")
def test_where_only_one_origin_is_meant_there_is_no_other(network: Network) -> None:
    """The API's server, and nothing else."""
    places = [
        "https://o.example/",
        "http://o.example/",
        "https://p.example/",
        "https://o.example:8443/",
    ]
    asked = ask(network, *places, only=["https://o.example"], ports=[80, 443, 8443])
    assert asked.codes == [404, "denied", "denied", "denied"]
    assert asked.arrived == [(PUBLIC, 443)]


@pytest.mark.promise("WEB-3")
def test_no_proxy_and_no_netrc_of_the_environment(network: Network, tmp_path: Path) -> None:
    """A proxy would resolve and dial by itself; credentials of a person are nobody's here."""
    (tmp_path / ".netrc").write_text("machine e.example login me password secret\n")
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    env = dict.fromkeys(names, "http://10.0.0.5:8080") | {"HOME": str(tmp_path)}
    env["NETRC"] = str(tmp_path / ".netrc")
    asked = ask(network, "http://e.example/", "https://e.example/", env=env)
    assert asked.codes == [404, 404]
    assert {address for address, _ in asked.arrived} == {PUBLIC}
    assert all("authorization" not in each.headers for each in network.requests("e.example"))


def test_a_request_is_what_it_should_be(network: Network) -> None:
    """The host is the name, also in TLS; nothing is sent that nobody asked for."""
    asked = ask(network, "https://Q.example./a/%7Eb?c=%2F", headers=[["X-A", "1"]])
    assert asked.codes == [404]
    (request,) = network.requests("q.example")
    assert (request.target, request.tls, request.method) == ("/a/%7Eb?c=%2F", True, "GET")
    assert request.headers == {
        "host": "q.example", "user-agent": "tests/1", "accept-encoding": "gzip, deflate", "x-a": "1"
    }  # fmt: skip
    asked = ask(network, "http://[2606:4700::1111]:80/")
    assert asked.arrived == [("2606:4700::1111", 80)]
    assert network.requests("[2606:4700::1111]")[0].headers["host"] == "[2606:4700::1111]"


def test_no_cookie_is_kept(network: Network) -> None:
    """What one answer sets, the next request does not carry."""
    network.page("c.example", "/", "", headers={"Set-Cookie": "a=b; Domain=example"})
    ask(network, *["https://c.example/"] * 3)
    assert all("cookie" not in each.headers for each in network.requests("c.example"))


@pytest.mark.promise("WEB-3", "API-2")
def test_a_certificate_for_another_name_is_refused(network: Network) -> None:
    """And nothing is sent on that connection."""
    asked = ask(network, "https://bad.example/")
    assert asked.results[0]["message"] == "the host's certificate is not valid for it"
    assert network.requests("bad.example") == []


# --- Limits --------------------------------------------------------------------------------------


def head(*lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: text/html", *lines, "", ""]).encode()


def bomb(levels: int) -> Iterator[bytes]:
    """400 MiB of nothing, some 400 KiB compressed; or that compressed once more."""
    yield head(f"Content-Encoding: {', '.join(['gzip'] * levels)}")
    packers = [zlib.compressobj(9, zlib.DEFLATED, 31) for _ in range(levels)]
    for number in range(401):
        part = bytes(1024 * 1024) if number < 400 else b""
        for packer in packers:
            part = packer.compress(part) if number < 400 else packer.compress(part) + packer.flush()
        yield part


def endless(_: Request) -> Iterator[bytes]:
    yield head()
    while True:
        yield bytes(64 * 1024)


def endless_chunks(_: Request) -> Iterator[bytes]:
    yield head("Transfer-Encoding: chunked")
    while True:
        yield b"1\r\nx\r\n" * 1000


def dripping(_: Request) -> Iterator[bytes]:
    yield head()
    while True:
        time.sleep(0.05)
        yield b"x"


def dripping_head(_: Request) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX: "
    while True:
        time.sleep(0.05)
        yield b"x"


def endless_head(_: Request) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"X: " + b"x" * 1000 + b"\r\n"


def nothing_decoded(_: Request) -> Iterator[bytes]:
    """A gzip stream of blocks that hold nothing, without an end."""
    yield head("Content-Encoding: gzip") + b"\x1f\x8b\x08\0\0\0\0\0\0\3"
    while True:
        yield b"\0\0\0\xff\xff" * 10_000


def informing(_: Request) -> Iterator[bytes]:
    while True:
        time.sleep(0.001)
        yield b"HTTP/1.1 103 Early Hints\r\n\r\n"


HOSTILE = {
    "bomb": (lambda _: bomb(1), "too_large"),
    "two-bombs": (lambda _: bomb(2), "unavailable"),
    "endless": (endless, "too_large"),
    "chunks": (endless_chunks, "timeout"),  # of one byte each
    "drip": (dripping, "timeout"),
    "drip-head": (dripping_head, "timeout"),
    "endless-head": (endless_head, "unavailable"),
    "empty-blocks": (nothing_decoded, "too_large"),
    "informing": (informing, "timeout"),
    "zstd": (lambda _: iter([head("Content-Encoding: zstd"), b"x"]), "unavailable"),
    "no-gzip": (lambda _: iter([head("Content-Encoding: gzip"), b"<html>"]), "unavailable"),
    "cut-off": (lambda _: iter([head("Content-Length: 99"), b"x"]), "unavailable"),
    "no-http": (lambda _: iter([b"SSH-2.0-OpenSSH\r\n"]), "unavailable"),
    "nothing": (lambda _: iter([b""]), "unavailable"),
    "two-lengths": (
        lambda _: iter([head("Content-Length: 1", "Content-Length: 2"), b"xx"]),
        "unavailable",
    ),
    "split-header": (lambda _: iter([head("X: a\0b")]), "unavailable"),
}


@pytest.mark.promise("WEB-4", "API-3", "API-4")
@pytest.mark.parametrize("kind", HOSTILE)
def test_no_answer_takes_more_than_it_may(network: Network, kind: str) -> None:
    """In bytes, seconds and memory; and the next request is answered."""
    handler, code = HOSTILE[kind]
    network.route(f"{kind}.example", handler)
    asked = ask(network, f"http://{kind}.example/", "http://fine.example/", deadline=1.5)
    assert asked.codes == [code, 404]
    assert asked.results[0]["seconds"] < 2.5
    alone = ask(network, "http://fine.example/")
    assert asked.memory - alone.memory < 60 * 1024


@pytest.mark.promise("WEB-4")
def test_a_longer_body_may_be_cut(network: Network) -> None:
    """As robots.txt is: the first part counts."""
    network.route("cut.example", endless)
    asked = ask(network, "http://cut.example/", cut=True, max_bytes=500)
    assert asked.results[0] | {"size": 500, "cut": True, "status": 200} == asked.results[0]


@pytest.mark.promise("WEB-4")
def test_the_name_is_in_the_deadline_too(network: Network) -> None:
    """DNS that does not answer ends the request, as everything does."""
    asked = ask(network, "http://slow.dns-timeout/", "http://fine.example/", deadline=1)
    assert asked.codes == ["timeout", 404]


@pytest.mark.promise("WEB-4")
def test_hosts_that_hang_do_not_keep_others_from_being_asked(network: Network) -> None:
    """Their connections end with their deadline."""
    network.route("hang.example", dripping)
    urls = [f"http://hang.example/{number}" for number in range(60)]
    asked = ask(network, *urls, together=True, deadline=1.5)
    assert set(asked.codes) == {"timeout"}
    assert max(each["seconds"] for each in asked.results) < 3
