"""Measure a generated server beside what it has to stand up to: `uv run python benchmarks/run.py`.

What stands in one row of the table takes turns within one run, since a busy machine slows down
whoever happens to be next. CPU is what all threads of a process and of its children used, the least
of all rounds: other programs hardly disturb it. Wall is the median. Read the ratios rather than the
times.

Linux only. Needs uv, git and, for the servers on Node, npm. Everything is made in a temporary
folder, and nothing is written but the table.
"""

import argparse
import ctypes
import itertools
import json
import os
import platform
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import Any, Self

HERE = Path(__file__).resolve().parent
REFERENCE = "@modelcontextprotocol/server-filesystem@2026.8.31"
DBHUB = "@bytebase/dbhub@1.4.0"
FETCH = "mcp-server-fetch==2026.10.24"
NODE = "node@24.21.0"
SERVERS = HERE / "servers.py"
# One client of a benchmark makes more calls than the default permits. Each is still counted.
UNLIMITED = ("--guard-rate", "100000", "--guard-burst", "100000")

MODERN, LEGACY = "2026-07-28", "2025-11-25"
CLIENT = {"name": "benchmark", "version": "1"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass(frozen=True)
class Cost:
    """Seconds that something took."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    ours: Cost
    beside: str = ""
    other: Cost | None = None
    goal: str = ""


class Server:
    """A server's process, and a client that costs next to nothing: JSON lines over its pipes."""

    def __init__(self, command: list[str], env: Mapping[str, str], era: str = MODERN) -> None:
        self._ids = itertools.count(1)
        self._era = era
        self._log = tempfile.TemporaryFile()  # noqa: SIM115, closed with the server
        self._process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        self._cpu_clock = cpu_clock(self._process.pid)
        if era == LEGACY:
            hello = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
            self.ask(self.request("initialize", **hello))
            self._write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')

    def cpu(self) -> float:
        """Return the CPU seconds that the process and all below it have used so far.

        Of children that have ended the kernel counts hundredths of a second.
        """
        pids = descendants(self._process.pid)
        return time.clock_gettime(self._cpu_clock) + sum(map(used_by, pids)) + self._ended()

    def _ended(self) -> float:
        """Return the CPU seconds of children that have ended: cutime and cstime, proc(5)."""
        status = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(status[13]) + int(status[14])) / os.sysconf("SC_CLK_TCK")

    def request(self, method: str, **params: Any) -> bytes:
        """Write down a request as a line."""
        if self._era == MODERN:
            params["_meta"] = ENVELOPE
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        return json.dumps(request).encode() + b"\n"

    def ask(self, *lines: bytes) -> list[bytes]:
        """Send requests, all at once, and wait for as many answers."""
        assert self._process.stdout
        self._write(b"".join(lines))
        return [self._process.stdout.readline() for _ in lines]

    def result(self, answer: bytes) -> Any:
        """Return the result in an answer, which must not be an error."""
        try:
            result = json.loads(answer)["result"]
        except (ValueError, KeyError):
            self._log.seek(0)
            sys.exit(f"no result: {answer[:500]!r}\n{self._log.read().decode()}")
        if result.get("isError"):
            sys.exit(f"an error: {result}")
        return result

    def _write(self, line: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()


@dataclass(frozen=True)
class Lab:
    """A temporary folder with all that is measured."""

    root: Path

    def start(self, *command: str | Path, era: str = MODERN, **settings: str) -> Server:
        """Start a server with nothing of the developer's own in its environment but PATH."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.root / "home"), **settings}
        return Server([str(part) for part in command], env, era)

    @cached_property
    def template(self) -> Path:
        """Return this repository's template as a repository with one release."""
        made = self.root / "modelctx"
        caches = shutil.ignore_patterns("__pycache__", ".*_cache")
        for name in ("template", "extensions"):
            shutil.copytree(HERE.parent / name, made / name, ignore=caches)
        shutil.copy(HERE.parent / "copier.yml", made)
        who = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@example.com")
        git = ("git", "-C", str(made), *who)
        for command in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "first")):
            run(*git, *command)
        run(*git, "tag", "v1.0.0")
        return made

    def generate(self, backend: str = "filesystem") -> Path:
        """Generate a project, as a user does."""
        project = Path(tempfile.mkdtemp(dir=self.root)) / "bench-server"
        copy = ("copy", "--trust", "--defaults", "--quiet", "-d", "project_name=bench server")
        chosen = ("-d", f"backends=[{backend}]")
        run(sys.executable, "-m", "copier", *copy, *chosen, str(self.template), str(project))
        return project

    def install(self, project: Path) -> Path:
        """Install a project as its README says, and return the folder of its commands."""
        sync = ("uv", "sync", "--quiet", "--no-dev", "--compile-bytecode")
        run(*sync, "--python", sys.executable, "--directory", str(project))
        return project / ".venv" / "bin"

    @cached_property
    def venv(self) -> Path:
        """Return the folder of the commands of a project that serves files."""
        return self.install(self.generate())

    @cached_property
    def database_venv(self) -> Path:
        """Return the folder of the commands of a project that serves a database."""
        return self.install(self.generate("database"))

    @cached_property
    def web_venv(self) -> Path:
        """Return the folder of the commands of a project that serves pages and an API."""
        return self.install(self.generate("webscraper, api"))

    @cached_property
    def fetch(self) -> list[str]:
        """Return the command of the reference server of pages."""
        venv = self.root / "fetch"
        run("uv", "venv", "--quiet", "--python", sys.executable, str(venv))
        run("uv", "pip", "install", "--quiet", "--compile-bytecode", "-p", str(venv), FETCH)
        return [str(venv / "bin/mcp-server-fetch"), "--allow-private-ips"]

    def node(self, package: str) -> list[str]:
        """Return the command of a server on Node, or nothing where there is no npm."""
        if not shutil.which("npm"):
            return []
        name = package.rpartition("@")[0]
        modules = self.root / name.replace("/", "-") / "node_modules"
        # Drivers of other databases are optional.
        options = ("--silent", "--omit=optional", "--prefix", str(modules.parent))
        run("npm", "install", *options, NODE, package)
        return [str(modules / "node/bin/node"), str(modules / name / "dist/index.js")]

    @cached_property
    def reference(self) -> list[str]:
        """Return the command of the reference server, or nothing where there is no npm."""
        return self.node(REFERENCE)

    @cached_property
    def dbhub(self) -> list[str]:
        """Return the command of the other server of databases, or nothing without npm."""
        return self.node(DBHUB)

    @cached_property
    def data(self) -> Path:
        """Return a database of SQLite with 500 tables, one with a million rows."""
        file = self.root / "data" / "bench.db"
        file.parent.mkdir()
        with closing(sqlite3.connect(file)) as connection, connection:
            for number in range(498):
                reference = f"REFERENCES t{number - 1} (id)" if number else ""
                connection.execute(
                    f"CREATE TABLE t{number} (id INTEGER PRIMARY KEY, before INTEGER {reference}, "
                    "name TEXT NOT NULL, amount REAL DEFAULT 0, note TEXT, made TEXT)"
                )
                connection.execute(f"CREATE INDEX t{number}_name ON t{number} (name, made)")
            for name, count in (("people", 1000), ("big", 1_000_000)):
                columns = "id INTEGER PRIMARY KEY, name TEXT, score REAL, city TEXT"
                connection.execute(f"CREATE TABLE {name} ({columns})")
                rows = ((i, f"name {i}", i / 8, f"city {i % 50}") for i in range(count))
                connection.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", rows)
        return file

    @cached_property
    def tree(self) -> Path:
        """Return a folder with 50,000 files of 1 KiB in 500 folders."""
        top = self.served / "tree"
        text = "all work and no play makes a file\n" * 30
        for number in range(500):
            folder = top / f"group-{number % 20}" / f"folder-{number}"
            folder.mkdir(parents=True)
            for each in range(100):
                (folder / f"file-{each}.txt").write_text(text)
            (folder / "file-0.txt").rename(folder / f"needle-{number}.txt")
        (top / "read.txt").write_text("somewhat longer lines of some text in a file\n" * 91)
        return top

    @cached_property
    def served(self) -> Path:
        """Return the folder that servers of files serve."""
        folder = self.root / "served"
        folder.mkdir()
        return folder


def start(lab: Lab, rounds: int) -> Iterator[Row]:
    """Cold start: from the process to the answer to its first tools/list."""

    def begin(*command: str | Path) -> Cost:
        since = time.perf_counter()
        with lab.start(*command) as server:
            (answer,) = server.ask(server.request("tools/list"))
            cost = Cost(server.cpu(), time.perf_counter() - since)
            server.result(answer)
        return cost

    project = partial(begin, lab.venv / "bench-server", lab.served)
    bare = partial(begin, lab.venv / "python", SERVERS, "bare")
    ours, other = alternate([project, bare], rounds)
    yield Row("start to first tools/list", ours, "bare SDK server", other, "≤ 1.15")


def call(lab: Lab, rounds: int) -> Iterator[Row]:
    """A guarded, audited call over stdio, and what of it is the guard."""
    python = lab.venv / "python"
    guarded = (python, SERVERS, "guarded", lab.served, *UNLIMITED)
    others = (("bare", "bare SDK server"), ("unguarded", "the same, unguarded"))
    for era, (kind, beside) in itertools.product((MODERN, LEGACY), others):
        with (
            lab.start(*guarded, era=era) as one,
            lab.start(python, SERVERS, kind, era=era) as two,
        ):
            for at_once, what in ((1, f"echo, {era}"), (16, f"echo, {era}, 16 at once")):
                echo = partial(
                    calls, tool="echo", arguments={"text": "hello"}, count=480, at_once=at_once
                )
                ours, other = alternate([partial(echo, one), partial(echo, two)], rounds)
                more = f"≤ 100 µs of CPU more; now {(ours.cpu - other.cpu) * 1e6:.0f}"
                yield Row(what, ours, beside, other, "≤ 1.00" if kind == "bare" else more)


def files(lab: Lab, rounds: int) -> Iterator[Row]:
    """Work on files, beside the reference server."""
    tree = lab.tree
    folder = str(tree / "group-0" / "folder-0")
    text = "one of many lines that are written\n" * (2**20 // 35)
    names = {"path": str(tree), "pattern": "**/needle-*.txt"}
    jobs: list[tuple[str, int, str, dict[str, Any], str]] = [
        ("read 4 KiB", 200, "read_text_file", {"path": f"{tree}/read.txt"}, ""),
        ("list 100 entries", 200, "list_directory", {"path": folder}, ""),
        ("write 1 MiB", 10, "write_file", {"path": f"{tree}/new.txt", "content": text}, ""),
        ("search 50,000 names", 1, "search_files", names, "≤ 0.05"),
        ("search 50,000 files", 1, "search_content", {"path": str(tree), "pattern": "owl"}, ""),
    ]
    ours = (lab.venv / "bench-server", lab.served, "--no-read-only", *UNLIMITED)
    with ExitStack() as stack:
        servers = [stack.enter_context(lab.start(*ours, era=LEGACY))]
        if lab.reference:
            started = lab.start(*lab.reference, lab.served, era=LEGACY)
            servers.append(stack.enter_context(started))
        for what, count, tool, arguments, goal in jobs:
            # The reference cannot search in files.
            compared = servers[:1] if tool == "search_content" else servers
            compare_answers(compared, tool, arguments)
            job = partial(calls, tool=tool, arguments=arguments, count=count)
            cost, *rest = alternate([partial(job, server) for server in compared], rounds)
            beside = "reference server" if rest else ""
            yield Row(what, cost, beside, rest[0] if rest else None, goal)


def database(lab: Lab, rounds: int) -> Iterator[Row]:
    """SQL and the catalogue of SQLite, beside the driver, an echo tool and another server."""
    python, file = lab.database_venv / "python", lab.data
    url = {"BENCH_SERVER_DATABASE__URL": f"sqlite:///{file}"}
    guarded = partial(lab.start, python, SERVERS, "guarded", *UNLIMITED, **url)
    driver = partial(lab.start, python, SERVERS, "driver", file)
    project = partial(lab.start, lab.database_venv / "bench-server", **url)
    yield from database_start(project, driver, rounds)
    with ExitStack() as stack:
        ours, bare = stack.enter_context(guarded()), stack.enter_context(driver())
        others = {"bare SDK server, sqlite3 in its tool": bare}
        if lab.dbhub:
            dsn = ("--transport", "stdio", "--dsn", f"sqlite://{file}")
            others["dbhub"] = stack.enter_context(lab.start(*lab.dbhub, *dsn))
        one, many = "SELECT 1", "SELECT * FROM people"
        yield from echo_and_query(ours, rounds)
        for what, sql, count in (("query, SELECT 1", one, 200), ("query, 1,000 rows", many, 20)):
            job = ("query", {"sql": sql, "max_rows": 1000})
            for beside, other in others.items():
                theirs = ("execute_sql" if beside == "dbhub" else "query", {"sql": sql})
                yield pair(what, beside, (ours, *job), (other, *theirs), count, rounds)
            cost, alone = alternate(
                [partial(calls, ours, *job, count), partial(without_server, file, sql, count)],
                rounds,
            )
            yield Row(what, cost, "sqlite3 alone, without MCP", alone)
        if "dbhub" in others:
            peer, search = others["dbhub"], {"object_type": "table", "schema": "main"}
            table = ("describe_table", {"table": "t250"})
            full = ("search_objects", {**search, "pattern": "t250", "detail_level": "full"})
            what = "describe 1 of 500 tables"
            yield pair(what, "dbhub", (ours, *table), (peer, *full), 50, rounds)
            listing = ("list_tables", {"limit": 1000})
            names = ("search_objects", {**search, "limit": 1000})
            yield pair("list 500 tables", "dbhub", (ours, *listing), (peer, *names), 20, rounds)
        first = {"sql": "SELECT * FROM big", "max_rows": 1}
        number = {"sql": "SELECT count(*) FROM big"}
        candidates = [
            partial(calls, ours, "query", first, 20),
            partial(calls, ours, "query", number, 1),
            partial(without_server, file, str(first["sql"]), 1),
        ]
        found, counted, read = alternate(candidates, min(rounds, 5))
        yield Row("first of 1,000,000 rows", found, "the same server, count(*)", counted, "< 1")
        yield Row("first of 1,000,000 rows", found, "sqlite3 alone, all rows", read, "< 1")


def database_start(
    project: Callable[[], Server], driver: Callable[[], Server], rounds: int
) -> Iterator[Row]:
    """Cold start of a server of a database; its first query has a process to start."""

    def begin(server: Callable[[], Server], method: str, **params: Any) -> Cost:
        since = time.perf_counter()
        with server() as started:
            (answer,) = started.ask(started.request(method, **params))
            wall = time.perf_counter() - since
            cost = Cost(started.cpu(), wall)
            started.result(answer)
        return cost

    query = {"name": "query", "arguments": {"sql": "SELECT 1"}}
    jobs: list[tuple[str, str, dict[str, Any]]] = [
        ("database: start to first tools/list", "tools/list", {}),
        ("database: start to first SELECT 1", "tools/call", query),
    ]
    for what, method, params in jobs:
        ours, other = alternate(
            [partial(begin, each, method, **params) for each in (project, driver)], rounds
        )
        yield Row(what, ours, "bare SDK server, sqlite3 in its tool", other)


def echo_and_query(server: Server, rounds: int) -> Iterator[Row]:
    """What a query costs beyond an echo on the same server: the statement and its process."""
    for at_once, what in ((1, "query, SELECT 1"), (16, "query, SELECT 1, 16 at once")):
        query = partial(calls, server, "query", {"sql": "SELECT 1"}, 320, at_once)
        echo = partial(calls, server, "echo", {"text": "hello"}, 320, at_once)
        ours, other = alternate([query, echo], rounds)
        yield Row(what, ours, "echo on the same server", other, "≤ 1.20")


def pair(
    what: str,
    beside: str,
    ours: tuple[Server, str, dict[str, Any]],
    other: tuple[Server, str, dict[str, Any]],
    count: int,
    rounds: int,
) -> Row:
    """Measure two servers, each with its own tool, that must find the same."""
    found = []
    for server, tool, arguments in (ours, other):
        (answer,) = server.ask(server.request("tools/call", name=tool, arguments=arguments))
        found.append(values(server.result(answer)))
    if found[0] != found[1] or not found[0]:
        sys.exit(f"{what}: {beside} does not find the same")
    costs = alternate([partial(calls, *each, count) for each in (ours, other)], rounds)
    return Row(what, costs[0], beside, costs[1])


def values(result: dict[str, Any]) -> list[Any]:
    """Return what an answer says in any server's words: rows, or names of tables or columns."""
    found = result.get("structuredContent") or json.loads(result["content"][0]["text"])
    found = found.get("data", found)
    if "statements" in found:  # dbhub
        return [list(row.values()) for row in found["statements"][0]["rows"]]
    if "results" in found:  # dbhub
        tables = found["results"]
        named = tables[0].get("columns") or tables
    elif "rows" in found:
        return list(found["rows"])
    else:
        named = found.get("columns") or found["tables"]
    return sorted(each["name"] for each in named)


def without_server(file: Path, sql: str, count: int) -> Cost:
    """Run a statement some times with the driver, in this process; the cost is that of one."""
    walls: list[float] = []
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        before = time.process_time()
        for _ in range(count):
            since = time.perf_counter()
            connection.execute(sql).fetchall()
            walls.append(time.perf_counter() - since)
        cpu = (time.process_time() - before) / count
    return Cost(cpu, median(walls))


def web(lab: Lab, rounds: int) -> Iterator[Row]:
    """Pages as Markdown and JSON of an API, beside no guard at all and the reference server."""
    python = lab.web_venv / "python"
    with ExitStack() as stack:
        served = subprocess.Popen([python, SERVERS, "origin"], stdout=subprocess.PIPE, text=True)
        stack.callback(served.kill)
        assert served.stdout
        origin = f"http://127.0.0.1:{served.stdout.readline().strip()}"
        settings = {
            "WEBSCRAPER__ALLOWED_ORIGINS": origin,
            "WEBSCRAPER__RATE": "1000",
            "WEBSCRAPER__BURST": "1000",
            "WEBSCRAPER__CACHE_TTL": "0",
            "API__BASE_URL": origin,
            "API__RATE": "1000",
        }
        prefixed = {f"BENCH_SERVER_{name}": value for name, value in settings.items()}
        project = lab.start(lab.web_venv / "bench-server", *UNLIMITED, **prefixed)
        ours = stack.enter_context(project)
        floor = stack.enter_context(lab.start(python, SERVERS, "fetcher"))
        theirs = stack.enter_context(lab.start(*lab.fetch))
        for size, count in ((10_240, 20), (102_400, 10), (1_048_576, 3)):
            page = {"url": f"{origin}/page/{size}", "max_length": 999_999}
            what = f"fetch {size // 1024} KiB"
            jobs = [partial(calls, each, "fetch", page, count) for each in (ours, floor, theirs)]
            cost, least, reference = alternate(jobs, rounds)
            yield Row(what, cost, "SDK, GET and converter", least, "≤ 1.30")
            goal = "≤ 0.10" if size == 102_400 else ""
            yield Row(what, cost, "mcp-server-fetch", reference, goal)
        own = partial(calls, ours, "api_request", {"method": "GET", "path": "/json"}, 50)
        url = {"method": "GET", "path": f"{origin}/json"}
        cost, least = alternate([own, partial(calls, floor, "api_request", url, 50)], rounds)
        yield Row("JSON of an API", cost, "SDK and GET", least, "≤ 1.30")


def generate(lab: Lab, rounds: int) -> Iterator[Row]:
    """Generate a project, with Copier's bytecode compiled."""

    def once() -> Cost:
        before, since = children(), time.perf_counter()
        lab.generate()
        return Cost(children() - before, time.perf_counter() - since)

    (cost,) = alternate([once], rounds)
    yield Row("generate a project", cost, goal="< 3000 ms of CPU")


BENCHMARKS = {each.__name__: each for each in (start, call, files, database, web, generate)}


def alternate(candidates: list[Callable[[], Cost]], rounds: int) -> list[Cost]:
    """Measure all candidates in turns, after one turn that does not count."""
    costs: list[list[Cost]] = [[] for _ in candidates]
    for turn in range(rounds + 1):
        order = list(enumerate(candidates))
        for index, candidate in order if turn % 2 else reversed(order):
            cost = candidate()
            if turn:
                costs[index].append(cost)
    return [
        Cost(min(each.cpu for each in found), median(each.wall for each in found))
        for found in costs
    ]


def calls(
    server: Server, tool: str, arguments: dict[str, Any], count: int, at_once: int = 1
) -> Cost:
    """Call a tool some times, so many calls at once; the cost is that of one call."""
    lines = [server.request("tools/call", name=tool, arguments=arguments) for _ in range(count)]
    answers: list[bytes] = []
    walls: list[float] = []
    before = server.cpu()
    for index in range(0, count, at_once):
        since = time.perf_counter()
        answers += server.ask(*lines[index : index + at_once])
        walls.append((time.perf_counter() - since) / at_once)
    cpu = (server.cpu() - before) / count
    for answer in answers:
        server.result(answer)
    return Cost(cpu, median(walls))


def compare_answers(servers: list[Server], tool: str, arguments: dict[str, Any]) -> None:
    """Stop unless all servers did the same work: their answers have the same lines."""
    texts = set()
    for server in servers:
        (answer,) = server.ask(server.request("tools/call", name=tool, arguments=arguments))
        texts.add("\n".join(sorted(server.result(answer)["content"][0]["text"].splitlines())))
    if len(texts) > 1:
        sys.exit(f"{tool}: the servers do not give the same answer")


def cpu_clock(pid: int) -> int:
    """Return the number of the clock that counts the CPU time of a process, ended threads too."""
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        sys.exit("the CPU time of a process cannot be read here")
    return clock.value


def descendants(pid: int) -> list[int]:
    """Return the processes below a process."""
    found: list[int] = []
    with suppress(OSError):  # it has ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


def used_by(pid: int) -> float:
    """Return the CPU seconds of a process; none when it has ended, see `Server._ended`."""
    with suppress(OSError):
        return time.clock_gettime(cpu_clock(pid))
    return 0.0


def children() -> float:
    """Return the CPU seconds of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(*command: str) -> None:
    """Run a command that must succeed, without the developer's own settings of git and uv.

    What it prints goes to stderr, since stdout is for the table.
    """
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    env.pop("VIRTUAL_ENV", None)
    subprocess.run(command, check=True, stdout=sys.stderr, env=env)


def milliseconds(seconds: float) -> str:
    """Write a time in milliseconds, with two or three digits that count."""
    value = seconds * 1000
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def ratio(value: float) -> str:
    """Write a ratio, with two or three digits that count."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def cells(row: Row) -> list[str]:
    """Write a row of the table: ratios are ours divided by the other's."""
    ours, other = row.ours, row.other
    ratios = ["", ""]
    if other:
        ratios = [ratio(ours.cpu / other.cpu), ratio(ours.wall / other.wall)]
    times = [milliseconds(ours.cpu), milliseconds(other.cpu) if other else ""]
    return [row.what, row.beside, *ratios, row.goal, *times]


HEAD = ["what", "beside", "CPU ratio", "wall ratio", "goal", "CPU ms", "its CPU ms"]


def table(rows: list[Row], markdown: bool) -> str:
    """Lay out the rows."""
    lines = [HEAD, *map(cells, rows)]
    if markdown:
        lines.insert(1, ["---", "---", "---:", "---:", "---", "---:", "---:"])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def machine(lab: Lab) -> str:
    """Say on what and with what was measured."""
    show = "from importlib.metadata import version; print(version('mcp'))"
    # Whichever project there is already.
    installed = vars(lab).get("database_venv") or vars(lab).get("web_venv") or lab.venv
    python = str(installed / "python")
    sdk = subprocess.run([python, "-c", show], capture_output=True, text=True, check=True).stdout
    others = ", ".join((NODE, REFERENCE, DBHUB, FETCH))
    versions = f"Python {platform.python_version()}, mcp {sdk.strip()}, {others}"
    kernel = platform.release().partition("-")[0]
    where = f"{os.cpu_count()} cores {platform.machine()}, Linux {kernel}"
    return f"{datetime.now(UTC):%Y-%m-%d}; {where}; {versions}"


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--rounds", type=int, default=9, help="turns that count [9]")
    parser.add_argument("--markdown", action="store_true", help="print the table for README.md")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as root:
        lab = Lab(Path(root))
        rows: list[Row] = []
        for name in options.names or BENCHMARKS:
            rows.extend(BENCHMARKS[name](lab, options.rounds))
        print(f"{machine(lab)}\n\n{table(rows, options.markdown)}")


if __name__ == "__main__":
    main()
