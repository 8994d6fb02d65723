# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Arguments become a request: the one place where they meet a URL, a header or a body.

Every argument keeps to its place. A path value is one segment of the path, or part of one. A
query value cannot end the query. Names of headers and cookies are the document's, and values are
of characters that cannot end a line. Nothing here knows the host: it is not chosen by arguments.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from ..errors import Refused
from .schemas import Schema, Unsupported, clean, resolved

MAX_TARGET = 8000  # characters; many servers take no more (RFC 9112, section 3)
_MAX_HEADER = 4000  # characters
_MAX_DECODING = 5  # times that something could be percent-encoded

# Headers that decide where a request goes, who sends it, how it is framed, or what it is taken
# for. They are set by this program or by nobody, whatever the document says.
_OWN_HEADERS = frozenset({
    "accept", "accept-encoding", "authorization", "connection", "content-encoding",
    "content-length", "content-type", "cookie", "cookie2", "date", "expect", "forwarded", "host",
    "http2-settings", "keep-alive", "origin", "referer", "set-cookie", "te", "trailer",
    "transfer-encoding", "upgrade", "user-agent", "via", "x-http-method", "x-http-method-override",
    "x-method-override", "x-original-url", "x-real-ip", "x-rewrite-url",
})  # fmt: skip
_OWN_PREFIXES = ("proxy-", "sec-", "x-forwarded-", "x-original-", "x-envoy-", ":")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # RFC 9110, section 5.6.2
_COOKIE_VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")  # RFC 6265, 4.1.1
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+( ?; ?[a-z]+=[a-z0-9._-]+)?")
_ARGUMENT = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # what every client takes as a name
_TEMPLATE = re.compile(r"\{([^{}]*)\}")

# Where each style may stand, and which is meant when none is named.
_STYLES = {
    "path": ("simple",),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
_DELIMITERS = {"form": ",", "spaceDelimited": "%20", "pipeDelimited": "%7C"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an operation, and the argument that fills it."""

    name: str  # the document's
    argument: str  # the client's; `named` makes it unique
    where: str  # path, query, header or cookie
    required: bool
    description: str
    style: str
    explode: bool
    as_json: bool  # its value is one text of JSON
    schema: Any = field(repr=False)  # the document's


@dataclass(frozen=True, slots=True)
class Body:
    """The body of an operation, in the one media type that is used."""

    argument: str
    required: bool
    description: str
    media_type: str
    kind: str  # json, form or text
    schema: Any = field(repr=False)
    encoding: Schema = field(repr=False)  # of the fields of a form


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be sent to the API's base URL."""

    method: str
    target: str  # path and query to go behind the path of the base URL; begins with "/"
    headers: list[tuple[str, str]]  # the operation's own: parameters and cookies
    body: bytes | None
    content_type: str | None


# --- What the document says.


def is_own_header(name: str) -> bool:
    """Whether no argument may set this header."""
    return name.lower() in _OWN_HEADERS or name.lower().startswith(_OWN_PREFIXES)


def parameter(document: Schema, raw: Schema) -> Parameter:
    """Read a parameter (OpenAPI 3.1, section 4.8.12).

    Raises:
        Unsupported: it is malformed, or of a form that this program does not send.
    """
    name, where = raw.get("name"), raw.get("in")
    if not isinstance(name, str) or not name or where not in _STYLES:
        raise Unsupported("a parameter without a name or place")
    if where == "header" and is_own_header(name):
        raise Unsupported(f"the header {clean(name, 64)}, which no argument may set")
    if where in ("header", "cookie") and not _TOKEN.fullmatch(name):
        raise Unsupported(f"a {where} whose name is none")
    style = raw.get("style", _STYLES[where][0])
    if style not in _STYLES[where]:
        raise Unsupported(f"a {where} parameter of the style {clean(style, 40)}")
    schema, as_json = raw.get("schema", {}), False
    if isinstance(raw.get("content"), dict):
        media_type, media = next(iter(raw["content"].items()), ("", {}))
        if not _is_json(media_type):
            raise Unsupported(f"a parameter of the type {clean(media_type, 64)}")
        schema, as_json = resolved(document, media).get("schema", {}), True
    return Parameter(
        name=name, argument=_argument(name), where=where,
        required=where == "path" or raw.get("required") is True,
        description=clean(raw.get("description"), 500),
        style=style, explode=bool(raw.get("explode", style == "form")), as_json=as_json,
        schema=schema,
    )  # fmt: skip


def _argument(name: str) -> str:
    if _ARGUMENT.fullmatch(name):
        return name
    return re.sub("[^A-Za-z0-9_.-]+", "_", name).strip("_")[:64] or "value"


def named(parameters: Iterable[Parameter], taken: Collection[str]) -> list[Parameter]:
    """Give each parameter an argument of its own: those that clash say where they stand.

    Args:
        taken: names that are not free, such as that of the body.
    """
    given = list(parameters)
    wanted = [each.argument for each in given]
    used, made = set(taken), []
    for each in given:
        name = each.argument
        if wanted.count(name) > 1 or name in taken:
            name = base = f"{name[:50]}__{each.where}"
            number = 1
            while name in used:
                number += 1
                name = f"{base}_{number}"
        used.add(name)
        made.append(replace(each, argument=name))
    return made


def body(document: Schema, raw: object) -> Body:
    """Read a request body, and choose one of its media types.

    Raises:
        Unsupported: it has none that this program sends.
    """
    whole = resolved(document, raw)
    content = whole.get("content")
    offers = list(content) if isinstance(content, dict) else []
    chosen = min(offers, key=_preference, default="")
    kind = _kind(chosen)
    if kind is None or not isinstance(content, dict):
        names = ", ".join(clean(each, 64) for each in offers[:3])
        raise Unsupported(f"a body of the type {names or '(none)'}")
    media = resolved(document, content[chosen])
    encoding = media.get("encoding")
    return Body(
        argument="body", required=whole.get("required") is True,
        description=clean(whole.get("description"), 500),
        media_type="application/json" if "*" in chosen else chosen.lower(), kind=kind,
        schema=media.get("schema", {}), encoding=encoding if isinstance(encoding, dict) else {},
    )  # fmt: skip


def _preference(media_type: str) -> int:
    order = ("application/json", "application/merge-patch+json")
    kinds = ("json", "form", "text", None)
    plain = media_type.lower()
    return order.index(plain) if plain in order else 2 + kinds.index(_kind(media_type))


def _is_json(media_type: str) -> bool:
    plain = media_type.partition(";")[0].strip().lower()
    return plain == "application/json" or plain.endswith("+json")


def _kind(media_type: str) -> str | None:
    if media_type == "*/*":
        return "json"
    if not _MEDIA_TYPE.fullmatch(media_type.lower()):
        return None
    if _is_json(media_type):
        return "json"
    plain = media_type.partition(";")[0].lower()
    return {"application/x-www-form-urlencoded": "form", "text/plain": "text"}.get(plain)


def check_template(path: str, names: Collection[str]) -> None:
    """Check the path of an operation.

    Args:
        names: the document's names of its path parameters.

    Raises:
        Unsupported: it is no plain path, or has braces that belong to no parameter.
    """
    plain = _TEMPLATE.sub("x", path)
    if not path.startswith("/") or re.search(r"[\x00-\x20\x7f\\?#{}]", plain):
        raise Unsupported("a path with a query, a fragment or signs that a path does not have")
    if "//" in plain or any(_is_dots(part) for part in plain.split("/")):
        raise Unsupported("a path with empty or dotted segments")
    if {*_TEMPLATE.findall(path)} != {*names}:
        raise Unsupported("a path whose parameters are not those that are declared")


# --- What is sent.


def bind(
    method: str, path: str, parameters: Sequence[Parameter], content: Body | None,
    arguments: Mapping[str, Any], reserved: Collection[tuple[str, str]] = (),
) -> Request:  # fmt: skip
    """Put arguments, which fit their schema, where they belong.

    Args:
        path: the template, such as ``/pets/{id}``.
        reserved: places and lower-case names that credentials have, such as
            ``("query", "key")``.

    Raises:
        Refused: ``invalid_arguments``: a value that cannot stand where it belongs.
    """
    segments: dict[str, str] = {}
    query: list[str] = []
    headers: list[tuple[str, str]] = []
    cookies: list[str] = []
    given = [each for each in parameters if each.argument in arguments]
    names = {each.name.lower() for each in parameters if each.where == "query"}
    names |= {name for place, name in reserved if place == "query"}
    for each in given:
        value = arguments[each.argument]
        if each.as_json:
            value = _json(value)
        if each.where == "path":
            segments[each.name] = _segment(each, value)
        elif value is None:
            continue
        elif each.where == "query":
            others = names - {each.name.lower()}
            query += _form(each.argument, each.name, value, each.style, each.explode, others)
        elif each.where == "header":
            headers.append((each.name, _header(each, value)))
        else:
            cookies.append(f"{each.name}={_cookie(each, value)}")
    if cookies:
        headers.append(("Cookie", "; ".join(cookies)))
    target = _path(path, segments) + ("?" + "&".join(query) if query else "")
    if len(target) > MAX_TARGET:
        raise _refused("arguments", f"make a URL of more than {MAX_TARGET} characters")
    data = None
    if content is not None and content.argument in arguments:
        data = _body(content, arguments[content.argument])
    return Request(
        method, target, headers, data, content.media_type if content and data is not None else None
    )


def _refused(name: str, problem: str) -> Refused:
    return Refused("invalid_arguments", f"{name}: {problem}")


def _encoded(text: str) -> str:
    return quote(text, safe="")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _text(value: Any) -> str:
    """A value as text. What has no form in a URL, an object in an array, is JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # 1.0 is an integer in JSON Schema, and 1 is how that is written
    return "" if value is None else _json(value)


def _flat(value: Any, *, explode: bool) -> list[str]:
    """The parts of a value of the style simple (RFC 6570, section 3.2.2)."""
    if isinstance(value, list):
        return [_text(each) for each in value]
    if isinstance(value, dict) and explode:
        return [f"{key}={_text(each)}" for key, each in value.items()]
    if isinstance(value, dict):
        return [part for key, each in value.items() for part in (key, _text(each))]
    return [_text(value)]


def _segment(each: Parameter, value: Any) -> str:
    parts = _flat(value, explode=each.explode)
    if not all(parts) or not parts:
        raise _refused(each.argument, "a value in a path may not be empty")
    if any(leaves_segment(part) for part in (*parts, ",".join(parts))):
        raise _refused(
            each.argument,
            "a value in a path may have no slash, backslash or control character and not be dots",
        )
    return ",".join(map(_encoded, parts))


def _path(template: str, segments: Mapping[str, str]) -> str:
    def fill(match: re.Match[str]) -> str:
        return segments[match.group(1)]

    # Part by part: what is literal is encoded too, and what it makes together is looked at again.
    made = []
    for part in template.split("/"):
        literal = "".join(
            piece if piece.startswith("{") else quote(piece, safe="!$&'()*+,;=:@~%")
            for piece in re.split(r"(\{[^{}]*\})", part)
        )
        filled = _TEMPLATE.sub(fill, literal)
        if literal != filled and leaves_segment(filled):
            raise _refused("arguments", "make a path that leads elsewhere")
        made.append(filled)
    return "/".join(made)


def leaves_segment(text: str) -> bool:
    """Whether a server, however often it decodes, could see anything but one plain segment.

    Also in the compatibility forms of Unicode (NFKC), such as fullwidth dots and slashes, which
    some servers fold to plain ones. ``;`` begins parameters of a segment in others (``..;``).
    """
    for _ in range(_MAX_DECODING):
        folded = unicodedata.normalize("NFKC", text)
        if _is_dots(folded.partition(";")[0]) or _is_dots(folded.strip()):
            return True
        if any(sign in "/\\\u2215\u2044\u29f8" or _is_control(sign) for sign in text + folded):
            return True
        if re.search("%u[0-9a-fA-F]{4}", folded):  # how some servers write a character
            return True
        try:
            decoded = unquote_to_bytes(folded).decode()
        except UnicodeDecodeError:  # such as an overlong dot (RFC 3629, section 3)
            return True
        if decoded == folded:
            return False
        text = decoded
    return True


def _is_dots(text: str) -> bool:
    return bool(text) and not text.strip(".\u3002")


def _is_control(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp")


def _form(
    argument: str, name: str, value: Any, style: str, explode: bool, others: Collection[str]
) -> list[str]:
    """One field of a query or form, as ``name=value`` for each value of it.

    Args:
        others: names in lower case that a field of an exploded object may not have: there they
            would become those of other parameters, or of credentials.
    """
    key = _encoded(name)
    if not isinstance(value, (list, dict)):
        return [f"{key}={_encoded(_text(value))}"]
    if style == "deepObject":
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [
            pair
            for inner, each in items
            for pair in _form(argument, f"{name}[{inner}]", each, style, explode, ())
        ]
    if not explode:
        parts = map(_encoded, _flat(value, explode=False))
        return [f"{key}={_DELIMITERS[style].join(parts)}"] if value else []
    if isinstance(value, list):
        return [f"{key}={_encoded(_text(each))}" for each in value]
    if any(inner.lower().partition("[")[0].strip() in others for inner in value):
        raise _refused(argument, "a field has the name of another parameter")
    return [f"{_encoded(inner)}={_encoded(_text(each))}" for inner, each in value.items()]


def _header(each: Parameter, value: Any) -> str:
    text = ",".join(_flat(value, explode=each.explode))
    if not _HEADER_VALUE.fullmatch(text) or text != text.strip() or len(text) > _MAX_HEADER:
        raise _refused(each.argument, "a header has printable ASCII and no spaces at its ends")
    return text


def _cookie(each: Parameter, value: Any) -> str:
    text = "" if isinstance(value, (list, dict)) else _text(value)
    if not text or not _COOKIE_VALUE.fullmatch(text) or len(text) > _MAX_HEADER:
        raise _refused(
            each.argument, 'a cookie is plain text of printable ASCII without spaces and " , ; \\'
        )
    return text


def _body(content: Body, value: Any) -> bytes:
    if content.kind == "json":
        return _json(value).encode()
    if content.kind == "text":
        if not isinstance(value, str):
            raise _refused(content.argument, "has to be text")
        return value.encode()
    if not isinstance(value, dict):
        raise _refused(content.argument, "has to be an object, the fields of a form")
    pairs: list[str] = []
    others = {name.lower() for name in value}
    for name, each in value.items():
        rule = content.encoding.get(name)
        rule = rule if isinstance(rule, dict) else {}
        style = rule.get("style", "form")
        style = style if style in _STYLES["query"] else "form"
        if isinstance(each, dict) and "style" not in rule:
            each = _json(each)  # the default of a field that is an object (4.8.14.4)
        explode = bool(rule.get("explode", style == "form"))
        pairs += _form(content.argument, name, each, style, explode, others - {name.lower()})
    return "&".join(pairs).encode()
