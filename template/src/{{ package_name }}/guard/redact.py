# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Secrets are taken out of everything that is written down: audit records and the server's log.

Three rules: a field whose name sounds like a secret loses its value; text that looks like a
credential is replaced; and the secrets of this server's own settings, and those that it fetches
with them, are replaced wherever they appear, also encoded. The first two are heuristics, the third
is exact.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import math
import re
import traceback
from collections import deque
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

HIDDEN = "***"

_NAME = (
    r"pass(?:word|wd|phrase|code)|pwd|secret|token|api[ _-]?key|access[ _-]?key|private[ _-]?key"
    r"|signing[ _-]?key|encryption[ _-]?key|authorization|cookie|credential|dsn|conn(?:ection)?"
    r"[_-]?str(?:ing)?|session[_-]?id"
)
_SECRET_NAME = re.compile(rf"(?i){_NAME}|(?:^|[\W_])(?:auth|pass|pin|otp|totp|jwt|sas|bearer)$")


def _credentials(on: str) -> re.Pattern[str]:
    """What looks like a credential; ``on`` says what must not follow for one to go on.

    Every repetition is bounded or runs over what its successor is not in, so that the time for
    one text grows with its length and never with the square of it.
    """
    return re.compile(
        rf"(?i:\b(?P<scheme>bearer|basic)\s{{1,4}}(?:{on}[\w\-.~+/]){{6,}}=*)"
        rf"|(?i:(?P<field>(?:{_NAME})[\w-]{{0,32}}[\"']?\s{{0,4}}[:=]\s{{0,4}})"
        r"(?:(?:bearer|basic|digest|token)\s)?"
        rf"(?:\"(?:{on}[^\"\n]){{1,512}}\"?|'(?:{on}[^'\n]){{1,512}}'?"
        rf"|(?:{on}[^\s\"'&;,}}\])]){{1,512}}))"
        rf"|(?P<url>://)(?:[^\s/?#@]{{1,512}}|[^\s/?#@:]{{0,128}}:(?:(?!://){on}[^\s@]){{1,512}})@"
        rf"|-----BEGIN [A-Z0-9 ]{{0,40}}PRIVATE KEY-----(?:(?!-----END){on}[\s\S])*"
        r"(?:-----END[A-Z0-9 ]*-*)?"
        r"|\beyJ[\w-]{8,}(?:\.[\w-]*){0,4}"
        r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}"
        r"|\b(?:sk|pk|rk)[-_][\w-]{16,}"
        r"|\b(?:gh[pousr]_|github_pat_|glpat-|npm_|xox[abeprs]-|hf_|pypi-)[\w-]{16,}"
        r"|\bAIza[\w-]{30,}"
    )


_IN_TEXT = _credentials("")
# In an argument none goes on where a path goes up again, or a call could hide what it is about.
_IN_ARGUMENT = _credentials(r"(?!/\.\.?(?:/|$))")

# Bytes that one audit record may hold of a call's arguments; an item costs some as well. What does
# not fit is not run (see `Redactor.arguments`): no caller may push its own target out of the log.
MAX_RECORDED = 512 * 1024
# The same for a call that is not run, and for one over its rate: refusals must not be a cheap way
# to fill the log.
MAX_REFUSED = 8 * 1024
MAX_LIMITED = 512
_ITEM = 32
_MAX_DEPTH = 6
_MAX_ARGUMENT = 4096  # characters of the longest path; of a longer text only its begin is kept
_MAX_TEXT = 256
_MAX_KEY = 64
# Text is searched further than it is kept, or a secret across the cut would survive by halves.
_LOOK_AHEAD = 640
_MAX_LOG_TEXT = 65_536

# Shorter secrets are not looked for: they would tear holes into ordinary words.
MIN_SECRET = 6
# Secrets that came up while the server runs, such as tokens. The oldest have expired.
_MAX_LATER = 32

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def _encodings(secret: str) -> set[str]:
    """The secret as it is, in JSON, in a URL, and in Base64 at each of the three offsets."""
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {secret, quote(raw, safe=""), quote(raw)}
    for ascii_only in (True, False):
        written = secret
        for _ in range(2):  # also as a text of JSON within JSON
            written = json.dumps(written, ensure_ascii=ascii_only)[1:-1]
            forms.add(written)
    for offset in range(3):
        # Characters at both ends mix in bits of the neighbours: only those between are certain.
        encoded = base64.b64encode(b"\0" * offset + raw).decode()
        certain = encoded[(0, 2, 3)[offset] : (len(raw) + offset) * 8 // 6]
        forms |= {certain, certain.replace("+", "-").replace("/", "_")}
    return {form for form in forms if len(form) >= MIN_SECRET}


def _replacement(match: re.Match[str]) -> str:
    """Keep what says which kind of secret was here."""
    scheme, field, url = match["scheme"], match["field"], match["url"]
    if scheme is not None:
        return f"{scheme} {HIDDEN}"
    if field is not None:
        return f"{field}{HIDDEN}"
    return f"{url}{HIDDEN}@" if url is not None else HIDDEN


def _texts(value: object) -> list[str]:
    """Return every text of a JSON value, names too, in any order."""
    found: list[str] = []
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, dict):
            found += each.keys()
            left += each.values()
        elif isinstance(each, list):
            left += each
    return found


class Redactor:
    """Takes secrets out of text and of the arguments of a call.

    Args:
        secrets: the secret settings of this server; those under 6 characters are ignored.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._from_start = frozenset(secrets)
        self._later: deque[str] = deque(maxlen=_MAX_LATER)
        self._known = self._pattern()
        # The names of arguments are few and come again with every call.
        self._name = functools.lru_cache(maxsize=512)(self._look_at_name)

    def add(self, secret: str) -> None:
        """Take out one more secret from now on, such as a token that was fetched."""
        if secret not in self._from_start and secret not in self._later:
            self._later.append(secret)
            self._known = self._pattern()

    def _pattern(self) -> re.Pattern[str] | None:
        secrets = (*self._from_start, *self._later)
        forms = {form for secret in secrets for form in _encodings(secret)}
        # Longest first: of two that begin alike, the longer one must go as a whole.
        ordered = sorted(forms, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def own(self, text: str) -> str:
        """The text without this server's own secrets."""
        return text if self._known is None else self._known.sub(HIDDEN, text)

    def own_values(self, value: Any) -> Any:
        """The JSON value without this server's own secrets, in every text of it."""
        # One search for all texts: most results hold no secret, and many texts.
        if self._known is None or self._known.search("\n".join(_texts(value))) is None:
            return value
        return self._without_own(value)

    def _without_own(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.own(value)
        if isinstance(value, dict):
            return {self.own(name): self._without_own(item) for name, item in value.items()}
        return [self._without_own(item) for item in value] if isinstance(value, list) else value

    def text(
        self, text: str, limit: int = _MAX_TEXT, credentials: re.Pattern[str] = _IN_TEXT
    ) -> str:
        """The text without anything that looks like a secret, cut to ``limit`` characters."""
        cut = credentials.sub(_replacement, self.own(text[: limit + _LOOK_AHEAD]))
        return cut if len(text) <= limit and len(cut) <= limit else f"{cut[:limit]}…"

    def arguments(self, value: object, budget: int = MAX_RECORDED) -> tuple[object, bool]:
        """Return a JSON value to write down for ``value``: small, and without secrets.

        A text of up to 4,096 characters is kept whole, in objects of a list and of a longer one
        256; a key of up to 64; at most 6 levels. "…" stands for the rest. Plain values come before
        lists and objects, so that what a call is about is not lost behind what it brings along.

        Args:
            budget: bytes of JSON that it may have, and about as many characters that are searched.

        Returns:
            The value, and whether it fits the budget; otherwise its end is missing.
        """
        left = [budget]
        return self._copy(value, _MAX_DEPTH, _MAX_ARGUMENT, left), left[0] > 0

    def _copy(self, value: object, depth: int, whole: int, left: list[int]) -> object:
        left[0] -= _ITEM
        if isinstance(value, str):
            return self._copy_text(value, whole, left)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return value if value.bit_length() <= 64 else "…"
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if depth == 0:
            return "…"
        if isinstance(value, dict):
            return self._copy_dict(value, depth, whole, left)
        if isinstance(value, (list, tuple)):
            items: list[object] = []
            for item in value:
                if left[0] <= 0:
                    items.append("…")
                    break
                kept = _MAX_TEXT if isinstance(item, dict) else whole
                items.append(self._copy(item, depth - 1, kept, left))
            return items
        return f"({type(value).__name__})"

    def _copy_text(self, value: str, whole: int, left: list[int]) -> str:
        limit = whole if len(value) <= whole else _MAX_TEXT
        written = self.text(value, limit, _IN_ARGUMENT)
        # What it takes in the record, escapes included; to search it costs as well.
        left[0] -= max(len(json.dumps(written)), min(len(value), limit + _LOOK_AHEAD))
        return written

    def _copy_dict(
        self, value: dict[object, object], depth: int, whole: int, left: list[int]
    ) -> dict[str, object]:
        items: dict[str, object] = {}
        plain_first = sorted(value.items(), key=lambda pair: isinstance(pair[1], (dict, list)))
        for key, item in plain_first:
            if left[0] <= 0:
                items["…"] = "…"
                break
            read = key[:_LOOK_AHEAD] if isinstance(key, str) else "(key)"
            name, hidden = self._name(read)
            left[0] -= max(len(json.dumps(name)), len(read)) + _ITEM
            items[name] = HIDDEN if hidden else self._copy(item, depth - 1, whole, left)
        return items

    def _look_at_name(self, name: str) -> tuple[str, bool]:
        """How a field's name is written down, and whether its value must not be."""
        return self.text(name, _MAX_KEY), _SECRET_NAME.search(name) is not None


class RedactingFilter(logging.Filter):
    """Takes secrets out of log records, tracebacks included. Belongs on every handler.

    On a handler and not on a logger: a logger's filters do not see the records of its children.
    Control characters in a message are escaped, so that no argument forges a log line.
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place. Always lets it pass."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  # a filter that raises would raise in the code that logs
            message = f"(a message that could not be formatted, from {record.name})"
        # Known secrets go first: escaping would change one of several lines.
        message = self._redactor.own(message).translate(_CONTROL)
        record.msg = self._redactor.text(message, _MAX_LOG_TEXT)
        record.args = ()
        if record.exc_info and not record.exc_text:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        if record.exc_text:
            text = self._redactor.text(record.exc_text, _MAX_LOG_TEXT)
            # Indented, so that no line of an exception's text looks like a line of the log.
            record.exc_text = "\n".join(
                f"  {line.translate(_CONTROL)}" for line in text.split("\n")
            )
        # Other handlers would print the exception again, as it is.
        record.exc_info = None
        return True
