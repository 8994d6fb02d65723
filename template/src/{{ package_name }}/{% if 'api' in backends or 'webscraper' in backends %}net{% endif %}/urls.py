# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Addresses of the web, read once and strictly, so that no two parts of the server read them
differently.

What two parsers could understand in two ways is refused and not repaired: most holes of this kind
came from a check and a connection that did not agree on the host.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx2

from ..errors import Refused

MAX_URL_CHARS = 8192
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Before anything is parsed: what some parsers skip, and others take for a separator.
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
# No userinfo and no escapes in a host. The library turns other letters into IDNA (RFC 5891).
_SHAPE = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@%/?#]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>[/?#].*)?",
    re.IGNORECASE | re.DOTALL,
)
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
# A host whose last label is a number is an IPv4 address (WHATWG URL, "ends in a number").
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.DOTALL)


@dataclass(frozen=True)
class Url:
    """An address of http or https in its one spelling.

    Attributes:
        scheme: ``http`` or ``https``.
        host: a name in ASCII, in small letters, without the dot of the root; or the shortest form
            of an IP address, without brackets.
        port: also where the address names none.
        target: path and query as they are sent, in ASCII; begins with a slash (RFC 9112, 3.2.1).
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> str:
        """Scheme, host and port, as in RFC 6454, section 6.2."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def __str__(self) -> str:
        return self.origin + self.target

    def join(self, reference: str) -> Url:
        """Resolve a reference in a page or a redirect (RFC 3986, section 5.2).

        Raises:
            Refused: ``invalid_url``.
        """
        _check(reference)
        try:
            return parse(urljoin(str(self), reference))
        except ValueError:  # urljoin's, of brackets
            raise _refusal("a host in brackets is no address") from None


def parse(text: str) -> Url:
    """Read an address.

    Raises:
        Refused: ``invalid_url``: it is not one of http or https, has a name or password in it, or
            can be understood in two ways.
    """
    _check(text)
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise _refusal("write http:// or https://, a host, and no name or password before it")
    try:
        parsed = httpx2.URL(_plain_dots(text))
        host = _host(parsed.raw_host.decode("ascii"), literal=shape["host"].startswith("["))
        target = parsed.raw_path.decode("ascii")
    except (httpx2.InvalidURL, ValueError):
        raise _refusal("the host or the port is not valid") from None
    scheme = shape["scheme"].lower()
    port = int(shape["port"]) if shape["port"] else _DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise _refusal("the port is not valid")
    return Url(scheme, host, port, target if target.startswith("/") else f"/{target}")


def parse_origin(text: str) -> str:
    """Read the address of a server, such as ``http://10.0.0.5:8080``, and return it as an origin.

    Raises:
        ValueError: it is none, or has a path.
    """
    try:
        url = parse(text)
    except Refused as refused:
        raise ValueError(f"write an origin, such as http://10.0.0.5:8080: {refused}") from None
    if url.target != "/":
        raise ValueError("write an origin without a path, such as http://10.0.0.5:8080")
    return url.origin


def _check(text: str) -> None:
    if len(text) > MAX_URL_CHARS:
        raise _refusal(f"it has more than {MAX_URL_CHARS} characters")
    if _UNSAFE.search(text):
        raise _refusal("it has a space, a control character or a backslash; write it %-encoded")
    if not text.isascii() and not text.isprintable():
        raise _refusal("it has an invisible character")


def _plain_dots(text: str) -> str:
    """Write the dots of a path as dots: servers do before they resolve ``..`` (RFC 3986, 6.2.2)."""
    path, mark, rest = text.partition("?")
    return re.sub("%2e", ".", path, flags=re.IGNORECASE) + mark + rest


def _host(host: str, *, literal: bool) -> str:
    """Return the one spelling of a host.

    Raises:
        ValueError: it is none.
    """
    if literal:
        return str(ipaddress.IPv6Address(host))
    name = host.lower().removesuffix(".")
    if _NUMERIC.fullmatch(name):
        return str(ipaddress.IPv4Address(name))  # 127.1, 0x7f000001 and 017700000001 are none
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError("no host")
    return name


def _refusal(why: str) -> Refused:
    return Refused("invalid_url", f"this is not an address that can be fetched: {why}")
