# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Values of MySQL and MariaDB as Python has them exactly, and the names of their types.

Statements are run by SQL's own PREPARE and EXECUTE, so values come as the text that the server
writes: a FLOAT with six digits, as every client of it shows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from pymysql.constants import FIELD_TYPE, FLAG

from ...errors import Refused
from ..job import Value
from ..rows import exact_json

_BINARY = 63  # the character set of bytes
_TYPES = {
    FIELD_TYPE.DECIMAL: "decimal", FIELD_TYPE.NEWDECIMAL: "decimal", FIELD_TYPE.TINY: "tinyint",
    FIELD_TYPE.SHORT: "smallint", FIELD_TYPE.INT24: "mediumint", FIELD_TYPE.LONG: "int",
    FIELD_TYPE.LONGLONG: "bigint", FIELD_TYPE.FLOAT: "float", FIELD_TYPE.DOUBLE: "double",
    FIELD_TYPE.NULL: "null", FIELD_TYPE.TIMESTAMP: "timestamp", FIELD_TYPE.DATE: "date",
    FIELD_TYPE.NEWDATE: "date", FIELD_TYPE.TIME: "time", FIELD_TYPE.DATETIME: "datetime",
    FIELD_TYPE.YEAR: "year", FIELD_TYPE.BIT: "bit", FIELD_TYPE.JSON: "json",
    FIELD_TYPE.ENUM: "enum", FIELD_TYPE.SET: "set", FIELD_TYPE.GEOMETRY: "geometry",
}  # fmt: skip
# As bytes, as text.
_STRINGS = {
    FIELD_TYPE.STRING: ("binary", "char"),
    FIELD_TYPE.VAR_STRING: ("varbinary", "varchar"),
    FIELD_TYPE.VARCHAR: ("varbinary", "varchar"),
    FIELD_TYPE.TINY_BLOB: ("blob", "text"),
    FIELD_TYPE.BLOB: ("blob", "text"),
    FIELD_TYPE.MEDIUM_BLOB: ("blob", "text"),
    FIELD_TYPE.LONG_BLOB: ("blob", "text"),
}
_INTEGERS = frozenset(
    {FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.INT24, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG}
)
_NUMBERS = _INTEGERS | {
    FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE, FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL
}  # fmt: skip


def literal(value: Value) -> str:
    """Return a value as SQL that has no quotes, so that nothing in it can end one.

    Raises:
        Refused: it is none that a database could hold.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Refused("sql", "a value is NaN or infinite, which the database does not have")
        text = repr(value)
        return text if "e" in text else f"{text}e0"  # without an exponent it would be a DECIMAL
    try:
        return f"_utf8mb4 0x{value.encode().hex()}" if value else "_utf8mb4 ''"
    except UnicodeEncodeError:
        raise Refused("sql", "a value is not valid Unicode") from None


def type_name(field: Any) -> str:
    """Return the type of a column in the database's own words; empty: not known."""
    if field.flags & FLAG.ENUM:
        return "enum"
    if field.flags & FLAG.SET:
        return "set"
    if field.type_code in _STRINGS:
        return _STRINGS[field.type_code][field.charsetnr != _BINARY]
    name = _TYPES.get(field.type_code, "")
    return f"{name} unsigned" if field.flags & FLAG.UNSIGNED and _is_number(field) else name


def _is_number(field: Any) -> bool:
    return field.type_code in _NUMBERS


def readers(fields: Sequence[Any]) -> list[Callable[[bytes], Any]]:
    """Return for each column what makes a value of the bytes that come."""
    return [_reader(field) for field in fields]


def _reader(field: Any) -> Callable[[bytes], Any]:
    code = field.type_code
    if code in _INTEGERS or code == FIELD_TYPE.YEAR:
        return int
    if code in (FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE):
        return float
    if code in (FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP):
        return _time
    if code == FIELD_TYPE.BIT:
        return _bits
    if code == FIELD_TYPE.JSON:
        return _json
    if code == FIELD_TYPE.GEOMETRY or (code in _STRINGS and field.charsetnr == _BINARY):
        return bytes
    return _text


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _time(data: bytes) -> str:
    return data.decode("ascii").replace(" ", "T", 1)


def _bits(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _json(data: bytes) -> Any:
    """Return JSON as a value; as text where Python or JSON cannot hold it as one."""
    try:
        return exact_json(data)
    except (ValueError, RecursionError):
        return _text(data)
