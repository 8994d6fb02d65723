# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The one place through which every byte leaves this machine.

A name is resolved once. All of its addresses must be public ones, and one of those is what is
dialled: what is checked and what is connected to cannot differ, however DNS answers the next time
(DNS rebinding). TLS and the Host header keep the name. There is no proxy, no cookie, no
credential of this machine's (.netrc) and no redirect: who follows one sends again, through the
same checks.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final
from urllib.parse import quote

import anyio
import httpcore2
import httpx2

from ..errors import Refused
from .urls import Url

log = logging.getLogger(__name__)

# IANA's special-purpose registry (RFC 6890 and later) and what is multicast or reserved. An own
# list: Python's `is_global` changes between patch releases, and calls addresses global behind
# which other ones are reached.
_NOT_PUBLIC: Final = [
    IPv4Network(each)
    for each in (
        "0.0.0.0/8",  # this network, RFC 791
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # shared by carriers, RFC 6598; a cloud's metadata too
        "127.0.0.0/8",  # loopback, RFC 1122
        "168.63.129.16/32",  # Azure's host, from inside its machines
        "169.254.0.0/16",  # link-local, RFC 3927; metadata of most clouds
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # protocol assignments, RFC 6890; Oracle's metadata
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "198.18.0.0/15",  # benchmarks, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved, RFC 1112; broadcast
    )
]
_PUBLIC_6: Final = IPv6Network("2000::/3")  # all that is assigned, RFC 4291
_NOT_PUBLIC_6: Final = [
    IPv6Network(each)
    for each in (
        "2001::/23",  # protocol assignments, RFC 2928; Teredo, which leads to an IPv4 address
        "2001:db8::/32",  # documentation, RFC 3849
        "2002::/16",  # 6to4, which leads to an IPv4 address, RFC 3056
        "3fff::/20",  # documentation, RFC 9637
    )
]
_NAT64: Final = IPv6Network("64:ff9b::/96")  # leads to the IPv4 address in it, RFC 6052
_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)  # interface ids that lead to one, RFC 5214

# What an answer may be compressed with. Others are not asked for, so not decoded.
_ENCODINGS: Final = ("", "identity", "gzip", "x-gzip", "deflate")
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))
_DIAL_SECONDS: Final = 5.0  # for each of several addresses
_KEEP_SECONDS: Final = 15.0  # that a connection may be idle

# One sentence for all of these, so that nobody learns which names there are in this network.
_UNREACHABLE = "this host does not exist, is not a public one, or does not answer"
_UNTRUSTED = "the host's certificate is not valid for it"


def is_public(address: str) -> bool:
    """Say whether an IP address, as the resolver writes it, belongs to the public internet."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        if ip.scope_id is not None:
            return False
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip in _NAT64:
            ip = IPv4Address(int(ip) & 0xFFFF_FFFF)
        elif (int(ip) >> 32) & 0xFFFF_FFFF in _ISATAP:
            return False
        else:
            return ip in _PUBLIC_6 and not any(ip in each for each in _NOT_PUBLIC_6)
    return not any(ip in each for each in _NOT_PUBLIC)


@dataclass(frozen=True)
class Answer:
    """What came back of one request.

    Attributes:
        url: that was asked.
        status: 100 to 599.
        headers: as received; their names in any case.
        body: decompressed.
        cut: whether there was more than the limit.
    """

    url: Url
    status: int
    headers: httpx2.Headers
    body: bytes
    cut: bool = False

    def redirect(self) -> Url | None:
        """Return where this leads (RFC 9110, section 15.4); None where it is no redirect.

        Raises:
            Refused: ``invalid_url``.
        """
        location = self.headers.get("location")
        if self.status not in _REDIRECTS or location is None:
            return None
        # Many servers send letters and spaces that have to be encoded.
        return self.url.join(quote(location.strip(" "), safe=_PRINTABLE))


class Egress:
    """Sends requests to public addresses, and to the private ones that the operator has named.

    Args:
        private: exact origins, such as ``http://10.0.0.5:8080``, that may be anywhere.
        ports: that other origins may have.
        only: where not None, the origins besides which nothing is reached.
        user_agent: of every request.
        max_connections: to all hosts together.
    """

    def __init__(
        self,
        *,
        private: Collection[str] = (),
        ports: Collection[int] = (80, 443),
        only: Collection[str] | None = None,
        user_agent: str,
        max_connections: int = 32,
    ) -> None:
        self._private = frozenset(private)
        self._ports = frozenset(ports)
        self._only = None if only is None else frozenset(only)
        self._user_agent = user_agent
        # Reads the certificates of this machine now: later, Landlock may not let it.
        tls = httpcore2.default_ssl_context()
        self._public_pool = _pool(_Dial(is_public), tls, max_connections)
        self._private_pool = _pool(_Dial(lambda _: True), tls, max_connections)

    async def send(
        self,
        method: str,
        url: Url,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        deadline: float,
        max_bytes: int,
        cut: bool = False,
        accept: Callable[[int, httpx2.Headers], None] | None = None,
    ) -> Answer:
        """Send one request and read its answer, whatever the status.

        Args:
            deadline: seconds for all of it, from the name to the last byte.
            max_bytes: of the body, before and after it is decompressed.
            cut: return the first ``max_bytes`` of a longer body, instead of refusing it.
            accept: is shown status and headers before the body is read, and may raise.

        Raises:
            Refused: ``denied``, ``unavailable``, ``timeout`` or ``too_large``; or what ``accept``
                raises.
        """
        pool = self._pool_for(url)
        host = url.origin.partition("://")[2]
        sent = [
            ("Host", host),
            ("User-Agent", self._user_agent),
            ("Accept-Encoding", "gzip, deflate"),
            *headers,
        ]
        asked = pool.stream(method, _as_given(url), headers=sent, content=body)
        try:
            with anyio.fail_after(deadline):
                async with asked as response:
                    return await _read(response, url, max_bytes, cut, accept)
        except TimeoutError:
            raise Refused("timeout", f"no complete answer within {deadline:g} s") from None
        except _NotPublic:
            log.warning("refused to connect: %s has an address that is not public", url.host)
            raise Refused("unavailable", _UNREACHABLE) from None
        except (OSError, httpcore2.NetworkError, httpcore2.TimeoutException) as error:
            log.info("no connection to %s: %s", url.origin, error)
            untrusted = isinstance(error.__context__, ssl.SSLCertVerificationError)
            raise Refused("unavailable", _UNTRUSTED if untrusted else _UNREACHABLE) from None
        except (httpcore2.ProtocolError, httpx2.DecodingError) as error:
            log.info("no valid answer from %s: %s", url.origin, error)
            raise Refused("unavailable", "what the host answers is not valid HTTP") from None

    def _pool_for(self, url: Url) -> httpcore2.AsyncConnectionPool:
        if self._only is not None and url.origin not in self._only:
            raise Refused("denied", "only the configured server may be reached")
        if url.origin in self._private:
            return self._private_pool
        if url.port not in self._ports:
            raise Refused("denied", f"port {url.port} may not be reached; use the usual one")
        with suppress(ValueError):
            # Told apart from a name that does not exist, since nothing is learned from it.
            if not is_public(str(ipaddress.ip_address(url.host))):
                raise Refused("denied", "this address is not a public one")
        return self._public_pool

    async def aclose(self) -> None:
        """Close all connections."""
        await self._public_pool.aclose()
        await self._private_pool.aclose()


def _pool(dial: _Dial, tls: ssl.SSLContext, size: int) -> httpcore2.AsyncConnectionPool:
    return httpcore2.AsyncConnectionPool(
        ssl_context=tls,
        network_backend=dial,
        max_connections=size,
        keepalive_expiry=_KEEP_SECONDS,
    )


class _NotPublic(Exception):
    """One of the addresses of a host is not a public one."""


class _Dial(httpcore2.AsyncNetworkBackend):
    """Makes every connection of a pool: to an address that it has looked at itself.

    Args:
        allowed: says whether an address may be connected to.
    """

    def __init__(self, allowed: Callable[[str], bool]) -> None:
        self._allowed = allowed
        self._plain = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check all that was answered, and dial one of exactly these."""
        loop = asyncio.get_running_loop()
        answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        if not addresses or not all(map(self._allowed, addresses)):
            raise _NotPublic
        *others, last = addresses
        for address in others:
            with suppress(httpcore2.NetworkError, httpcore2.TimeoutException):
                return await self._plain.connect_tcp(address, port, timeout=_DIAL_SECONDS)
        return await self._plain.connect_tcp(last, port)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: there is no such address on the web."""
        raise _NotPublic

    async def sleep(self, seconds: float) -> None:
        """Wait, as the pool asks."""
        await anyio.sleep(seconds)


class _TooMuch(Exception):
    """More came in than the limit allows."""


class _Counted(httpx2.AsyncByteStream):
    """The body as it comes in, up to a limit: what is decompressed of it may be nothing at all."""

    def __init__(self, response: httpcore2.Response, limit: int) -> None:
        self._response = response
        self._left = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._response.aiter_stream():
            self._left -= len(part)
            yield part
            if self._left < 0:
                raise _TooMuch


async def _read(
    response: httpcore2.Response,
    url: Url,
    max_bytes: int,
    cut: bool,
    accept: Callable[[int, httpx2.Headers], None] | None,
) -> Answer:
    """Read an answer in pieces; see `Egress.send`."""
    headers = httpx2.Headers(response.headers)
    if accept is not None:
        accept(response.status, headers)
    # One compression, of those that were asked for: a chain of them multiplies.
    if headers.get("content-encoding", "").strip().lower() not in _ENCODINGS:
        raise Refused("unavailable", "the answer is compressed in a way that was not asked for")
    stream = _Counted(response, max_bytes)
    decoded = httpx2.Response(response.status, headers=headers, stream=stream)
    body = bytearray()
    more = False
    try:
        # In pieces of 1 MiB at most, however much is in a few bytes.
        async with aclosing(decoded.aiter_bytes()) as parts:
            async for part in parts:
                body += part
                if len(body) > max_bytes:
                    raise _TooMuch
    except _TooMuch:
        if not cut:
            raise Refused("too_large", f"the answer has more than {max_bytes} bytes") from None
        more = True
    return Answer(url, response.status, headers, bytes(body[:max_bytes]), more)


def _as_given(url: Url) -> httpcore2.URL:
    """Hand an address on in its parts, so that nobody reads it a second time."""
    return httpcore2.URL(
        scheme=url.scheme.encode(),
        host=url.host.encode(),
        port=url.port,
        target=url.target.encode(),
    )
