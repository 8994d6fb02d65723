# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""The guard around tools, resources, prompts and completions, in both eras of the protocol."""

import asyncio
import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import anyio
import pytest
from conftest import module
from mcp import Client, MCPError
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import Context, Elicit, Resolve
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.resources import FunctionResource
from mcp.types import Completion, PromptReference, ResourceTemplateReference, ToolAnnotations
from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema

pytestmark = pytest.mark.anyio
both_eras = pytest.mark.parametrize("mode", ["auto", "legacy"])

READING = ToolAnnotations(read_only_hint=True)
LEAK = "s3cr3t-of-the-host /srv/private postgresql://admin:hunter22@db/x"


class Inner(BaseModel):
    number: Annotated[int, Field(le=10)]


class Answer(BaseModel):
    ok: bool


def never(value: str) -> str:
    raise ValueError(LEAK)


def add_tools(server: Any) -> None:
    refused = module("errors").Refused

    @server.tool(annotations=READING)
    async def echo(text: str = "", limit: Annotated[int, Field(ge=1, le=50)] = 10) -> str:
        return f"{text} {limit}"

    @server.tool()
    async def change(name: str = "") -> str:
        return f"changed {name}"

    @server.tool(annotations=ToolAnnotations(read_only_hint=False))
    async def destroy() -> str:
        return "destroyed"

    @server.tool(annotations=READING)
    async def fail(how: str) -> Any:
        if how == "refused":
            raise refused("denied", "this is not for you")
        if how == "tool":
            raise ToolError("a deliberate text") from ValueError(LEAK)
        if how == "resource":
            raise ResourceError("a deliberate text")
        if how == "protocol":
            raise MCPError(-32011, "a deliberate text", {"hint": 1})
        if how == "validation":
            Inner.model_validate({"number": LEAK})
        if how == "group":
            raise ExceptionGroup(LEAK, [refused("denied", LEAK), ValueError(LEAK)])
        if how == "base group":
            raise BaseExceptionGroup(LEAK, [SystemExit(LEAK)])
        if how == "exit":
            sys.exit(LEAK)
        if how == "interrupt":
            raise KeyboardInterrupt(LEAK)
        if how == "timeout":
            raise TimeoutError(LEAK)
        raise RuntimeError(LEAK)

    @server.tool(annotations=READING)
    def fail_in_thread(how: str) -> str:
        if how == "exit":
            sys.exit(LEAK)
        raise StopIteration(LEAK)

    @server.tool(annotations=READING)
    async def nested(
        items: list[Inner] | None = None,
        choice: Inner | int | None = None,
        table: dict[str, int] | None = None,
        checked: Annotated[str, AfterValidator(never)] = "",
    ) -> str:
        return "fine"

    @server.tool(annotations=READING)
    async def returns(what: str, size: int = 0) -> dict[str, Any]:
        if what == "deep":
            value: Any = 1
            for _ in range(size):
                value = {"a": value}
            return {"value": value}
        if what == "number":
            return {"value": 10**size}
        return {"value": "x" * size}

    @server.tool(annotations=READING)
    async def surrogate() -> str:
        return "a\ud800"

    @server.tool(annotations=READING)
    async def wrong_result() -> Inner:
        return {"number": LEAK}  # type: ignore[return-value]

    @server.tool(annotations=READING)
    async def surrogate_in_error() -> str:
        raise refused("denied", "no such file: \udcff")

    @server.tool(annotations=READING)
    async def sleep(seconds: float) -> str:
        await anyio.sleep(seconds)
        return "slept"

    @server.tool(annotations=READING)
    def block(seconds: float) -> str:
        time.sleep(seconds)
        return "slept"

    async def ask(title: str) -> Elicit[Answer]:
        return Elicit(f"Delete {title}?", Answer)

    async def broken() -> Inner:
        raise RuntimeError(LEAK)

    @server.tool(annotations=READING)
    async def confirmed(title: str, answer: Annotated[Answer, Resolve(ask)]) -> bool:
        return answer.ok

    @server.tool(annotations=READING)
    async def unresolved(answer: Annotated[Inner, Resolve(broken)]) -> str:
        return "never"

    @server.tool(annotations=READING)
    async def reads(uri: str, ctx: Context) -> str:
        return str(await ctx.read_resource(uri))


def add_resources(server: Any) -> None:
    refused = module("errors").Refused

    @server.resource("book://fixed")
    def fixed() -> str:
        return "fixed"

    @server.resource("book://broken")
    def broken() -> str:
        raise RuntimeError(LEAK)

    @server.resource("book://{title}/page/{number}")
    def page(title: str, number: int) -> str:
        if title == "crash":
            raise RuntimeError(LEAK)
        if title == "exit":
            sys.exit(LEAK)
        if title == "validation":
            Inner.model_validate({"number": LEAK})
        if title == "missing":
            raise refused("not_found", "there is no such book")
        if title == "gone":
            raise ResourceNotFoundError("the book is gone")
        if title == "denied":
            raise refused("denied", "this is not for you")
        if title == "tool":
            raise ToolError("a deliberate text")
        if title == "huge":
            return "x" * 100_000
        if title == "slow":
            time.sleep(0.7)
        return f"{title} {number}"

    @server.resource("secret://{name}")
    async def secret(name: str) -> str:
        return "secret"


def add_prompts(server: Any) -> None:
    refused = module("errors").Refused

    @server.prompt()
    def review(title: str, stars: int = 3) -> str:
        if title == "crash":
            raise RuntimeError(LEAK)
        if title == "exit":
            sys.exit(LEAK)
        if title == "validation":
            Inner.model_validate({"number": LEAK})
        if title == "refused":
            raise refused("denied", "this is not for you")
        if title == "huge":
            return "x" * 100_000
        if title == "slow":
            time.sleep(0.7)
        return f"Review {title} with {stars}"

    @server.completion()
    async def complete(ref: Any, argument: Any, context: Any) -> Completion:
        if argument.value == "crash":
            raise RuntimeError(LEAK)
        if argument.value == "refused":
            raise refused("denied", "this is not for you")
        return Completion(values=["one", "two"])


def make(
    audit: Any = None,
    read_only: bool = False,
    redactor: Any = None,
    **guard: Any,
) -> Any:
    """Return a guarded server with all the tools above."""
    server = module("guard").GuardedServer(
        "test",
        guard=module("guard.settings").GuardSettings(**guard),
        audit=audit,
        read_only=read_only,
        redactor=redactor,
    )
    add_tools(server)
    add_resources(server)
    add_prompts(server)
    return server


class Log:
    """An audit log in a folder of its own, and its records."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.path = folder / "audit" / "audit.jsonl"
        self.log = module("guard.audit").AuditLog.open(self.path, **options)

    def records(self) -> list[dict[str, Any]]:
        lines = self.path.read_text(encoding="ascii").splitlines()
        return [json.loads(line) for line in lines if '"event":"log.' not in line]

    def outcomes(self) -> list[tuple[str, str, str]]:
        """Event, name and outcome of each record."""
        return [(r["event"], r["name"], r.get("outcome", "")) for r in self.records()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = Log(tmp_path)
    yield opened
    opened.log.close()


async def refusal(call: Any) -> tuple[int, str]:
    """Return code and text of a refusal: code 0 when it is the error result of a tool."""
    try:
        result = await call
    except MCPError as error:
        return error.code, error.message
    assert result.is_error, "the call was not refused"
    return 0, result.content[0].text


@contextlib.contextmanager
def token(*scopes: str, client: str = "app", subject: str | None = "ann") -> Iterator[None]:
    """Be a caller with a verified token, as the SDK's HTTP transport makes one."""
    access = AccessToken(token="t", client_id=client, subject=subject, scopes=list(scopes))
    reset = auth_context_var.set(AuthenticatedUser(access))
    try:
        yield
    finally:
        auth_context_var.reset(reset)


# --- Limits on what comes in ------------------------------------------------------------------


def nested(levels: int, kind: Callable[[Any], Any] = lambda item: [item]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = kind(value)
    return value


@pytest.mark.promise("GEN-1")
@both_eras
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("x" * 5000, "larger than 4096 bytes"),
        ("é" * 2500, "larger than 4096 bytes"),
        ([0] * 5000, "larger than 4096 bytes"),
        ({"k" * 5000: 1}, "larger than 4096 bytes"),
        (nested(40), "nested deeper than"),
        (nested(40, lambda item: {"a": item}), "nested deeper than"),
    ],
    ids=["text", "utf-8", "list", "name", "lists", "objects"],
)
async def test_arguments_over_a_limit_are_refused(
    mode: str, value: Any, why: str, log: Log
) -> None:
    """Arguments that are too large or nested too deep are invalid params, before anything runs."""
    async with Client(make(log.log, max_argument_bytes=4096), mode=mode) as client:
        code, text = await refusal(client.call_tool("echo", {"text": value}))
        assert code == -32602
        assert why in text
        assert not (await client.call_tool("echo", {"text": "still there"})).is_error
    refused = log.records()[0]
    assert (refused["event"], refused["arguments"]) == ("refused", None)
    assert "xxxx" not in json.dumps(refused)


@pytest.mark.promise("GEN-1")
@pytest.mark.parametrize(
    ("value", "why"),
    [
        (nested(100_000), "nested deeper"),
        (10**5000, "more than 4,000 digits"),
        ({1: 2}, "a name that is not text"),
        ("\ud800", "not valid Unicode"),
        ({"\ud800": 1}, "not valid Unicode"),
        (float("nan"), "not finite"),
        (float("inf"), "not finite"),
        (object(), "that JSON does not have"),
        (b"bytes", "that JSON does not have"),
    ],
    ids=["deep", "digits", "key", "text", "name", "nan", "infinity", "object", "bytes"],
)
def test_no_value_confuses_the_measurement(value: Any, why: str) -> None:
    """Whatever a value is made of, measuring it ends with a reason and not with an exception."""
    excess = module("guard.limits").excess
    assert why in excess({"arguments": {"a": value}}, 1_000_000, 64)


@pytest.mark.promise("GEN-1")
def test_measuring_stops_early_and_never_follows_a_cycle() -> None:
    """A value far over a limit costs no more than the limit, and a cycle ends."""
    excess = module("guard.limits").excess
    cycle: list[Any] = []
    cycle.append(cycle)
    assert "nested deeper" in excess(cycle, 1000, 64)
    wide: Any = [0] * 1000
    for _ in range(6):
        wide = [wide] * 1000  # 10 to the 21 values, on paper
    started = time.perf_counter()
    assert "larger than" in excess(wide, 100_000, 64)
    assert time.perf_counter() - started < 2


@pytest.mark.promise("GEN-1")
def test_values_within_the_limits_pass() -> None:
    """The limits are inclusive: what is just small and flat enough is not refused."""
    excess = module("guard.limits").excess
    assert excess("x" * 100, 100, 1) is None
    assert excess("x" * 101, 100, 1) is not None
    assert excess({"a": [True, None, 1.5, -3, "é"]}, 1000, 3) is None
    assert excess({"a": [1]}, 1000, 2) is not None


# --- Arguments ------------------------------------------------------------------------------


@pytest.mark.promise("GEN-1")
@both_eras
async def test_an_unknown_argument_is_refused(mode: str, log: Log) -> None:
    """An argument that a tool does not have is refused and named, not dropped."""
    async with Client(make(log.log), mode=mode) as client:
        for name in ("limt", "confirm", "max_size", "ctx", "\x1b[2J" + "x" * 500):
            code, text = await refusal(client.call_tool("echo", {"text": "a", name: 1}))
            assert code == 0
            assert text.startswith("invalid_arguments: unknown argument ")
            assert text.endswith("the arguments are: text, limit")
            assert text.isprintable()
            assert len(text) < 250
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools["echo"].input_schema["additionalProperties"] is False
    assert [r["outcome"] for r in log.records() if r["event"] == "end"] == ["invalid"] * 5


@pytest.mark.promise("GEN-1", "GEN-6")
@both_eras
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"items": [{"number": "SECRET"}]}, "items.0.number: Input should be a valid integer"),
        ({"items": [{}]}, "items.0.number: is required"),
        ({"items": [{"number": 11}]}, "items.0.number: Input should be less than or equal to 10"),
        ({"choice": {"number": "SECRET"}}, "choice.number: Input should be a valid integer"),
        ({"choice": "SECRET"}, "choice: Input should be an object"),
        ({"table": {"SECRET": "SECRET"}}, "table: Input should be a valid integer"),
        ({"checked": "SECRET"}, "checked: is not valid"),
    ],
)
async def test_an_invalid_argument_is_answered_with_field_and_rule(
    mode: str, arguments: dict[str, Any], expected: str
) -> None:
    """A rejected argument: which one and why; no value, class name or address of pydantic."""
    async with Client(make(), mode=mode) as client:
        code, text = await refusal(client.call_tool("nested", arguments))
    assert code == 0
    assert text.startswith("invalid_arguments: ")
    assert expected in text
    for leak in ("SECRET", "Inner", "pydantic", "input_value", "s3cr3t", "nestedArguments"):
        assert leak not in text


@pytest.mark.promise("GEN-1")
@both_eras
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"title": "a", "tone": "b"}, "unknown argument 'tone'"),
        ({"stars": "4"}, "title: is required"),
        ({"title": "a", "stars": "SECRET"}, "stars: Input should be a valid integer"),
    ],
)
async def test_a_prompt_checks_its_arguments(
    mode: str, arguments: dict[str, str], expected: str
) -> None:
    """Unknown, missing and invalid arguments of a prompt are invalid params, and named."""
    async with Client(make(), mode=mode) as client:
        code, text = await refusal(client.get_prompt("review", arguments))
        assert code == -32602
        assert expected in text
        assert "SECRET" not in text
        fine = await client.get_prompt("review", {"title": "Dune", "stars": "4"})
        assert fine.messages[0].content.text == "Review Dune with 4"


@pytest.mark.promise("GEN-1")
@both_eras
async def test_a_resource_checks_what_is_in_its_uri(mode: str) -> None:
    """A part of a URI that is not of its type is answered with field and rule."""
    async with Client(make(), mode=mode) as client:
        _, text = await refusal(client.read_resource("book://dune/page/SECRET"))
        assert "number: Input should be a valid integer" in text
        assert "SECRET" not in text
        fine = await client.read_resource("book://dune/page/7")
        assert fine.contents[0].text == "dune 7"


# --- Policy ---------------------------------------------------------------------------------


async def listed(client: Any) -> set[str]:
    tools = (await client.list_tools()).tools
    resources = (await client.list_resources()).resources
    templates = (await client.list_resource_templates()).resource_templates
    prompts = (await client.list_prompts()).prompts
    return {
        *(tool.name for tool in tools),
        *(str(resource.uri) for resource in resources),
        *(template.uri_template for template in templates),
        *(prompt.name for prompt in prompts),
    }


@pytest.mark.promise("GEN-2")
@both_eras
async def test_what_is_denied_is_neither_listed_nor_served(mode: str, log: Log) -> None:
    """deny removes tools, prompts and resources from the lists and refuses them, with a reason."""
    server = make(log.log, deny=["ech*", "review", "secret://*", "book://{title}/*"])
    async with Client(server, mode=mode) as client:
        names = await listed(client)
        assert "change" in names
        assert not names & {"echo", "review", "secret://{name}", "book://{title}/page/{number}"}
        for call in (
            client.call_tool("echo", {}),
            client.get_prompt("review", {"title": "a"}),
            client.read_resource("secret://x"),
            client.read_resource("book://dune/page/1"),
            client.complete(PromptReference(name="review"), {"name": "title", "value": ""}),
            client.complete(
                ResourceTemplateReference(uri="secret://{name}"), {"name": "name", "value": ""}
            ),
        ):
            code, text = await refusal(call)
            assert code == -32602
            assert text.startswith("denied: ")
            assert "guard.deny" in text
    assert {(r["event"], r["outcome"]) for r in log.records()} == {("refused", "refused")}


@pytest.mark.promise("GEN-2")
@both_eras
async def test_only_what_is_allowed_is_served(mode: str) -> None:
    """allow is a list of all that may be used; names match as a whole, and case matters."""
    async with Client(make(allow=["echo", "BOOK://*", "chang"]), mode=mode) as client:
        assert await listed(client) == {"echo"}
        assert not (await client.call_tool("echo", {})).is_error
        for call in (client.call_tool("change", {}), client.read_resource("book://fixed")):
            code, text = await refusal(call)
            assert (code, "guard.allow" in text) == (-32602, True)


@pytest.mark.promise("GEN-2")
@pytest.mark.parametrize(
    "uri",
    [
        "secret://x",
        "secret://X",
        "secret://%78",
        "secret://x?y=z",
        "secret://{name}",
        "secret://book:%2F%2Ffixed",
        "SECRET://x",
        " secret://x",
        "secret://x/../y",
        "secret:///x",
        "secret://x#y",
        "secret://a@x",
    ],
)
async def test_no_spelling_of_a_uri_passes_a_denied_template(uri: str) -> None:
    """The policy judges the registered template, so no spelling of a URI gets around it."""
    async with Client(make(deny=["secret://*"])) as client:
        code, text = await refusal(client.read_resource(uri))
    assert code == -32602
    assert text.startswith(("denied: ", "Unknown resource: "))


@pytest.mark.promise("GEN-2")
async def test_a_template_is_no_name_for_another() -> None:
    """A URI that is spelt like an allowed template is judged by the template that serves it."""
    server = make(deny=["first://{+all}"])

    @server.resource("first://{+all}")
    async def first(all: str) -> str:  # noqa: A002
        return "from the denied one"

    @server.resource("first://{two}")
    async def second(two: str) -> str:
        return "from the other"

    async with Client(server) as client:
        code, text = await refusal(client.read_resource("first://{two}"))
    assert (code, text[:8]) == (-32602, "denied: ")


@pytest.mark.promise("GEN-2")
@both_eras
async def test_read_only_hides_what_may_change_something(mode: str) -> None:
    """In read-only mode a tool without read_only_hint=True is neither listed nor callable."""
    server = make(read_only=True)
    async with Client(server, mode=mode) as client:
        names = await listed(client)
        assert "echo" in names
        assert not names & {"change", "destroy"}
        for name in ("change", "destroy"):
            code, text = await refusal(client.call_tool(name, {}))
            assert (code, "read-only" in text) == (-32602, True)
        assert (await client.read_resource("book://fixed")).contents
    assert server.hidden_tools() == ["change"]
    assert make(read_only=False).hidden_tools() == []


@pytest.mark.promise("GEN-2")
async def test_scopes_of_the_token_are_needed() -> None:
    """A caller with a token sees and uses what its scopes are enough for, and nothing else."""
    server = make(scopes={"ch*": "books:write", "*": "books:read", "secret://*": "admin"})
    with token("books:read"):
        async with Client(server) as client:
            names = await listed(client)
            assert "echo" in names
            assert not names & {"change", "secret://{name}"}
            code, text = await refusal(client.call_tool("change", {}))
            assert (code, "'books:write'" in text) == (-32602, True)
            code, _ = await refusal(client.read_resource("secret://x"))
            assert code == -32602
    with token("books:read", "books:write"):
        async with Client(server) as client:
            assert not (await client.call_tool("change", {})).is_error
    with token():
        async with Client(server) as client:
            assert await listed(client) == set()
    async with Client(server) as client:  # stdio: whoever started the process has no token
        assert not (await client.call_tool("change", {})).is_error


@pytest.mark.promise("GEN-2")
@both_eras
@pytest.mark.parametrize("name", ["nope", "", "Echo", "echo ", "x" * 10_000, "e\x1b[2J\ncho", "é"])
async def test_an_unknown_name_is_refused_and_quoted(mode: str, name: str, log: Log) -> None:
    """An unknown name is invalid params, of whatever kind; it comes back short and inert."""
    async with Client(make(log.log), mode=mode) as client:
        for kind, call in (
            ("tool", client.call_tool(name, {})),
            ("prompt", client.get_prompt(name, {})),
            ("resource", client.read_resource(name)),
        ):
            code, text = await refusal(call)
            assert code == -32602
            assert text.startswith(f"Unknown {kind}: '")
            assert text.isascii()
            assert text.isprintable()
            assert len(text) < 300
    assert all(len(record["name"]) <= 129 for record in log.records())


@pytest.mark.promise("GEN-2")
async def test_a_resource_that_is_not_there_is_named_in_the_error() -> None:
    """The error for an unknown resource has its URI as data (MCP 2026-07-28)."""
    async with Client(make()) as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource("book://nowhere/at/all")
    assert (caught.value.code, caught.value.data) == (-32602, {"uri": "book://nowhere/at/all"})


@pytest.mark.promise("GEN-2")
async def test_methods_that_nobody_serves_are_refused_and_recorded(log: Log) -> None:
    """A request for a method that is not there passes the guard like any other call."""
    from mcp.types import SubscribeRequest, SubscribeRequestParams

    async with Client(make(log.log), mode="legacy") as client:
        request = SubscribeRequest(params=SubscribeRequestParams(uri="book://fixed"))
        code, _ = await refusal(client.session.send_request(request, Any))
        assert code == -32601
    assert log.outcomes() == [("refused", "resources/subscribe", "refused")]


@pytest.mark.promise("GEN-2")
def test_nothing_is_registered_behind_the_guards_back() -> None:
    """Ways of registering that the guard could not wrap are refused at the start."""
    guarded, settings = module("guard").GuardedServer, module("guard.settings").GuardSettings()
    fixed = FunctionResource.from_function(lambda: "x", uri="a://b", name="b")
    with pytest.raises(TypeError, match="add_resource"):
        guarded("test", guard=settings, audit=None, read_only=True, resources=[fixed])
    server = make()
    with pytest.raises(ValueError, match="two tools"):
        server.add_tool(lambda: "again", "echo")

    def asks() -> Elicit[Answer]:
        return Elicit("Sure?", Answer)

    async def waits(answer: Annotated[Answer, Resolve(asks)]) -> str:
        return "never"

    with pytest.raises(TypeError, match="async"):
        server.add_tool(waits)
    assert "waits" not in {tool.name for tool in server._tool_manager.list_tools()}


# --- Rate and calls in flight ---------------------------------------------------------------


@pytest.mark.promise("GEN-5")
@both_eras
async def test_calls_over_the_rate_are_refused(mode: str, log: Log) -> None:
    """Over its rate a tool answers with an error that a model reads, the others with theirs."""
    async with Client(make(log.log, rate=0.01, burst=2), mode=mode) as client:
        for _ in range(2):
            assert not (await client.call_tool("echo", {"text": "a"})).is_error
            await client.read_resource("book://fixed")
            await client.get_prompt("review", {"title": "a"})
        for call, expected in (
            (client.call_tool("echo", {"text": "b"}), 0),
            (client.call_tool("echo", {"text": "c", "limit": 1}), 0),
            (client.call_tool("echo", {"bad": 1}), 0),
            (client.call_tool("echo", {}, meta={"io.example/caller": "somebody else"}), 0),
            (client.read_resource("book://fixed"), -32010),
            (client.get_prompt("review", {"title": "b"}), -32010),
        ):
            code, text = await refusal(call)
            assert code == expected
            assert text.startswith("rate_limited: at most 0.01 calls a second; wait ")
        assert not (await client.call_tool("change", {})).is_error
    refused = [record for record in log.records() if record["event"] == "refused"]
    assert len(refused) == 6


@pytest.mark.promise("GEN-2")
async def test_an_empty_glob_denies_nothing() -> None:
    """It matches no name, of a tool that has no other name either."""
    async with Client(make(deny=[""])) as client:
        assert not (await client.call_tool("echo", {})).is_error


@pytest.mark.promise("GEN-2", "GEN-5")
@both_eras
async def test_another_name_of_a_tool_is_the_same_tool(mode: str) -> None:
    """What denies or limits the tool does so under its other name."""

    async def other() -> str:
        return "other"

    for guard, listed_there in (({"deny": ["echo"]}, False), ({"rate": 0.01, "burst": 2}, True)):
        server = make(**guard)
        server.add_tool(other, alias_of="echo")
        async with Client(server, mode=mode) as client:
            assert ("other" in await listed(client)) is listed_there
            answers = []
            for tool in ("other", "echo", "other"):
                try:
                    answers.append((await client.call_tool(tool, {})).is_error)
                except MCPError:
                    answers.append(True)
            assert answers == ([False, False, True] if listed_there else [True] * 3)


@pytest.mark.promise("GEN-4")
@both_eras
async def test_the_servers_own_secrets_leave_in_no_result(mode: str) -> None:
    """Not even where a tool of its own returns one."""
    redactor = module("guard.redact").Redactor(["hunter2-of-this-server"])
    async with Client(make(redactor=redactor), mode=mode) as client:
        result = await client.call_tool("echo", {"text": "x hunter2-of-this-server y"})
        assert "hunter2" not in result.model_dump_json()
        assert "x *** y" in result.model_dump_json()


@pytest.mark.promise("GEN-1")
@both_eras
@pytest.mark.parametrize("value", ["2", True, None, [2], 2.5])
async def test_an_argument_has_the_type_of_the_schema(mode: str, value: Any) -> None:
    """Nothing is taken for a number that is none, and a number may be written as 2.0."""
    async with Client(make(), mode=mode) as client:
        _, text = await refusal(client.call_tool("echo", {"limit": value}))
        assert "limit" in text
        assert "integer" in text
        assert not (await client.call_tool("echo", {"limit": 2.0})).is_error


@pytest.mark.promise("GEN-1")
async def test_a_schema_of_your_own_may_list_types() -> None:
    """JSON Schema lets ``type`` be a list; such an argument is left to pydantic."""
    server = make()

    @server.tool()
    async def listed_types(
        what: Annotated[str | None, WithJsonSchema({"type": ["string", "null"]})] = None,
    ) -> str:
        return what or "nothing"

    async with Client(server) as client:
        assert not (await client.call_tool("listed_types", {"what": "x"})).is_error
        assert (await client.call_tool("listed_types", {"what": 1})).is_error


@both_eras
async def test_a_cancellation_of_a_tools_own_is_an_error_like_others(mode: str) -> None:
    """It neither ends the server nor leaves the call without an answer."""
    server = make()

    @server.tool()
    async def cancelled(how: str) -> str:
        if how == "raised":
            raise asyncio.CancelledError
        task = asyncio.create_task(asyncio.sleep(9))
        task.cancel()
        await task
        return "never"

    async with Client(server, mode=mode) as client:
        for how in ("raised", "awaited"):
            _, text = await refusal(client.call_tool("cancelled", {"how": how}))
            assert "internal error, reference" in text
        assert not (await client.call_tool("echo", {})).is_error


@pytest.mark.promise("GEN-5")
async def test_calls_over_the_rate_cost_little(log: Log) -> None:
    """Neither time nor much of the log, whatever they bring along."""
    heavy = {"text": ["token" * 120] * 5_000}
    async with Client(make(log.log, rate=0.001, burst=1)) as client:
        await client.call_tool("echo", {"text": "a"})
        before = log.path.stat().st_size
        started = time.process_time()
        for _ in range(10):
            assert (await refusal(client.call_tool("echo", heavy)))[1].startswith("rate_limited")
        assert time.process_time() - started < 3
    assert log.path.stat().st_size - before < 30_000


@pytest.mark.promise("GEN-3")
async def test_what_cannot_be_recorded_is_not_run(log: Log) -> None:
    """Arguments that do not fit into a record are refused, and the refusal is recorded."""
    wide = {"items": ["\U0001f600" * 4096] * 60}
    async with Client(make(log.log)) as client:
        code, text = await refusal(client.call_tool("nested", wide))
        assert (code, text.split(":")[0]) == (0, "too_large")
        code, text = await refusal(client.call_tool("no_such_tool", wide))
        assert text.startswith("Unknown tool")
    assert log.outcomes() == [
        ("refused", "nested", "refused"), ("refused", "no_such_tool", "refused"),
    ]  # fmt: skip
    assert all(record["arguments"]["items"] for record in log.records())


@pytest.mark.promise("GEN-5")
async def test_no_spelling_and_no_unknown_name_gets_another_bucket() -> None:
    """URIs of one template share a bucket, and so do all names that do not exist."""
    async with Client(make(rate=0.01, burst=3)) as client:
        for number in range(3):
            await client.read_resource(f"book://dune/page/{number}")
        code, _ = await refusal(client.read_resource("book://other/page/9"))
        assert code == -32010
        codes = []
        for number in range(6):
            method = client.call_tool if number % 2 else client.get_prompt
            codes.append((await refusal(method(f"unknown-{number}", {})))[1].split(":")[0])
        assert codes[3:] == ["rate_limited"] * 3


@pytest.mark.promise("GEN-5")
async def test_each_caller_has_its_own_rate() -> None:
    """Buckets belong to the verified identity, and neither identity can be written like another."""
    server = make(rate=0.01, burst=1)
    callers = [("app", "ann"), ("app", "bob"), ("app/ann", ""), ("app", None), ("app%2Fann", "")]
    for client_id, subject in callers:
        with token(client=client_id, subject=subject):
            async with Client(server) as client:
                assert not (await client.call_tool("echo", {})).is_error
                assert (await refusal(client.call_tool("echo", {})))[1].startswith("rate_limited")


@pytest.mark.promise("GEN-5")
def test_a_bucket_refills_with_time_and_the_wait_is_exact() -> None:
    """After the wait that it names, and not before, a bucket has a token again."""
    now = 100.0
    buckets = module("guard.limits").Buckets(4.0, 2, clock=lambda: now)
    assert [buckets.take("a"), buckets.take("a")] == [0.0, 0.0]
    wait = buckets.take("a")
    assert wait == pytest.approx(0.25)
    now += wait * 0.9
    assert buckets.take("a") > 0
    now += wait * 0.11
    assert buckets.take("a") == 0.0
    now += 1000
    assert [bool(buckets.take("a")) for _ in range(3)] == [False, False, True]


@pytest.mark.promise("GEN-5")
def test_buckets_are_bounded() -> None:
    """However many callers there are, only the last 4,096 buckets are remembered."""
    buckets = module("guard.limits").Buckets(1.0, 1)
    for number in range(10_000):
        buckets.take(number)
    assert len(buckets._buckets) == 4096


@pytest.mark.promise("GEN-5")
@both_eras
async def test_calls_in_flight_are_bounded(mode: str, log: Log) -> None:
    """More calls at once than configured are refused; afterwards there is room again."""
    async with Client(make(log.log, max_in_flight=2), mode=mode) as client:
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(client.call_tool, "sleep", {"seconds": 0.3})
            await anyio.sleep(0.1)
            code, text = await refusal(client.call_tool("echo", {}))
            assert (code, text.split(":")[0]) == (0, "busy")
            code, _ = await refusal(client.read_resource("book://fixed"))
            assert code == -32010
        assert not (await client.call_tool("echo", {})).is_error


@pytest.mark.promise("GEN-5")
async def test_threads_that_outlive_their_calls_count() -> None:
    """Calls that hang in a thread cannot pile up threads: each counts until its thread ends."""
    before = threading.active_count()
    async with Client(make(max_in_flight=2, timeout=0.05)) as client:
        for _ in range(2):
            assert (await refusal(client.call_tool("block", {"seconds": 0.6})))[1][:7] == "timeout"
        assert (await refusal(client.call_tool("block", {"seconds": 0.6})))[1][:4] == "busy"
        assert threading.active_count() <= before + 2
        await anyio.sleep(0.7)
        assert not (await client.call_tool("echo", {})).is_error


# --- Timeout and cancellation ---------------------------------------------------------------


@pytest.mark.promise("GEN-6")
@both_eras
@pytest.mark.parametrize("tool", ["sleep", "block"])
async def test_a_call_ends_with_its_timeout(mode: str, tool: str, log: Log) -> None:
    """A tool that takes too long, in a thread too, is answered in time; the next call works."""
    async with Client(make(log.log, timeout=0.2), mode=mode) as client:
        started = time.perf_counter()
        code, text = await refusal(client.call_tool(tool, {"seconds": 1.0}))
        assert time.perf_counter() - started < 0.7
        assert (code, text[:34]) == (0, "timeout: no answer within 0.2 s; a")
        assert not (await client.call_tool("echo", {})).is_error
    assert log.outcomes()[1] == ("end", tool, "timeout")


@pytest.mark.promise("GEN-6")
@both_eras
async def test_resources_and_prompts_end_with_their_timeout(mode: str) -> None:
    """The timeout holds for synchronous resources and prompts as well."""
    async with Client(make(timeout=0.2), mode=mode) as client:
        for call in (
            client.read_resource("book://slow/page/1"),
            client.get_prompt("review", {"title": "slow"}),
        ):
            started = time.perf_counter()
            code, text = await refusal(call)
            assert time.perf_counter() - started < 0.6
            assert (code, text[:7]) == (-32001, "timeout")


@pytest.mark.promise("GEN-6")
async def test_a_timeout_of_the_tools_own_is_no_timeout_of_the_call(log: Log) -> None:
    """TimeoutError raised inside of a tool is an internal error like any other."""
    async with Client(make(log.log)) as client:
        _, text = await refusal(client.call_tool("fail", {"how": "timeout"}))
    assert text.startswith("internal error, reference ")
    assert log.outcomes()[1][2] == "error"


@pytest.mark.promise("GEN-3")
@both_eras
async def test_a_cancelled_call_is_recorded(mode: str, log: Log) -> None:
    """A call that its client gives up is recorded as cancelled, and its place is free again."""
    async with Client(make(log.log, max_in_flight=1), mode=mode) as client:
        with anyio.move_on_after(0.1):
            await client.call_tool("sleep", {"seconds": 5})
        await anyio.sleep(0.1)
        assert log.outcomes() == [("start", "sleep", ""), ("end", "sleep", "cancelled")]
        assert not (await client.call_tool("echo", {})).is_error


# --- Limits on what goes out ----------------------------------------------------------------


@pytest.mark.promise("GEN-6")
@both_eras
@pytest.mark.parametrize(
    ("tool", "arguments", "outcome", "why"),
    [
        ("returns", {"what": "text", "size": 120_000}, "too_large", "larger than 100000 bytes"),
        ("returns", {"what": "deep", "size": 180}, "too_large", "nested deeper"),
        ("returns", {"what": "number", "size": 4250}, "unsendable", "more than 4,000 digits"),
        ("surrogate", {}, "unsendable", "not valid Unicode"),
    ],
)
async def test_a_result_that_cannot_be_sent_is_refused(
    mode: str, tool: str, arguments: dict[str, Any], outcome: str, why: str, log: Log
) -> None:
    """A result that is too large, or that would break the transport, becomes a clear error."""
    async with Client(make(log.log, max_result_bytes=100_000), mode=mode) as client:
        code, text = await refusal(client.call_tool(tool, arguments))
        assert (code, text.split(":")[0]) == (0, outcome)
        assert why in text
        assert not (await client.call_tool("echo", {})).is_error
    assert log.outcomes()[1] == ("end", tool, outcome)


@pytest.mark.promise("GEN-6")
@both_eras
async def test_resources_and_prompts_have_a_limit_too(mode: str) -> None:
    """Resources and prompts that are too large become a clear error as well."""
    async with Client(make(max_result_bytes=10_000), mode=mode) as client:
        for call in (
            client.read_resource("book://huge/page/1"),
            client.get_prompt("review", {"title": "huge"}),
        ):
            code, text = await refusal(call)
            assert (code, text[:10]) == (-32010, "too_large:")


# --- Errors ---------------------------------------------------------------------------------


@contextlib.contextmanager
def server_log(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """The lines of the server's log, with the redacting filter that the server installs."""
    redact = module("guard.redact")
    filtering = redact.RedactingFilter(redact.Redactor(["s3cr3t-of-the-host"]))
    caplog.handler.addFilter(filtering)
    lines: list[str] = []
    try:
        yield lines
    finally:
        caplog.handler.removeFilter(filtering)
        lines.append(caplog.text)


def assert_harmless(text: str) -> None:
    for leak in ("s3cr3t", "/srv", "hunter22", "Traceback", "RuntimeError", "Error:", ".py"):
        assert leak not in text


@pytest.mark.promise("GEN-6")
@both_eras
@pytest.mark.parametrize(
    ("tool", "how"),
    [
        ("fail", "crash"),
        ("fail", "validation"),
        ("fail", "group"),
        ("fail", "base group"),
        ("fail", "exit"),
        ("fail", "interrupt"),
        ("fail_in_thread", "exit"),
        ("fail_in_thread", "stop"),
        ("wrong_result", None),
        ("unresolved", None),
    ],
)
async def test_an_unexpected_error_is_only_a_reference(
    mode: str, tool: str, how: str | None, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """A crash, sys.exit included, tells the client a reference; the log has the rest, redacted."""
    with server_log(caplog) as lines:
        async with Client(make(log.log), mode=mode) as client:
            code, text = await refusal(client.call_tool(tool, {"how": how} if how else {}))
            assert not (await client.call_tool("echo", {})).is_error
    assert code == 0
    reference = text.removeprefix("internal error, reference ")
    assert len(reference) == 12
    assert text != reference
    assert_harmless(text)
    start, end = log.records()[:2]
    assert start["id"] == end["id"] == reference
    assert end["outcome"] == "error"
    assert "s3cr3t" not in json.dumps(end)
    assert f"reference {reference}" in lines[0]
    assert "Traceback" in lines[0]
    assert "s3cr3t" not in lines[0]
    assert "hunter22" not in lines[0]


@pytest.mark.promise("GEN-6")
@both_eras
@pytest.mark.parametrize(
    ("how", "code", "expected", "outcome"),
    [
        ("refused", 0, "denied: this is not for you", "refused"),
        ("tool", 0, "a deliberate text", "error"),
        ("resource", 0, "a deliberate text", "error"),
        ("protocol", -32011, "a deliberate text", "error"),
    ],
)
async def test_a_deliberate_error_keeps_its_text(
    mode: str, how: str, code: int, expected: str, outcome: str, log: Log
) -> None:
    """What a tool says on purpose arrives word for word, without a prefix and without its cause."""
    async with Client(make(log.log), mode=mode) as client:
        assert await refusal(client.call_tool("fail", {"how": how})) == (code, expected)
    assert log.outcomes()[1] == ("end", "fail", outcome)


@pytest.mark.promise("GEN-6")
@both_eras
@pytest.mark.parametrize("title", ["crash", "exit", "validation"])
async def test_crashing_resources_and_prompts_are_only_a_reference(mode: str, title: str) -> None:
    """Resources, templates and prompts that crash tell no more than tools that do."""
    async with Client(make(), mode=mode) as client:
        for call in (
            client.read_resource(f"book://{title}/page/1"),
            client.read_resource("book://broken"),
            client.get_prompt("review", {"title": title}),
        ):
            code, text = await refusal(call)
            assert code == -32603
            assert text.startswith("internal error, reference ")
            assert_harmless(text)
        assert (await client.read_resource("book://fixed")).contents[0].text == "fixed"


@pytest.mark.promise("GEN-6")
@both_eras
@pytest.mark.parametrize(
    ("title", "code", "expected"),
    [
        ("missing", -32602, "not_found: there is no such book"),
        ("gone", -32602, "the book is gone"),
        ("denied", -32603, "denied: this is not for you"),
        ("tool", -32603, "a deliberate text"),
    ],
)
async def test_a_deliberate_error_of_a_resource_keeps_its_text(
    mode: str, title: str, code: int, expected: str
) -> None:
    """What a resource says on purpose arrives word for word."""
    async with Client(make(), mode=mode) as client:
        assert await refusal(client.read_resource(f"book://{title}/page/1")) == (code, expected)
        answer = await refusal(client.call_tool("reads", {"uri": f"book://{title}/page/1"}))
        assert answer == (0, expected)


@pytest.mark.promise("GEN-6")
@both_eras
async def test_prompts_and_completions_keep_the_same_hygiene(mode: str) -> None:
    """Deliberate errors of prompts and completions keep their text, others are a reference."""
    async with Client(make(), mode=mode) as client:
        refused = (-32603, "denied: this is not for you")
        assert await refusal(client.get_prompt("review", {"title": "refused"})) == refused
        ref = PromptReference(name="review")
        assert await refusal(client.complete(ref, {"name": "title", "value": "refused"})) == refused
        code, text = await refusal(client.complete(ref, {"name": "title", "value": "crash"}))
        assert (code, text[:26]) == (-32603, "internal error, reference ")
        assert_harmless(text)
        fine = await client.complete(ref, {"name": "title", "value": ""})
        assert fine.completion.values == ["one", "two"]


@pytest.mark.promise("GEN-6")
@both_eras
async def test_an_error_text_can_always_be_sent(mode: str) -> None:
    """A lone surrogate in a deliberate text is escaped; JSON could not carry it."""
    async with Client(make(), mode=mode) as client:
        _, text = await refusal(client.call_tool("surrogate_in_error", {}))
    assert text == "denied: no such file: \\udcff"


@pytest.mark.promise("GEN-4")
@both_eras
async def test_the_servers_own_secrets_leave_no_error(mode: str) -> None:
    """Even a deliberate text loses the secrets of this server's settings."""
    server = make(redactor=module("guard.redact").Redactor(["this is not"]))
    async with Client(server, mode=mode) as client:
        _, text = await refusal(client.call_tool("fail", {"how": "refused"}))
    assert text == "denied: *** for you"


@pytest.mark.promise("GEN-6")
@both_eras
async def test_nothing_that_is_raised_around_a_call_leaks(mode: str) -> None:
    """An exception outside of any tool, in middleware or a list, is only a reference as well."""
    server = make()

    async def broken(ctx: Any, call_next: Any) -> Any:
        if ctx.method in ("tools/call", "prompts/list"):
            raise RuntimeError(LEAK)
        return await call_next(ctx)

    server.middleware.append(broken)
    async with Client(server, mode=mode) as client:
        for call in (client.call_tool("echo", {}), client.list_prompts()):
            code, text = await refusal(call)
            assert code == -32603
            assert text.startswith("internal error, reference ")
            assert_harmless(text)


# --- Audit ----------------------------------------------------------------------------------


@pytest.mark.promise("GEN-3")
@both_eras
async def test_every_call_is_recorded_before_and_after(mode: str, log: Log) -> None:
    """Two records: who, how, what with which arguments; then how it ended and how long it took."""
    async with Client(make(log.log), mode=mode) as client:
        await client.call_tool("echo", {"text": "a", "limit": 3})
        await client.read_resource("book://dune/page/7")
        await client.get_prompt("review", {"title": "Dune"})
        await client.complete(PromptReference(name="review"), {"name": "title", "value": "D"})
    records = log.records()
    assert [(r["event"], r["method"], r["name"]) for r in records] == [
        (event, method, name)
        for method, name in (
            ("tools/call", "echo"),
            ("resources/read", "book://{title}/page/{number}"),
            ("prompts/get", "review"),
            ("completion/complete", "review"),
        )
        for event in ("start", "end")
    ]
    for start, end in zip(records[::2], records[1::2], strict=True):
        assert start["id"] == end["id"]
        assert start["caller"].startswith("stdio")
        assert start["transport"] == "stdio"
        assert start["time"].endswith("+00:00")
        assert (end["outcome"], end["us"] >= 0) == ("ok", True)
    assert records[0]["arguments"] == {"text": "a", "limit": 3}
    assert records[2]["arguments"] == {"uri": "book://dune/page/7"}


@pytest.mark.promise("GEN-3")
async def test_the_caller_is_who_the_token_says(log: Log) -> None:
    """A verified token names the caller; nothing in the request itself does."""
    with token(client="app/x", subject="ann"):
        async with Client(make(log.log)) as client:
            await client.call_tool("echo", {}, meta={"caller": "root", "client_id": "root"})
    assert {record["caller"] for record in log.records()} == {"app%2Fx/ann"}


@pytest.mark.promise("GEN-3", "GEN-4")
async def test_no_argument_forges_or_leaks(log: Log) -> None:
    """Newlines, terminal codes and secrets in arguments and names end up inert and hidden."""
    forged = '\n{"seq":1,"event":"end","outcome":"ok"}\r\n\u2028\x1b[2J'
    async with Client(make(log.log)) as client:
        await client.call_tool("echo", {"text": forged})
        await client.call_tool("echo", {"text": "Bearer abcdefghijklmnop"})
        await refusal(client.call_tool(forged, {"password": "hunter22"}))
        await refusal(client.read_resource("x://user:hunter22@host/"))
    text = log.path.read_text(encoding="ascii")
    assert len(log.records()) == 6
    assert "hunter22" not in text
    assert "abcdefghijklmnop" not in text
    assert all(line.isprintable() for line in text.splitlines())
    assert log.records()[0]["arguments"]["text"] == forged
    assert module("guard.audit_verify").verify(log.path).ok


def break_log(log: Any) -> None:
    """Let every write fail, as on a full disk."""

    def fail(record: Any) -> None:
        raise module("guard.audit").AuditError("no space left on device")

    log.write = fail


@pytest.mark.promise("GEN-3")
@both_eras
async def test_a_call_that_cannot_be_recorded_is_not_run(mode: str, log: Log) -> None:
    """When the log fails, calls are refused without being run, and work again when it does."""
    server = make(log.log)
    ran = []

    @server.tool()
    async def run() -> str:
        ran.append(1)
        return "ran"

    write = log.log.write
    async with Client(server, mode=mode) as client:
        break_log(log.log)
        code, text = await refusal(client.call_tool("run", {}))
        assert (code, text[:26]) == (0, "audit: the call was not ru")
        code, _ = await refusal(client.read_resource("book://fixed"))
        assert code == -32010
        assert not ran
        log.log.write = write
        assert not (await client.call_tool("run", {})).is_error
    assert ran == [1]


@pytest.mark.promise("GEN-3")
async def test_a_result_that_cannot_be_recorded_is_withheld(log: Log) -> None:
    """When the log fails during a call, its result is withheld; the text says that it ran."""
    server = make(log.log)

    @server.tool()
    async def run() -> str:
        break_log(log.log)
        return "the result"

    async with Client(server) as client:
        _, text = await refusal(client.call_tool("run", {}))
    assert text.startswith("audit: the call ran")
    assert "look before you repeat it" in text
    assert "the result" not in text


@pytest.mark.promise("GEN-3")
async def test_calls_go_on_without_a_log_when_that_is_configured(tmp_path: Path) -> None:
    """With on_failure=continue a call runs although it cannot be recorded."""
    log = Log(tmp_path, fail_closed=False)
    break_log(log.log)
    async with Client(make(log.log)) as client:
        assert not (await client.call_tool("echo", {})).is_error
    del log.log.write
    log.log.close()


@pytest.mark.promise("GEN-3")
async def test_a_forged_state_is_refused_and_recorded(log: Log) -> None:
    """What the SDK itself refuses, such as a forged requestState, is a recorded call as well."""
    async with Client(make(log.log)) as client:
        code, _ = await refusal(client.call_tool("echo", {}, request_state="forged"))
        assert code == -32602
    assert log.outcomes() == [("start", "echo", ""), ("end", "echo", "error")]


# --- Everything together --------------------------------------------------------------------


async def elicited(context: Any, params: Any) -> Any:
    from mcp.types import ElicitResult

    return ElicitResult(action="accept", content={"ok": True})


@pytest.mark.promise("GEN-1")
@both_eras
async def test_a_tool_that_asks_the_user_still_works(mode: str, log: Log) -> None:
    """Confirmation through a resolver works in both eras; each round is a recorded call."""
    async with Client(make(log.log), mode=mode, elicitation_callback=elicited) as client:
        result = await client.call_tool("confirmed", {"title": "a"})
        assert result.structured_content == {"result": True}
    outcomes = [record["outcome"] for record in log.records() if record["event"] == "end"]
    assert outcomes == (["ok"] if mode == "legacy" else ["input_required", "ok"])


@pytest.mark.promise("GEN-1")
@both_eras
async def test_what_is_registered_in_other_ways_is_guarded_too(mode: str) -> None:
    """add_tool, add_prompt and add_resource lead through the guard like the decorators."""
    server = make(timeout=0.2)

    def crash() -> str:
        raise RuntimeError(LEAK)

    def hang() -> str:
        time.sleep(0.7)
        return "never"

    for function in (crash, hang):
        server.add_tool(function)
        server.add_prompt(Prompt.from_function(function))
        uri = f"way://{function.__name__}"
        server.add_resource(FunctionResource.from_function(function, uri=uri))
    server.add_resource(FunctionResource(uri="way://bare", name="bare", fn=crash))
    async with Client(server, mode=mode) as client:
        for name, expected in (("crash", "internal error, reference"), ("hang", "timeout: no")):
            for call in (
                client.call_tool(name, {}),
                client.get_prompt(name, {}),
                client.read_resource(f"way://{name}"),
            ):
                started = time.perf_counter()
                _, text = await refusal(call)
                assert text.startswith(expected)
                assert_harmless(text)
                assert time.perf_counter() - started < 0.6
        _, text = await refusal(client.read_resource("way://bare"))
        assert text.startswith("internal error, reference")


@pytest.mark.promise("GEN-1")
async def test_the_guard_changes_no_answer() -> None:
    """A call that is permitted gives what the SDK alone would have given."""
    from mcp.server import MCPServer

    bare = MCPServer("test")

    class Hits(BaseModel):
        lines: list[str]

    results = []
    for server in (bare, make()):

        @server.tool(title="Search", annotations=READING)
        async def search(query: str, ctx: Context, limit: int = 2) -> Hits:
            """Search for lines."""
            await ctx.report_progress(1, 2)
            return Hits(lines=[query] * limit)

        async with Client(server) as client:
            tools = {tool.name: tool.model_dump() for tool in (await client.list_tools()).tools}
            tools["search"]["input_schema"].pop("additionalProperties", None)
            answer = await client.call_tool("search", {"query": "é", "limit": 3})
            results.append((tools["search"], answer.model_dump()))
    assert results[0] == results[1]
