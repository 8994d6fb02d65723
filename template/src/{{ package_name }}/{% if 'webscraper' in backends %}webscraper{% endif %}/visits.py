# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The one way to a page: domain rules, robots.txt, pace, the request; and so on for each redirect.

Every tool fetches through `Visits.get`, so none can leave a check out.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2

from ..errors import Refused
from ..net.egress import Answer, Egress
from ..net.pace import Pace
from ..net.urls import Url
from .cache import Cache
from .permissions import Permissions
from .robots import product_token
from .settings import WebscraperSettings
from .sites import site

PAGES: Final = ("application/xhtml+xml", "application/json", "application/xml")
_TEXTS: Final = re.compile(r"text/[a-z0-9.+_-]+|application/[a-z0-9.+_-]+\+(json|xml)")
SITEMAPS: Final = ("text/xml", "application/xml", "application/gzip", "application/x-gzip",
                   "application/octet-stream")  # fmt: skip
_ACCEPT: Final = (
    "text/html, application/xhtml+xml, text/markdown, text/*;q=0.9, application/json;q=0.8, "
    "application/xml;q=0.8, */*;q=0.1"
)
_REDIRECTS: Final = (301, 302, 303, 307, 308)  # RFC 9110, section 15.4
_MOST_HOLD: Final = 3600.0  # seconds that a Retry-After holds a site back
_PAGE_BYTES: Final = 2000  # of memory, besides body and texts
_WORDS: Final = {
    401: "; it wants a login, which this server never has",
    403: "; it does not want to be fetched by programs",
    404: "; there is no such page",
    410: "; there is no such page any more",
    429: "; it was asked too often, try again later",
    503: "; try again later",
}


@dataclass(frozen=True)
class Page:
    """What one address answers.

    Attributes:
        url: of the page, after all redirects.
        content_type: value of the header; empty: none.
        body: decompressed.
        leads_to: where a redirect leads.
        fetched_at: when it was received, or last found unchanged; ISO 8601.
        from_cache: the body was kept from an earlier request.
        texts: what it was converted to, by what was wanted.
    """

    url: Url
    status: int
    content_type: str
    body: bytes
    leads_to: Url | None
    fetched_at: str
    conditions: tuple[tuple[str, str], ...]
    fresh_until: float
    storable: bool
    from_cache: bool = False
    texts: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of memory that it takes, about."""
        texts = sum(sys.getsizeof(text) + 500 for _, text in self.texts.values())
        return _PAGE_BYTES + len(self.body) + texts


class Visits:
    """Fetches pages.

    Args:
        egress: the only way out.
        settings: the rules and limits.
        user_agent: of all requests; its first letters are our name in a robots.txt.
    """

    def __init__(self, egress: Egress, settings: WebscraperSettings, user_agent: str) -> None:
        self._egress = egress
        self._settings = settings
        self._pace = Pace(settings.rate, settings.burst)
        self._cache: Cache[Page] = Cache(settings.cache_bytes)
        # Half the time of a call, so that the call that waits for it can still say so.
        self.permissions = Permissions(
            self._hop, product_token(user_agent), timeout=settings.timeout / 2
        )

    async def get(
        self, url: Url, *, types: Sequence[str] = PAGES, within: str | None = None
    ) -> Page:
        """Fetch a page, after its redirects.

        Args:
            types: media types that are accepted; `PAGES` means all texts, +json and +xml too.
            within: the site that no redirect may leave.

        Raises:
            Refused: ``denied``, ``robots``, ``busy``, ``upstream``, ``type_not_allowed``, and
                those of `Egress.send`.
        """
        for _ in range(self._settings.max_redirects + 1):
            page = await self._visit(url, types)
            if page.leads_to is None:
                return page
            if url.scheme == "https" and page.leads_to.scheme == "http":
                raise Refused("denied", "the page leads from https to http, which is not followed")
            url = page.leads_to
            if within is not None and site(url.host) != within:
                raise Refused("denied", "the page leads to another site")
        most = self._settings.max_redirects
        raise Refused("upstream", f"the page redirects more than {most} times")

    def _check_domain(self, url: Url) -> None:
        """Apply the domain rules.

        Raises:
            Refused: ``denied``.
        """
        own = self._settings
        if any(_is_in(url.host, domain) for domain in own.blocked_domains):
            raise Refused("denied", "this domain is blocked")
        if not own.allowed_domains or url.origin in own.allowed_origins:
            return
        if not any(_is_in(url.host, domain) for domain in own.allowed_domains):
            raise Refused("denied", "this domain is not one of those that are allowed")

    def keep(self, page: Page) -> None:
        """Put a page into the cache, or say that it has grown by a text."""
        if page.storable:
            self._cache.put(str(page.url), page, page.size)

    async def _visit(self, url: Url, types: Sequence[str]) -> Page:
        """Fetch one address, without what it leads to."""
        interval = await self.permissions.check(url) if self._settings.robots else 0.0
        known = self._cache.get(str(url))
        if known is not None and known.leads_to is None and not _is_of(known.content_type, types):
            known = None  # another tool takes other types
        if known is not None and time.monotonic() < known.fresh_until:
            return replace(known, from_cache=True)

        def accept(status: int, headers: httpx2.Headers) -> None:
            if not (status == 304 and known is not None):
                _check_answer(status, headers, types)

        answer = await self._hop(
            url,
            headers=[("Accept", _ACCEPT), *(known.conditions if known is not None else ())],
            max_bytes=self._settings.max_bytes,
            deadline=self._settings.timeout,
            interval=interval,
            accept=accept,
        )
        fresh_until = time.monotonic() + self._settings.cache_ttl
        if answer.status == 304 and known is not None:
            page = replace(known, fetched_at=_now(), fresh_until=fresh_until)
            self.keep(page)
            return replace(page, from_cache=True)
        page = _page(answer, fresh_until)
        self._cache.drop(str(url))
        self.keep(page)
        return page

    async def _hop(
        self,
        url: Url,
        *,
        headers: Sequence[tuple[str, str]] = (),
        max_bytes: int,
        cut: bool = False,
        deadline: float,
        interval: float = 0.0,
        accept: Callable[[int, httpx2.Headers], None] | None = None,
    ) -> Answer:
        """Send one request, for a page or a robots.txt: every one is checked and counted."""
        self._check_domain(url)
        key = site(url.host)
        await self._pace.wait(key, patience=self._settings.max_wait, interval=interval)

        def seen(status: int, received: httpx2.Headers) -> None:
            if status in (429, 503):
                self._pace.hold(key, _retry_after(received.get("retry-after", "")))
            if accept is not None:
                accept(status, received)

        return await self._egress.send(
            "GET",
            url,
            headers=headers,
            deadline=deadline,
            max_bytes=max_bytes,
            cut=cut,
            accept=seen,
        )


def _is_in(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _check_answer(status: int, headers: httpx2.Headers, types: Sequence[str]) -> None:
    """Look at an answer before its body is read.

    Raises:
        Refused: ``upstream``, ``type_not_allowed``.
    """
    if status in _REDIRECTS and "location" in headers:
        return
    if not 200 <= status < 300:
        hint = _WORDS.get(status, "")
        raise Refused("upstream", f"the page answers with status {status}{hint}")
    content_type = headers.get("content-type", "")
    if not _is_of(content_type, types):
        kind = content_type.partition(";")[0]
        shown = "".join(each for each in kind if each.isalnum() or each in "/.+-")[:60]
        raise Refused("type_not_allowed", f"it is of type {shown}, which is not fetched; text is")


def _is_of(content_type: str, types: Sequence[str]) -> bool:
    """Say whether a Content-Type is one of these; a page that has none may be text."""
    kind = content_type.partition(";")[0].strip().lower()
    if not kind or kind in types:
        return True
    # A list of types, as two such headers make one, is none of them.
    return types is PAGES and _TEXTS.fullmatch(kind) is not None


def _page(answer: Answer, fresh_until: float) -> Page:
    headers = answer.headers
    content_type = headers.get("content-type", "")
    if not content_type and b"\0" in answer.body[:1024]:
        raise Refused("type_not_allowed", "it is not text, and does not say what it is")
    asked = {
        "if-none-match": headers.get("etag"),
        "if-modified-since": headers.get("last-modified"),
    }
    control = {each.strip().lower() for each in headers.get("cache-control", "").split(",")}
    return Page(
        url=answer.url,
        status=answer.status,
        content_type=content_type,
        body=answer.body,
        leads_to=answer.redirect(),
        fetched_at=_now(),
        conditions=tuple(
            (name, value)
            for name, value in asked.items()
            if value and len(value) < 1000 and value.isascii() and value.isprintable()
        ),
        fresh_until=0.0 if "no-cache" in control else fresh_until,
        storable="no-store" not in control,
    )


def _retry_after(value: str) -> float:
    """Read a Retry-After: seconds or a date (RFC 9110, section 10.2.3); 0: neither."""
    try:
        if value.isdecimal() and value.isascii():
            seconds = float(value)
        else:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _MOST_HOLD)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
