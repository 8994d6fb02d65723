# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The command: ``myserver [FOLDER …] [--transport stdio|http] [--check] …``.

Every setting is a flag: ``MYSERVER_GUARD__RATE`` is ``--guard-rate``. Secrets are not, since the
command line of a process is visible to others.
"""

import argparse
import contextlib
import gc
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from .errors import ConfigError
from .prefix import COMMAND, PACKAGE, PREFIX
from .settings import (
    ENV_FILE,
    SECRETS_DIR,
    Settings,
    audit_file,
    default_audit_log,
    fields,
    load,
    secret,
    section,
    variable,
)

FOLDERS = f"{PREFIX}FILESYSTEM__ALLOWED_PATHS"
CLIENTS = ("claude-desktop", "claude-code", "cursor", "vscode")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 for done, 1 for a wrong setting, 2 for usage."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        if args[:1] == ["audit"]:
            return verify(args[1:])
        options = parser().parse_args(args)
        os.environ.update(flags(options))
        settings = load()
        if options.print_config:
            check(settings, quiet=True)  # a client would only say that the server does not start
            print(snippet(options.print_config, settings))
            for name in left_out():
                print(
                    f"{name} is a secret, so it is not in there: write it into .env or a file of "
                    f"{SECRETS_DIR}",
                    file=sys.stderr,
                )
            return 0
        return check(settings) if options.check else serve(settings)
    except ConfigError as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
    except PermissionError as error:
        print(f"{COMMAND}: {error.filename}: cannot be reached by this account", file=sys.stderr)
    return 1


def serve(settings: Settings) -> int:
    """Serve until the client leaves or a signal arrives."""
    # What the start makes stays. To look for garbage in it would be 7 % of the start.
    gc.disable()
    from .server import build, confine

    with contextlib.ExitStack() as opened:
        run = transport(settings, opened)
        built = build(settings)
        opened.callback(built.close)
        confine(settings, built)
        raise_open_files()
        gc.freeze()
        gc.enable()
        run(built.server)
    return 0


def raise_open_files() -> None:
    """Allow as many open files as the system does: a walk holds one for each level.

    The usual limit of 1,024 is there for select(2), which is not used here.
    """
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # macOS says "unlimited" and means less
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def transport(settings: Settings, opened: contextlib.ExitStack) -> Callable[..., None]:
    """Return what runs a server on the transport that is set; ``opened`` closes what it needs.

    To be called before the process is confined: afterwards Python could not keep the bytecode of
    what it imports, and would compile it again at every start.
    """
    if settings.transport == "http":
        from . import http

        # Before anything is opened: a port that is taken is a frequent mistake.
        listener = opened.enter_context(http.listen(settings.host, settings.port))
        return partial(http.run, listener=listener, max_body_bytes=settings.max_message_bytes)
    from . import stdio

    return partial(stdio.run, max_line_bytes=settings.max_message_bytes)


def check(settings: Settings, *, quiet: bool = False) -> int:
    """Open what is configured, say in one line for each backend what would be served, and stop."""
    import anyio

    from .server import build, confine, warnings

    built = build(settings, recording=False)
    try:
        tools = [tool.name for tool in anyio.run(built.server.list_tools)]
        log = audit_file(settings.audit) or "stderr" if settings.audit.enabled else "switched off"
        confine(settings, built)
        lines = [backend.summary for backend in built.backends]
        lines += [f"tools: {', '.join(tools)}", f"audit: {log}", built.confined]
        lines += [f"warning: {warning}" for warning in warnings(built)]
    finally:
        built.close()
    if not quiet:
        print("\n".join(lines))
    return 0


def verify(args: Sequence[str]) -> int:
    """Check the audit log, by default that of the settings with their key."""
    from .guard.audit_verify import main as audit

    settings = load().audit
    path = Path(settings.path).expanduser() if settings.path else default_audit_log()
    return audit(args, path, settings.chain_key(), f"{COMMAND} audit")


def parser() -> argparse.ArgumentParser:
    """Make the command line from the settings."""
    folders = " [FOLDER ...]" if "filesystem" in Settings.model_fields else ""
    made = argparse.ArgumentParser(
        prog=COMMAND,
        # argparse's own would list every setting before the line that says what is wrong.
        usage=f"{COMMAND} [--check | --print-config CLIENT] [--SETTING VALUE ...]{folders}",
        description="An MCP server. It speaks to one client through stdin and stdout, or to "
        "clients on this machine over HTTP.",
        epilog=f"`{COMMAND} audit verify` checks the audit log. Every setting can also be an "
        f"environment variable, named in brackets; secrets can only be that, or a file.",
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"{COMMAND} {version()}")
    instead = made.add_mutually_exclusive_group()
    instead.add_argument(
        "--check", action="store_true", help="check the settings, say what would be served, exit"
    )
    instead.add_argument(
        "--print-config", choices=CLIENTS, help="print a client's configuration for this server"
    )
    made.add_argument("--env-file", help=f"read settings from this file [{ENV_FILE}]")
    if folders:
        made.add_argument("folders", nargs="*", metavar="FOLDER", help="folders to serve")
    for path, field in fields():
        if section(field.annotation) or secret(field.annotation):
            continue
        made.add_argument(
            "--" + "-".join(path).replace("_", "-"),
            dest="__".join(path),
            help=_help(path, field),
            **_kind(field.annotation),
        )
    return made


def flags(options: argparse.Namespace) -> dict[str, str]:
    """Return the settings given on the command line, each under its environment variable."""
    given = {
        variable(path): _as_text(value)
        for path, _ in fields()
        if (value := getattr(options, "__".join(path), None)) is not None
    }
    if folders := getattr(options, "folders", None):
        if any(folder in ("", ":ro", ":rw") for folder in folders):
            raise ConfigError("a folder is empty; is a variable of the shell not set?")
        if FOLDERS in given:
            raise ConfigError("write the folders once: as arguments or --filesystem-allowed-paths")
        given[FOLDERS] = json.dumps([absolute(folder) for folder in folders])
    if options.env_file:
        given[ENV_FILE] = options.env_file
    return given


def snippet(client: str, settings: Settings) -> str:
    """Return the configuration of ``client`` that starts this server with these settings."""
    kind, entry = "stdio", launch(settings)
    if settings.transport == "http":
        if client == "claude-desktop":
            raise ConfigError(f"{PREFIX}TRANSPORT: Claude Desktop starts servers over stdio only")
        if not settings.port:
            raise ConfigError(f"{PREFIX}PORT: choose a port; with 0 it is another one each time")
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        kind, entry = "http", {"url": f"http://{host}:{settings.port}/mcp"}
    if client in ("vscode", "claude-code"):
        entry = {"type": kind, **entry}
    servers = "servers" if client == "vscode" else "mcpServers"
    return json.dumps({servers: {COMMAND: entry}}, indent=2)


def launch(settings: Settings) -> dict[str, Any]:
    """Return command, arguments and environment: a client starts the server from anywhere.

    What came from a file is left to that file. Paths are absolute. Secrets are left out: a
    client's configuration is no place for them.
    """
    beside = Path(sys.executable).parent / COMMAND  # the console script of this environment
    command = [str(beside)] if beside.is_file() else [sys.executable, "-P", "-m", PACKAGE]
    kept = {variable(path): value for path, value in overrides(settings)}
    kept.pop(FOLDERS, None)
    folders = getattr(getattr(settings, "filesystem", None), "allowed_paths", [])
    for name in (ENV_FILE, SECRETS_DIR):
        if os.environ.get(name):
            kept[name] = str(Path(os.environ[name]).absolute())
    if os.environ.get("XDG_STATE_HOME") and (log := audit_file(settings.audit)):
        kept.setdefault(f"{PREFIX}AUDIT__PATH", str(log))
    entry: dict[str, Any] = {"command": command[0], "args": [*command[1:], *map(absolute, folders)]}
    return {**entry, "env": kept} if kept else entry


def left_out() -> list[str]:
    """Return the secrets that only the environment names: a client will not start with them."""
    named = [variable(path) for path, field in fields() if secret(field.annotation)]
    return [name for name in named if os.environ.get(name)]


def overrides(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what environment and flags have set, alone or as a part of its section, as text."""
    for path, field in fields():
        variables = {variable(path[:end]) for end in range(1, len(path) + 1)}
        if (
            section(field.annotation)
            or secret(field.annotation)
            or variables.isdisjoint(os.environ)
        ):
            continue
        holder: Any = reduce(getattr, path[:-1], settings)
        if path[-1] not in holder.model_fields_set:
            continue
        value = holder.model_dump(mode="json", include={path[-1]})[path[-1]]
        if path == ("audit", "path") and (file := audit_file(settings.audit)):
            value = str(file)
        if path == ("landlock_paths",):
            value = list(map(absolute, value))
        if value is not None:
            yield path, value if isinstance(value, str) else json.dumps(value)


def absolute(folder: str) -> str:
    """Give a folder the meaning that it has where the command was typed; ``:ro`` may follow it."""
    return str(Path(folder).expanduser().absolute())


def version() -> str:
    """Return the version that pyproject.toml names."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed(PACKAGE)
    except PackageNotFoundError:
        return "0"


def _help(path: tuple[str, ...], field: Any) -> str:
    text = f"{field.description or ''} Default: {default_of(field) or 'none'} [{variable(path)}]"
    return text.replace("%", "%%")


def _kind(annotation: Any) -> dict[str, Any]:
    if bool in (annotation, *get_args(annotation)):
        return {"action": argparse.BooleanOptionalAction, "default": None}
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    return {"metavar": "|".join(map(str, choices)) or "VALUE"}


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def default_of(field: Any) -> str:
    """Return a setting's default as a line of an environment file would have it."""
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    sys.exit(main())
