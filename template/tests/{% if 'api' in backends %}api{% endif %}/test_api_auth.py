# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""Credentials: they reach the API and nobody else, and are renewed; through a real client."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from urllib.parse import parse_qs

import anyio
import pytest
from apibed import PETS, answer, call, refused, resource, serving
from conftest import module, run, var
from world import Network, Reply, Request

pytestmark = pytest.mark.anyio
SECRET = 'f00d-"feed"/0123456789+xyz='
BASIC = base64.b64encode(f"user:{SECRET}".encode()).decode()
CLIENT = {"AUTH": "oauth2", "CLIENT_ID": "client 1", "CLIENT_SECRET": SECRET}
KINDS: list[tuple[dict[str, str], str, str]] = [
    ({"AUTH": "bearer", "TOKEN": SECRET}, "authorization", f"Bearer {SECRET}"),
    ({"AUTH": "api_key", "API_KEY": SECRET}, "x-api-key", SECRET),
    ({"AUTH": "api_key", "API_KEY": SECRET, "API_KEY_NAME": "X-Own"}, "x-own", SECRET),
    ({"AUTH": "basic", "USERNAME": "user", "PASSWORD": SECRET}, "authorization", f"Basic {BASIC}"),
]


def told_secrets() -> list[str]:
    """Every form in which the secret would be of use, in a whole or by its most."""
    raw = SECRET.encode()
    return [SECRET, json.dumps(SECRET)[1:-1], BASIC, base64.b64encode(raw).decode()[:-4]]


@pytest.mark.promise("API-2")
@pytest.mark.setting("API__AUTH")
@pytest.mark.setting("API__TOKEN")
@pytest.mark.setting("API__API_KEY")
@pytest.mark.setting("API__API_KEY_NAME")
@pytest.mark.setting("API__USERNAME")
@pytest.mark.setting("API__PASSWORD")
async def test_each_kind_is_sent(network: Network) -> None:
    """In its own header, once, and nothing without one."""
    network.route("a1.example", lambda request: answer({}))
    for settings, _, _ in KINDS:
        async with serving(network, "a1.example", **settings) as client:
            await call(client, "api_request", path="/x")
    async with serving(network, "a1.example", TOKEN=SECRET) as client:
        await call(client, "api_request", path="/x")
    *sent, without = network.requests("a1.example")
    assert [each.headers[name] for each, (_, name, _) in zip(sent, KINDS, strict=True)] == [
        value for _, _, value in KINDS
    ]
    assert SECRET not in str(without)


@pytest.mark.promise("API-2", "API-1")
@pytest.mark.setting("API__API_KEY_IN")
async def test_a_key_in_the_query_is_the_servers_alone(network: Network) -> None:
    """It comes last, encoded, and no argument has its name, in any spelling."""
    document = json.loads(json.dumps(PETS))
    document["paths"]["/pets"]["get"]["parameters"].append(
        {"name": "Key", "in": "query", "schema": {"type": "string"}}
    )
    settings = {"AUTH": "api_key", "API_KEY": SECRET, "API_KEY_IN": "query", "API_KEY_NAME": "key"}
    network.route("a2.example", lambda request: answer({}))
    async with serving(network, "a2.example", **settings) as client:
        for name in ("key", "KEY", "key[]", "key[0]", " key", "Key "):
            told = await refused(client, "api_request", path="/x", query={name: "mine"})
            assert told.startswith("denied"), name
        assert not network.requests("a2.example")
        await call(client, "api_request", path="/x", query={"a": "1&key=mine", "b&key": "x"})
        await call(client, "api_request", path="/x")
    async with serving(network, "a2.example", document, **settings) as client:
        await refused(client, "listPets", Key="mine")
        await call(client, "listPets", q="1&key=mine")
    encoded = "f00d-%22feed%22%2F0123456789%2Bxyz%3D"
    assert [each.target for each in network.requests("a2.example")] == [
        f"/v1/x?a=1%26key%3Dmine&b%26key=x&key={encoded}",
        f"/v1/x?key={encoded}",
        f"/v1/pets?q=1%26key%3Dmine&key={encoded}",
    ]


@pytest.mark.promise("API-2", "GEN-4")
@pytest.mark.parametrize("kind", range(len(KINDS)))
async def test_an_api_that_repeats_the_credentials(network: Network, kind: int) -> None:
    """They are taken out of data, text, pages, details of errors and the server's log."""
    settings, name, value = KINDS[kind]
    network.route("a3.example", lambda request: repeating(request, name, value))
    with TemporaryFile("w+") as log:
        own = {"MAX_TEXT": "1000", **settings}
        async with serving(network, "a3.example", stderr=log, **own) as client:
            seen = [
                json.dumps(await call(client, "api_request", path=path))
                for path in ("/json", "/text", "/long")
            ]
            rest = json.loads(seen[2])["next_cursor"]
            seen.append(json.dumps(await call(client, "read_answer", cursor=rest)))
            seen.append(await refused(client, "api_request", path="/error"))
            seen.append(await refused(client, "api_request", path="/error500"))
            seen.append(json.dumps(await resource(client, "api://info")))
            seen.append(json.dumps(await call(client, "get_api_status")))
            seen.append(json.dumps(await call(client, "validate_auth")))
        log.seek(0)
        seen.append(log.read())
    assert "***" in seen[0]
    joined = "\n".join(seen)
    whole = joined + joined.replace("\\", "")
    for secret in (*told_secrets(), SECRET[:14], SECRET[-14:]):
        assert secret not in whole, secret


@pytest.mark.promise("GEN-4")
async def test_a_short_password_is_hidden_in_its_header(network: Network) -> None:
    """Alone it is too short to be looked for; with its name, as it is sent, it is not."""
    network.route("a5.example", lambda request: answer(request.headers["authorization"]))
    short = {"AUTH": "basic", "USERNAME": "reader", "PASSWORD": "f00d!"}
    async with serving(network, "a5.example", **short) as client:
        told = (await call(client, "api_request", path="/x"))["data"]
    (request,) = network.requests("a5.example")
    assert request.headers["authorization"] == f"Basic {encoded('reader:f00d!')}"
    assert told.startswith("Basic ***")
    assert encoded("reader:f00d!")[:12] not in told


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def repeating(request: Request, name: str, value: str) -> Reply:
    """Repeat credentials in many forms."""
    sent = request.headers[name]
    forms = {
        "sent": sent,
        sent: "as a name",
        "secret": SECRET,
        "base64": base64.b64encode(sent.encode()).decode(),
        "shifted": base64.b64encode(b"a" + SECRET.encode()).decode(),
        "pair": f"user:{SECRET}",
        "nested": [{"x": [f"it is {sent}!"]}],
        "json": json.dumps({"in": sent}),
    }
    if request.target == "/v1/text":
        return Reply(json.dumps(forms).encode(), 200, "text/plain")
    if request.target == "/v1/long":  # across the end of the first page
        return answer("x" * 985 + SECRET + "y" * 500)
    status = {"/v1/error": 400, "/v1/error500": 500}.get(request.target, 200)
    return answer(forms, status)


@pytest.mark.promise("API-2")
@pytest.mark.parametrize(
    ("auth", "missing"),
    [
        ("bearer", ["TOKEN"]), ("api_key", ["API_KEY"]), ("basic", ["USERNAME", "PASSWORD"]),
        ("oauth2", ["TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET"]),
    ],
)  # fmt: skip
def test_what_is_missing_stops_the_start(tmp_path: Path, auth: str, missing: list[str]) -> None:
    """One line names the variable."""
    given = {name: "https://a.example/t" if name == "TOKEN_URL" else SECRET for name in missing}
    for name in missing:
        others = {var(f"API__{each}"): value for each, value in given.items() if each != name}
        done = run("--check", home=tmp_path, env={var("API__AUTH"): auth, **others})
        assert done.returncode == 1
        assert var(f"API__{name}:") in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.promise("API-2", "GEN-4")
def test_a_secret_that_cannot_be_sent_stops_the_start(tmp_path: Path) -> None:
    """A line end in it would be a header of its own; it is not repeated."""
    for auth, name in (("bearer", "TOKEN"), ("api_key", "API_KEY")):
        for value in ("abcdefgh\r\nX: y", "abcdefgh\ny", "abcdefghé", " abcdefgh"):
            env = {var("API__AUTH"): auth, var(f"API__{name}"): value}
            done = run("--check", home=tmp_path, env=env)
            assert done.returncode == 1
            assert var(f"API__{name}") in done.stderr
            assert "abcdefgh" not in done.stderr


def test_credentials_in_the_clear_are_warned_of(tmp_path: Path) -> None:
    """And secrets that have no effect, or are too short to be found."""
    env = {
        var("API__BASE_URL"): "http://api.example", var("API__AUTH"): "bearer",
        var("API__TOKEN"): "short", var("API__API_KEY"): SECRET,
    }  # fmt: skip
    done = run("--check", home=tmp_path, env=env)
    for part in ("in the clear", "API__API_KEY has no effect", "API__TOKEN is too short"):
        assert part in done.stdout
    assert SECRET not in done.stdout


@pytest.mark.setting("API__VALIDATE_PATH")
async def test_validate_auth_asks_the_api(network: Network) -> None:
    """401 and 403 refuse, 2xx accepts, all else says nothing."""
    statuses = {"/v1/me?a=b": 200, "/v1/401": 401, "/v1/403": 403, "/v1/500": 500, "/v1/": 404}
    network.route("a4.example", lambda request: Reply(SECRET.encode(), statuses[request.target]))
    for path, result in (
        ("/me?a=b", "accepted"), ("/401", "refused"), ("/403", "refused"), ("/500", "unknown"),
        (None, "unknown"),
    ):  # fmt: skip
        own = {"AUTH": "bearer", "TOKEN": SECRET} | ({"VALIDATE_PATH": path} if path else {})
        async with serving(network, "a4.example", **own) as client:
            assert (await call(client, "validate_auth"))["result"] == result


# --- OAuth 2.0.


class Issuer:
    """Gives out tokens, and an API that wants the last one."""

    def __init__(self, network: Network, host: str, **token: Any) -> None:
        self.token = {"token_type": "Bearer", "expires_in": 3600, **token}
        self.network, self.host = network, host
        self.given = 0
        self.delay = 0.0
        self.reply: Callable[[], Reply] | None = None
        network.route(f"issuer-{host}", self.issue)
        network.route(host, self.api)

    @property
    def settings(self) -> dict[str, str]:
        return {**CLIENT, "TOKEN_URL": f"https://issuer-{self.host}/token"}

    @property
    def asked(self) -> list[Request]:
        return self.network.requests(f"issuer-{self.host}")

    def issue(self, request: Request) -> Reply:
        time.sleep(self.delay)
        if self.reply:
            return self.reply()
        self.given += 1
        return answer({"access_token": f"token-number-{self.given}", **self.token})

    def api(self, request: Request) -> Reply:
        wanted = f"Bearer {self.token.get('access_token', f'token-number-{self.given}')}"
        good = request.headers.get("authorization") == wanted
        return answer({"echo": request.headers.get("authorization")}, 200 if good else 401)


@pytest.mark.promise("API-2")
@pytest.mark.setting("API__TOKEN_URL")
@pytest.mark.setting("API__CLIENT_ID")
@pytest.mark.setting("API__CLIENT_SECRET")
@pytest.mark.setting("API__SCOPE")
async def test_one_token_serves_many_calls(network: Network) -> None:
    """Of a hundred at once one fetches it; the client's secret goes to that address alone."""
    issuer = Issuer(network, "o1.example")
    issuer.delay = 0.3
    many = {"RATE": "1000", "BURST": "1000", "GUARD__MAX_IN_FLIGHT": "200", "SCOPE": "read pets"}
    async with serving(network, "o1.example", **issuer.settings, **many) as client:
        found = []

        async def ask() -> None:
            found.append(await call(client, "api_request", path="/x"))

        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(ask)
        checked = await call(client, "validate_auth")
    assert len(found) == 100
    assert checked["result"] == "accepted"
    assert "token-number" not in str(found)
    (asked,) = issuer.asked
    assert (asked.method, asked.target) == ("POST", "/token")
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"], "scope": ["read pets"],
    }  # fmt: skip
    secret = "f00d-%22feed%22%2F0123456789%2Bxyz%3D"
    expected = base64.b64encode(f"client+1:{secret}".encode()).decode()
    assert asked.headers["authorization"] == f"Basic {expected}"
    assert SECRET not in str(network.requests("o1.example"))


@pytest.mark.setting("API__CLIENT_AUTH")
async def test_the_clients_secret_in_the_body(network: Network) -> None:
    """For servers that take it nowhere else."""
    issuer = Issuer(network, "o2.example")
    post = {**issuer.settings, "CLIENT_AUTH": "post"}
    async with serving(network, "o2.example", **post) as client:
        await call(client, "api_request", path="/x")
    (asked,) = issuer.asked
    assert "authorization" not in asked.headers
    assert parse_qs(asked.body.decode())["client_secret"] == [SECRET]


@pytest.mark.promise("API-2")
async def test_a_token_is_renewed_before_its_end(network: Network) -> None:
    """After nine tenths of two seconds."""
    issuer = Issuer(network, "o3.example", expires_in=2)
    async with serving(network, "o3.example", **issuer.settings) as client:
        for _ in range(2):
            await call(client, "api_request", path="/x")
        assert len(issuer.asked) == 1
        await anyio.sleep(1.9)
        await call(client, "api_request", path="/x")
    assert len(issuer.asked) == 2


@pytest.mark.promise("API-2")
@pytest.mark.parametrize(("lifetime", "renewed"), [(3600, 3570), (300, 270), (100, 90), (2, 1.8)])
async def test_a_token_is_renewed_early(lifetime: float, renewed: float) -> None:
    """30 s or a tenth of its time before its end."""
    auth, now, fetched = module("api.auth"), [1000.0], list[str]()

    class Told:
        async def send(self, method: str, url: Any, **options: Any) -> Any:
            token = {"access_token": "t", "token_type": "bearer", "expires_in": lifetime}
            return module("net.egress").Answer(url, 200, {}, json.dumps(token).encode())

    url = module("net.urls").parse("https://a.example/t")
    made = auth.ClientCredentials(url, Told(), None, {}, fetched.append, lambda: now[0])
    for seconds, expected in ((0, 1), (renewed - 0.1, 1), (renewed + 0.1, 2)):
        now[0] = 1000 + seconds
        await made.current()
        assert len(fetched) == expected


@pytest.mark.promise("API-2")
async def test_a_token_that_the_api_refuses_is_replaced_once(network: Network) -> None:
    """Then the request is repeated; where that does not help, it is told and not tried for ever."""
    issuer = Issuer(network, "o4.example")
    async with serving(network, "o4.example", **issuer.settings) as client:
        await call(client, "api_request", path="/x")
        issuer.given += 1  # the API wants another one by now
        await call(client, "api_request", path="/x")
        assert len(issuer.asked) == 2
        network.route("o4.example", lambda request: Reply(b"", 401))
        for _ in range(5):
            assert "401" in await refused(client, "api_request", path="/x")
    assert len(issuer.asked) == 2
    assert len(network.requests("o4.example")) == 3 + 5


@pytest.mark.promise("API-2")
async def test_failures_of_the_issuer_are_no_storm(network: Network) -> None:
    """One closed sentence, with its status; the API is never asked without a token."""
    issuer = Issuer(network, "o5.example")
    issuer.reply = lambda: answer({"error": "invalid_client", "error_description": SECRET}, 401)
    async with serving(network, "o5.example", **issuer.settings) as client:
        for _ in range(5):
            told = await refused(client, "api_request", path="/x")
        checked = await call(client, "validate_auth")
    assert told == (
        "upstream: there is no token for the API: its address answered 401 (invalid_client)"
    )
    assert (checked["result"], checked["status"]) == ("unknown", None)
    assert len(issuer.asked) == 1
    assert not network.requests("o5.example")


@pytest.mark.promise("API-2")
@pytest.mark.parametrize(
    ("number", "reply"),
    list(enumerate(
        [
            answer({"access_token": "abcdefgh"}),
            answer({"access_token": "abcdefgh", "token_type": "mac"}),
            answer({"access_token": "abcdefgh\r\nX: y", "token_type": "Bearer"}),
            answer({"access_token": "", "token_type": "Bearer"}),
            answer({"access_token": ["abcdefgh"], "token_type": "Bearer"}),
            answer([]), answer("x"), Reply(b"{", 200, "application/json"), Reply(b"abcdefgh"),
            answer({"access_token": "abcdefgh", "token_type": "Bearer"}, 201),
            answer({"access_token": "abcdefgh", "token_type": "Bearer"}, 302,
                   Location="https://evil-o6.example/"),
            Reply(b" " * 100_000, 200, "application/json"),
        ]
    )),
)  # fmt: skip
async def test_what_is_no_token_is_not_used(network: Network, number: int, reply: Reply) -> None:
    """Nothing of it is sent to the API, or told."""
    issuer = Issuer(network, f"o6-{number}.example")
    network.route("evil-o6.example", lambda request: answer({}))
    issuer.reply = lambda: reply
    async with serving(network, issuer.host, **issuer.settings) as client:
        told = await refused(client, "api_request", path="/x")
    assert told.startswith("upstream: there is no token for the API")
    assert "abcdefgh" not in told
    assert not network.requests(issuer.host)
    assert not network.requests("evil-o6.example")


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (3600, 3600), ("3600", 3600), (0.5, 0.5), (None, 300), (0, 300), (-1, 300), (True, 300),
        ("x", 300), ([], 300), (10**30, 86_400), ("9" * 11, 300),
    ],
)  # fmt: skip
def test_the_time_of_a_token(told: object, seconds: float) -> None:
    """What cannot be meant is a few minutes, what is endless a day."""
    assert module("api.auth")._lifetime(told) == seconds


@pytest.mark.promise("API-2")
def test_the_clients_secret_does_not_travel_in_the_clear(tmp_path: Path) -> None:
    """By http only to the API's own server, or to this machine."""
    own = {f"API__{name}": value for name, value in CLIENT.items()}
    for base, url, good in (
        ("https://a.example", "http://b.example/t", False),
        ("http://10.0.0.5:8080", "http://10.0.0.5:8081/t", False),
        ("http://10.0.0.5:8080", "http://10.0.0.5:8080/t", True),
        ("https://a.example", "http://127.0.0.1:9000/t", True),
        ("https://a.example", "https://b.example/t", True),
    ):
        env = {**own, "API__BASE_URL": base, "API__TOKEN_URL": url}
        done = run("--check", home=tmp_path, env={var(name): value for name, value in env.items()})
        assert (done.returncode == 0) is good, done.stderr
        assert good or var("API__TOKEN_URL") in done.stderr
