# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The one way to the API: every request of every tool is sent by `Client`.

The base URL is fixed when the client is made; a request brings only what stands behind it. Here
credentials are added, the pace is kept, what may be repeated is repeated, and all of it ends at
one deadline. No redirect is followed.
"""

from __future__ import annotations

import logging
import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn
from urllib.parse import quote, unquote_plus

import anyio
import httpx2

from ..errors import Refused
from ..net.egress import Egress
from ..net.pace import Pace
from ..net.urls import Url
from .auth import Auth, Credentials
from .bodies import is_text, media_type
from .requests import Request
from .settings import READING, ApiSettings

log = logging.getLogger(__name__)

_API = "api"  # the one key of the pace: the rate is of all tools together
_ACCEPT = "application/json, text/*;q=0.5, */*;q=0.1"
_TARGET = re.compile(r"/[\x21\x22\x24-\x7e]*")  # no space, line end or fragment

_TRANSIENT = (429, 502, 503, 504)
_PATIENCE = 5.0  # seconds of a Retry-After that are waited; a longer one is told
_MAX_HOLD = 3600.0  # seconds of one that are kept
_BACKOFF = 0.3  # seconds before the first repetition, then twice as many each time
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")
_RATE_HEADER = re.compile(r"(x-)?rate-?limit-(limit|remaining|reset|used)|retry-after")
_UNSURE = "; it may have taken effect: look before you repeat it"


@dataclass(frozen=True)
class Reply:
    """An answer whose body was read.

    Attributes:
        status: 200 to 299, or 400 to 499.
        content_type: the header; empty: there was none.
        body: decompressed, within the limit; empty for a status of 400 and more that had more.
        sent: the credentials of the request.
    """

    status: int
    content_type: str
    body: bytes
    sent: Credentials


class _Unread(Exception):
    """An answer whose body is of no interest."""

    def __init__(self, status: int, headers: httpx2.Headers) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers


class Client:
    """Sends requests to the API.

    Args:
        base: what every path is added to; its query is not used.
        auth: the credentials, for requests to the origin of ``base`` and for no others.
        egress: the way out.
        settings: limits.
    """

    def __init__(self, base: Url, auth: Auth, egress: Egress, settings: ApiSettings) -> None:
        self._base = base
        self._auth = auth
        self._egress = egress
        self._own = settings
        self._pace = Pace(settings.rate, settings.burst)
        self.rate_headers: dict[str, float] = {}  # the last that were seen

    @property
    def origin(self) -> str:
        """Scheme, host and port of the API."""
        return self._base.origin

    @property
    def address(self) -> str:
        """The base URL."""
        return self._base.origin + self._base.path

    async def ask(self, request: Request) -> Reply:
        """Send a request; return an answer of status 200 to 299, or 400 to 499 but 429.

        Raises:
            Refused: ``upstream`` for another status, ``type_not_allowed``, ``too_large``,
                ``timeout``, ``busy`` or ``unavailable``.
        """
        try:
            with anyio.fail_after(self._own.timeout):
                return await self._repeated(request)
        except TimeoutError:
            refused = Refused("timeout", f"no complete answer within {self._own.timeout:g} s")
        except Refused as error:
            refused = error
        if request.method not in READING and refused.code in ("timeout", "unavailable"):
            refused = Refused(refused.code, refused.message + _UNSURE)
        raise refused from None

    async def look(self, method: str, target: str) -> int:
        """Send a request without a body once, and return the status of its answer.

        Raises:
            Refused: as `ask`, but not for a status.
        """
        request = Request(method, target, [], None, None)
        try:
            with anyio.fail_after(self._own.timeout):
                await self._once(request, _nothing)
        except TimeoutError:
            raise Refused("timeout", f"no answer within {self._own.timeout:g} s") from None
        except _Unread as answer:
            return answer.status
        raise AssertionError("every answer is left unread")

    async def _repeated(self, request: Request) -> Reply:
        left = self._own.retries if request.method in READING else 0
        delay = _BACKOFF
        renewed = False
        while True:
            try:
                reply = await self._once(request, self._acceptable)
                if reply.status != 401 or renewed or not self._auth.renew(reply.sent):
                    return reply
                renewed = True  # a request that was not authorized has had no effect
                continue
            except _Unread as answer:
                self._look_at(answer, last=left == 0)
            except Refused as refused:
                if refused.code != "unavailable" or left == 0:
                    raise
            left -= 1
            await anyio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311  no secret
            delay *= 2

    async def _once(self, request: Request, accept: Callable[[int, httpx2.Headers], None]) -> Reply:
        await self._pace.wait(_API, patience=self._own.max_wait)
        credentials = await self._auth.current()
        headers = [("Accept", _ACCEPT), *request.headers]
        body = request.body
        if request.content_type is not None:
            headers.append(("Content-Type", request.content_type))
        if request.method not in READING and body is None:
            body = b""  # says that there is none (RFC 9110, section 8.6)
        if credentials.header is not None:
            headers.append(credentials.header)
        answer = await self._egress.send(
            request.method,
            self._url(request.target, credentials),
            headers=headers,
            body=body,
            deadline=self._own.timeout,
            max_bytes=self._own.max_bytes,
            cut=True,  # of an error, what is too long is left out
            accept=lambda status, seen: accept(status, self._noted(seen)),
        )
        if answer.cut and answer.status < 300:
            raise Refused(
                "too_large",
                f"the answer has more than {self._own.max_bytes} bytes; ask for less, such as "
                "a page, or fewer fields",
            )
        kind = answer.headers.get("content-type", "")
        return Reply(answer.status, kind, b"" if answer.cut else answer.body, credentials)

    def _url(self, target: str, credentials: Credentials) -> Url:
        """Return the base URL with a target behind it. Scheme, host and port are the base's."""
        if not _TARGET.fullmatch(target):
            raise Refused("invalid_arguments", "the path or query has a sign that cannot be sent")
        if credentials.query is not None:
            name, value = credentials.query
            path, _, query = target.partition("?")
            names = (unquote_plus(pair.partition("=")[0]) for pair in query.split("&"))
            if any(each.partition("[")[0].strip().lower() == name.lower() for each in names):
                raise Refused("denied", f"the parameter {name} has the server's own key")
            key = f"{quote(name, safe='')}={quote(value, safe='')}"
            target = f"{path}?{query}&{key}" if query else f"{path}?{key}"
        return replace(self._base, target=self._base.path.rstrip("/") + target)

    def _acceptable(self, status: int, headers: httpx2.Headers) -> None:
        """Say of which answers the body is read."""
        if not 200 <= status < 300 and (not 400 <= status < 500 or status == 429):
            raise _Unread(status, headers)
        kind = headers.get("content-type", "")
        if status < 300 and status != 204 and not is_text(kind):
            size = headers.get("content-length", "")
            size = f", {size} bytes" if _NUMBER.fullmatch(size) else ""
            named = media_type(kind) or "of no known type"
            raise Refused("type_not_allowed", f"the answer is no text ({named}{size})")

    def _look_at(self, answer: _Unread, *, last: bool) -> None:
        """Return when the request may be sent again; hold the pace where the API asks for it.

        Raises:
            Refused: it may not.
        """
        status = answer.status
        if 300 <= status < 400:
            _refuse_redirect(status, answer.headers, self._base)
        if status not in _TRANSIENT:
            raise Refused("upstream", f"the API answered {status}")
        wait = _asked_to_wait(answer.headers)
        if wait is not None:
            self._pace.hold(_API, min(wait, _MAX_HOLD))
        if wait is not None and (last or wait > _PATIENCE):
            raise Refused("busy", f"the API answered {status} and asks to wait {math.ceil(wait)} s")
        if last:
            raise Refused("upstream", f"the API answered {status}; try again later")

    def _noted(self, headers: httpx2.Headers) -> httpx2.Headers:
        """Remember the numbers of rate limits, and nothing else of an answer."""
        seen = {
            name: float(value)
            for name, value in headers.items()
            if _RATE_HEADER.fullmatch(name) and _NUMBER.fullmatch(value)
        }
        if seen:
            self.rate_headers = seen
        return headers


def _nothing(status: int, headers: httpx2.Headers) -> NoReturn:
    raise _Unread(status, headers)


def _refuse_redirect(status: int, headers: httpx2.Headers, base: Url) -> NoReturn:
    where = ""
    try:
        same = base.join(headers.get("location", "")).origin == base.origin
    except Refused:
        same = False
    if "location" in headers:
        where = ", to a place on the same server" if same else ", to another server"
    raise Refused("upstream", f"the API answered {status}{where}; redirects are not followed")


def _asked_to_wait(headers: httpx2.Headers) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, section 10.2.3)."""
    told = headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]{1,9}", told):
        return float(told)
    try:
        until = parsedate_to_datetime(told)
    except (ValueError, TypeError, IndexError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
