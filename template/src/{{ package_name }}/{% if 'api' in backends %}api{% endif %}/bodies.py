# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The body of an answer: whether it is text, and what it says. Never trusted to be well made."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections import OrderedDict
from typing import Any

from ..cursor import decode, encode
from ..errors import Refused
from ..guard.limits import excess

_MAX_DEPTH = 64  # levels; parsers of clients give up at a hundred or two
_MAX_EXPANDED = 256 * 1024 * 1024  # bytes; the body itself has a limit already
_TEXT = re.compile(
    r"text/.*|application/(?:(?:.*\+)?(?:xml|yaml)|x-yaml|(?:x-)?javascript|graphql|x-ndjson"
    r"|jsonl?|json-seq|x-www-form-urlencoded)"
)
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,80}/[a-z0-9!#$&^_.+-]{1,80}")
# Python knows encodings that unpack or run code points backwards; these are of text.
_CHARSETS = ("utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "utf-16")
_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_KEPT_SECONDS = 120.0
_KEPT_ANSWERS = 16
_KEPT_CHARS = 32 * 1024 * 1024
_QUESTION = "read_answer"


def media_type(content_type: str) -> str:
    """Return the type of a Content-Type header; empty where it names none."""
    named = content_type.partition(";")[0].strip().lower()
    return named if _MEDIA_TYPE.fullmatch(named) else ""


def is_json(content_type: str) -> bool:
    """Say whether a header promises JSON (RFC 8259, RFC 6839 section 3.1)."""
    named = media_type(content_type)
    return named == "application/json" or named.endswith("+json")


def is_text(content_type: str) -> bool:
    """Say whether a header promises text of any kind, or nothing."""
    named = media_type(content_type)
    return not content_type or is_json(content_type) or _TEXT.fullmatch(named) is not None


def read_json(body: bytes) -> Any:
    """Return the value of a JSON text (RFC 8259).

    Raises:
        ValueError: it is none, or has what JSON does not: NaN, or more than 64 levels. In a few
            words, which hold nothing of it.
    """
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError(f"is nested deeper than {_MAX_DEPTH} levels") from None
    except ValueError:
        raise ValueError("is not valid") from None
    if problem := excess(value, _MAX_EXPANDED, _MAX_DEPTH):
        raise ValueError(problem)
    return value


def _refuse(name: str) -> Any:
    raise ValueError(name)


def write_json(value: Any) -> str:
    """Return the shortest JSON text of a value."""
    return _write(value)


def read_text(body: bytes, content_type: str) -> str:
    """Return a text in the encoding that its header names, or in UTF-8."""
    found = re.search(r"charset=\"?([A-Za-z0-9-]+)", content_type)
    named = found[1].lower() if found else ""
    return body.decode(named if named in _CHARSETS else "utf-8", "replace").removeprefix("\ufeff")


class Pages:
    """Long answers, kept for two minutes so that the API is not asked again for their rest.

    A cursor holds an unguessable name: it is of use only to whom it was given. What is oldest is
    forgotten first: beyond 16 answers, or 32 Mi characters.

    Args:
        size: characters of a page.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def first(self, text: str) -> tuple[str, str | None]:
        """Return the first page of a text, and the cursor of the next."""
        if len(text) <= self._size:
            return text, None
        name = secrets.token_urlsafe(16)
        self._kept[name] = (time.monotonic(), text)
        self._forget()
        return self._page(name, text, 0)

    def next(self, cursor: str) -> tuple[str, int, int, str | None]:
        """Return a page, where it begins, the characters of all, and the cursor of the next.

        Raises:
            Refused: ``invalid_arguments`` for a cursor that is none, ``not_found`` for one whose
                answer is no longer kept.
        """
        self._forget()
        name, start = (*decode(_QUESTION, cursor, (str, int)), None, None)[:2]
        _, text = self._kept.get(str(name), (0, ""))
        if not isinstance(start, int) or not 0 <= start < len(text):
            raise Refused(
                "not_found",
                f"the rest of this answer is no longer kept, after {_KEPT_SECONDS:g} s or many "
                "other long answers; ask the API again",
            )
        page, following = self._page(str(name), text, start)
        return page, start, len(text), following

    def _page(self, name: str, text: str, start: int) -> tuple[str, str | None]:
        end = start + self._size
        return text[start:end], encode(_QUESTION, [name, end]) if end < len(text) else None

    def _forget(self) -> None:
        oldest = time.monotonic() - _KEPT_SECONDS
        while self._kept and (
            next(iter(self._kept.values()))[0] < oldest
            or len(self._kept) > _KEPT_ANSWERS
            or sum(len(text) for _, text in self._kept.values()) > _KEPT_CHARS
        ):
            self._kept.popitem(last=False)
