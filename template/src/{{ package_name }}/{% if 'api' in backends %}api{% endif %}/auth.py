# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Credentials: made of the settings at the start, or fetched and renewed (OAuth 2.0).

They leave this file for `client.py` alone, which sends them to the API's own origin. Those of an
OAuth client go to the origin of the token's address, and from here. No redirect is followed.
"""

from __future__ import annotations

import base64
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote_plus, urlencode

import anyio
from pydantic import SecretStr

from ..errors import ConfigError, Refused
from ..guard.redact import Redactor
from ..net.egress import Answer, Egress
from ..net.urls import Url, parse
from ..prefix import PREFIX
from .bodies import read_json
from .settings import ApiSettings

log = logging.getLogger(__name__)

# What a header can hold (RFC 9110, section 5.5), and what a token is made of (RFC 6750, 2.1).
_HEADER = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_MAX_TOKEN_BYTES = 64 * 1024
_TOKEN_SECONDS = 10.0  # for the token's address to answer
_FAILURE_SECONDS = 5.0  # in which a failure is not tried again
_RENEWAL_SECONDS = 30.0  # in which a second token is not fetched because the API refuses one
_MARGIN_SECONDS = 30.0  # before its end, a token is renewed; 10 % for one of a few minutes
_LIFETIME = 300.0  # seconds, where the answer says nothing that can be meant
_MAX_LIFETIME = 86_400.0
# RFC 6749, section 5.2: the only words of the token's address that are repeated.
_ERRORS = (
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
    "unsupported_grant_type", "invalid_scope",
)  # fmt: skip


@dataclass(frozen=True)
class Credentials:
    """What is added to a request.

    Attributes:
        header: name and value.
        query: name and value of a parameter.
        token: that was fetched, for `Auth.renew`.
    """

    header: tuple[str, str] | None = None
    query: tuple[str, str] | None = None
    token: str = ""

    def __repr__(self) -> str:
        return "Credentials(***)"


class Auth:
    """Credentials that stay the same."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def current(self) -> Credentials:
        """Return what to add to a request now.

        Raises:
            Refused: ``upstream``: a token was needed and there is none.
        """
        return self._credentials

    def renew(self, used: Credentials) -> bool:
        """Give up credentials that the API has refused; True: there will be others."""
        return False


class ClientCredentials(Auth):
    """Tokens of the client credentials grant (RFC 6749, section 4.4).

    Args:
        url: that gives them out.
        egress: the way to it.
        header: the client's credentials; None when they are in the form.
        form: the body.
        fetched: is told each token.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        url: Url,
        egress: Egress,
        header: str | None,
        form: dict[str, str],
        fetched: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(Credentials())
        self._url = url
        self._egress = egress
        self._header = header
        self._form = form
        self._fetched = fetched
        self._clock = clock
        self._lock = anyio.Lock()
        self._ends = 0.0  # when the token is to be renewed
        self._renewed = -_RENEWAL_SECONDS
        self._problem = ""
        self._failed = -_FAILURE_SECONDS

    async def current(self) -> Credentials:
        """Return the token; one caller fetches it, the others wait for that one."""
        async with self._lock:
            if self._clock() >= self._ends:
                await self._fetch()
            return self._credentials

    def renew(self, used: Credentials) -> bool:
        """Give up a token; but where new ones are refused as well, only now and then."""
        if used.token != self._credentials.token:
            return True  # somebody else was faster
        if self._clock() < self._renewed + _RENEWAL_SECONDS:
            return False
        self._renewed, self._ends = self._clock(), 0.0
        return True

    async def _fetch(self) -> None:
        if self._clock() < self._failed + _FAILURE_SECONDS:
            raise Refused("upstream", self._problem)
        try:
            answer = await self._egress.send(
                "POST",
                self._url,
                headers=[
                    ("Accept", "application/json"),
                    ("Content-Type", "application/x-www-form-urlencoded"),
                    *([("Authorization", self._header)] if self._header else []),
                ],
                body=urlencode(self._form).encode(),
                deadline=_TOKEN_SECONDS,
                max_bytes=_MAX_TOKEN_BYTES,
            )
            token, lifetime = _token_in(answer)
        except Refused as refused:
            self._problem = f"there is no token for the API: {refused.message}"
            self._failed = self._clock()
            log.warning("%s", self._problem)
            raise Refused("upstream", self._problem) from None
        self._fetched(token)
        self._credentials = Credentials(("Authorization", f"Bearer {token}"), token=token)
        self._ends = self._clock() + lifetime - min(_MARGIN_SECONDS, lifetime / 10)


def _token_in(answer: Answer) -> tuple[str, float]:
    """Return the token and its seconds (RFC 6749, section 5.1).

    Raises:
        Refused: it is no such answer. Nothing of it is repeated.
    """
    try:
        told = read_json(answer.body)
    except ValueError:
        told = None
    told = told if isinstance(told, dict) else {}
    if answer.status != 200:
        error = told.get("error")
        why = f" ({error})" if error in _ERRORS else ""
        raise Refused("upstream", f"its address answered {answer.status}{why}")
    token, kind = told.get("access_token"), told.get("token_type")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise Refused("upstream", "its address answered without a token that can be sent")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise Refused("upstream", "its address gave a token that is not of the type Bearer")
    return token, _lifetime(told.get("expires_in"))


def _lifetime(told: object) -> float:
    if isinstance(told, str) and re.fullmatch(r"[0-9]{1,10}", told):
        told = int(told)
    if isinstance(told, bool) or not isinstance(told, (int, float)) or told <= 0:
        return _LIFETIME
    return min(told, _MAX_LIFETIME)


# --- From the settings.


def make(settings: ApiSettings, base: Url, redactor: Redactor, egress: Egress) -> Auth:
    """Return the credentials that the settings name.

    Args:
        redactor: is told what else than the settings' own secrets may not be shown.

    Raises:
        ConfigError: one is missing or cannot be sent.
    """
    if settings.auth == "bearer":
        token = _sendable("TOKEN", _secret(settings, "token"), _TOKEN)
        return Auth(Credentials(("Authorization", f"Bearer {token}")))
    if settings.auth == "api_key":
        key, name = _secret(settings, "api_key"), settings.api_key_name
        if settings.api_key_in == "query":
            return Auth(Credentials(query=(name, key)))
        return Auth(Credentials((name, _sendable("API_KEY", key, _HEADER))))
    if settings.auth == "basic":
        name, password = _text(settings, "username"), _secret(settings, "password")
        return Auth(Credentials(("Authorization", _basic(name, password, redactor))))
    if settings.auth == "oauth2":
        return _client(settings, base, redactor, egress)
    return Auth(Credentials())


def token_url(settings: ApiSettings, base: Url) -> Url | None:
    """Return the address that gives out tokens; None where none are needed.

    Raises:
        ConfigError: it is missing, or the client's secret would travel in the clear.
    """
    if settings.auth != "oauth2":
        return None
    url = parse(_text(settings, "token_url"))
    if url.scheme != "https" and url.origin != base.origin and url.host not in _LOOPBACK:
        raise ConfigError(f"{PREFIX}API__TOKEN_URL: write an address of https")
    return url


def _client(
    settings: ApiSettings, base: Url, redactor: Redactor, egress: Egress
) -> ClientCredentials:
    url = token_url(settings, base)
    name, secret = _text(settings, "client_id"), _secret(settings, "client_secret")
    if url is None:  # for the type checker: the caller has asked for oauth2
        raise ConfigError(f"{PREFIX}API__TOKEN_URL: is missing")
    form = {"grant_type": "client_credentials"}
    if settings.scope:
        form["scope"] = settings.scope
    header = None
    if settings.client_auth == "post":
        form |= {"client_id": name, "client_secret": secret}
    else:  # RFC 6749, section 2.3.1: encoded as in a form before they are joined
        header = _basic(quote_plus(name), quote_plus(secret), redactor)
    return ClientCredentials(url, egress, header, form, redactor.add)


def _basic(name: str, password: str, redactor: Redactor) -> str:
    """Return the header of RFC 7617, section 2, and keep what it holds secret."""
    encoded = base64.b64encode(f"{name}:{password}".encode()).decode()
    redactor.add(f"{name}:{password}")
    return f"Basic {encoded}"


def _secret(settings: ApiSettings, name: str) -> str:
    value: SecretStr | None = getattr(settings, name)
    return _present(settings, name, value.get_secret_value() if value else "")


def _text(settings: ApiSettings, name: str) -> str:
    return _present(settings, name, getattr(settings, name) or "")


def _present(settings: ApiSettings, name: str, value: str) -> str:
    if not value:
        raise ConfigError(
            f"{PREFIX}API__{name.upper()}: with {PREFIX}API__AUTH={settings.auth} it is needed"
        )
    return value


def _sendable(name: str, value: str, shape: re.Pattern[str]) -> str:
    if not shape.fullmatch(value):
        raise ConfigError(
            f"{PREFIX}API__{name}: has a space, a line end or another sign that cannot be sent"
        )
    return value
