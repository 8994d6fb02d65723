"""Databases under a generated server: beside folders, and restarted while it serves (slow).

What a single database does is tested in the projects themselves (``template/tests/database``).
"""

import os
import pwd
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from conftest import VARIANTS, render, run, serving, text_of

pytestmark = pytest.mark.anyio


@pytest.mark.promise("DB-2", "FS-1")
async def test_a_database_in_a_served_folder_is_no_file_of_it(
    installed: Path, tmp_path: Path
) -> None:
    """The tools of the filesystem reach neither the file nor its log: SQL's limits would not hold.

    The rest of the folder is served, and the database too.
    """
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "notes.txt").write_text("notes", encoding="utf-8")
    path = folder / "shop.db"
    with sqlite3.connect(path) as made:
        made.execute("PRAGMA journal_mode=wal")
        made.execute("CREATE TABLE t (secret)")
        made.execute("INSERT INTO t VALUES ('hunter2')")
    settings = {
        "DATABASE__URL": f"sqlite:///{path}",
        "FILESYSTEM__ALLOWED_PATHS": str(folder),
        "READ_ONLY": "false",
    }
    before = path.read_bytes()
    async with serving(installed, home=tmp_path, **settings) as client:
        answer = await client.call_tool("query", {"sql": "SELECT * FROM t"})
        assert answer.structured_content["rows"] == [["hunter2"]]
        listed = text_of(await client.call_tool("list_directory", {"path": str(folder)}))
        assert "notes.txt" in listed
        assert "shop.db" not in listed
        for name in ("shop.db", "shop.db-wal", "shop.db-journal"):
            for tool, more in (
                ("read_text_file", {}),
                ("write_file", {"content": "x"}),
                ("delete_file", {}),
            ):
                asked = {"path": str(folder / name), **more}
                assert (await client.call_tool(tool, asked)).is_error, f"{tool} {name}"
    assert path.read_bytes() == before
    made.close()


# --- A server of the database that is restarted.

Start = Callable[[], subprocess.Popen[bytes]]


@contextmanager
def postgresql(folder: Path) -> Iterator[tuple[str, Start]]:
    """A server of PostgreSQL of the test's own, as it comes from its package."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("PostgreSQL is not there: apt-get install postgresql")
    bin_folder, port = programs[-1].parent, free_port()
    drop = as_user("postgres", folder)
    data = folder / "data"
    run(*drop, bin_folder / "initdb", "-D", data, "-A", "trust", "-U", "owner", cwd=folder)
    command = (*drop, bin_folder / "postgres", "-D", data, "-p", str(port), "-k", folder)
    yield (
        f"postgresql://reader:secret@127.0.0.1:{port}/postgres",
        lambda: started(command, port),
    )


def mysql_folder_ready(folder: Path) -> None:
    """Make the tables of a server of MariaDB."""
    run(
        "mariadb-install-db", f"--datadir={folder / 'data'}", "--user=mysql",
        "--auth-root-authentication-method=normal", "--skip-test-db", cwd=folder,
    )  # fmt: skip


@contextmanager
def mysql(folder: Path) -> Iterator[tuple[str, Start]]:
    """A server of MariaDB of the test's own, as it comes from its package."""
    server = shutil.which("mariadbd")
    if server is None:
        pytest.skip("MariaDB is not there: apt-get install mariadb-server")
    port = free_port()
    as_user("mysql", folder)
    mysql_folder_ready(folder)
    command = (
        server, "--no-defaults", f"--datadir={folder / 'data'}", f"--port={port}", "--user=mysql",
        f"--socket={folder / 's'}", f"--pid-file={folder / 'pid'}", "--bind-address=127.0.0.1",
    )  # fmt: skip
    yield f"mysql://reader:secret@127.0.0.1:{port}/shop", lambda: started(command, port)


SERVERS = {"postgresql": postgresql, "mysql": mysql}
PREPARE = {
    "postgresql": ["CREATE ROLE reader LOGIN PASSWORD 'secret'"],
    "mysql": [
        "CREATE DATABASE shop",
        "CREATE USER reader@'%' IDENTIFIED BY 'secret'",
        "GRANT SELECT ON shop.* TO reader@'%'",
    ],
}


@pytest.mark.slow
@pytest.mark.promise("DB-3")
@pytest.mark.parametrize("engine", SERVERS)
async def test_a_database_that_is_restarted_is_found_again(
    template: Path, tmp_path_factory: pytest.TempPathFactory, engine: str
) -> None:
    """While it is away a call is told so, in one sentence; the next call but one works again."""
    project = render(
        template, tmp_path_factory.mktemp("db") / "p", **VARIANTS[f"database-{engine}"]
    )
    run("uv", "sync", "--quiet", "--no-dev", "--compile-bytecode", cwd=project)
    home = tmp_path_factory.mktemp("home")
    with short_folder() as folder, SERVERS[engine](folder) as (url, begin):

        def start() -> subprocess.Popen[bytes]:
            begun = begin()
            wait_until_it_answers(engine, url, folder)
            return begun

        server = start()
        try:
            for sql in PREPARE[engine]:
                administer(engine, url, folder, sql)
            settings = {"DATABASE__URL": url, "DATABASE__CONNECT_TIMEOUT": "2"}
            async with serving(project, home=home, **settings) as client:
                assert await ask(client) == "1"
                for ending in (signal.SIGINT, signal.SIGKILL):
                    await end(server, ending, engine)
                    told = await ask(client)
                    assert told.startswith("unavailable: the database cannot be reached now"), told
                    assert "secret" not in told
                    assert "127.0.0.1" not in told
                    server = start()
                    found = [await ask(client), await ask(client)]
                    assert found[1] == "1", found
                # Restarted between two calls, nobody notices anything.
                await end(server, signal.SIGINT, engine)
                server = start()
                found = [await ask(client), await ask(client)]
                assert found[1] == "1", found
        finally:
            server.kill()
            server.wait()


async def end(server: subprocess.Popen[bytes], ending: signal.Signals, engine: str) -> None:
    """End a server of a database, whoever is connected to it."""
    if engine == "mysql" and ending == signal.SIGINT:
        ending = signal.SIGTERM  # SIGINT is nothing to MariaDB; PostgreSQL waits at SIGTERM
    server.send_signal(ending)
    await anyio.to_thread.run_sync(lambda: server.wait(timeout=30))


async def ask(client: Any) -> str:
    """Return the value of a query, or what the client is told."""
    answer = await client.call_tool("query", {"sql": "SELECT 1"})
    return text_of(answer) if answer.is_error else str(answer.structured_content["rows"][0][0])


def administer(engine: str, url: str, folder: Path, sql: str) -> None:
    """Run a statement with all rights."""
    port = url.rpartition(":")[2].partition("/")[0]
    if engine == "mysql":
        run("mariadb", "--no-defaults", f"--socket={folder / 's'}", "-uroot", "-e", sql, cwd=folder)
    else:
        run("psql", "-h", "127.0.0.1", "-p", port, "-U", "owner", "postgres", "-c", sql, cwd=folder)


def wait_until_it_answers(engine: str, url: str, folder: Path) -> None:
    """A server listens before it answers, most of all when it was killed before."""
    end = time.monotonic() + 30
    while True:
        try:
            return administer(engine, url, folder, "SELECT 1")
        except AssertionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a short name, since that of a socket has at most 107 bytes (unix(7))."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="db-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def as_user(name: str, folder: Path) -> tuple[str, ...]:
    """Give a folder to the account that its database runs as; return how to become that one."""
    if os.geteuid() != 0:
        return ()
    account = pwd.getpwnam(name)
    os.chown(folder, account.pw_uid, account.pw_gid)
    return ("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")


def started(command: tuple[Any, ...], port: int) -> subprocess.Popen[bytes]:
    """Start a server and wait until it listens."""
    server = subprocess.Popen(
        [*map(str, command)], cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert server.poll() is None, "the server of the database has ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        time.sleep(0.1)
    raise AssertionError("the server of the database does not listen")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
