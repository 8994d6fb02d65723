# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Which addresses robots.txt lets us fetch: asked once for each origin, and kept."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import anyio

from ..errors import Refused
from ..net.egress import Answer
from ..net.urls import Url
from .cache import Cache
from .robots import MAX_BYTES, NOTHING, Robots, Rule, parse

_KEPT: Final = 3600.0  # seconds; at most a day, RFC 9309, section 2.4
_KEPT_UNREAD: Final = 60.0  # where it could not be read
_REDIRECTS: Final = 5  # section 2.3.1.2
_MOST_DELAY: Final = 30.0  # seconds of a crawl-delay that are waited for
_CACHE_BYTES: Final = 32 * 1024 * 1024
_RULE_BYTES: Final = 500  # of memory, about

_DISALLOWED = "the site's robots.txt disallows this address"
_UNREAD = "the site's robots.txt cannot be read now, so nothing of the site is fetched"


class Hop(Protocol):
    """Sends one request through the domain rules and the pace; see `visits`."""

    def __call__(
        self, url: Url, *, max_bytes: int, cut: bool, deadline: float
    ) -> Awaitable[Answer]: ...


@dataclass(frozen=True)
class Site:
    """What the robots.txt of an origin says.

    Attributes:
        url: of the file.
        status: that it was answered with; None: not answered.
        unread: why it could not be read, so that nothing may be fetched; empty: it could.
        robots: what is in it.
    """

    url: Url
    status: int | None
    unread: str = ""
    robots: Robots = NOTHING

    def decision(self, url: Url) -> tuple[bool, Rule | None]:
        """Say whether an address may be fetched, and which rule decides."""
        rule = self.robots.rule_for(url.target)
        return not self.unread and (rule is None or rule.allow), rule


class Permissions:
    """What robots.txt allows.

    Args:
        hop: sends a request, without asking here.
        token: our product token.
        timeout: seconds for all requests for one robots.txt.
    """

    def __init__(self, hop: Hop, token: str, timeout: float) -> None:
        self._hop = hop
        self._token = token
        self._timeout = timeout
        self._known: Cache[tuple[float, Site]] = Cache(_CACHE_BYTES)
        self._asking: dict[str, anyio.Lock] = {}

    async def check(self, url: Url) -> float:
        """Return the seconds that the site wants between two requests; 0: it does not say.

        Raises:
            Refused: ``robots``, or why its robots.txt could not be asked for.
        """
        site = await self.site(url)
        allowed, _ = site.decision(url)
        if not allowed:
            why = f"{_UNREAD}: {site.unread}" if site.unread else _DISALLOWED
            raise Refused("robots", why)
        delay = site.robots.crawl_delay or 0.0
        if delay > _MOST_DELAY:
            raise Refused(
                "robots",
                f"the site's robots.txt wants {delay:g} s between two requests; that is more than "
                f"the {_MOST_DELAY:g} s that are waited",
            )
        return delay

    async def site(self, url: Url) -> Site:
        """Return what the robots.txt of an address's origin says.

        Raises:
            Refused: ``busy``; ``denied`` where the origin itself may not be reached.
        """
        origin = url.origin
        lock = self._asking.setdefault(origin, anyio.Lock())
        try:
            async with lock:  # all others wait for the first
                until, site = self._known.get(origin) or (0.0, None)
                if site is None or until < time.monotonic():
                    site = await self._fetch(replace(url, target="/robots.txt"))
                    until = time.monotonic() + (_KEPT_UNREAD if site.unread else _KEPT)
                    size = 2 * _RULE_BYTES + sum(map(len, site.robots.sitemaps))
                    size += _RULE_BYTES * len(site.robots.rules)
                    size += sum(len(rule.text) * 2 for rule in site.robots.rules)
                    self._known.put(origin, (until, site), size)
                return site
        finally:
            if not lock.locked():
                self._asking.pop(origin, None)

    async def _fetch(self, own: Url) -> Site:
        give_up = time.monotonic() + self._timeout
        where = own
        for _ in range(_REDIRECTS + 1):
            left = max(give_up - time.monotonic(), 0.001)
            try:
                answer = await self._hop(where, max_bytes=MAX_BYTES + 1, cut=True, deadline=left)
                leads_to = answer.redirect()
            except Refused as refused:
                if refused.code == "busy" or (refused.code == "denied" and where == own):
                    raise  # says nothing of the file
                return Site(own, None, refused.message)
            if leads_to is None:
                return self._read(own, answer)
            if where.scheme == "https" and leads_to.scheme == "http":
                return Site(own, None, "it redirects from https to http")
            where = leads_to
        return Site(own, None, f"it redirects more than {_REDIRECTS} times")

    def _read(self, own: Url, answer: Answer) -> Site:
        """Judge an answer: without a file all is allowed, with a broken server nothing is.

        RFC 9309, sections 2.3.1.3 and 2.3.1.4. Of those that say "no file", 429 says "not now".
        """
        if 200 <= answer.status < 300:
            return Site(own, answer.status, robots=parse(answer.body, self._token))
        missing = 400 <= answer.status < 500 and answer.status != 429
        why = "" if missing else f"it answers with status {answer.status}"
        return Site(own, answer.status, why)
