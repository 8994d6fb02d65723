"""What the tests of the template share: rendering in process, away from your own settings."""

import importlib.util
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import pytest
import yaml
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

REPOSITORY = Path(__file__).resolve().parents[1]
TEMPLATE = REPOSITORY / "template"
ESCAPING = REPOSITORY / "extensions" / "escaping.py"
QUESTIONS = yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))
BACKENDS: list[str] = list(QUESTIONS["backends"]["choices"].values())
ENGINES: list[str] = list(QUESTIONS["database_engine"]["choices"].values())
COMBINATIONS = [
    list(chosen) for size in range(1, len(BACKENDS) + 1) for chosen in combinations(BACKENDS, size)
]
# The answers that decide of what a project consists, by a name for each.
VARIANTS: dict[str, dict[str, Any]] = {
    "-".join([*chosen, *([engine] if "database" in chosen else [])]): {
        "backends": chosen,
        "database_engine": engine,
    }
    for chosen in COMBINATIONS
    for engine in ENGINES
}
CACHES = shutil.ignore_patterns("__pycache__", "*.pyc", ".*_cache")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what is quick first: a mistake shows in seconds."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session", autouse=True)
def _isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep Copier and git away from the settings of whoever runs the tests."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COPIER_SETTINGS_PATH", str(home / "copier.yml"))
        patch.setenv("COPIER_CACHE_DIR", str(home / "cache"))
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        for who in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{who}_NAME", "Test")
            patch.setenv(f"GIT_{who}_EMAIL", "test@example.com")
        patch.delenv("VIRTUAL_ENV", raising=False)
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as it stands in the working tree, without history."""
    return copy_template(tmp_path_factory.mktemp("template") / "modelctx")


@pytest.fixture(scope="session")
def installed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with all backends, installed as its README says."""
    project = render(template, tmp_path_factory.mktemp("installed") / "p", backends=BACKENDS)
    run("uv", "sync", "--quiet", "--no-dev", "--compile-bytecode", cwd=project)
    return with_settings(project, tmp_path_factory.mktemp("database"))


def with_settings(project: Path, folder: Path) -> Path:
    """Write into the project's .env what it does not start without, as its README says."""
    with sqlite3.connect(folder / "shop.db") as made:
        made.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)")
    made.close()
    settings = {
        "DATABASE__URL": f"sqlite:///{folder / 'shop.db'}",
        "API__BASE_URL": "https://api.example.com",
    }
    lines = [f"DEMO_SERVER_{name}={value}\n" for name, value in settings.items()]
    (project / ".env").write_text("".join(lines), encoding="utf-8")
    return project


@pytest.fixture
def anyio_backend() -> str:
    """Run the asynchronous tests on asyncio, as the server does."""
    return "asyncio"


def load_escaping(name: str) -> ModuleType:
    """Execute the extension afresh, as Copier does for each environment."""
    spec = importlib.util.spec_from_file_location(name, ESCAPING)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def copy_template(destination: Path) -> Path:
    """Copy what Copier needs of this repository."""
    for name in ("template", "extensions"):
        shutil.copytree(REPOSITORY / name, destination / name, ignore=CACHES)
    shutil.copy(REPOSITORY / "copier.yml", destination)
    return destination


def render(template: Path, destination: Path, **answers: Any) -> Path:
    """Generate a project in process, as `copier copy --trust --defaults` does."""
    import copier
    from copier import Settings

    copier.run_copy(
        str(template),
        destination,
        data={"project_name": "demo server", **answers},
        defaults=True,
        unsafe=True,
        quiet=True,
        settings=Settings(),
    )
    return destination


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command that must succeed and return what it printed."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# Put before a command, it takes away what root may do beyond other users.
UNPRIVILEGED = (
    ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    if os.geteuid() == 0 and shutil.which("setpriv")
    else ()
)

# What tests of endurance need of the guard: calls in numbers that a model does not make.
BUSY = {"DEMO_SERVER_GUARD__RATE": "100000", "DEMO_SERVER_GUARD__BURST": "100000"}


@asynccontextmanager
async def serving(
    project: Path,
    *arguments: str | Path,
    home: Path,
    log: TextIO | None = None,
    mode: str = "auto",
    **settings: str,
) -> AsyncIterator[Client]:
    """Start a generated server and connect the SDK's client to it.

    Args:
        project: an installed project named "demo server".
        arguments: those of its command.
        home: its HOME, which holds the audit log.
        log: where its log goes; by default nowhere.
        mode: ``auto`` speaks 2026-07-28, ``legacy`` 2025-11-25.
        settings: such as ``READ_ONLY="false"``, without the prefix.
    """
    env = {"PATH": os.environ["PATH"], "HOME": str(home), **BUSY}
    env |= {f"DEMO_SERVER_{name}": value for name, value in settings.items()}
    command = str(project / ".venv/bin/demo-server")
    started = StdioServerParameters(command=command, args=[*map(str, arguments)], env=env)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: ASYNC230, never blocks
        async with Client(stdio_client(started, errlog=log or nowhere), mode=mode) as client:
            yield client


def text_of(result: Any) -> str:
    """Return the first text of a tool's answer."""
    return str(result.content[0].text)


def snapshot(project: Path) -> dict[str, bytes]:
    """Return every file of a project by its path, without environments, caches and history."""
    skip = {".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", "__pycache__"}
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for path in sorted(project.rglob("*"))
        if path.is_file() and not skip.intersection(path.relative_to(project).parts)
    }
