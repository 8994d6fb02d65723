# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Sitemaps (sitemaps.org, protocol 0.9): which pages a site says that it has.

A document type is refused as soon as it begins, so no entity is ever declared, and none expands.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from xml.parsers import expat

from ..errors import Refused
from .decode import line

_MOST_URL = 2048  # characters, as in the protocol
_MOST_DEPTH = 16
_CHUNK = 64 * 1024
_ROOTS = {"urlset": "url", "sitemapindex": "sitemap"}


@dataclass
class Sitemap:
    """What is in one file.

    Attributes:
        urls: of pages, each with the date of its last change, or "".
        sitemaps: of other files: it is an index.
        truncated: there is more than was asked for.
    """

    urls: list[tuple[str, str]] = field(default_factory=list)
    sitemaps: list[str] = field(default_factory=list)
    truncated: bool = False


class _Enough(Exception):
    """As much was read as was asked for."""


def read(body: bytes, *, limit: int, max_bytes: int) -> Sitemap:
    """Read a sitemap or an index of sitemaps, also one that is compressed by gzip.

    Args:
        limit: entries that are wanted.
        max_bytes: of the file, decompressed.

    Raises:
        Refused: ``too_large``; ``upstream``: it is none.
    """
    if body.startswith(b"\x1f\x8b"):
        body = _unpacked(body, max_bytes)
    reading = _Reading(limit)
    try:
        for start in range(0, len(body), _CHUNK):
            reading.parser.Parse(body[start : start + _CHUNK], False)
        reading.parser.Parse(b"", True)
    except _Enough:
        reading.found.truncated = True
    except (expat.ExpatError, ValueError, LookupError):
        raise Refused("upstream", "what the site answers is no valid XML") from None
    return reading.found


def _unpacked(body: bytes, max_bytes: int) -> bytes:
    try:
        unpacked = zlib.decompressobj(wbits=31).decompress(body, max_bytes + 1)
    except zlib.error:
        raise Refused("upstream", "the sitemap is compressed, and broken") from None
    if len(unpacked) > max_bytes:
        raise Refused("too_large", f"the sitemap has more than {max_bytes} bytes")
    return unpacked


class _Reading:
    """The state of the parser: elements that are open, and the text of the last one."""

    def __init__(self, limit: int) -> None:
        self.found = Sitemap()
        self._limit = limit
        self._open: list[str] = []
        self._text = ""
        self._entry: dict[str, str] = {}
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data

    def _doctype(self, *_: object) -> None:
        raise Refused("upstream", "the sitemap declares a document type, which is not read")

    def _start(self, name: str, _: object) -> None:
        local = name.rpartition(" ")[2]
        if not self._open and local not in _ROOTS:
            raise Refused("upstream", "what the site answers is no sitemap")
        if len(self._open) >= _MOST_DEPTH:
            raise Refused("too_large", "the sitemap is nested too deeply")
        self._open.append(local)
        self._text = ""

    def _data(self, text: str) -> None:
        if len(self._open) == 3 and len(self._text) <= _MOST_URL:
            self._text += text

    def _end(self, _: str) -> None:
        local = self._open.pop()
        if len(self._open) == 2 and self._open[1] == _ROOTS[self._open[0]]:
            if local in ("loc", "lastmod"):
                self._entry[local] = self._text.strip()
        elif len(self._open) == 1 and local == _ROOTS[self._open[0]]:
            self._add(self._entry)
            self._entry = {}

    def _add(self, entry: dict[str, str]) -> None:
        address = entry.get("loc", "")
        if not address.startswith(("http://", "https://")) or len(address) > _MOST_URL:
            return
        if len(self.found.urls) + len(self.found.sitemaps) >= self._limit:
            raise _Enough
        if self._open[0] == "urlset":
            self.found.urls.append((line(address, _MOST_URL), line(entry.get("lastmod", ""), 40)))
        else:
            self.found.sitemaps.append(address)
