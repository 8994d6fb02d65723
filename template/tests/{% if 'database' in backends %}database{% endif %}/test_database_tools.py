# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""What clients get of the database, and what they do not, through a real client.

The engine's own part is `testbed`: a real database, a way to it that is independent of the
server, and attacks in its own SQL.
"""

import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
import testbed
from conftest import PACKAGE, module, run, serve, text_of, var
from mcp import Client, MCPError
from mcp.types import ElicitResult

pytestmark = pytest.mark.anyio
ROWS = 200


@pytest.fixture(scope="module")
def bed() -> Iterator[Any]:
    """A database with the table ``items`` of 200 rows, which nothing changes."""
    with testbed.testbed() as made:
        testbed.load(made, ROWS)
        yield made


@pytest.fixture
def own() -> Iterator[Any]:
    """A database like that, with no other server than the test's own."""
    with testbed.testbed() as made:
        testbed.load(made, ROWS)
        yield made


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for all, so that one client can serve several tests."""
    return "asyncio"


@asynccontextmanager
async def serving(bed: Any, timeout: float = 60, **settings: str) -> AsyncIterator[Client]:
    """Serve a database. Settings are named without ``DATABASE__``; those of the guard in full."""
    env = {var("DATABASE__URL"): bed.url, var("GUARD__RATE"): "100000", var("GUARD__BURST"): "9999"}
    for name, value in settings.items():
        full = name if name.startswith(("GUARD__", "READ_ONLY")) else f"DATABASE__{name}"
        env[var(full)] = value
    with TemporaryDirectory() as home:
        async with serve(env={**env, "HOME": home}, timeout=timeout) as client:
            yield client


async def query(client: Client, sql: str, *params: Any, **more: Any) -> dict[str, Any]:
    """Run a query that must succeed."""
    answer = await client.call_tool("query", {"sql": sql, "params": list(params), **more})
    assert not answer.is_error, text_of(answer)
    assert answer.structured_content == json.loads(text_of(answer))
    return dict(answer.structured_content)


async def refused(client: Client, sql: str, tool: str = "query") -> str:
    """Run a statement that must be refused, and return what the client is told."""
    answer = await client.call_tool(tool, {"sql": sql})
    assert answer.is_error, f"{sql[:100]}: {text_of(answer)[:200]}"
    return text_of(answer)


@pytest.fixture(scope="module")
async def shared(bed: Any) -> AsyncIterator[Client]:
    """A client for all tests that only look at answers."""
    async with serving(bed, timeout=600) as client:
        yield client


# --- What is served.


async def test_the_tools_say_that_they_change_nothing(bed: Any) -> None:
    """All four annotations are set, every argument is described, every answer has a schema."""
    async with serving(bed) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    names = {"query", "explain", "list_tables", "describe_table", "table_stats"}
    assert names <= set(tools)
    for name in names:
        hints = tools[name].annotations
        assert (hints.read_only_hint, hints.destructive_hint) == (True, False)
        assert (hints.idempotent_hint, hints.open_world_hint) == (True, False)
        assert tools[name].output_schema
        for argument in tools[name].input_schema["properties"].values():
            assert argument["description"]


@pytest.mark.promise("DB-4")
async def test_rows_come_in_the_order_of_the_columns_two_of_one_name_too(bed: Any) -> None:
    """Rows are lists, so that no column is lost."""
    async with serving(bed) as client:
        found = await query(client, "SELECT id AS a, name AS a FROM items ORDER BY id LIMIT 2")
    assert [column["name"] for column in found["columns"]] == ["a", "a"]
    assert found["rows"] == [[1, "item 1"], [2, "item 2"]]
    assert (found["row_count"], found["truncated"], found["truncated_by"]) == (2, False, None)


@pytest.mark.promise("DB-4")
@pytest.mark.parametrize(("sql", "value"), testbed.TYPES, ids=lambda item: str(item)[:40])
async def test_values_survive(shared: Client, sql: str, value: Any) -> None:
    """Each type arrives exactly, as a number where a double can hold it, as text where not."""
    found = await query(shared, f"SELECT {sql} AS v")
    assert found["rows"] == [[value]]
    assert type(found["rows"][0][0]) is type(value)


@pytest.mark.promise("DB-2")
@pytest.mark.parametrize("sql", testbed.HARMLESS, ids=lambda sql: sql[:40])
async def test_harmless_sql_is_not_refused(shared: Client, sql: str) -> None:
    """Whatever reads is run, however it looks."""
    await query(shared, sql)


# --- What is not.


@pytest.mark.promise("DB-2", "GEN-6")
async def test_attacks_change_nothing(own: Any) -> None:
    """Every way to write, lock, reach files or leave something behind, with `query` and `explain`.

    Checked by an independent connection, and by the calls that follow.
    """
    folder = str(getattr(own, "folder", "/tmp"))
    before = own.fingerprint()
    secrets = [own.password, own.url, folder, "Traceback", str(Path(__file__).parents[2])]
    async with serving(own, timeout=600, STATEMENT_TIMEOUT="1") as client:
        usual = await query(client, "SELECT id, name FROM items ORDER BY id")
        for attack in testbed.WRITES:
            for tool in ("query", "explain"):
                sql = attack.replace("{folder}", folder)
                try:
                    told = text_of(await client.call_tool(tool, {"sql": sql}))
                except MCPError as error:  # an empty statement is an invalid argument
                    told = str(error)
                where = f"{tool} {attack!r}: {told[:300]}"
                own_words = told.replace(sql, "")
                assert not [s for s in secrets if s and s in own_words], where
                assert own.fingerprint() == before, where
        again = await query(client, "SELECT id, name FROM items ORDER BY id")
        assert (again["columns"], again["rows"]) == (usual["columns"], usual["rows"])
    assert not Path(folder, "evil.db").exists()
    assert not Path(folder, "evil.txt").exists()
    await gone(own.sessions)


@pytest.mark.promise("DB-1")
async def test_values_are_bound(bed: Any) -> None:
    """What is given as a value is a value, whatever it looks like."""
    first, second = testbed.placeholder(1), testbed.placeholder(2)
    nasty = [
        "'; DROP TABLE items; --",
        "\\'; DROP TABLE items; #",
        "%s",
        "$1",
        "?",
        "\u2019",
        "a\nb",
    ]
    async with serving(bed) as client:
        for value in nasty:
            found = await query(client, f"SELECT count(*) FROM items WHERE name = {first}", value)
            assert found["rows"] == [[0]]
        found = await query(
            client, f"SELECT id FROM items WHERE name = {first} AND id < {second}", "item 7", 100
        )
        assert found["rows"] == [[7]]
        assert "sql: " in await refused(client, f"SELECT {first}, {second}, nothing_of_this_name")
    assert bed.admin("SELECT count(*) FROM items") == [(ROWS,)]


@pytest.mark.promise("GEN-6")
async def test_an_error_of_the_caller_is_explained_in_the_words_of_the_database(bed: Any) -> None:
    """The column that is not there is named; the server's side is not."""
    async with serving(bed) as client:
        told = await refused(client, "SELECT no_such_column FROM items")
        assert told.startswith("sql: ")
        assert "no_such_column" in told
        assert (await refused(client, "SELEC 1")).startswith(("sql: ", "denied: "))
        assert "sql: " in await refused(client, "SELECT 1 FROM no_such_table")


# --- Limits.


@pytest.mark.promise("DB-3")
@pytest.mark.setting("DATABASE__MAX_ROWS")
async def test_max_rows(bed: Any) -> None:
    """A call gets fewer than it asks for when the server allows no more, and is told."""
    async with serving(bed, MAX_ROWS="5") as client:
        found = await query(client, "SELECT id FROM items ORDER BY id", max_rows=100)
        assert found["rows"] == [[1], [2], [3], [4], [5]]
        assert (found["truncated"], found["truncated_by"]) == (True, "rows")
        found = await query(client, "SELECT id FROM items ORDER BY id LIMIT 5")
        assert found["truncated"] is False
        found = await query(client, "SELECT id FROM items ORDER BY id", max_rows=2)
        assert found["rows"] == [[1], [2]]


@pytest.mark.promise("DB-3")
@pytest.mark.setting("DATABASE__MAX_BYTES")
async def test_max_bytes(bed: Any) -> None:
    """Rows end before they have more bytes; a row that alone has more is an error that says so."""
    async with serving(bed, MAX_BYTES="1024") as client:
        found = await query(client, "SELECT id, note FROM items ORDER BY id", max_rows=100)
        assert 0 < len(json.dumps(found["rows"])) <= 1100
        assert found["truncated_by"] == "bytes"
        assert found["row_count"] < ROWS
        long = "'" + "x" * 2000 + "'"
        assert "too_large" in await refused(client, f"SELECT {long}")
        assert (await query(client, "SELECT 1"))["rows"] == [[1]]


@pytest.mark.promise("DB-3")
@pytest.mark.setting("DATABASE__STATEMENT_TIMEOUT")
async def test_a_statement_over_its_time_ends_in_the_database(own: Any) -> None:
    """Also where it never looks at a clock; the next call works."""
    async with serving(own, STATEMENT_TIMEOUT="1", CONNECT_TIMEOUT="1") as client:
        for sql in [testbed.SLOW, *testbed.STUCK]:
            started = time.monotonic()
            told = await refused(client, sql)
            assert "timeout" in told or "too_large" in told, f"{sql[:60]}: {told}"
            assert time.monotonic() - started < 8
            await gone(own.running, idle=1)
            assert (await query(client, "SELECT 1"))["rows"] == [[1]]


@pytest.mark.promise("DB-3")
async def test_a_cancelled_statement_is_gone_from_the_database(own: Any) -> None:
    """Within a second of the cancellation, and the next call works."""
    async with serving(own, STATEMENT_TIMEOUT="60", GUARD__TIMEOUT="60") as client:
        for _ in range(3):
            with anyio.move_on_after(1.5) as scope:
                await client.call_tool("query", {"sql": testbed.SLOW})
            assert scope.cancelled_caught
            await gone(own.running, within=1.0)
            assert (await query(client, "SELECT 1"))["rows"] == [[1]]
            if testbed.ENGINE == "sqlite":
                break  # there an idle worker counts


@pytest.mark.promise("DB-3")
async def test_the_guards_timeout_ends_the_statement_too(own: Any) -> None:
    """Nothing goes on in the database that nobody waits for."""
    async with serving(own, STATEMENT_TIMEOUT="60", GUARD__TIMEOUT="1") as client:
        assert "timeout" in await refused(client, testbed.SLOW)
        await gone(own.running, within=1.5)


@pytest.mark.promise("DB-3")
async def test_nothing_is_left_when_the_server_ends_in_the_middle(own: Any) -> None:
    """The client leaves while a statement runs: no session and no process stays."""
    with anyio.move_on_after(5):
        env = {"STATEMENT_TIMEOUT": "60", "GUARD__TIMEOUT": "60"}
        async with serving(own, **env) as client, anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "query", {"sql": testbed.SLOW})
            await anyio.sleep(1)
            group.cancel_scope.cancel()
    await gone(own.sessions, within=5)


@pytest.mark.promise("DB-3")
async def test_a_worker_that_dies_while_it_starts_hides_no_cancellation(
    own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a writer was stopped another is started; that it cannot be is nobody's error."""
    pools, job = module("database.pool"), module("database.job")
    commands = [[sys.executable, "-c", ""], pools._command()]  # the last is the first to be used
    monkeypatch.setattr(pools, "_command", commands.pop)
    pool = pools.Pool(job.Config(url=own.url, write=True), size=1, wait=1)
    try:
        with anyio.move_on_after(2) as scope:
            await pool.run([job.Statement(sql=testbed.SLOW)], rows=1, size=1000)
        assert scope.cancelled_caught
        assert not commands
    finally:
        pool.close()


@pytest.mark.promise("DB-3")
@pytest.mark.setting("DATABASE__POOL_SIZE")
async def test_pool_size(own: Any) -> None:
    """With one connection, calls wait for each other; with two, two run."""
    for size, least, most in (("1", 1, 1), ("2", 2, 2)):
        env = {"POOL_SIZE": size, "STATEMENT_TIMEOUT": "60", "GUARD__TIMEOUT": "60"}
        with anyio.move_on_after(8):
            async with serving(own, **env) as client, anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(client.call_tool, "query", {"sql": testbed.SLOW})
                await anyio.sleep(2)
                assert least <= own.running() <= most
                group.cancel_scope.cancel()
        await gone(own.sessions, within=5)


@pytest.mark.promise("DB-3")
@pytest.mark.setting("DATABASE__POOL_TIMEOUT")
async def test_pool_timeout(bed: Any) -> None:
    """A call that finds no connection in its time is told so."""
    env = {"POOL_SIZE": "1", "POOL_TIMEOUT": "0.5", "STATEMENT_TIMEOUT": "60"}
    told = ""
    with anyio.move_on_after(9):
        async with serving(bed, **env) as client, anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "query", {"sql": testbed.SLOW})
            await anyio.sleep(1)
            told = await refused(client, "SELECT 1")
            group.cancel_scope.cancel()
    assert "busy" in told


@pytest.mark.promise("DB-3")
async def test_the_names_of_columns_count_too(bed: Any) -> None:
    """They are a part of the answer that a statement can make as long as it likes."""
    quote = "`" if testbed.ENGINE == "mysql" else '"'
    names = ", ".join(f"1 AS {quote}{number:060}{quote}" for number in range(100))
    async with serving(bed, MAX_BYTES="1024") as client:
        assert "too_large" in await refused(client, f"SELECT {names}")


@pytest.mark.promise("DB-4")
async def test_a_number_that_is_too_large_is_not_made_another_one(shared: Client) -> None:
    """Beyond 64 bits it is refused, with a hint."""
    sql = f"SELECT {testbed.placeholder(1)}"
    answer = await shared.call_tool("query", {"sql": sql, "params": [10**30]})
    assert answer.is_error
    assert "should be text" in text_of(answer)


@pytest.mark.promise("DB-3")
async def test_many_calls_at_once_get_their_own_answers(bed: Any) -> None:
    """64 at a time, with 4 connections: each gets what it asked for."""
    found: dict[int, Any] = {}

    async def ask(client: Client, number: int) -> None:
        sql = f"SELECT id, name FROM items WHERE id = {testbed.placeholder(1)}"
        found[number] = (await query(client, sql, number))["rows"]

    async with serving(bed) as client, anyio.create_task_group() as group:
        for number in range(1, 65):
            group.start_soon(ask, client, number)
    assert found == {number: [[number, f"item {number}"]] for number in range(1, 65)}


@pytest.mark.promise("DB-3")
async def test_a_million_rows_are_read_as_far_as_they_are_wanted() -> None:
    """The memory of the server and its workers does not follow the table, nor does the time."""
    others = family()
    with testbed.testbed() as bed:
        testbed.load(bed, 1_000_000)
        async with serving(bed, timeout=120) as client:
            for sql, rows in (
                ("SELECT * FROM items", 1000),
                ("SELECT * FROM items ORDER BY id DESC", 1000),
                ("SELECT a.id, b.id FROM items a CROSS JOIN items b", 1000),
                ("SELECT count(*), sum(price) FROM items", 1),
            ):
                started = time.monotonic()
                found = await query(client, sql, max_rows=100_000)
                assert found["row_count"] == rows
                assert found["truncated"] is (rows > 1)
                assert time.monotonic() - started < 8
            assert resident(others) < 150 * 1024 * 1024


@pytest.mark.promise("DB-3")
@pytest.mark.setting("DATABASE__MAX_MEMORY")
async def test_max_memory(bed: Any) -> None:
    """A value that is too large for the memory of a worker is refused, and the server lives."""
    least, others = str(64 * 1024 * 1024), family()
    async with serving(bed, MAX_MEMORY=least, STATEMENT_TIMEOUT="20") as client:
        await query(client, "SELECT 1")
        workers = [pid for pid in family() - others if "database.worker" in command_of(pid)]
        for pid in workers:
            limits = Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")
            assert re.search(rf"^Max data size +{least} ", limits, re.MULTILINE)
        assert workers
        for sql in testbed.HUGE:
            told = await refused(client, sql)
            assert "too_large" in told, f"{sql[:60]}: {told}"
            assert (await query(client, "SELECT 1"))["rows"] == [[1]]
        assert resident(others) < 300 * 1024 * 1024


def family() -> set[int]:
    """Return the processes that this one has started, and those that they have."""
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is measured on Linux")
    parents: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "stat").read_text(encoding="utf-8", errors="replace")
            parents[int(process.name)] = int(line.rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def command_of(pid: int) -> str:
    """Return the command line of a process; nothing when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def resident(others: set[int]) -> int:
    """Return the bytes of memory that the server and its workers have in all."""
    total = 0
    for pid in family() - others:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        if found := re.search(r"VmRSS:\s+(\d+)", text):
            total += int(found[1]) * 1024
    assert total > 0
    return total


async def gone(counted: Any, within: float = 3.0, idle: int = 0) -> None:
    """Wait until nothing is left in the database."""
    allowed = idle if testbed.ENGINE == "sqlite" else 0
    end = time.monotonic() + within
    while counted() > allowed:
        assert time.monotonic() < end, f"{counted()} still there after {within} s"
        await anyio.sleep(0.05)


# --- The catalogue.


@pytest.mark.promise("DB-1")
async def test_the_catalogue(bed: Any) -> None:
    """Tables are listed page by page, described with their keys, and measured."""
    async with serving(bed) as client:
        listed = (await client.call_tool("list_tables", {})).structured_content
        assert "items" in [table["name"] for table in listed["tables"]]
        found = (await client.call_tool("list_tables", {"pattern": "ite%"})).structured_content
        assert [table["name"] for table in found["tables"]] == ["items"]
        described = (
            await client.call_tool("describe_table", {"table": "items"})
        ).structured_content
        assert [c["name"] for c in described["columns"]] == ["id", "name", "price", "note"]
        assert described["primary_key"] == ["id"]
        stats = (await client.call_tool("table_stats", {"table": "items"})).structured_content
        assert stats["approx_rows"] is None or stats["approx_rows"] >= 0
        where = described["schema"]
        qualified = await client.call_tool("describe_table", {"table": f"{where}.items"})
        assert qualified.structured_content == described
        near = await client.call_tool("describe_table", {"table": "itemz"})
        assert near.is_error
        assert "items" in text_of(near)
        for nasty in ("items; DROP TABLE items", 'items"', "items'", "items`", "\\", "a\x00b", "%"):
            told = await client.call_tool("describe_table", {"table": nasty})
            assert told.is_error
            assert "not_found" in text_of(told), text_of(told)
        plan = (
            await client.call_tool("explain", {"sql": "SELECT * FROM items"})
        ).structured_content
        assert "items" in json.dumps(plan["plan"])


async def test_pages_of_tables_hold_each_table_once() -> None:
    """A cursor goes on where the page ended, and belongs to its question."""
    with testbed.testbed() as bed:
        names = sorted(f"t{number:02}" for number in range(25))
        for name in names:
            bed.admin(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY)")
        async with serving(bed) as client:
            seen: list[str] = []
            cursor = ""
            for _ in range(10):
                asked = {"limit": 7, "cursor": cursor, "pattern": "t%"}
                page = (await client.call_tool("list_tables", asked)).structured_content
                seen += [table["name"] for table in page["tables"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
                other = {**asked, "cursor": cursor, "pattern": "x%"}
                assert (await client.call_tool("list_tables", other)).is_error
        assert seen == names


async def test_the_resources(bed: Any) -> None:
    """The catalogue as resources; a table that is not there is an error of the protocol."""
    async with serving(bed) as client:
        tables = await client.read_resource("schema://tables")
        assert "items" in tables.contents[0].text
        table = json.loads((await client.read_resource("schema://table/items")).contents[0].text)
        assert table["primary_key"] == ["id"]
        with pytest.raises(MCPError):
            await client.read_resource("schema://table/nothing")


# --- Named queries.

NAMED = """
[queries.cheap_items]
description = "Items that cost less than something."
sql = "SELECT id, name FROM items WHERE price < {first} AND name LIKE {second} ORDER BY id"
parameters = [
  {{ name = "below", type = "number", minimum = 0, maximum = 1000 }},
  {{ name = "like", type = "text", default = "item%", max_length = 20 }},
]

[queries.rename_item]
description = "Give an item another name."
sql = "UPDATE items SET name = {first} WHERE id = {second}"
parameters = [
  {{ name = "name", type = "text", max_length = 50 }},
  {{ name = "id", type = "integer", minimum = 1 }},
]
write = true
"""


@pytest.fixture
def queries(tmp_path: Path) -> str:
    """A file of named queries."""
    file = tmp_path / "queries.toml"
    text = NAMED.format(first=testbed.placeholder(1), second=testbed.placeholder(2))
    file.write_text(text, encoding="utf-8")
    return str(file)


@pytest.mark.promise("DB-1")
@pytest.mark.setting("DATABASE__QUERIES")
async def test_queries(bed: Any, queries: str) -> None:
    """Each named query is a tool with typed, bounded arguments; one that writes is not served."""
    async with serving(bed, QUERIES=queries) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert "rename_item" not in tools
        schema = tools["cheap_items"].input_schema
        assert schema["required"] == ["below"]
        assert schema["properties"]["below"]["maximum"] == 1000
        answer = await client.call_tool("cheap_items", {"below": 1.1})
        assert answer.structured_content["rows"][0] == [1, "item 1"]
        for wrong in ({}, {"below": 5000}, {"below": "1"}, {"below": 1, "like": "x" * 21}):
            assert (await client.call_tool("cheap_items", wrong)).is_error


def test_a_named_query_that_is_wrong_is_told_at_the_start(bed: Any, tmp_path: Path) -> None:
    """It is planned, not run; what is right is not spoken of."""
    file = tmp_path / "queries.toml"
    text = NAMED.format(first=testbed.placeholder(1), second=testbed.placeholder(2))
    wrong = "[queries.wrong]\ndescription = 'x'\nsql = 'SELECT nothing_of_this_name FROM items'\n"
    file.write_text(text + wrong, encoding="utf-8")
    env = {var("DATABASE__URL"): bed.url, var("DATABASE__QUERIES"): str(file)}
    done = run("--check", home=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    assert "queries.toml: wrong: " in warning
    assert "nothing_of_this_name" in warning
    assert "7 tools" in done.stdout


@pytest.mark.setting("DATABASE__EXPOSE_SQL")
async def test_expose_sql(bed: Any, queries: str) -> None:
    """Without it there are named queries and the catalogue."""
    async with serving(bed, EXPOSE_SQL="false", QUERIES=queries) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names & {"query", "explain"} == set()
        assert {"cheap_items", "list_tables"} <= names
        with pytest.raises(MCPError):
            await client.call_tool("query", {"sql": "SELECT 1"})
    async with serving(bed, EXPOSE_SQL="true") as client:
        assert (await query(client, "SELECT 1"))["rows"] == [[1]]


@asynccontextmanager
async def writing(queries: str, answer: Any = None, **settings: str) -> AsyncIterator[Any]:
    """Serve queries that write; the user gives ``answer``, or cannot be asked."""
    asked: list[str] = []

    async def ask(_: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action=answer[0], content=answer[1])

    with testbed.testbed(owner=True) as bed, TemporaryDirectory() as home:
        testbed.load(bed, 5)
        env = {var("DATABASE__URL"): bed.url, var("DATABASE__QUERIES"): queries, "HOME": home}
        env[var("READ_ONLY")] = "false"
        env |= {var(name): value for name, value in settings.items()}
        callback = ask if answer else None
        async with serve(env=env, elicitation_callback=callback, timeout=30) as client:
            yield client, bed, asked


RENAME = {"name": "a 'new' name", "id": 3}


async def test_the_question_to_the_user_shows_what_is_invisible(queries: str) -> None:
    """Characters that turn or hide text are written out, and what is cut off is said to be."""
    async with writing(queries, ("decline", None)) as (client, _, asked):
        for name in ("a\u202eb\u2028c\u200bd\ne", "x" * 50):
            assert (await client.call_tool("rename_item", {"name": name, "id": 1})).is_error
    assert asked[0].isprintable()
    assert "\\u202e" in asked[0]


@pytest.mark.parametrize("answer", [("accept", {"confirm": True})])
async def test_a_query_that_writes_is_run_when_the_user_confirms_it(
    queries: str, answer: Any
) -> None:
    """The user sees the query and its values; what follows is in the database."""
    async with writing(queries, answer) as (client, bed, asked):
        done = await client.call_tool("rename_item", RENAME)
        assert not done.is_error, text_of(done)
        assert done.structured_content["rows_changed"] == 1
        assert done.structured_content["rows"] == []
        assert bed.admin("SELECT name FROM items WHERE id = 3") == [("a 'new' name",)]
        assert len(asked) == 1
        assert "rename_item" in asked[0]
        assert "a 'new' name" in asked[0]
        assert (await client.call_tool("query", {"sql": "DELETE FROM items"})).is_error
        assert bed.admin("SELECT count(*) FROM items") == [(5,)]


@pytest.mark.promise("DB-2")
@pytest.mark.parametrize(
    "answer", [("accept", {"confirm": False}), ("decline", None), ("cancel", None), None]
)
async def test_a_query_that_writes_is_not_run_when_the_user_does_not_confirm_it(
    queries: str, answer: Any
) -> None:
    """Neither when the client cannot ask."""
    async with writing(queries, answer) as (client, bed, _):
        done = await client.call_tool("rename_item", RENAME)
        assert done.is_error
        assert "denied" in text_of(done)
        assert bed.admin("SELECT name FROM items WHERE id = 3") == [("item 3",)]


@pytest.mark.setting("DATABASE__CONFIRM_WRITES")
@pytest.mark.parametrize(("value", "answer"), [("never", None), ("if_possible", None)])
async def test_confirm_writes(queries: str, value: str, answer: Any) -> None:
    """A client that cannot ask may run it where the operator says so."""
    async with writing(queries, answer, DATABASE__CONFIRM_WRITES=value) as (client, bed, _):
        assert not (await client.call_tool("rename_item", RENAME)).is_error
        assert bed.admin("SELECT name FROM items WHERE id = 3") == [("a 'new' name",)]


@pytest.mark.promise("DB-2")
@pytest.mark.setting("DATABASE__READ_ONLY")
async def test_read_only(queries: str) -> None:
    """The database stays read-only although the server is not."""
    async with writing(queries, ("accept", {"confirm": True})) as (client, _, _):
        assert "rename_item" in {tool.name for tool in (await client.list_tools()).tools}
    settings = {"DATABASE__READ_ONLY": "true"}
    async with writing(queries, ("accept", {"confirm": True}), **settings) as (client, bed, _):
        assert "rename_item" not in {tool.name for tool in (await client.list_tools()).tools}
        with pytest.raises(MCPError):
            await client.call_tool("rename_item", RENAME)
        assert bed.admin("SELECT name FROM items WHERE id = 3") == [("item 3",)]


@pytest.mark.promise("DB-3")
async def test_a_query_that_writes_is_taken_back_when_it_is_cancelled(tmp_path: Path) -> None:
    """Nothing of it stays, and reading goes on at once."""
    file = tmp_path / "slow.toml"
    slow = json.dumps(testbed.SLOW_WRITE)
    file.write_text(
        f"[queries.slow]\ndescription = 'x'\nsql = {slow}\nwrite = true\n", encoding="utf-8"
    )
    never = {"DATABASE__CONFIRM_WRITES": "never", "DATABASE__STATEMENT_TIMEOUT": "20"}
    async with writing(str(file), None, **never) as (client, bed, _):
        with anyio.move_on_after(2):
            await client.call_tool("slow", {})
        await anyio.sleep(1.5)
        for _ in range(3):
            assert (await query(client, "SELECT count(*) FROM items"))["rows"] == [[5]]
        assert bed.admin("SELECT count(*) FROM items") == [(5,)]


@pytest.mark.parametrize(
    "text",
    [
        "queries = 1",
        "[queries.Bad]\ndescription='x'\nsql='SELECT 1'",
        "[queries.a]\nsql='SELECT 1'",
        "[queries.a]\ndescription='x'\nsql=''",
        "[queries.a]\ndescription='x'\nsql='SELECT 1'\nwrit=true",
        "[queries.a]\ndescription='x'\nsql='S'\nparameters=[{name='a', type='date'}]",
        "[queries.a]\ndescription='x'\nsql='S'\nparameters=[{name='a', type='text', default=1}]",
        "[queries.a]\ndescription='x'\nsql='S'\nparameters=[{name='a', type='text', minimum=1}]",
        "[queries.a]\ndescription='x'\nsql='S'\n"
        "parameters=[{name='a', type='text'}, {name='a', type='text'}]",
        "[queries.query]\ndescription='x'\nsql='SELECT 1'",
        "[queries.a]\ndescription='x'\nsql='S'\n"
        "parameters=[{name='a', type='integer', minimum=1.5}]",
        "[queries.a]\ndescription='x'\nsql='S'\nparameters=[{name='model_config', type='text'}]",
        "a = " + "[" * 5000,
        "not toml",
    ],
)
def test_a_wrong_file_of_queries_stops_the_start_with_one_line(
    bed: Any, tmp_path: Path, text: str
) -> None:
    """Nothing of it is left out in silence."""
    file = tmp_path / "queries.toml"
    file.write_text(text, encoding="utf-8")
    env = {var("DATABASE__URL"): bed.url, var("DATABASE__QUERIES"): str(file)}
    done = run("--check", home=tmp_path, env=env)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert var("DATABASE__QUERIES") in done.stderr


# --- What may be read.


@pytest.mark.promise("GEN-2")
@pytest.mark.setting("DATABASE__DENY_TABLES")
async def test_deny_tables(tmp_path: Path) -> None:
    """The table is neither listed, nor described, nor read; the database itself refuses it."""
    with testbed.testbed() as bed:
        testbed.load(bed, 3)
        bed.deny_table("hidden_one")
        async with serving(bed, DENY_TABLES="hidden_one") as client:
            listed = text_of(await client.call_tool("list_tables", {}))
            assert "hidden_one" not in listed
            assert (await client.call_tool("describe_table", {"table": "hidden_one"})).is_error
            assert (await client.call_tool("table_stats", {"table": "hidden_one"})).is_error
            assert "denied" in await refused(client, "SELECT * FROM hidden_one")
            assert "denied" in await refused(client, "SELECT count(*) FROM hidden_one")
            await query(client, "SELECT * FROM items")
            described = await client.call_tool("describe_table", {"table": "items"})
            assert not described.is_error, text_of(described)
            await client.read_resource("schema://table/items")
        # A table that may be read, or where the database tells which there are, one that is not.
        wrong = "items" if testbed.ENGINE == "mysql" else "no_such_table"
        env = {var("DATABASE__URL"): bed.url, var("DATABASE__DENY_TABLES"): wrong}
        done = run("--check", home=tmp_path, env=env)
        assert done.returncode == 1
        assert var("DATABASE__DENY_TABLES") in done.stderr


@pytest.mark.promise("GEN-2")
@pytest.mark.setting("DATABASE__DENY_COLUMNS")
async def test_deny_columns(tmp_path: Path) -> None:
    """The column is neither described nor read, wherever it stands in a statement."""
    with testbed.testbed() as bed:
        testbed.load(bed, 3)
        bed.deny_column("items", "note")
        async with serving(bed, DENY_COLUMNS="items.note") as client:
            described = await client.call_tool("describe_table", {"table": "items"})
            assert "note" not in text_of(described)
            for sql in (
                "SELECT note FROM items",
                "SELECT * FROM items",
                "SELECT id FROM items WHERE note LIKE '0%'",
                "SELECT id FROM items ORDER BY note",
                "SELECT (SELECT max(i.note) FROM items i)",
            ):
                assert "denied" in await refused(client, sql)
            await query(client, "SELECT id, name, price FROM items")
        wrong = "items.id" if testbed.ENGINE == "mysql" else "items.nothing"
        env = {var("DATABASE__URL"): bed.url, var("DATABASE__DENY_COLUMNS"): wrong}
        done = run("--check", home=tmp_path, env=env)
        assert done.returncode == 1
        assert var("DATABASE__DENY_COLUMNS") in done.stderr


# --- The address.


@pytest.mark.setting("DATABASE__URL")
async def test_url(bed: Any) -> None:
    """It is this database that is served."""
    async with serving(bed) as client:
        assert (await query(client, "SELECT count(*) FROM items"))["rows"] == [[ROWS]]


@pytest.mark.promise("DB-3")
@pytest.mark.setting("DATABASE__CONNECT_TIMEOUT")
def test_connect_timeout(tmp_path: Path) -> None:
    """A database that does not answer is given up, and said to be so in one line."""
    with testbed.silent() as url:
        env = {var("DATABASE__URL"): url, var("DATABASE__CONNECT_TIMEOUT"): "1"}
        started = time.monotonic()
        done = run("--check", home=tmp_path, env=env)
        assert time.monotonic() - started < 4.5
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert var("DATABASE__URL") in done.stderr


@pytest.mark.promise("DB-4", "GEN-4")
@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.db",
        ":memory:",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///relative.db",
        "sqlite:///~/shop.db",
        "sqlite:////nowhere/new\nline.db",
        f"sqlite:////{'x' * 300}.db",
        "sqlite:////proc/self/mem",
        "sqlite:////nowhere/shop.db",
        "sqlite:////",
        "oracle://user:hunter2@127.0.0.1/db",
        "postgresql://user:hunter2@127.0.0.1:1/db",
        "mysql://user:hunter2@127.0.0.1:1/db",
        "postgresql://user:hunter2@host.invalid/db",
        "mysql://user:hunter2@host.invalid/db",
        "postgresql://user:hunter2@127.0.0.1:notaport/db",
        "mysql://user:hunter2@127.0.0.1:notaport/db",
        "postgresql://user:hunter2@127.0.0.1:5432/db?options=-c%20default_transaction_read_only=off",
        "mysql://user:hunter2@127.0.0.1:3306/db?init_command=DROP%20TABLE%20items",
        "http://user:hunter2@127.0.0.1/",
    ],
)
def test_a_wrong_or_unreachable_database_is_one_line_without_credentials(
    tmp_path: Path, url: str
) -> None:
    """`--check` and the start say the same, and no other database stands in for it."""
    env = {var("DATABASE__URL"): url, var("DATABASE__CONNECT_TIMEOUT"): "1"}
    for args in (["--check"], []):
        done = run(*args, home=tmp_path, env=env)
        assert done.returncode == 1
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert var("DATABASE__URL") in done.stderr
        assert "hunter2" not in done.stderr
    assert not (tmp_path / "relative.db").exists()


@pytest.mark.promise("GEN-4")
async def test_no_secret_of_the_database_is_in_the_log_or_the_audit(
    bed: Any, tmp_path: Path
) -> None:
    """Neither its address nor its password, also when statements fail."""
    with (tmp_path / "log").open("w+") as log:
        env = {var("DATABASE__URL"): bed.url, "HOME": str(tmp_path)}
        async with serve(env=env, stderr=log) as client:
            for sql in ("SELECT 1", "SELECT nothing", "DROP TABLE items", "SELECT current_user"):
                await client.call_tool("query", {"sql": sql})
        log.seek(0)
        audit = next(tmp_path.glob(f".local/state/{PACKAGE.replace('_', '-')}/audit.jsonl"))
        written = log.read() + audit.read_text(encoding="utf-8")
    assert bed.url not in written
    assert not bed.password or bed.password not in written
