# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Rows on their way to the client: values that JSON can hold exactly, within the limits.

A number that a double cannot hold exactly is text, as are decimals, dates, NaN and infinity. Bytes
are ``{"base64": "…"}``, so that they cannot be taken for text.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Literal

from ..errors import Refused

MAX_SAFE_INTEGER = 2**53 - 1  # RFC 8259, section 6
# One encoder for all rows: json.dumps would make another for each.
_encode = json.JSONEncoder(separators=(",", ":")).encode
_ROW_BYTES = 2  # brackets; each value has a comma


class Rows:
    """The result of one statement, as far as the limits allow.

    Args:
        max_rows: rows that are kept.
        max_bytes: bytes that they may have, as JSON. The first row is too large when it alone has
            more; then no row is kept.

    Attributes:
        rows: lists of values, in the order of the columns.
        truncated_by: which limit has cut the rest off.
        changed: rows that a writing statement has changed; None for others.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self._columns: list[dict[str, str]] = []
        self.rows: list[list[Any]] = []
        self.truncated_by: Literal["rows", "bytes"] | None = None
        self.changed: int | None = None
        self._bytes = 0

    @property
    def columns(self) -> list[dict[str, str]]:
        """Name and type of each column, in their order. Their bytes count as the rows' do.

        Raises:
            Refused: ``too_large``, when they are set and have too many.
        """
        return self._columns

    @columns.setter
    def columns(self, columns: list[dict[str, str]]) -> None:
        self._columns = columns
        self._bytes += len(_encode(columns))
        if self.bytes_left < 0:
            raise Refused("too_large", "the names of the columns are too long; name them with AS")

    @property
    def bytes_left(self) -> int:
        """Bytes that further rows may have."""
        return self.max_bytes - self._bytes

    def add(self, row: Iterable[Any]) -> bool:
        """Keep a row. False: it was one too many, and no more are wanted."""
        if len(self.rows) >= self.max_rows:
            self.truncated_by = "rows"
            return False
        kept = [plain(value) for value in row]
        size = _ROW_BYTES + len(_encode(kept))
        if size > self.bytes_left:
            self.truncated_by = "bytes"
            return False
        self._bytes += size
        self.rows.append(kept)
        return True

    def message(self) -> dict[str, Any]:
        """Return the result as a worker sends it."""
        return {
            "columns": self.columns,
            "rows": self.rows,
            "truncated_by": self.truncated_by,
            "changed": self.changed,
        }


def plain(value: Any) -> Any:
    """Return a value of a database as JSON can hold it, without losing anything."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": b64encode(value).decode()}
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return str(value)


def exact_json(text: str | bytes) -> Any:
    """Return what a JSON value of a database says; a number that a double cannot hold is text."""
    return json.loads(text, parse_float=_exact_float)


def _exact_float(text: str) -> float | str:
    number = float(text)
    try:
        exact = math.isfinite(number) and Decimal(repr(number)) == Decimal(text)
    except ArithmeticError:  # its exponent has more digits than Decimal takes
        exact = False
    return number if exact else text


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
