# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The REST API backend: one API, for models. Exports `register` and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, Refused
from ..prefix import COMMAND, PREFIX

if TYPE_CHECKING:
    from ..backend import Registered
    from ..guard import GuardedServer
    from ..net.urls import Url
    from ..settings import Settings
    from .openapi import Document, Operation
    from .settings import ApiSettings

__all__ = ["register"]

_CUSTOM = Path(__file__).parents[1] / "custom"
_DOCUMENTS = ("openapi.json", "openapi.yaml", "openapi.yml")
_MAX_FILE = 32 * 1024 * 1024
_SECRETS = {
    "token": "bearer",
    "api_key": "api_key",
    "password": "basic",
    "client_secret": "oauth2",
}


def register(server: GuardedServer, settings: Settings) -> Registered:
    """Read the document and add the tools. Called once, at the start; nothing is asked.

    Raises:
        ConfigError: the document is wrong, or the address or a credential is missing.
    """
    from ..backend import Registered
    from ..net.egress import Egress
    from . import auth, tools
    from .client import Client

    own = settings.api
    read_only = settings.read_only or bool(own.read_only)
    document = _document(own)
    base, private = _base(own, document)
    operations = _served(document, own, read_only=read_only) if document else {}
    # What the operator has written may be anywhere; what a document says may not.
    origins = [base.origin] if private else []
    token_url = auth.token_url(own, base)
    if token_url is not None:
        origins.append(token_url.origin)
    egress = Egress(
        private=origins,
        only=[base.origin, *origins],
        user_agent=f"{COMMAND} (an MCP server)",
    )
    credentials = auth.make(own, base, server.redactor, egress)
    client = Client(base, credentials, egress, own)
    made = tools.Tools(client, document, operations, own, server)
    count = tools.add_to(server, made, document, operations, own, writes=not read_only)
    about = "no document, requests by path"
    if document is not None:
        how = "a tool each" if tools.mode(document, operations, own) == "tools" else "by search"
        about = f"{len(operations)} of {len(document.operations)} operations, {how}"
        if document.skipped:
            about += f", {len(document.skipped)} skipped"
    may = "read-only" if read_only else "may write"
    return Registered(
        name="api",
        summary=f"api: {client.address}, auth {own.auth}, {may}, {about}, {count} tools",
        warnings=tuple(_warnings(settings, document, base, operations)),
        aclose=egress.aclose,
    )


def _document(own: ApiSettings) -> Document | None:
    """Read the document that is set, or the one in ``custom/``; None where there is none."""
    from .openapi import load

    found = [_CUSTOM / name for name in _DOCUMENTS if (_CUSTOM / name).is_file()]
    file = Path(own.document) if own.document else next(iter(found), None)
    if file is None:
        return None
    setting = f"{PREFIX}API__DOCUMENT"
    try:
        with file.open("rb") as opened:
            text = opened.read(_MAX_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(f"{setting}: {file}: no such file") from None
    except OSError:
        raise ConfigError(f"{setting}: {file}: cannot be read by this account") from None
    reserved = [(own.api_key_in, own.api_key_name)] if own.auth == "api_key" else []
    try:
        return load(text, file.name, reserved)
    except ConfigError as error:
        raise ConfigError(f"{setting}: {error}") from None


def _base(own: ApiSettings, document: Document | None) -> tuple[Url, bool]:
    """Return the base URL, and whether it may be in a private network."""
    from ..net.egress import is_public
    from ..net.urls import parse
    from .answers import BASE_URL

    setting = f"{PREFIX}API__BASE_URL"
    if written := own.base_url or BASE_URL:
        try:
            return parse(written), True
        except Refused as refused:
            raise ConfigError(f"{setting}: {refused.message}") from None
    for server in document.servers if document else ():
        if not server.lower().startswith(("https:", "http:")):
            continue  # relative to where the document was, which is not known
        try:
            url = parse(server)
        except Refused:
            break
        numeric = ":" in url.host or url.host.replace(".", "").isdigit()
        if url.scheme == "https" and url.port == 443 and (not numeric or is_public(url.host)):
            return url, False
        break
    raise ConfigError(
        f"{setting}: which API? Such as https://api.example.com/v1; a document only says so "
        "with a public address of https"
    )


def _served(document: Document, own: ApiSettings, *, read_only: bool) -> Mapping[str, Operation]:
    """Return the operations that the filters leave."""
    from .settings import filter_matches

    def matches(globs: list[str], each: Operation) -> bool:
        return any(filter_matches(glob, each.method, each.path, each.tags) for glob in globs)

    return {
        name: each
        for name, each in document.operations.items()
        if (not own.include or matches(own.include, each))
        and not matches(own.exclude, each)
        and not (read_only and each.changes)
    }


def _warnings(
    settings: Settings, document: Document | None, base: Url, operations: Mapping[str, Operation]
) -> list[str]:
    from ..guard.redact import MIN_SECRET
    from .settings import filter_matches

    own = settings.api
    found = []
    if own.timeout >= settings.guard.timeout:
        found.append(
            f"{PREFIX}API__TIMEOUT has no effect: GUARD__TIMEOUT, which bounds the whole call, is "
            "not longer"
        )
    if own.auth != "none" and base.scheme == "http" and base.host not in ("localhost", "127.0.0.1"):
        found.append(f"{PREFIX}API__BASE_URL: credentials travel in the clear; use https")
    for name, kind in _SECRETS.items():
        secret = getattr(own, name)
        if secret is not None and own.auth != kind:
            found.append(f"{PREFIX}API__{name.upper()} has no effect with AUTH={own.auth}")
        elif secret is not None and len(secret.get_secret_value()) < MIN_SECRET:
            found.append(
                f"{PREFIX}API__{name.upper()} is too short to be recognized in answers and logs"
            )
    if document is None:
        return found
    for glob in (*own.include, *own.exclude):
        if not any(
            filter_matches(glob, each.method, each.path, each.tags)
            for each in document.operations.values()
        ):
            found.append(f"{glob} in {PREFIX}API__INCLUDE or EXCLUDE matches no operation")
    if not operations:
        found.append("the filters and read-only leave no operation of the document")
    found += [f"skipped: {name}: {why}" for name, why in list(document.skipped.items())[:10]]
    if len(document.skipped) > 10:
        found.append(f"skipped: {len(document.skipped) - 10} more; see the resource api://info")
    return found
