# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""What clients get of an API and what they cannot ask of it, through a real client."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from apibed import PETS, answer, call, refused, resource, serving
from conftest import PACKAGE, ROOT, run, text_of, var
from world import PRIVATE, Network, Reply, Request

pytestmark = pytest.mark.anyio


def echo(request: Request) -> Reply:
    """Answer with what was asked."""
    return answer({"id": 1, "method": request.method, "target": request.target})


# --- What is served.


async def test_each_operation_is_a_tool(network: Network) -> None:
    """With the document's names, a schema of the arguments, and hints."""
    network.route("t1.example", echo)
    async with serving(network, "t1.example", PETS) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        found = await call(client, "getPet", id="7")
    assert {"listPets", "getPet", "stock", "get_api_status"} <= set(tools)
    assert not {"addPet", "removePet", "call_operation", "api_request"} & set(tools)
    hints = tools["getPet"].annotations
    assert (hints.read_only_hint, hints.destructive_hint) == (True, False)
    assert (hints.idempotent_hint, hints.open_world_hint) == (True, True)
    assert tools["getPet"].input_schema["required"] == ["id"]
    assert "GET /pets/{id}" in tools["getPet"].description
    assert (found["status"], found["data"]["target"]) == (200, "/v1/pets/7")
    assert (found["text"], found["truncated"], found["next_cursor"]) == (None, False, None)


async def test_without_a_document_paths_are_asked(network: Network) -> None:
    """A path below the base path; values of the query are encoded, lists repeat."""
    network.route("t2.example", echo)
    async with serving(network, "t2.example") as client:
        found = await call(client, "api_request", path="/a b/@me:x", query={
            "q": "1&2=3#", "n": 5, "on": True, "many": ["x", "y"], "a&b": "c",
        })  # fmt: skip
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert found["data"]["target"] == (
        "/v1/a%20b/@me:x?q=1%262%3D3%23&n=5&on=true&many=x&many=y&a%26b=c"
    )
    assert "api_request_write" not in names


@pytest.mark.promise("API-1")
@pytest.mark.setting("API__READ_ONLY")
async def test_what_writes_is_served_only_when_it_may(network: Network) -> None:
    """By the server's own setting, and by that of the backend, with and without a document."""
    network.route("t3.example", echo)
    for settings, may in (
        ({}, False),
        ({"SERVER_READ_ONLY": "false"}, True),
        ({"SERVER_READ_ONLY": "false", "READ_ONLY": "true"}, False),
        ({"READ_ONLY": "false"}, False),
    ):
        allowed = {"ALLOWED_ENDPOINTS": '["* /**"]', **settings}
        async with serving(network, "t3.example", **allowed) as client:
            listed = {tool.name for tool in (await client.list_tools()).tools}
            assert ("api_request_write" in listed) is may, settings
            if may:
                body = {"name": "x\r\nHost: evil.example"}
                await call(client, "api_request_write", path="/p", method="POST", body=body)
        async with serving(network, "t3.example", PETS, **settings) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert ("addPet" in tools) is ("removePet" in tools) is may, settings
            if may:
                assert tools["addPet"].annotations.read_only_hint is False
                await call(client, "addPet", body={"id": 3})
    first, second = network.requests("t3.example")
    assert (first.method, json.loads(first.body)["name"]) == ("POST", "x\r\nHost: evil.example")
    assert (second.method, json.loads(second.body)) == ("POST", {"id": 3})
    assert second.headers["content-type"] == "application/json"


@pytest.mark.setting("API__MAX_TOOLS")
async def test_many_operations_are_found_and_called_by_name(network: Network) -> None:
    """Three tools in the place of one for each; what writes has one of its own."""
    network.route("t4.example", echo)
    few = {"MAX_TOOLS": "2", "SERVER_READ_ONLY": "false"}
    async with serving(network, "t4.example", PETS, **few) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert "getPet" not in tools
        assert tools["call_operation"].annotations.read_only_hint is True
        assert tools["call_operation_write"].annotations.read_only_hint is False
        listed = await call(client, "list_operations", query="pet", method="GET", limit=1)
        assert (len(listed["operations"]), listed["total"]) == (1, 2)
        described = await call(client, "describe_operation", name="getPet")
        assert described["arguments"]["required"] == ["id"]
        found = await call(client, "call_operation", name="getPet", arguments={"id": "7"})
        assert found["data"]["target"] == "/v1/pets/7"
        told = [
            await refused(client, "call_operation", name="getPet", arguments={"id": 7}),
            await refused(client, "call_operation", name="getPet", arguments={"evil": "x"}),
            await refused(client, "call_operation", name="getPet"),
            await refused(client, "call_operation", name="removePet", arguments={"id": "7"}),
            await refused(client, "call_operation_write", name="getPet", arguments={"id": "7"}),
            await refused(client, "call_operation", name="getPets"),
        ]
        assert "getPet" in told[-1]
        assert len(network.requests("t4.example")) == 1
        await call(client, "call_operation_write", name="removePet", arguments={"id": "7"})
    async with serving(network, "t4.example", PETS, MAX_TOOLS="2") as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "call_operation_write" not in names
        listed = await call(client, "list_operations")
        assert {each["name"] for each in listed["operations"]} == {"listPets", "getPet", "stock"}
        await refused(client, "call_operation", name="removePet", arguments={"id": "7"})
        await refused(client, "describe_operation", name="removePet")
    assert [each.method for each in network.requests("t4.example")] == ["GET", "DELETE"]


# Those of other backends are not meant.
OURS = re.compile(r"do[0-9]|call_|list_operations|describe_operation|read_answer|get_api|validate_")


@pytest.mark.parametrize(("count", "words"), [(3, 1), (40, 1), (40, 60), (400, 60)])
async def test_the_list_of_tools_is_small_whatever_the_document(
    network: Network, count: int, words: int
) -> None:
    """Every client sends all of it to its model."""
    fields = {
        f"field{number}": {"type": "string", "description": "of it"} for number in range(words)
    }
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": fields}}}}
    made = {"operationId": "", "summary": "Does it. " * words, "requestBody": body, "responses": {}}
    paths = {f"/{n}": {"post": {**made, "operationId": f"do{n}"}} for n in range(count)}
    document = {"openapi": "3.1.0", "info": {"title": "x", "version": "1"}, "paths": paths}
    async with serving(network, "t4b.example", document, SERVER_READ_ONLY="false") as client:
        tools = [each for each in (await client.list_tools()).tools if OURS.match(each.name)]
    listed = sum(len(tool.model_dump_json(by_alias=True, exclude_none=True)) for tool in tools)
    assert listed < 50_000
    assert ("do0" in {tool.name for tool in tools}) == (words == 1)


@pytest.mark.setting("API__INCLUDE")
async def test_only_included_operations_are_served(network: Network) -> None:
    """By method and path, or by tag."""
    for globs, expected in (
        (["GET /pets/*"], {"getPet"}),
        (["* /pets/**"], {"listPets", "getPet"}),
        (["tag:shop"], {"stock"}),
    ):
        include = json.dumps(globs)
        async with serving(network, "t5.example", PETS, INCLUDE=include) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
        assert names & {"listPets", "getPet", "stock"} == expected


@pytest.mark.setting("API__EXCLUDE")
async def test_excluded_operations_are_not_served(network: Network) -> None:
    """Stronger than what is included."""
    globs = {"INCLUDE": "tag:pets", "EXCLUDE": "GET /pets/{id}"}
    async with serving(network, "t5.example", PETS, **globs) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert names & {"listPets", "getPet", "stock"} == {"listPets"}


# --- What an argument cannot do.

ELSEWHERE = [
    "https://evil.example/x", "//evil.example/x", "/\\evil.example/x", "\\\\evil.example\\x",
    "@evil.example/x", "/x@evil.example/../../y", ":443@evil.example/", "/..", "/../admin",
    "/a/../../admin", "/%2e%2e/admin", "/.%2e/admin", "/%252e%252e/admin", "/%25252e%25252e/x",
    "/..;/admin", "/a/..%2fadmin", "/a%2f..%2fadmin", "/a%5c..%5cadmin", "/．．/admin", "/a//b",
    "/x?y=1", "/x#y", "/x%0d%0aHost:%20evil.example", "/x\r\nHost: evil.example", "/x\x00",
    "/x\t", "/%c0%ae%c0%ae/admin", "", "x", "/%2e", "/./x", "/x HTTP/1.1\r\n\r\nGET /y",
]  # fmt: skip


@pytest.mark.promise("API-1")
async def test_no_path_leads_elsewhere(network: Network) -> None:
    """Neither to another host nor out of the base path; nothing is sent at all."""
    network.route("t6.example", echo)
    network.route("evil.example", echo)
    every = {"ALLOWED_ENDPOINTS": '["* /**"]', "SERVER_READ_ONLY": "false"}
    before = len(network.connections)
    async with serving(network, "t6.example", **every) as client:
        for path in ELSEWHERE:
            told = await refused(client, "api_request", path=path)
            assert "invalid_arguments" in told or "path" in told, path
            await refused(client, "api_request_write", path=path, method="POST", body={})
        for more in ({"headers": {"X": "y"}}, {"url": "https://evil.example"}, {"host": "x"}):
            await refused(client, "api_request", path="/x", **more)
        for method in ("POST", "TRACE", "CONNECT", "GET /x HTTP/1.1\r\nX: y"):
            await refused(client, "api_request", path="/x", method=method)
    assert len(network.connections) == before


@pytest.mark.promise("API-1")
async def test_no_argument_of_an_operation_leads_elsewhere(network: Network) -> None:
    """What is not refused arrives as one segment, one value, one header of this host."""
    network.route("t7.example", echo)
    network.route("evil.example", echo)
    async with serving(network, "t7.example", PETS, RATE="1000", BURST="1000") as client:
        for value in (*ELSEWHERE, "?a=b", "#", "a/b", "..", "."):
            await client.call_tool("getPet", {"id": value})
            await client.call_tool("listPets", {"q": value})
            await client.call_tool("listPets", {"X-Trace": value})
        await refused(client, "getPet", id="1", Host="evil.example")
        await refused(client, "listPets", Authorization="x")
    assert not network.requests("evil.example")
    arrived = network.requests("t7.example")
    assert len(arrived) > len(ELSEWHERE)
    for request in arrived:
        path, _, query = request.target.partition("?")
        assert path == "/v1/pets" or (path.startswith("/v1/pets/") and path.count("/") == 3), path
        assert "/.." not in path
        assert query.count("=") <= 1
        assert set(request.headers) <= {
            "host", "user-agent", "accept-encoding", "accept", "x-trace",
        }  # fmt: skip
        assert request.headers["host"] == "t7.example"


@pytest.mark.promise("API-1")
@pytest.mark.setting("API__ALLOWED_ENDPOINTS")
async def test_only_allowed_endpoints_are_asked(network: Network) -> None:
    """In no other spelling, and with no other method; ``*`` is one segment."""
    network.route("t8.example", echo)
    allowed = json.dumps(["GET /users/*", "POST /orders", "GET /open/**"])
    settings = {"ALLOWED_ENDPOINTS": allowed, "SERVER_READ_ONLY": "false"}
    async with serving(network, "t8.example", **settings) as client:
        for path in ("/users", "/users/1/keys", "/Users/1", "/admin", "/orders", "/users/1%2fkeys",
                     "/opened", "/open%2f..%2fadmin", "/users/", "/users/x/"):  # fmt: skip
            told = await refused(client, "api_request", path=path)
            assert told.startswith(("denied", "invalid_arguments")), path
        for method in ("PUT", "DELETE"):
            await refused(client, "api_request_write", path="/orders", method=method)
        await refused(client, "api_request", path="/users/1", method="HEAD")
        assert not network.requests("t8.example")
        for path in ("/users/1", "/users/%31", "/open", "/open/a/b"):
            await call(client, "api_request", path=path)
        await call(client, "api_request_write", path="/orders", method="POST", body={"n": 1})
    assert len(network.requests("t8.example")) == 5


# --- Answers.


@pytest.mark.promise("API-4")
@pytest.mark.setting("API__VALIDATE_RESPONSES")
async def test_answers_are_checked_against_the_document(network: Network) -> None:
    """strict refuses, warn says so, off does not look."""
    answers = {"/v1/pets/1": answer({"id": "secret-of-it"}), "/v1/pets/2": answer({"id": 2})}
    network.route("t9.example", lambda request: answers[request.target])
    for mode in ("strict", "warn", "off"):
        setting = {"VALIDATE_RESPONSES": mode} if mode != "warn" else {}
        async with serving(network, "t9.example", PETS, **setting) as client:
            good = await call(client, "getPet", id="2")
            assert good["warnings"] == []
            if mode == "strict":
                told = await refused(client, "getPet", id="1")
                assert "id" in told
                assert "secret-of-it" not in told
            else:
                bad = await call(client, "getPet", id="1")
                assert bool(bad["warnings"]) is (mode == "warn")
                assert bad["data"] == {"id": "secret-of-it"}


@pytest.mark.promise("API-4")
async def test_what_is_too_long_to_be_checked_says_so(network: Network) -> None:
    """And is refused where everything has to be checked."""
    network.route("t9-b.example", lambda request: answer({"id": 1, "name": "x" * 300_000}))
    async with serving(network, "t9-b.example", PETS) as client:
        assert "too long" in (await call(client, "getPet", id="2"))["warnings"][0]
    async with serving(network, "t9-b.example", PETS, VALIDATE_RESPONSES="strict") as client:
        assert "too long" in await refused(client, "getPet", id="2")


@pytest.mark.promise("API-4", "GEN-6")
async def test_errors_of_the_api(network: Network) -> None:
    """Of a 4xx 500 characters of JSON, labelled; of other errors the status alone."""
    answers = {
        "/v1/a": answer({"message": "no such pet", "more": "x" * 2000}, 404),
        "/v1/b": Reply(b"<h1>Trace of b.py</h1>", 403),
        "/v1/c": answer({"trace": "c.py"}, 500),
        "/v1/d": answer(float("nan"), 400),
        "/v1/e": answer("y" * 5_000_000, 400),
    }
    network.route("t10.example", lambda request: answers[request.target])
    async with serving(network, "t10.example") as client:
        told = await refused(client, "api_request", path="/a")
        assert "404" in told
        assert "no such pet" in told
        assert "data" in told
        assert 500 < len(told) < 650
        for path, status in (("/b", "403"), ("/c", "500"), ("/d", "400"), ("/e", "400")):
            told = await refused(client, "api_request", path=path)
            assert status in told
            assert len(told) < 80, told


@pytest.mark.promise("API-4")
async def test_what_an_answer_may_be(network: Network) -> None:
    """JSON that is JSON, text, or nothing; not what is binary, nested without end or NaN."""
    host = "t11.example"
    json_type = "application/json"
    for path, body, kind in (
        ("/nan", b'{"x": NaN}', json_type), ("/huge", b'{"x": 1e999}', json_type),
        ("/deep", b"[" * 5000 + b"]" * 5000, json_type), ("/cut", b'{"x":', json_type),
        ("/html", b"<h1>it</h1>", json_type), ("/digits", b"9" * 5000, json_type),
        ("/image", b"\x89PNG", "image/png"), ("/zip", b"PK", "application/octet-stream"),
        ("/odd", b"x", "x; y"),
    ):  # fmt: skip
        network.page(host, f"/v1{path}", body, content_type=kind)
    network.page(host, "/v1/empty", b"", content_type="", status=204)
    network.page(host, "/v1/none", b"", content_type=json_type)
    latin = "é <b>".encode("latin-1")
    network.page(host, "/v1/text", latin, content_type="text/plain; charset=iso-8859-1")
    marked = b'\xef\xbb\xbf{"a": null}'
    network.page(host, "/v1/vnd", marked, content_type="application/vnd.x+json")
    async with serving(network, host) as client:
        for path in ("/nan", "/huge", "/deep", "/cut", "/html", "/digits"):
            told = await refused(client, "api_request", path=path)
            assert told.startswith("upstream: the answer says it is JSON"), told
        told = await refused(client, "api_request", path="/image")
        assert "type_not_allowed" in told
        assert "image/png, 4 bytes" in told
        for path in ("/zip", "/odd"):
            assert "type_not_allowed" in await refused(client, "api_request", path=path)
        for path, status in (("/empty", 204), ("/none", 200)):
            found = await call(client, "api_request", path=path)
            assert (found["status"], found["data"], found["text"]) == (status, None, None)
        assert (await call(client, "api_request", path="/text"))["text"] == "é <b>"
        assert (await call(client, "api_request", path="/vnd"))["data"] == {"a": None}
        head = await call(client, "api_request", path="/text", method="HEAD")
        assert (head["data"], head["text"]) == (None, None)


@pytest.mark.promise("API-4")
@pytest.mark.setting("API__MAX_TEXT")
async def test_long_answers_come_in_pages(network: Network) -> None:
    """Together the pages are the answer, and the API is asked once."""
    items = [{"n": n, "name": f"pet é {n}"} for n in range(300)]
    body = json.dumps(items)
    network.page("t12.example", "/v1/long", body, content_type="application/json")
    async with serving(network, "t12.example", MAX_TEXT="2000") as client:
        first = await call(client, "api_request", path="/long")
        assert (first["data"], first["truncated"], len(first["text"])) == (None, True, 2000)
        text, cursor = first["text"], first["next_cursor"]
        while cursor:
            page = await call(client, "read_answer", cursor=cursor)
            assert page["start"] == len(text)
            assert len(page["text"]) <= 2000
            text, cursor = text + page["text"], page["next_cursor"]
        assert json.loads(text) == items
        assert len(text) == first["total_chars"]
        told = await refused(client, "read_answer", cursor=first["next_cursor"][:-4] + "AAAA")
        assert "invalid_arguments" in told
        for _ in range(20):
            await call(client, "api_request", path="/long")
        assert "not_found" in await refused(client, "read_answer", cursor=first["next_cursor"])
    assert len(network.requests("t12.example")) == 21


# --- What there is.


async def test_status_and_resources_tell_about_the_api(network: Network) -> None:
    """Origin, title, kind of credentials, counts; and the rates that the API named, as numbers."""
    odd = {**PETS, "paths": {**PETS["paths"], "/odd/{x}": {"get": {"responses": {}}}}}
    rates = {"X-RateLimit-Remaining": "41", "X-RateLimit-Limit": "x41", "RateLimit-Reset": "7"}
    network.route("t13.example", lambda request: Reply(b"{}", 200, "application/json", rates))
    async with serving(network, "t13.example", odd, RATE="9") as client:
        status = await call(client, "get_api_status")
        info = await resource(client, "api://info")
        rate = await resource(client, "api://rate-limit")
    assert status["origin"] == "https://t13.example"
    assert (status["title"], status["auth"], status["operations"]) == ("Pets", "none", 3)
    assert (status["reachable"], status["status"], status["problem"]) == (True, 200, None)
    assert [each.method for each in network.requests("t13.example")] == ["HEAD"]
    assert (info["title"], info["version"], info["mode"]) == ("Pets", "7.1", "tools")
    assert (info["server"], info["operations"]) == ("https://t13.example/v1", 3)
    assert list(info["skipped"]) == ["GET /odd/{x}"]
    assert rate["requests_per_second"] == 9
    assert rate["last_seen"] == {"x-ratelimit-remaining": 41, "ratelimit-reset": 7}


async def test_an_api_that_is_not_there(network: Network) -> None:
    """The server starts, and says so when it is asked."""
    async with serving(network, "not-there.invalid") as client:
        status = await call(client, "get_api_status")
    assert (status["reachable"], status["status"]) == (False, None)
    assert "unavailable" in status["problem"]


# --- The start.


def check(tmp_path: Path, document: Any = None, **settings: str) -> Any:
    """Run ``--check``."""
    env = {var(f"API__{name}"): value for name, value in settings.items()}
    if document is not None:
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        env[var("API__DOCUMENT")] = str(tmp_path / "openapi.json")
    return run("--check", home=tmp_path, env=env)


@pytest.mark.setting("API__DOCUMENT")
def test_check_says_what_would_be_served(tmp_path: Path) -> None:
    """In one line, with what was left out."""
    odd = {**PETS, "paths": {**PETS["paths"], "/odd/{x}": {"get": {"responses": {}}}}}
    done = check(tmp_path, odd, EXCLUDE="GET /stokc")
    assert done.returncode == 0, done.stderr
    line = next(each for each in done.stdout.splitlines() if each.startswith("api: "))
    for part in ("https://service.example/", "auth none", "read-only", "3 of 5 operations",
                 "1 skipped", "6 tools"):  # fmt: skip
        assert part in line
    assert "skipped: GET /odd/{x}" in done.stdout
    assert "GET /stokc" in done.stdout


def test_the_document_of_the_project_is_found(tmp_path: Path) -> None:
    """In ``custom/``, without a setting."""
    custom = ROOT / "src" / PACKAGE / "custom" / "openapi.yaml"
    if any(custom.parent.glob("openapi.*")):
        pytest.skip("this project has a document of its own")
    try:
        custom.write_text(json.dumps(PETS))
        done = check(tmp_path)
    finally:
        custom.unlink()
    assert "3 of 5 operations" in done.stdout, done.stderr


@pytest.mark.promise("API-1")
@pytest.mark.setting("API__BASE_URL")
def test_the_server_in_a_document_is_used_only_when_it_is_public(tmp_path: Path) -> None:
    """Of https, at the usual port and no private address; what the operator writes may be any."""
    for server in ("http://api.example/v1", "http://a.example:443", "https://10.0.0.5/v1",
                   "https://127.0.0.1", "/v1",
                   "https://api.example:8443/", "https://u:p@api.example/", "ftp://x", "",
                   "https://[::1]/"):  # fmt: skip
        done = check(tmp_path, {**PETS, "servers": [{"url": server}]}, BASE_URL="")
        assert done.returncode == 1, server
        assert var("API__BASE_URL") in done.stderr
    public = {**PETS, "servers": [{"url": "https://doc.example/v2"}]}
    assert "api: https://doc.example/v2," in check(tmp_path, public, BASE_URL="").stdout
    for url in ("http://10.0.0.5:8080/v1", "https://own.example/v1", "http://localhost"):
        assert f"api: {url}" in check(tmp_path, public, BASE_URL=url).stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BASE_URL", "api.example"), ("BASE_URL", "https://u:p@api.example"),
        ("BASE_URL", "https://api.example/?x=1"), ("BASE_URL", "ftp://api.example"),
        ("BASE_URL", "https://api.example/#x"), ("ALLOWED_ENDPOINTS", "/users"),
        ("ALLOWED_ENDPOINTS", "GET users"), ("INCLUDE", "pets"), ("EXCLUDE", "FETCH /x"),
        ("API_KEY_NAME", "X Key"), ("API_KEY_NAME", "Host"), ("API_KEY_NAME", "Content-Length"),
        ("DOCUMENT", "/does/not/exist.json"), ("VALIDATE_PATH", "me"), ("AUTH", "digest"),
        ("SCOPE", "a\nb"), ("USERNAME", "a:b"),
    ],
)  # fmt: skip
def test_a_wrong_setting_stops_the_start(tmp_path: Path, name: str, value: str) -> None:
    """In one line that names it."""
    done = check(tmp_path, **{name: value})
    assert done.returncode == 1
    assert var(f"API__{name}") in done.stderr
    assert len(done.stderr.splitlines()) == 1


async def test_a_server_of_the_document_is_never_a_private_one(network: Network) -> None:
    """A public name whose address is private is not connected to."""
    network.name("t14.example", PRIVATE)
    network.route("t14.example", echo)
    document = {**PETS, "servers": [{"url": "https://t14.example"}]}
    before = len(network.connections)
    async with serving(network, "t14.example", document, BASE_URL="") as client:
        assert "unavailable" in await refused(client, "stock")
    assert len(network.connections) == before
    async with serving(network, "t14.example", document) as client:
        assert text_of(await client.call_tool("stock", {}))
    assert network.requests("t14.example")[0].address == PRIVATE
