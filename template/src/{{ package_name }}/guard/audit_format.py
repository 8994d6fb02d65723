# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The format of the audit log: how a record is sealed, and how its files are named.

A record is one line of JSON in ASCII; every other character is escaped, so that no newline,
U+2028 or terminal code in an argument can look like the end of a record or like another one.
Its last two members are ``prev``, the hash of the record before it, and ``hash``, the hash of
this line up to and without that member: SHA-256, or HMAC-SHA256 (RFC 2104) when there is a key.

The files of one log lie in one folder. Each process that writes has a lane of its own:
``audit.jsonl``, ``audit-2.jsonl`` and so on. A full file becomes ``audit.000001.jsonl``; that
number is its generation, and it is never renamed again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# What the first record of a chain has in the place of its predecessor's hash.
START = "0" * 64
# Room for the largest arguments (redact.MAX_RECORDED), their last item and the rest of a record.
MAX_LINE = 1024 * 1024

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
_LINE = re.compile(rb'(\{.*),"hash":"([0-9a-f]{64})"\}')
_FILE = re.compile(r"(?P<lane>[^.].*?)(?:\.(?P<generation>[0-9]{6,}))?(?P<suffix>\.[A-Za-z]+)")


def digest_name(key: bytes | None) -> str:
    """Which hash a log has, as its files say at their beginning."""
    return "sha256" if key is None else "hmac-sha256"


def _digest(body: bytes, key: bytes | None) -> str:
    if key is None:
        return hashlib.sha256(body).hexdigest()
    return hmac.digest(key, body, "sha256").hex()


def seal(record: Mapping[str, object], key: bytes | None) -> tuple[bytes, str]:
    """The line for a record, newline included, and its hash.

    Raises:
        TypeError, ValueError: JSON cannot carry the record, or its line is over 1 MiB.
    """
    body = _encode(record)[:-1].encode("ascii")
    digest = _digest(body, key)
    line = b'%b,"hash":"%b"}\n' % (body, digest.encode("ascii"))
    if len(line) > MAX_LINE:
        raise ValueError("the record is too long")
    return line, digest


@dataclass(frozen=True)
class Record:
    """A line that has the shape of a record.

    Attributes:
        fields: its members, without the hash.
        digest: its hash, as it says.
        genuine: whether that is the hash of the line.
    """

    fields: dict[str, object]
    digest: str
    genuine: bool

    def number(self, name: str) -> int:
        """A member that is a whole number; 0 when it is not."""
        value = self.fields.get(name)
        return value if isinstance(value, int) else 0


def parse(line: bytes, key: bytes | None) -> Record | None:
    """Read a line, given without its newline. None when it does not have the shape of a record."""
    match = _LINE.fullmatch(line)
    if match is None or len(line) > MAX_LINE:
        return None
    try:
        fields = json.loads(match[1] + b"}")
    except (ValueError, RecursionError):
        return None
    digest = match[2].decode("ascii")
    genuine = hmac.compare_digest(_digest(match[1], key), digest)
    return Record(fields, digest, genuine)


@dataclass(frozen=True)
class Lane:
    """The names of the files that one process writes, one after the other."""

    name: str
    suffix: str

    @property
    def current(self) -> str:
        """The file that is written to."""
        return f"{self.name}{self.suffix}"

    def archive(self, generation: int) -> str:
        """The name of a full file."""
        return f"{self.name}.{generation:06d}{self.suffix}"

    def generations(self, names: Iterable[str]) -> list[int]:
        """Of which generations there are full files among these names, the oldest first."""
        found = (split(name) for name in names)
        return sorted(item[1] for item in found if item is not None and item[0] == self and item[1])


def split(name: str) -> tuple[Lane, int] | None:
    """Lane and generation (0: the file that is written to) of a file. None: not of a log."""
    match = _FILE.fullmatch(name)
    if match is None:
        return None
    lane, generation = Lane(match["lane"], match["suffix"]), int(match["generation"] or 0)
    # Generations count from 1, and each has one spelling.
    spelled = lane.archive(generation) if generation else lane.current
    return (lane, generation) if spelled == name else None
