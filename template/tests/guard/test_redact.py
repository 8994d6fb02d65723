# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""Secrets are taken out of what is written down, in bounded time."""

import base64
import io
import json
import logging
import sys
import time
from typing import Any
from urllib.parse import quote

import pytest
from conftest import module

pytestmark = pytest.mark.promise("GEN-4")

OWN = "correct/horse+battery staple"


def redactor(*secrets: str) -> Any:
    return module("guard.redact").Redactor(secrets)


@pytest.mark.parametrize(
    "name",
    [
        "password", "db_password", "Passwd", "passphrase", "pwd", "token", "accessToken",
        "api_key", "apiKey", "X-Api-Key", "api-key", "secret", "clientSecret", "Authorization",
        "Set-Cookie", "credentials", "private_key", "privateKey", "signing_key", "DSN",
        "db_dsn", "connection_string", "connectionString", "conn_str", "auth", "session_id",
        "aws_secret_access_key",
    ],
)  # fmt: skip
def test_a_field_that_sounds_secret_loses_its_value(name: str) -> None:
    """Whatever such a field holds, text or structure, at any depth, is not written down."""
    for value in ("hunter2", {"a": "hunter2"}, ["hunter2"], 12345678):
        written = json.dumps(redactor().arguments({"x": [{name: value}]})[0])
        assert "hunter2" not in written
        assert "12345678" not in written
        assert name in written


@pytest.mark.parametrize("name", ["path", "query", "author", "limit", "monkey", "passage", "key"])
def test_other_fields_keep_theirs(name: str) -> None:
    """The audit log stays useful: ordinary fields are written as they are."""
    assert redactor().arguments({name: "docs/readme.md"}) == ({name: "docs/readme.md"}, True)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abc.def-ghi", "abc.def"),
        ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("Bearer   0123456789abcdef", "0123456789abcdef"),
        ("postgresql://admin:hunter2@db.example/x", "hunter2"),
        ("postgresql://admin:hun/ter2@db.example/x", "ter2"),
        ("https://0a1b2c3d4e@git.example/repo", "0a1b2c3d4e"),
        ("key AKIAIOSFODNN7EXAMPLE here", "AKIAIOSFODNN7EXAMPLE"),
        ("sk-" + "a1" * 20, "a1a1a1"),
        ("sk_live_" + "a1" * 12, "a1a1a1"),
        ("ghp_" + "a1" * 18, "a1a1a1"),
        ("github_pat_" + "a1" * 18, "a1a1a1"),
        ("glpat-" + "a1" * 10, "a1a1a1"),
        ("xoxb-" + "a1" * 10, "a1a1a1"),
        ("AIza" + "a1" * 18, "a1a1a1"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJzdWIi"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "MIIEow"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEow", "MIIEow"),
        ("host=db password=hunter2 user=a", "hunter2"),
        ("PGPASSWORD='hunter 2'", "hunter 2"),
        ("/search?q=a&access_token=hunter2&x=1", "hunter2"),
        ('{"client_secret": "hunter 2", "a": 1}', "hunter 2"),
    ],
)
def test_text_that_looks_like_a_credential_is_replaced(text: str, secret: str) -> None:
    """Known forms of credentials are found in any text, also when it is cut off there."""
    assert secret not in redactor().text(text)
    padded = "x " * 100 + text
    for cut in range(201, 257):
        assert secret[:6] not in redactor().text(padded, cut)[200:]
    assert secret not in json.dumps(redactor().arguments({"note": [text]})[0])


@pytest.mark.parametrize(
    "form",
    [
        OWN,
        quote(OWN, safe=""),
        quote(OWN),
        base64.b64encode(OWN.encode()).decode(),
        base64.b64encode(f"user:{OWN}".encode()).decode(),
        base64.b64encode(f"me:{OWN}".encode()).decode(),
        base64.b64encode(f"x:{OWN}!!".encode()).decode(),
        base64.urlsafe_b64encode(f"user:{OWN}".encode()).decode(),
    ],
)
def test_the_servers_own_secrets_are_replaced_everywhere(form: str) -> None:
    """A secret setting is found as it is, in URLs, and in Base64 wherever it begins in it."""
    known = redactor(OWN, "short")
    written = known.text(f"before {form} after")
    assert "***" in written
    # Of Base64 the ends share characters with their neighbours and tell nothing.
    assert not any(form[at : at + 10] in written for at in range(8, len(form) - 16))
    assert known.own(form) != form
    assert known.text("a short text") == "a short text"


def test_a_record_of_arguments_is_small_whatever_they_are() -> None:
    """Width, depth, length and keys are bounded, and so is the time that looking takes."""
    arguments = redactor(OWN).arguments
    deep: Any = "x"
    for _ in range(50_000):
        deep = [deep]
    huge = {f"key{number}" * 50: ["a-" * 5000] * 1000 for number in range(1000)}
    assert arguments(deep) == ([[[[[["…"]]]]]], True)
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    values: list[Any] = [
        deep, huge, cycle, "x" * 10_000_000, list(range(100_000)), 10**5000, float("nan"), b"x",
        {1: 2}, {"\ud800": "\ud800"}, None, True, ["\U0001f600" * 4096] * 100, "\0" * 4096,
        {f"token{number}": 1 for number in range(300_000)},
        {"token" * 100 + str(number): 1 for number in range(9999)},
    ]  # fmt: skip
    for value in values:
        started = time.perf_counter()
        written = json.dumps(arguments({"value": value})[0])
        assert time.perf_counter() - started < 1
        assert len(written) < 600_000
        assert "NaN" not in written
        started = time.perf_counter()
        assert len(json.dumps(arguments({"value": value}, 512)[0])) < 60_000
        assert time.perf_counter() - started < 0.2


@pytest.mark.promise("GEN-3")
@pytest.mark.parametrize(
    "arguments",
    [
        {"path": "./" * 2_000 + "TARGET"},
        {"paths": [*(["x" * 4_090] * 99), "TARGET"]},
        {"edits": [{"oldText": "x" * 4_000, "newText": "y" * 4_000}] * 100, "path": "TARGET"},
        {"content": "x" * 1_000_000, "path": "TARGET"},
    ],
    ids=["padding", "many", "edits", "content"],
)
def test_no_caller_pushes_its_target_out_of_the_record(arguments: dict[str, Any]) -> None:
    """What a call is about is recorded whole, whatever it brings along."""
    written, complete = redactor().arguments(arguments)
    assert complete
    assert "TARGET" in json.dumps(written)


@pytest.mark.promise("GEN-3")
@pytest.mark.parametrize(
    "arguments",
    [
        {"paths": ["x", *["\U0001f600" * 4096] * 99, "TARGET"]},
        {"paths": [*(["\0" * 4_090] * 99), "TARGET"]},
        {**{f"token{number}": "x" for number in range(50_000)}, "path": "TARGET"},
    ],
    ids=["wide", "control", "keys"],
)
def test_what_does_not_fit_into_a_record_is_known(arguments: dict[str, Any]) -> None:
    """It is counted as it is written, escapes and keys included: such a call is not run."""
    written, complete = redactor().arguments(arguments)
    assert not complete
    assert len(json.dumps(written)) < 600_000


def test_a_secret_in_the_log_may_look_like_a_path() -> None:
    """Only arguments have something to hide: of them it is shown where a path goes up again."""
    for text in ("password=/../hunter2", "postgres://u:pa/../hunter2@h"):
        assert "hunter2" not in redactor().text(text)


@pytest.mark.promise("GEN-5")
def test_no_argument_is_costly_to_search() -> None:
    """A call of the most that fits costs the event loop a fraction of a second at worst."""
    for text in ("://:", "://a:", "token=", "bearer ", 'password="', "-----BEGIN PRIVATE KEY-----",
                 "/../", "eyJ", "sk-", "pass: '", "token:token:"):  # fmt: skip
        paths = [(text * 4096)[:4096]] * 100
        started = time.process_time()
        redactor(OWN).arguments({"paths": paths})
        assert time.process_time() - started < 1, text


@pytest.mark.promise("GEN-3")
@pytest.mark.parametrize(
    "path",
    [
        "token=/../TARGET", 'token="/../TARGET', "token='/./TARGET", "bearer abcdefg/../TARGET",
        "a://b:c/../TARGET@", "-----BEGIN PRIVATE KEY-----/../TARGET", "password: x/../TARGET",
    ],
)  # fmt: skip
def test_no_path_hides_where_it_leads(path: str) -> None:
    """What looks like a credential does not go on where a path goes up again."""
    assert "TARGET" in json.dumps(redactor().arguments({"path": path})[0])


@pytest.mark.promise("GEN-3")
def test_the_text_of_an_exception_forges_no_line_of_the_log() -> None:
    """Neither a head of the audit log nor a colour of the terminal."""
    text = "x\n2026-11-24 INFO audit log: head of audit.jsonl is 9:aa\x1b[31m"
    try:
        raise RuntimeError(text)
    except RuntimeError:
        record = logging.LogRecord("n", 40, "f", 1, "failed", (), sys.exc_info())
    module("guard.redact").RedactingFilter(redactor()).filter(record)
    lines = logging.Formatter("%(message)s").format(record).split("\n")
    assert lines[0] == "failed"
    assert all(line.startswith("  ") for line in lines[1:])
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    "text",
    ["a", "a-", "://", "://a:", "token", "token=", "password ", "-----BEGIN PRIVATE KEY-----",
     "-----BEGIN ", "eyJ", "bearer ", '"', "sk-", "x://a@", "token'", "secret-"],
)  # fmt: skip
def test_no_text_takes_long_to_search(text: str) -> None:
    """The time to search a text grows with its length, not with the square of it."""
    text *= 65_536 // len(text)
    started = time.perf_counter()
    redactor(OWN).text(text, 65_536)
    assert time.perf_counter() - started < 1


class Capture:
    """A logger whose handler has the filter, and what it has written."""

    def __init__(self, *secrets: str) -> None:
        self.stream = io.StringIO()
        handler = logging.StreamHandler(self.stream)
        handler.addFilter(module("guard.redact").RedactingFilter(redactor(*secrets)))
        self.log = logging.Logger("test")
        self.log.addHandler(handler)

    @property
    def text(self) -> str:
        return self.stream.getvalue()


def test_the_servers_log_has_no_secrets() -> None:
    """Messages, their arguments, tracebacks and causes lose the secrets they hold."""
    capture = Capture(OWN)
    capture.log.warning("connecting to %s with %s", "postgresql://u:hunter2@db/x", OWN)
    try:
        try:
            raise ValueError(f"cause {OWN}")
        except ValueError as cause:
            raise RuntimeError("password=hunter2") from cause
    except RuntimeError:
        capture.log.exception("failed")
    assert OWN not in capture.text
    assert "hunter2" not in capture.text
    assert "connecting to postgresql://***@db/x with ***" in capture.text
    assert "Traceback" in capture.text
    assert "RuntimeError: password=***" in capture.text


def test_no_other_handler_prints_the_exception_as_it_is() -> None:
    """After the filter a record has no exception left that somebody else could format."""
    try:
        raise RuntimeError(OWN)
    except RuntimeError:
        record = logging.LogRecord("x", 40, "x", 1, "failed", (), sys.exc_info())
    module("guard.redact").RedactingFilter(redactor(OWN)).filter(record)
    assert OWN not in logging.Formatter().format(record)
    assert OWN not in str(vars(record))


def test_no_message_forges_a_line_of_the_log() -> None:
    """Control characters in a message are escaped; a traceback keeps its lines."""
    capture = Capture()
    capture.log.warning("tool %s failed", "a\nERROR forged\r\x1b[2J\u2028b\x85")
    assert capture.text == "tool a\\x0aERROR forged\\x0d\\x1b[2J\\u2028b\\x85 failed\n"


def test_a_message_that_cannot_be_formatted_costs_no_call() -> None:
    """A log line with wrong arguments, or an object that fails, raises nothing."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError(OWN)

    capture = Capture(OWN)
    capture.log.warning("%d", "no number")
    capture.log.warning("%s", Broken())
    assert capture.text.count("could not be formatted") == 2
