# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""What a site's robots.txt says (RFC 9309). Works on bytes alone; fetches nothing.

Linear in the size of the file and of the address, whatever the patterns are: they are compared by
searching for their parts one after the other, never by trying again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_BYTES: Final = 500 * 1024  # that are read of a file, RFC 9309, section 2.5
_MOST_SITEMAPS: Final = 100
_MOST_SECONDS: Final = 86_400.0  # of a crawl-delay; more means no more

_LINE_END = re.compile(rb"\r\n|\r|\n")
_TOKEN = re.compile(rb"[A-Za-z_-]+")  # a product token, section 2.2.1
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_OTHER = re.compile(rb"%[0-9A-Fa-f]{2}|[^A-Za-z0-9._~-]", re.DOTALL)
_SLASH = re.compile(rb"%2f", re.IGNORECASE)
_SLASHES = re.compile(rb"/{2,}")


@dataclass(frozen=True)
class Rule:
    """One line of a group.

    Attributes:
        allow: or else disallow.
        parts: of the pattern, in the canonical encoding; between two of them stands a ``*``.
        whole: it ended in ``$``: nothing may follow.
        text: as it was written.
    """

    allow: bool
    parts: tuple[bytes, ...]
    whole: bool
    text: str

    @property
    def octets(self) -> int:
        """How specific it is: the longest match decides (section 2.2.2)."""
        return sum(map(len, self.parts)) + len(self.parts) - 1 + self.whole

    def matches(self, path: bytes) -> bool:
        """Say whether it is about a path in the canonical encoding."""
        return _found(self.parts, path, whole=self.whole)


@dataclass(frozen=True)
class Robots:
    """What a file says to one crawler.

    Attributes:
        rules: of the groups that name it, or else of those for all.
        crawl_delay: seconds between two requests; no standard, but widely used. None: not said.
        sitemaps: addresses, as written.
    """

    rules: tuple[Rule, ...] = ()
    crawl_delay: float | None = None
    sitemaps: tuple[str, ...] = ()

    def rule_for(self, target: str) -> Rule | None:
        """Return the rule that decides about path and query of an address; None: allowed.

        A server may read two slashes, and an encoded one, as one slash. What is disallowed in any
        of these readings is disallowed.
        """
        if target.partition("?")[0] == "/robots.txt":  # always allowed, section 2.2.2
            return None
        deciding: Rule | None = None
        for form in _forms(target):
            found = self._longest(form)
            if found is not None and (deciding is None or not found.allow):
                deciding = found
            if deciding is not None and not deciding.allow:
                break
        return deciding

    def allows(self, target: str) -> bool:
        """Say whether path and query of an address may be fetched."""
        rule = self.rule_for(target)
        return rule is None or rule.allow

    def _longest(self, path: bytes) -> Rule | None:
        best: Rule | None = None
        for rule in self.rules:
            better = best is None or (rule.octets, rule.allow) > (best.octets, best.allow)
            if better and rule.matches(path):
                best = rule
        return best


NOTHING: Final = Robots()  # of a site that has no such file


def parse(body: bytes, token: str) -> Robots:
    """Read a file, as far as `MAX_BYTES`.

    Args:
        token: the crawler's product token; see `product_token`.
    """
    if len(body) > MAX_BYTES:  # without the line that is cut
        body = body[: max(body.rfind(b"\n", 0, MAX_BYTES), body.rfind(b"\r", 0, MAX_BYTES)) + 1]
    own = token.lower()
    lines: dict[str, list[Rule]] = {own: [], "*": []}
    delays: dict[str, float] = {}
    sitemaps: list[str] = []
    group: set[str] = set()  # those of the two that the group is for
    named = complete = False
    for key, value in _pairs(body.removeprefix(b"\xef\xbb\xbf")):
        if key == b"user-agent":
            # Such lines together begin a group; groups of one agent are merged (section 2.2.1).
            if complete:
                group.clear()
            group |= {_agent(value)} & lines.keys()
            complete = False
            named = named or own in group
        elif key in (b"allow", b"disallow"):
            complete = True
            rule = _rule(value, allow=key == b"allow") if group else None
            if rule is not None:
                for agent in group:
                    lines[agent].append(rule)
        elif key == b"crawl-delay":
            for agent in group:
                delays[agent] = max(_seconds(value), delays.get(agent, 0.0))
        elif key == b"sitemap" and value and len(sitemaps) < _MOST_SITEMAPS:
            sitemaps.append(value.decode("utf-8", "replace"))
    agent = own if named else "*"
    return Robots(tuple(lines[agent]), delays.get(agent) or None, tuple(sitemaps))


def product_token(user_agent: str) -> str:
    """Return what a robots.txt calls a crawler: the letters that its user agent begins with."""
    found = _TOKEN.match(user_agent.encode("ascii", "replace"))
    return found[0].decode("ascii") if found else ""


def matches(glob: str, text: str) -> bool:
    """Compare a whole text with a pattern in which ``*`` stands for any characters."""
    return _found(tuple(part.encode() for part in glob.split("*")), text.encode(), whole=True)


def _pairs(body: bytes) -> list[tuple[bytes, bytes]]:
    """Return the lines that say something: name in small letters, and value."""
    pairs = []
    for line in _LINE_END.split(body):
        key, colon, value = line.partition(b"#")[0].replace(b"\0", b"").partition(b":")
        if colon:
            pairs.append((key.strip().lower(), value.strip()))
    return pairs


def _agent(value: bytes) -> str:
    if value.startswith(b"*"):
        return "*"
    token = _TOKEN.match(value)
    return token[0].decode("ascii").lower() if token else ""


def _seconds(value: bytes) -> float:
    try:
        seconds = float(value)
    except ValueError:
        return 0.0
    return min(seconds, _MOST_SECONDS) if seconds > 0 else 0.0  # nan is not


def _rule(value: bytes, *, allow: bool) -> Rule | None:
    """Read a pattern (section 2.2.3); an empty one, or one that is no path, says nothing."""
    if not value.startswith((b"/", b"*")):
        return None
    whole = value.endswith(b"$")
    canonical = _canonical(value[:-1] if whole else value, keep=b"/*")
    text = f"{'Allow' if allow else 'Disallow'}: {value.decode('utf-8', 'replace')}"
    return Rule(allow, tuple(canonical.split(b"*")), whole, text)


def _found(parts: tuple[bytes, ...], text: bytes, *, whole: bool) -> bool:
    """Find the parts one after the other, the first at the beginning."""
    first, *others = parts
    if not text.startswith(first):
        return False
    end = len(first)
    last = others.pop() if whole and others else b""
    for part in others:
        start = text.find(part, end)
        if start < 0:
            return False
        end = start + len(part)
    if not whole:
        return True
    if len(parts) == 1:
        return end == len(text)
    return len(text) - len(last) >= end and text.endswith(last)


def _forms(target: str) -> list[bytes]:
    """Return path and query in each way that a server may read them, in the canonical encoding."""
    path, mark, query = target.encode("ascii", "replace").partition(b"?")
    decoded = _SLASH.sub(b"/", path)
    paths = (path, _SLASHES.sub(b"/", path), _SLASHES.sub(b"/", decoded))
    return [_canonical(each + mark + query, keep=b"/") for each in dict.fromkeys(paths)]


def _canonical(raw: bytes, *, keep: bytes) -> bytes:
    """Return a path and query with just what has to be encoded encoded (section 2.2.2).

    A slash is data in a query, so that there an encoded one is the same.

    Args:
        keep: what else has a meaning, and stays.
    """
    path, mark, query = raw.partition(b"?")
    return _encoded(path, keep) + mark + _encoded(_SLASH.sub(b"/", query), keep)


def _encoded(raw: bytes, keep: bytes) -> bytes:
    def one(found: re.Match[bytes]) -> bytes:
        octets = found[0]
        if len(octets) == 3:
            value = int(octets[1:], 16)
            return bytes([value]) if value in _UNRESERVED else octets.upper()
        return octets if octets in keep else b"%%%02X" % octets[0]

    return _OTHER.sub(one, raw)
