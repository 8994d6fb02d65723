# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""Arguments become requests, and no argument leaves the place that it has."""

import json
import unicodedata
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx2
import pytest
from conftest import module

openapi = module("api.openapi")
errors = module("errors")

BASE = "https://api.example/v1"
KEYS = {
    "headerKey": {"type": "apiKey", "in": "header", "name": "X-Secret"},
    "queryKey": {"type": "apiKey", "in": "query", "name": "api_key"},
    "cookieKey": {"type": "apiKey", "in": "cookie", "name": "session"},
}


def operation(
    *parameters: Any, path: str = "/things", method: str = "get", reserved: Any = (), **more: Any
) -> Any:
    """An operation with these parameters, in a document with keys of its own."""
    one = {"operationId": "x", "parameters": list(parameters), **more}
    document = {
        "openapi": "3.1.0", "info": {}, "paths": {path: {method: one}},
        "components": {"securitySchemes": KEYS},
    }  # fmt: skip
    loaded = openapi.load(json.dumps(document).encode(), "x.json", reserved)
    assert loaded.skipped == {}
    return loaded.operations["x"]


def at(where: str, name: str = "v", **more: Any) -> Any:
    return {"name": name, "in": where, **more}


def body(media_type: str, **more: Any) -> Any:
    return {"content": {media_type: {"schema": {}, **more}}}


def target(one: Any, **arguments: Any) -> str:
    return str(one.bind(arguments).target)


# --- Forms of values.

LIST = [3, "a,b", "c d"]
OBJECT = {"R": 100, "G": "x&y"}


@pytest.mark.parametrize(
    ("more", "value", "sent"),
    [
        ({}, "blue", "v=blue"),
        ({}, "", "v="),
        ({}, "a b&c=d#e?/ü+%", "v=a%20b%26c%3Dd%23e%3F%2F%C3%BC%2B%25"),
        ({}, True, "v=true"),
        ({}, 5, "v=5"),
        ({}, 5.0, "v=5"),
        ({}, 1.5, "v=1.5"),
        ({}, None, ""),
        ({}, LIST, "v=3&v=a%2Cb&v=c%20d"),
        ({}, [], ""),
        ({}, [{"a": 1}], "v=%7B%22a%22%3A1%7D"),
        ({"explode": False}, LIST, "v=3,a%2Cb,c%20d"),
        ({"style": "spaceDelimited", "explode": False}, LIST, "v=3%20a%2Cb%20c%20d"),
        ({"style": "pipeDelimited", "explode": False}, LIST, "v=3%7Ca%2Cb%7Cc%20d"),
        ({"style": "pipeDelimited"}, LIST, "v=3%7Ca%2Cb%7Cc%20d"),
        ({}, OBJECT, "R=100&G=x%26y"),
        ({"explode": False}, OBJECT, "v=R,100,G,x%26y"),
        ({"style": "deepObject"}, OBJECT, "v%5BR%5D=100&v%5BG%5D=x%26y"),
        (
            {"style": "deepObject"},
            {"a": {"b": [1, 2]}},
            "v%5Ba%5D%5Bb%5D%5B0%5D=1&v%5Ba%5D%5Bb%5D%5B1%5D=2",
        ),
        ({"allowReserved": True}, "a/b?c", "v=a%2Fb%3Fc"),
        ({"content": {"application/json": {}}}, {"a": [1]}, "v=%7B%22a%22%3A%5B1%5D%7D"),
    ],
)
def test_query_values_have_the_form_that_the_document_says(
    more: Any, value: Any, sent: str
) -> None:
    expected = f"/things?{sent}" if sent else "/things"
    assert target(operation(at("query", **more)), v=value) == expected


@pytest.mark.parametrize(
    ("more", "value", "sent"),
    [
        ({}, "blue", "/things/blue.json"),
        ({}, "a b;c@d:e", "/things/a%20b%3Bc%40d%3Ae.json"),
        ({}, "50%", "/things/50%25.json"),
        ({}, "ü日", "/things/%C3%BC%E6%97%A5.json"),
        ({}, LIST, "/things/3,a%2Cb,c%20d.json"),
        ({}, {"R": 1, "G": 2}, "/things/R,1,G,2.json"),
        ({"explode": True}, {"R": 1, "G": 2}, "/things/R%3D1,G%3D2.json"),
        ({}, 7, "/things/7.json"),
        ({}, 7.0, "/things/7.json"),
        ({}, False, "/things/false.json"),
        ({}, "v1.2..3", "/things/v1.2..3.json"),
    ],
)
def test_path_values_are_one_segment(more: Any, value: Any, sent: str) -> None:
    one = operation(at("path", required=True, **more), path="/things/{v}.json")
    assert target(one, v=value) == sent


def test_headers_and_cookies() -> None:
    one = operation(
        at("header", "X-List"), at("header", "X-Object", explode=True), at("cookie", "a"),
        at("cookie", "b"),
    )  # fmt: skip
    request = one.bind({"X-List": [1, "b c"], "X-Object": {"R": 1}, "a": "x=1", "b": 5})
    assert request.headers == [
        ("X-List", "1,b c"), ("X-Object", "R=1"), ("Cookie", "a=x=1; b=5")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "value", "sent", "content_type"),
    [
        (body("application/json"), {"a": "ü", "b": [None, 1.5]},
         '{"a":"ü","b":[null,1.5]}', "application/json"),
        (body("*/*"), [1], "[1]", "application/json"),
        (body("application/merge-patch+json"), {}, "{}", "application/merge-patch+json"),
        (body("application/json;version=2"), 1, "1", "application/json;version=2"),
        (body("text/plain"), "a\r\nb", "a\r\nb", "text/plain"),
        (body("application/x-www-form-urlencoded"), {"a": "x y&z=1", "b": [1, 2], "c": {"d": 1}},
         "a=x%20y%26z%3D1&b=1&b=2&c=%7B%22d%22%3A1%7D", "application/x-www-form-urlencoded"),
        (body("application/x-www-form-urlencoded",
              encoding={"c": {"style": "deepObject", "explode": True}}),
         {"c": {"d": {"e": 1}}}, "c%5Bd%5D%5Be%5D=1", "application/x-www-form-urlencoded"),
    ],
)  # fmt: skip
def test_bodies(content: Any, value: Any, sent: str, content_type: str) -> None:
    request = operation(method="post", requestBody=content).bind({"body": value})
    assert (request.body, request.content_type) == (sent.encode(), content_type)
    assert (request.method, request.headers) == ("POST", [])


def test_json_is_preferred_and_a_body_may_be_missing() -> None:
    content = {"text/plain": {}, "multipart/form-data": {}, "a/b+json": {}, "application/json": {}}
    one = operation(method="post", requestBody={"content": content})
    assert one.bind({"body": 1}).content_type == "application/json"
    request = one.bind({})
    assert (request.body, request.content_type) == (None, None)


@pytest.mark.promise("API-1")
@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -1e400, 10**5000, "\ud800", {"a": "\udfff"}, {1: 2}, b"x"],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("where", ["query", "body"])
def test_what_json_cannot_carry_is_refused(where: str, value: Any) -> None:
    one = operation(at("query"), method="post", requestBody=body("application/json"))
    with pytest.raises(errors.Refused, match="invalid_arguments"):
        one.bind({"v" if where == "query" else "body": value})


@pytest.mark.promise("API-1")
def test_nesting_and_length_are_bounded() -> None:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    one = operation(at("query"), method="post", requestBody=body("application/json"))
    for arguments in ({"body": nested}, {"v": "x" * 9000}, {"v": ["x"] * 5000}):
        with pytest.raises(errors.Refused, match="invalid_arguments"):
            one.bind(arguments)


# --- Attacks (API-1): what a payload is made of, what it hides behind, and how it is written.

DOTS = [".", "..", "...", "\uff0e\uff0e", "\u2024\u2024", "\u2025", "\u2026", "\u3002\u3002"]
SLASHES = ["/", "\\", "\uff0f", "\uff3c", "\u2215", "\u2044", "\u29f8", "\u2100"]
CONTROLS = ["\x00", "\r\n", "\n", "\r", "\t", "\x0b", "\x1f", "\x7f", "\x85", "\u2028", "\u2029"]


def percent(text: str, times: int) -> str:
    for _ in range(times):
        text = "".join(f"%{byte:02x}" for byte in text.encode())
        if times > 1:
            text = text.replace("%", "%25")
    return text


ESCAPES = sorted({
    *DOTS,
    *(f"a{slash}b" for slash in SLASHES),
    *(f"{dots}{slash}{dots}" for dots in ("..", ".") for slash in SLASHES),
    *(f"a{control}b" for control in CONTROLS),
    *(percent(piece, times) for piece in ("..", ".", "/", "\\", "\r\n", "\0") for times in (1, 2)),
    "%252e%252e", "%25252e%25252e", "%2525252e", "%2e.", ".%2e", "%2E%2E", "..%2f", "..%5c",
    "%2e%2e%2f", "%252e%252e%252f", "..;", "..;/", "..;a=b", "%2e%2e;", "..%3b", "..%00", ".. ",
    " ..", "%20..", "%c0%ae%c0%ae", "%c0%af", "%e0%80%ae", "%ff", "%u002e%u002e", "%u2215",
    "..%c0%af", "//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example",
    "http:\\\\evil.example", "%2f%2fevil.example", "/%09/evil.example", "%5cevil.example",
    "..%ef%bc%8f", "%ef%bc%8e%ef%bc%8e", "%" + "25" * 20 + "2e", "a%0d%0aHost: evil.example",
    "x HTTP/1.1\r\nHost: evil.example", "",
})  # fmt: skip
# These look dangerous and are plain values once they are encoded.
PLAIN = [
    "@evil.example", "user:pw@evil.example", ":8080", "?admin=1", "#frag", "a?b#c", "a&b=c", "*",
    "a;b", "a|b", "a b", "%", "%%", "%zz", "100%", "a%20b", "{v}", "{{v}}", "${x}", "~", "-", "_",
    "a..b", "..a", "a..", "'\"", "<script>", "\u202e", "\u200b", "日本", "😀", "+", "%2B", "[::1]",
    "a@b:c", "javascript:x", "mailto:a", "0x7f000001", "1e400", "-1", "null", "true",
]  # fmt: skip


def seen(target: str, base: str = BASE) -> list[str]:
    """The segments of the path that a server might see that decodes, and folds, without end."""
    path = urlsplit(base + target).path
    while True:
        folded = unicodedata.normalize("NFKC", path).replace("\\", "/")
        further = unquote(folded, errors="strict")
        if further == path:
            return path.split("/")
        path = further


def holds(one: Any, arguments: dict[str, Any], segments: int) -> None:
    """A request of these arguments goes to the same host, path and headers as any other."""
    request = one.bind(arguments)
    assert request.target.isascii()
    assert request.target.isprintable()
    assert " " not in request.target
    assert "#" not in request.target
    url = httpx2.URL(BASE + request.target)
    assert (url.scheme, url.host, url.port, url.userinfo) == ("https", "api.example", None, b"")
    parts = urlsplit(BASE + request.target)
    assert (parts.netloc, parts.fragment) == ("api.example", "")
    found = seen(request.target)
    assert found[:3] == ["", "v1", "things"]
    assert len(found) == segments
    assert not any(part.partition(";")[0] in (".", "..") for part in found)
    for name, value in request.headers:
        assert name in ("X-Value", "Cookie")
        assert value.isascii()
        assert value.isprintable()


def test_there_are_attacks_enough() -> None:
    assert len(ESCAPES) >= 90
    assert len(PLAIN) >= 40


@pytest.mark.promise("API-1")
@pytest.mark.parametrize("path", ["/things/{v}", "/things/{v}/more", "/things/{v}.json"])
@pytest.mark.parametrize("payload", ESCAPES, ids=ascii)
def test_what_could_leave_a_segment_is_refused(path: str, payload: str) -> None:
    one = operation(at("path", required=True), path=path)
    for value in (payload, [payload], {payload: "a"}, {"a": payload}, ["a", payload]):
        with pytest.raises(errors.Refused) as caught:
            one.bind({"v": value})
        assert caught.value.code == "invalid_arguments"
        assert len(payload) < 4 or payload not in str(caught.value)


@pytest.mark.promise("API-1")
@pytest.mark.parametrize("payload", PLAIN, ids=ascii)
def test_what_looks_dangerous_stays_in_its_segment(payload: str) -> None:
    one = operation(at("path", required=True), path="/things/{v}/more")
    holds(one, {"v": payload}, 5)
    path = urlsplit(target(one, v=payload)).path
    assert unquote(path.split("/")[2]) == payload


@pytest.mark.promise("API-1")
@pytest.mark.parametrize(
    ("first", "second"),
    [("%2", "e%2e"), ("%2e", "%2e"), ("%25", "2e"), ("%", "2e"), ("%2", "f"), ("%5", "c"),
     ("a%2", "fb"), ("%c0", "%af"), ("%0", "d")],
)  # fmt: skip
def test_two_values_of_one_segment_make_no_escape_together(first: str, second: str) -> None:
    one = operation(at("path", "a"), at("path", "b"), path="/things/{a}{b}")
    with pytest.raises(errors.Refused, match="invalid_arguments"):
        one.bind({"a": first, "b": second})


@pytest.mark.promise("API-1")
@pytest.mark.parametrize("payload", [*ESCAPES, *PLAIN], ids=ascii)
def test_a_query_value_stays_in_its_field(payload: str) -> None:
    one = operation(at("query"), at("query", "other"))
    holds(one, {"v": payload, "other": "1"}, 3)
    sent = urlsplit(target(one, v=payload, other="1")).query
    assert parse_qsl(sent, keep_blank_values=True) == [("v", payload), ("other", "1")]
    for more in ({"explode": False}, {"style": "pipeDelimited", "explode": False}):
        holds(operation(at("query", **more)), {"v": [payload, payload]}, 3)
        sent = urlsplit(target(operation(at("query", **more)), v=[payload, payload])).query
        assert [name for name, _ in parse_qsl(sent, keep_blank_values=True)] == ["v"]
    deep = operation(at("query", style="deepObject"))
    holds(deep, {"v": {payload: payload}}, 3)
    sent = urlsplit(target(deep, v={payload: payload})).query
    assert parse_qsl(sent, keep_blank_values=True) == [(f"v[{payload}]", payload)]


@pytest.mark.promise("API-1")
@pytest.mark.parametrize("name", ["X-Value", "cookie"])
@pytest.mark.parametrize("payload", [*ESCAPES, *PLAIN], ids=ascii)
def test_a_header_or_cookie_value_stays_in_its_line(name: str, payload: str) -> None:
    place = at("cookie", "c") if name == "cookie" else at("header", name)
    one = operation(place, at("cookie", "z"))
    argument = "c" if name == "cookie" else name
    for value in (payload, [payload], {"a": payload}, {payload: "a"}):
        try:
            request = one.bind({argument: value, "z": "1"})
        except errors.Refused:
            continue
        holds(one, {argument: value}, 3)
        if name == "cookie":
            assert request.headers == [("Cookie", f"c={payload}; z=1")]
            assert not set(payload) & set(' ",;\\')
        else:
            assert [each for each, _ in request.headers] == [name, "Cookie"]


@pytest.mark.promise("API-1")
@pytest.mark.parametrize("payload", [*ESCAPES, *PLAIN], ids=ascii)
def test_a_field_of_a_form_stays_a_field(payload: str) -> None:
    form = body("application/x-www-form-urlencoded")
    request = operation(method="post", requestBody=form).bind({"body": {payload: payload}})
    pairs = parse_qsl(request.body.decode(), keep_blank_values=True)
    assert pairs == [(payload, payload)]


OWN = [
    "Host", "Content-Length", "Transfer-Encoding", "Connection", "Authorization", "Cookie",
    "Proxy-Authorization", "Proxy-Connection", "Content-Type", "Accept", "TE", "Upgrade", "Expect",
    "X-Forwarded-Host", "X-Forwarded-For", "Forwarded", "X-HTTP-Method-Override",
    "X-Original-URL", "X-Rewrite-URL", "hOsT", "Sec-Fetch-Site", "X-Secret", "x-secret", "X-Mine",
    "Host ", "a\r\nHost", "ü", "a:b", "",
]  # fmt: skip


@pytest.mark.promise("API-1", "API-2")
@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("required", [True, False])
def test_no_argument_sets_a_header_of_the_program(name: str, required: bool) -> None:
    """Even where the document declares it: framing, routing, credentials, those of settings."""
    reserved = [("header", "X-MINE")]
    one = operation(at("header", name, required=required), at("query"), reserved=reserved)
    assert list(one.input_schema["properties"]) == ["v"]
    assert len(one.left_out) == 1
    with pytest.raises(errors.Refused):
        one.bind({"v": "1", name: "evil"})
    assert one.bind({"v": "1"}).headers == []


@pytest.mark.promise("API-1", "API-2")
def test_no_argument_stands_for_a_credential() -> None:
    one = operation(
        at("query", "API_key"), at("cookie", "session"), at("query", "mine"), at("query"),
        at("query", "w"), reserved=[("query", "Mine")],
    )  # fmt: skip
    assert list(one.input_schema["properties"]) == ["v", "w"]
    for name in ("api_key", "API_KEY", "mine", "mine[]", "api_key[x]", "w", " api_key"):
        with pytest.raises(errors.Refused, match="name of another parameter"):
            one.bind({"v": {name: "evil"}})
    assert target(one, v={"fine": "1"}) == "/things?fine=1"


@pytest.mark.promise("API-1")
def test_arguments_choose_no_method_host_or_path() -> None:
    one = operation(at("query"))
    for name in ("method", "url", "base_url", "host", "path", "headers", "server", "__proto__"):
        with pytest.raises(errors.Refused, match="there are: v"):
            one.bind({name: "https://evil.example"})


@pytest.mark.promise("API-1")
@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        ({"type": "integer"}, True), ({"type": "integer"}, 1.5), ({"type": "integer"}, "1"),
        ({"type": "integer"}, 1e400), ({"type": "number"}, False), ({"type": "string"}, 1),
        ({"type": "boolean"}, 1), ({"type": "boolean"}, "true"), ({"type": "string"}, None),
        ({"type": "integer", "format": "int32"}, 2**40), ({"type": "string"}, ["a"]),
        ({"type": "array", "items": {"type": "string"}}, "a"),
    ],
)  # fmt: skip
def test_values_are_not_turned_into_another_type(schema: Any, wrong: Any) -> None:
    with pytest.raises(errors.Refused, match="invalid_arguments"):
        operation(at("query", schema=schema)).bind({"v": wrong})
