# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Whose a host is: the part of its name that somebody has registered (Public Suffix List)."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from functools import cache
from urllib.parse import urlsplit

from publicsuffixlist import PublicSuffixList

from ..errors import Refused
from ..net.urls import parse


def site(host: str) -> str:
    """Return the registrable domain of a host, or the host itself where it has none.

    Args:
        host: as `net.urls.Url` has it: in ASCII, in small letters, or an IP address.
    """
    with suppress(ValueError):
        return str(ipaddress.ip_address(host))
    return _suffixes().privatesuffix(host) or host


def site_of(address: str) -> str:
    """Return the registrable domain of an absolute address in a page; empty: it has none."""
    try:
        # Much faster than `parse`, which is needed for other letters only.
        host = (urlsplit(address).hostname or "").removesuffix(".")
        return site(host if host.isascii() else parse(address).host) if host else ""
    except (ValueError, Refused):
        return ""


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()
