# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""The command: its flags, its errors in one line, and the snippets that it prints."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import NO_SETTINGS, PACKAGE, ROOT, environment, module, run, serve, var
from pydantic import BaseModel, Field, Secret, SecretBytes, SecretStr

COMMAND = PACKAGE.replace("_", "-")


def test_help_names_every_setting(tmp_path: Path) -> None:
    """`--help` lists each setting with its variable; secrets have no flag."""
    shown = run("--help", home=tmp_path).stdout
    settings = module("settings")
    for path, field in settings.fields():
        if settings.section(field.annotation):
            continue
        if "SecretStr" in str(field.annotation):
            assert f"[{settings.variable(path)}]" not in shown
        else:
            assert f"[{settings.variable(path)}]" in "".join(shown.split("\n")).replace(
                " ", ""
            ) or settings.variable(path) in shown.replace("\n", "").replace(" ", "")


def test_version_is_that_of_the_project(tmp_path: Path) -> None:
    """`--version` prints the command and the version of pyproject.toml."""
    assert run("--version", home=tmp_path).stdout == f"{COMMAND} 0.1.0\n"


@pytest.mark.promise("GEN-7")
@pytest.mark.parametrize(
    ("env", "names"),
    [
        ({"READ_ONYL": "true"}, "READ_ONYL"),
        ({"GUARD__RAET": "1"}, "GUARD__RAET"),
        ({"READ_ONLY": "maybe"}, "READ_ONLY"),
        ({"GUARD__RATE": "fast"}, "GUARD__RATE"),
        ({"GUARD__RATE": "-1"}, "GUARD__RATE"),
        ({"GUARD__ALLOW": "[not json"}, "GUARD__ALLOW"),
        ({"GUARD__DENY": ""}, "GUARD__DENY"),
        ({"GUARD__SCOPES": "{not json"}, "GUARD__SCOPES"),
        ({"LANDLOCK_PATHS": "/nowhere"}, "LANDLOCK_PATHS"),
        ({"PORT": "70000"}, "PORT"),
        ({"ENV_FILE": "/nowhere/.env"}, "ENV_FILE"),
        ({"SECRETS_DIR": "/nowhere"}, "SECRETS_DIR"),
        ({"TRANSPORT": "http", "HOST": "0.0.0.0"}, "HOST"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line(
    tmp_path: Path, env: dict[str, str], names: str
) -> None:
    """An unknown or invalid setting is named in one line on stderr, and nothing is served."""
    given = {var(name): value for name, value in env.items()}
    if "TRANSPORT" not in env:
        done = run("--check", home=tmp_path, env=given)
    else:
        done = run(home=tmp_path, env=given)
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert var(names) in lines[0]


@pytest.mark.promise("GEN-4")
def test_the_value_of_a_wrong_secret_is_not_repeated(tmp_path: Path) -> None:
    """A secret that is not accepted is not printed either."""
    done = run("--check", home=tmp_path, env={var("AUDIT__KEY"): "hunter2"})
    assert done.returncode == 1
    assert var("AUDIT__KEY") in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_a_wrong_flag_is_explained(tmp_path: Path) -> None:
    """A flag that does not exist is usage, exit code 2, in lines that can be taken in."""
    done = run("--nonsense", home=tmp_path)
    assert done.returncode == 2
    assert "--nonsense" in done.stderr
    assert len(done.stderr.splitlines()) <= 3


@pytest.mark.parametrize("client", ["claude-desktop", "claude-code", "cursor", "vscode"])
def test_the_snippet_of_a_client_starts_the_server(tmp_path: Path, client: str) -> None:
    """`--print-config` prints JSON in the client's own shape, with an absolute command that works.

    What is set for the command is set for the client: its environment holds nothing else, besides
    secrets, which a client's configuration is no place for.
    """
    done = run("--print-config", client, home=tmp_path, cwd=tmp_path)
    snippet = json.loads(done.stdout)
    entry = snippet["servers" if client == "vscode" else "mcpServers"][COMMAND]
    assert Path(entry["command"]).is_absolute()
    url = var("DATABASE__URL")
    secrets = {url: environment(str(tmp_path))[url]} if url in environment(str(tmp_path)) else {}
    assert not secrets.keys() & entry.get("env", {}).keys()
    assert all(name in done.stderr for name in secrets)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **secrets, **entry.get("env", {})}
    started = subprocess.run(
        [entry["command"], *entry["args"], "--check"], env=env, cwd="/",
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert started.returncode == 0, started.stderr


@pytest.mark.parametrize(("client", "key"), [("claude-code", "mcpServers"), ("vscode", "servers")])
def test_the_snippet_for_http_names_the_address(tmp_path: Path, client: str, key: str) -> None:
    """A server over HTTP is not started by the client; the one client that cannot is told so."""
    flags = ("--transport", "http", "--port", "8123", "--print-config")
    done = run(*flags, client, home=tmp_path)
    assert json.loads(done.stdout)[key] == {
        COMMAND: {"type": "http", "url": "http://127.0.0.1:8123/mcp"}
    }
    assert run(*flags, "claude-desktop", home=tmp_path).returncode == 1
    assert run("--transport", "http", "--port", "0", *flags[-1:], client, home=tmp_path).returncode


def test_no_snippet_is_printed_for_a_server_that_would_not_start(tmp_path: Path) -> None:
    """What `--check` refuses, `--print-config` refuses."""
    env = {var("AUDIT__PATH"): str(tmp_path / "no-log")}
    done = run("--print-config", "cursor", home=tmp_path, env=env)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.promise("GEN-7")
@pytest.mark.parametrize("line", ["READ_ONLY: true", "READ_ONLY true", "READ_ONLY"])
def test_a_line_of_an_env_file_that_cannot_be_read_stops_the_start(
    tmp_path: Path, line: str
) -> None:
    """It would be left out otherwise, and with it a protection."""
    (tmp_path / "settings").write_text(f"{var(line)}\n", encoding="utf-8")
    done = run("--check", "--env-file", tmp_path / "settings", home=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "line 1" in done.stderr


@pytest.mark.promise("GEN-4")
def test_the_snippet_keeps_settings_and_leaves_secrets_out(tmp_path: Path) -> None:
    """What was set for this command is set for the client too, except for secrets."""
    env = {var("READ_ONLY"): "false", var("AUDIT__KEY"): "a key of this test"}
    done = run("--guard-rate", "5", "--print-config", "cursor", home=tmp_path, env=env)
    kept = json.loads(done.stdout)["mcpServers"][COMMAND]["env"]
    assert kept.pop(var("ENV_FILE")) == NO_SETTINGS.name
    kept = {name: value for name, value in kept.items() if "_API__" not in name}  # conftest.py's
    assert kept == {var("READ_ONLY"): "false", var("GUARD__RATE"): "5.0"}
    assert "a key of this test" not in done.stdout + done.stderr


@pytest.mark.promise("GEN-4")
def test_the_snippet_takes_a_section_apart(tmp_path: Path) -> None:
    """A section given as one JSON text is kept too, without the secret in it."""
    section = json.dumps({"key": "a key of this test", "keep": 3, "path": "log/audit.jsonl"})
    env = {var("AUDIT"): section, var("LANDLOCK_PATHS"): '["work:rw"]'}
    (tmp_path / "work").mkdir()
    done = run("--print-config", "cursor", home=tmp_path, env=env, cwd=tmp_path)
    kept = json.loads(done.stdout)["mcpServers"][COMMAND]["env"]
    kept = {name: value for name, value in kept.items() if "_API__" not in name}
    assert kept == {
        var("ENV_FILE"): NO_SETTINGS.name,
        var("AUDIT__KEEP"): "3",
        var("AUDIT__PATH"): str(tmp_path / "log" / "audit.jsonl"),
        var("LANDLOCK_PATHS"): json.dumps([f"{tmp_path}/work:rw"]),
    }
    assert "a key of this test" not in done.stdout + done.stderr


def test_the_snippet_keeps_the_place_of_the_audit_log(tmp_path: Path) -> None:
    """A client does not pass the environment on that the default follows from."""
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    done = run("--print-config", "cursor", home=tmp_path, env=env)
    kept = json.loads(done.stdout)["mcpServers"][COMMAND]["env"]
    assert kept[var("AUDIT__PATH")] == str(tmp_path / "state" / COMMAND / "audit.jsonl")


def test_a_setting_of_your_own_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing of its section is set."""
    settings = module("settings")

    class Own(BaseModel):
        token: SecretStr

    class With(settings.Settings):  # type: ignore[misc, name-defined]
        custom: Own = Field(default_factory=lambda: Own.model_validate({}))

    monkeypatch.setattr(settings, "Settings", With)
    monkeypatch.setattr(settings.fields, "__defaults__", (With, ()))
    with pytest.raises(module("errors").ConfigError, match=var("CUSTOM__TOKEN")):
        settings.load()


@pytest.mark.promise("GEN-4")
def test_secrets_are_found_however_deep() -> None:
    """A table or list of secrets in your own settings is as secret as a single one."""
    settings = module("settings")

    class Account(BaseModel):
        password: SecretStr

    class Named(SecretStr):
        pass

    @dataclass
    class Login:
        pin: SecretStr

    class Own(BaseModel):
        accounts: list[Account]
        tokens: dict[str, SecretStr]
        raw: SecretBytes
        any: Secret[str]
        named: Named | None = None
        login: Login
        name: str = "public"

    own = Own.model_validate(
        {
            "accounts": [{"password": "first one"}],
            "tokens": {"a": "second"},
            "raw": b"third",
            "any": "fourth",
            "named": "fifth",
            "login": Login(SecretStr("sixth")),
        }
    )
    found = {"first one", "second", "third", "fourth", "fifth", "sixth"}
    assert set(settings.secrets(own)) == found
    fields = Own.model_fields.items()
    assert [name for name, field in fields if not settings.secret(field.annotation)] == ["name"]


@pytest.mark.parametrize("flags", [["--check"], ["--print-config", "cursor"]])
def test_a_look_at_the_settings_writes_nothing(tmp_path: Path, flags: list[str]) -> None:
    """Only a server that serves begins an audit log."""
    done = run(*flags, home=tmp_path)
    assert done.returncode == 0
    assert [path.name for path in tmp_path.rglob("*") if path.name != "files"] == []


@pytest.mark.parametrize("problem", ["path", "port"])
def test_a_start_that_is_refused_leaves_nothing(tmp_path: Path, problem: str) -> None:
    """No audit log of a server that never served."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        env = {
            "path": {var("LANDLOCK_PATHS"): "/nowhere"},
            "port": {var("TRANSPORT"): "http", var("PORT"): str(taken.getsockname()[1])},
        }[problem]
        done = run(home=tmp_path, env=env)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.rglob("*") if path.name != "files"] == []


@pytest.mark.skipif(sys.platform == "win32", reason="modes are those of POSIX")
def test_a_look_at_the_audit_log_does_not_change_it(tmp_path: Path) -> None:
    """Its mode is for the server that writes it to put right."""
    log = tmp_path / "audit.jsonl"
    log.touch(0o644)
    assert run("--check", home=tmp_path, env={var("AUDIT__PATH"): str(log)}).returncode == 0
    assert log.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("flags", [["--check"], []])
@pytest.mark.parametrize("problem", ["a folder", "a link", "below a file", "not a log"])
def test_an_audit_log_that_cannot_be_opened(tmp_path: Path, flags: list[str], problem: str) -> None:
    """`--check` finds what the start would refuse, and both say it in one line."""
    log = tmp_path / "log" / "audit.jsonl"
    log.parent.mkdir()
    if problem == "a folder":
        log.mkdir()
    elif problem == "a link":
        log.symlink_to(tmp_path / "elsewhere")
    elif problem == "below a file":
        (tmp_path / "log" / "file").touch()
        log = tmp_path / "log" / "file" / "audit.jsonl"
    else:
        log = tmp_path / "log" / "audit"
    done = run(*flags, home=tmp_path, env={var("AUDIT__PATH"): str(log)})
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert var("AUDIT__PATH") in done.stderr


def test_a_pattern_that_matches_nothing_is_told(tmp_path: Path) -> None:
    """A slip in the policy would open a door in silence."""
    env = {var("GUARD__DENY"): "wirte_*", var("GUARD__ALLOW"): '["*", "no_such_tool"]'}
    done = run("--check", home=tmp_path, env=env)
    warned = [line for line in done.stdout.splitlines() if "matches no" in line]
    assert len(warned) == 2
    assert "no_such_tool" in warned[0]
    assert "wirte_*" in warned[1]
    started = run(home=tmp_path, env=env)
    assert "wirte_*" in started.stderr
    assert "landlock: " in started.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_the_server_may_open_as_many_files_as_the_system_allows(tmp_path: Path) -> None:
    """A soft limit of 1,024 is for programs that call select."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        module("__main__").raise_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.promise("GEN-7")
def test_a_dotenv_file_beside_the_client_is_not_read(tmp_path: Path) -> None:
    """A `.env` in the folder where the server happens to be started cannot change its settings."""
    (tmp_path / ".env").write_text(f"{var('NO_SUCH_SETTING')}=1\n", encoding="utf-8")
    assert run("--check", home=tmp_path, cwd=tmp_path).returncode == 0
    named = run("--check", "--env-file", tmp_path / ".env", home=tmp_path)
    assert named.returncode == 1
    assert var("NO_SUCH_SETTING") in named.stderr


@pytest.mark.promise("GEN-7")
@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_flag_wins_over_the_environment(tmp_path: Path, mode: str) -> None:
    """The command line decides: here it switches a tool off that the environment allows."""
    env = {var("GUARD__DENY"): "[]"}
    async with serve("--guard-deny", '["*"]', env=env, mode=mode) as client:
        assert (await client.list_tools()).tools == []


def test_the_server_reads_env_files_of_the_project_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that is read without being named lies beside pyproject.toml."""
    monkeypatch.delenv(var("ENV_FILE"))
    found = module("settings").env_file()
    assert found is None or found == ROOT / ".env"


@pytest.mark.anyio
@pytest.mark.promise("GEN-1")
async def test_every_argument_is_bounded() -> None:
    """No argument of any tool is a text, number or list without a limit."""

    def check(where: str, schema: dict[str, Any], root: dict[str, Any]) -> None:
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        kind = schema.get("type")
        for each in schema.get("anyOf", []):
            check(where, each, root)
        if "enum" in schema or "anyOf" in schema or kind in ("boolean", "null"):
            return
        if kind == "string":
            assert "maxLength" in schema or "pattern" in schema, where
        elif kind in ("integer", "number"):
            assert {"minimum", "exclusiveMinimum"} & set(schema), where
            assert {"maximum", "exclusiveMaximum"} & set(schema), where
        elif kind == "array":
            assert "maxItems" in schema, where
            check(f"{where}[]", schema["items"], root)
        elif isinstance(more := schema.get("additionalProperties", True), dict):
            assert "maxProperties" in schema, where
            check(f"{where}.*", more, root)
        elif more:  # any JSON, such as a body: its size and depth are the guard's to bound
            assert "maxProperties" in schema or kind is None, where
        else:
            assert kind == "object", where
            for name, each in schema["properties"].items():
                check(f"{where}.{name}", each, root)

    async with serve(env={var("READ_ONLY"): "false"}) as client:
        tools = (await client.list_tools()).tools
    assert tools
    for tool in tools:
        check(tool.name, tool.input_schema, tool.input_schema)
