# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""Every documented variable does what it says: each has a test that fails when it is ignored.

A test names its variable with ``@pytest.mark.setting``.
"""

import ast
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import anyio
import pytest
from conftest import PACKAGE, ROOT, command, environment, module, run, serve, text_of, var
from mcp import Client, MCPError

pytestmark = [pytest.mark.anyio, pytest.mark.promise("GEN-7")]
setting = pytest.mark.setting


def audit_file(home: Path) -> Path:
    """Return where the audit log goes when nothing else is said."""
    return home / ".local" / "state" / PACKAGE.replace("_", "-") / "audit.jsonl"


def test_every_documented_variable_has_a_test() -> None:
    """The variables of `.env.example` are those that tests are marked with."""
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    documented = set(re.findall(rf"^#{var('')}([A-Z0-9_]+)=", example, re.MULTILINE))
    tested = {
        ast.literal_eval(argument)
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("setting", "pytest.mark.setting")
        for argument in node.args
    }
    assert documented == tested


# --- The server.


@setting("READ_ONLY")
async def test_read_only() -> None:
    """Unset, a tool that writes is not served; false serves it."""
    async with serve(probe=True) as client:
        assert "change" not in await names(client)
    async with serve(probe=True, env={var("READ_ONLY"): "false"}) as client:
        assert "change" in await names(client)
        assert text_of(await client.call_tool("change", {})) == "changed"


@setting("TRANSPORT")
def test_transport(tmp_path: Path) -> None:
    """`http` listens instead of reading stdin."""
    with listening(tmp_path, {var("TRANSPORT"): "http", var("PORT"): "0"}) as url:
        assert url.startswith("http://127.0.0.1:")


@setting("HOST")
def test_host(tmp_path: Path) -> None:
    """The address is the one that is listened on; one that others could reach is refused."""
    done = run(home=tmp_path, env={var("TRANSPORT"): "http", var("HOST"): "192.0.2.1"})
    assert done.returncode == 1
    assert var("HOST") in done.stderr


@setting("PORT")
def test_port(tmp_path: Path) -> None:
    """The port is the one that is listened on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with listening(tmp_path, {var("TRANSPORT"): "http", var("PORT"): str(port)}) as url:
        assert url == f"http://127.0.0.1:{port}/mcp"


@setting("MAX_MESSAGE_BYTES")
async def test_max_message_bytes() -> None:
    """A longer message is refused, and the next one is answered."""
    async with serve(probe=True, env={var("MAX_MESSAGE_BYTES"): "2048"}) as client:
        with pytest.raises((MCPError, TimeoutError)), anyio.fail_after(2):
            await client.call_tool("echo", {"text": "x" * 3000})
        assert text_of(await client.call_tool("echo", {"text": "next"})) == "next"


@setting("LOG_LEVEL")
async def test_log_level() -> None:
    """ERROR keeps everything else out of the log."""
    assert " INFO " in await log_of({var("LOG_LEVEL"): "DEBUG"})
    assert " INFO " not in await log_of({var("LOG_LEVEL"): "ERROR"})


@setting("LANDLOCK")
def test_landlock(tmp_path: Path) -> None:
    """`off` does not confine the process."""
    assert (
        "landlock: switched off"
        in run("--check", home=tmp_path, env={var("LANDLOCK"): "off"}).stdout
    )
    assert "landlock: switched off" not in run("--check", home=tmp_path).stdout


@setting("LANDLOCK_PATHS")
async def test_landlock_paths(tmp_path: Path) -> None:
    """Your own tools reach what is named here, and write only where it says so."""
    if "landlock: ABI" not in run("--check", home=tmp_path).stdout:
        pytest.skip("this system has no Landlock; run the tests on Linux 5.13 or newer")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "file.txt").write_text("mine", encoding="utf-8")
    path = {"path": str(tmp_path / "own" / "file.txt")}
    for value, reads, writes in (("", False, False), ("own", True, False), ("own:rw", True, True)):
        paths = [str(tmp_path / value)] if value else []
        env = {var("LANDLOCK_PATHS"): json.dumps(paths)}
        async with serve(probe=True, env=env) as client:
            assert (await client.call_tool("read_host", path)).is_error is not reads
            assert (await client.call_tool("write_host", path)).is_error is not writes


# --- The guard.


@setting("GUARD__ALLOW")
async def test_guard_allow() -> None:
    """Only what matches is served."""
    async with serve(probe=True, env={var("GUARD__ALLOW"): '["echo", "probe://*"]'}) as client:
        assert await names(client) == {"echo"}
        assert (await client.list_prompts()).prompts == []
        assert len((await client.list_resources()).resources) == 1
        with pytest.raises(MCPError):
            await client.call_tool("sleep", {"seconds": 0})


@setting("GUARD__DENY")
async def test_guard_deny() -> None:
    """What matches is not served, although it is allowed."""
    async with serve(
        probe=True, env={var("GUARD__DENY"): '["ech*", "probe://*", "ask"]'}
    ) as client:
        assert "echo" not in await names(client)
        assert "ask" not in {prompt.name for prompt in (await client.list_prompts()).prompts}
        listed = (await client.list_resources()).resources
        assert not [item for item in listed if str(item.uri).startswith("probe://")]
        with pytest.raises(MCPError):
            await client.call_tool("echo", {})


@setting("GUARD__SCOPES")
async def test_guard_scopes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller with a token needs the scope that a pattern asks for."""
    from mcp.server.auth.middleware.auth_context import auth_context_var
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
    from mcp.server.auth.provider import AccessToken

    for name, value in environment(str(tmp_path)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(var("GUARD__SCOPES"), '{"*": "files"}')
    for scopes, served in (([], False), (["files"], True)):
        token = AccessToken(token="t", client_id="c", scopes=scopes)
        auth_context_var.set(AuthenticatedUser(token))
        built = module("server").build(module("settings").load())
        async with Client(built.server) as client:
            assert bool(await names(client)) is served


@setting("GUARD__RATE")
async def test_guard_rate() -> None:
    """The refusal says how long to wait, which follows from the rate."""
    env = {var("GUARD__RATE"): "0.01", var("GUARD__BURST"): "1"}
    async with serve(probe=True, env=env) as client:
        await client.call_tool("echo", {})
        refused = await client.call_tool("echo", {})
    assert refused.is_error
    wait = re.search(r"wait ([0-9.]+) s", text_of(refused))
    assert wait
    assert 90 <= float(wait[1]) <= 101


@setting("GUARD__BURST")
async def test_guard_burst() -> None:
    """So many calls at once, and no more."""
    env = {var("GUARD__RATE"): "0.01", var("GUARD__BURST"): "3"}
    async with serve(probe=True, env=env) as client:
        assert [(await client.call_tool("echo", {})).is_error for _ in range(4)] == [
            False, False, False, True,
        ]  # fmt: skip


@setting("GUARD__MAX_IN_FLIGHT")
async def test_guard_max_in_flight() -> None:
    """A call beside the only one that may run is refused."""
    async with serve(probe=True, env={var("GUARD__MAX_IN_FLIGHT"): "1"}) as client:
        results = []

        async def call() -> None:
            results.append((await client.call_tool("sleep", {"seconds": 0.5})).is_error)

        async with anyio.create_task_group() as calls:
            calls.start_soon(call)
            calls.start_soon(call)
    assert sorted(results) == [False, True]


@setting("GUARD__TIMEOUT")
async def test_guard_timeout() -> None:
    """A call is given up after so many seconds."""
    async with serve(probe=True, env={var("GUARD__TIMEOUT"): "0.3"}) as client:
        began = time.monotonic()
        assert (await client.call_tool("sleep", {"seconds": 10})).is_error
        assert time.monotonic() - began < 5


@setting("GUARD__MAX_ARGUMENT_BYTES")
async def test_guard_max_argument_bytes() -> None:
    """Larger arguments are refused."""
    async with serve(probe=True, env={var("GUARD__MAX_ARGUMENT_BYTES"): "1024"}) as client:
        with pytest.raises(MCPError):
            await client.call_tool("echo", {"text": "x" * 2000})


@setting("GUARD__MAX_ARGUMENT_DEPTH")
async def test_guard_max_argument_depth() -> None:
    """Deeper arguments are refused."""
    deep: Any = "x"
    for _ in range(12):
        deep = [deep]
    async with serve(probe=True) as client:
        assert not (await client.call_tool("echo", {"text": deep})).is_error
    async with serve(probe=True, env={var("GUARD__MAX_ARGUMENT_DEPTH"): "8"}) as client:
        with pytest.raises(MCPError):
            await client.call_tool("echo", {"text": deep})


@setting("GUARD__MAX_RESULT_BYTES")
async def test_guard_max_result_bytes() -> None:
    """A larger result is not delivered."""
    async with serve(probe=True, env={var("GUARD__MAX_RESULT_BYTES"): "1024"}) as client:
        assert (await client.call_tool("echo", {"text": "x" * 2000})).is_error


# --- The audit log.


@setting("AUDIT__ENABLED")
async def test_audit_enabled(tmp_path: Path) -> None:
    """Switched off, nothing is recorded; otherwise the log is in the state folder."""
    for value, written in (("false", False), ("true", True)):
        async with serve(
            probe=True, env={"HOME": str(tmp_path), var("AUDIT__ENABLED"): value}
        ) as client:
            await client.call_tool("echo", {})
        assert audit_file(tmp_path).exists() is written


@setting("AUDIT__PATH")
async def test_audit_path(tmp_path: Path) -> None:
    """The log is written where the setting says."""
    env = {"HOME": str(tmp_path), var("AUDIT__PATH"): str(tmp_path / "log" / "calls.jsonl")}
    async with serve(probe=True, env=env) as client:
        await client.call_tool("echo", {})
    assert '"echo"' in (tmp_path / "log" / "calls.jsonl").read_text(encoding="utf-8")
    assert not audit_file(tmp_path).exists()


@setting("AUDIT__KEY")
async def test_audit_key(tmp_path: Path) -> None:
    """With a key the log verifies with that key only."""
    env = {"HOME": str(tmp_path), var("AUDIT__KEY"): "a key of this test"}
    async with serve(probe=True, env=env) as client:
        await client.call_tool("echo", {})
    (tmp_path / "key").write_text("a key of this test", encoding="utf-8")
    (tmp_path / "wrong").write_text("another key of it", encoding="utf-8")
    log = audit_file(tmp_path)
    assert (
        run("audit", "verify", log, "--key-file", tmp_path / "key", home=tmp_path).returncode == 0
    )
    assert (
        run("audit", "verify", log, "--key-file", tmp_path / "wrong", home=tmp_path).returncode == 1
    )
    assert run("audit", "verify", log, home=tmp_path).returncode == 1


@setting("AUDIT__MAX_BYTES")
async def test_audit_max_bytes(tmp_path: Path) -> None:
    """A file that has reached the size is put aside."""
    await fill_audit(tmp_path, {var("AUDIT__MAX_BYTES"): "65536"})
    assert len(list(audit_file(tmp_path).parent.glob("audit*.jsonl*"))) > 1


@setting("AUDIT__KEEP")
async def test_audit_keep(tmp_path: Path) -> None:
    """So many full files are kept beside the one that is written to."""
    await fill_audit(tmp_path, {var("AUDIT__MAX_BYTES"): "65536", var("AUDIT__KEEP"): "1"})
    assert len(list(audit_file(tmp_path).parent.glob("audit*.jsonl*"))) == 2
    assert run("audit", "verify", home=tmp_path).returncode == 0


@setting("AUDIT__FSYNC")
async def test_audit_fsync() -> None:
    """Switched on, each record waits for the disk."""
    async with serve(probe=True) as client:
        before = text_of(await client.call_tool("fsyncs", {}))
        assert text_of(await client.call_tool("fsyncs", {})) == before
    async with serve(probe=True, env={var("AUDIT__FSYNC"): "true"}) as client:
        first = int(text_of(await client.call_tool("fsyncs", {})))
        assert int(text_of(await client.call_tool("fsyncs", {}))) >= first + 2


@setting("AUDIT__ON_FAILURE")
async def test_audit_on_failure() -> None:
    """`continue` serves a call that cannot be recorded, `refuse` does not."""
    for value, refused in (("refuse", True), ("continue", False)):
        async with serve(probe=True, env={var("AUDIT__ON_FAILURE"): value}) as client:
            await client.call_tool("fill_the_disk", {})
            assert (await client.call_tool("echo", {})).is_error is refused


# --- Where settings are read from.


@setting("ENV_FILE")
def test_env_file(tmp_path: Path) -> None:
    """Settings of the named file count."""
    (tmp_path / "settings").write_text(f"{var('LANDLOCK')}=off\n", encoding="utf-8")
    done = run("--check", home=tmp_path, env={var("ENV_FILE"): str(tmp_path / "settings")})
    assert "landlock: switched off" in done.stdout


@setting("SECRETS_DIR")
async def test_secrets_dir(tmp_path: Path) -> None:
    """A secret is read from a file that is named like its variable."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / var("AUDIT__KEY").lower()).write_text("a key of this test", encoding="utf-8")
    async with serve(
        probe=True, env={"HOME": str(tmp_path), var("SECRETS_DIR"): str(secrets)}
    ) as client:
        await client.call_tool("echo", {})
    log = audit_file(tmp_path)
    key = next(secrets.iterdir())
    assert run("audit", "verify", log, "--key-file", key, home=tmp_path).returncode == 0
    assert run("audit", "verify", log, home=tmp_path).returncode == 1


@pytest.mark.parametrize("name", ["ENV_FILE", "SECRETS_DIR"])
def test_where_settings_are_is_not_a_setting_of_a_file(tmp_path: Path, name: str) -> None:
    """In a file it would be read too late: it is refused, and not left out silently."""
    (tmp_path / "settings").write_text(f"{var(name)}={tmp_path}\n", encoding="utf-8")
    done = run("--check", home=tmp_path, env={var("ENV_FILE"): str(tmp_path / "settings")})
    assert done.returncode == 1
    assert var(name) in done.stderr


@pytest.mark.parametrize("problem", ["folder", "dangling", "twice", "binary", "large"])
def test_a_secret_file_that_would_be_left_out_stops_the_start(tmp_path: Path, problem: str) -> None:
    """A server without the key that its operator believes in must not start."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    secret = folder / var("AUDIT__KEY")
    if problem == "folder":
        secret.mkdir()
    elif problem == "dangling":
        secret.symlink_to("nowhere")
    elif problem == "binary":
        secret.write_bytes(b"\xff" * 32)
    elif problem == "large":
        secret.write_text("x" * 70_000, encoding="utf-8")
    else:
        secret.write_text("a key of this test", encoding="utf-8")
        (folder / var("AUDIT__KEY").lower()).write_text("another key of it", encoding="utf-8")
    done = run("--check", home=tmp_path, env={var("SECRETS_DIR"): str(folder)})
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert var("AUDIT__KEY") in done.stderr.upper()


def test_a_secret_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error speaks of the folder of secrets, not of the env file that is read beside it."""

    secret = tmp_path / var("AUDIT__KEY")
    secret.touch()
    opened = Path.open

    def denied(path: Path, *args: Any, **options: Any) -> Any:
        if path == secret:
            raise PermissionError
        return opened(path, *args, **options)

    monkeypatch.setenv(var("SECRETS_DIR"), str(tmp_path))
    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(module("errors").ConfigError) as raised:
        module("settings").load()
    assert str(raised.value).startswith(f"{var('SECRETS_DIR')}: {secret.name} ")


def test_secret_files_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    """Links through a folder of a version count, other files and folders there do not."""
    folder = tmp_path / "secrets"
    version = folder / "..2026_11_24"
    version.mkdir(parents=True)
    (version / var("AUDIT__KEY").lower()).write_text("a key of this test\n", encoding="utf-8")
    (folder / "..data").symlink_to(version.name)
    (folder / var("AUDIT__KEY").lower()).symlink_to(f"..data/{var('AUDIT__KEY').lower()}")
    (folder / "tls.der").write_bytes(b"\xff" * 100_000)
    log = tmp_path / "log" / "audit.jsonl"
    env = {var("SECRETS_DIR"): str(folder), var("AUDIT__PATH"): str(log)}
    assert run(home=tmp_path, env=env).returncode == 0
    key = tmp_path / "key"
    key.write_text("a key of this test", encoding="utf-8")
    assert run("audit", "verify", log, "--key-file", key, home=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "lines", [["READ_ONLY=true", "READ_ONLY=false"], ["AUDIT__KEY=ab${NOPE}cdefghijklmnopq"]]
)
def test_a_line_whose_meaning_is_not_plain_stops_the_start(
    tmp_path: Path, lines: list[str]
) -> None:
    """The last of two would win, and a variable of a shell would be replaced, both in silence."""
    text = "".join(f"{var(line)}\n" for line in lines)
    (tmp_path / "settings").write_text(text, encoding="utf-8")
    done = run("--check", home=tmp_path, env={var("ENV_FILE"): str(tmp_path / "settings")})
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "cdefgh" not in done.stderr


def test_a_name_in_small_letters_does_not_win(tmp_path: Path) -> None:
    """Beside the flag or the name in capitals it would be an accident which of them counts."""
    env = {var("READ_ONLY"): "true", var("READ_ONLY").lower(): "false"}
    done = run("--check", "--read-only", home=tmp_path, env=env)
    assert done.returncode == 1
    assert var("READ_ONLY").lower() in done.stderr


async def names(client: Client) -> set[str]:
    """Return the names of the tools that are served."""
    return {tool.name for tool in (await client.list_tools()).tools}


async def log_of(env: dict[str, str]) -> str:
    """Return what a server writes to its log during one call."""
    with TemporaryFile("w+", encoding="utf-8") as log:
        async with serve(probe=True, env=env, stderr=log) as client:
            await client.call_tool("echo", {})
        log.seek(0)
        return log.read()


async def fill_audit(home: Path, env: dict[str, str]) -> None:
    """Make enough calls for several files of 64 KiB."""
    env = {"HOME": str(home), var("GUARD__BURST"): "1000", **env}
    async with serve(probe=True, env=env, timeout=60) as client:
        for _ in range(400):
            await client.call_tool("echo", {"text": "x" * 200})


@contextmanager
def listening(home: Path, env: dict[str, str]) -> Iterator[str]:
    """Start the server over HTTP and yield the address that it says it listens on."""
    server = subprocess.Popen(
        command(), env=environment(str(home), env), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stderr
    try:
        for line in server.stderr:
            if found := re.search(r"http://\S+", line):
                yield found.group()
                return
        pytest.fail("the server does not say where it listens")
    finally:
        server.terminate()
        server.wait(10)
        server.stderr.close()
