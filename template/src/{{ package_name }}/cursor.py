# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Where the next page of an answer begins, in a form that the client only hands back.

The server remembers nothing between two pages. A cursor holds a place in a sorted order and a
digest of the question it belongs to. There is no secret in it and no key: whoever makes one up
chooses a place to go on from, which is only ever compared with names, never opened.
"""

from __future__ import annotations

import binascii
import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

from .errors import Refused

MAX_CURSOR_CHARS = 16_384
_DIGEST_BYTES = 12

Place = list[str | int]


def encode(question: object, place: Sequence[str | int]) -> str:
    """Return the cursor of a place.

    Args:
        question: the tool and its arguments, as anything that JSON can hold.
        place: what `decode` is to return.
    """
    body = json.dumps(place, separators=(",", ":")).encode()
    return urlsafe_b64encode(_digest(question, body) + body).decode()


def decode(question: object, cursor: str, shape: Sequence[type]) -> Place:
    """Return the place that a cursor stands for; the empty cursor is the empty place.

    Args:
        question: as for `encode`.
        cursor: from the client.
        shape: the types of the parts of a place.

    Raises:
        Refused: ``invalid_arguments`` when it was changed, or belongs to another question.
    """
    if not cursor:
        return []
    try:
        raw = urlsafe_b64decode(cursor.encode())
        body = raw[_DIGEST_BYTES:]
        unchanged = raw[:_DIGEST_BYTES] == _digest(question, body)
        # Base64 has several spellings of the same bytes; only ours counts.
        exact = urlsafe_b64encode(raw).decode() == cursor
        place: list[Any] | None = json.loads(body) if unchanged and exact else None
    except (ValueError, RecursionError, binascii.Error):
        place = None
    if isinstance(place, list) and [type(part) for part in place] == list(shape):
        return place
    raise Refused("invalid_arguments", "this cursor is not of this question; ask again without it")


def _digest(question: object, body: bytes) -> bytes:
    asked = json.dumps(question, separators=(",", ":")).encode()
    return hashlib.sha256(asked + b"\0" + body).digest()[:_DIGEST_BYTES]
