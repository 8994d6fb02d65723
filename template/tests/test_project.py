# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""The project's own files agree with each other and with the code."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PACKAGE, ROOT, module

SKIPPED = {".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", "__pycache__", "dist"}
MARKER = re.compile(r"^(<<<<<<<|>>>>>>>) ", re.MULTILINE)
ROW = re.compile(r"^\| ([A-Z]+-\d+) \|[^|]+\|[^|]+\|([^|]+)\|$", re.MULTILINE)


def test_no_update_left_a_conflict_behind() -> None:
    """A project with conflict markers or rejected hunks does not pass."""
    rejected = [path for path in files() if path.suffix == ".rej"]
    assert not rejected, f"merge these by hand, then delete them: {rejected}"
    marked = [path for path in files() if path != Path(__file__) and MARKER.search(text(path))]
    assert not marked, f"these files hold conflict markers: {marked}"


def test_the_example_of_the_environment_lists_every_setting() -> None:
    """`.env.example` names each variable once, with the default that the code has."""
    settings = module("settings")
    listed = dict(re.findall(r"^# ?([A-Z][A-Z0-9_]*)=(.*)$", text(ROOT / ".env.example"), re.M))
    defaults = {
        settings.variable(path): shown(field)
        for path, field in settings.fields()
        if not settings.section(field.annotation) and path[0] != "custom"
    }
    defaults |= {settings.ENV_FILE: "", settings.SECRETS_DIR: ""}
    assert listed == defaults


@pytest.mark.promise("GEN-4")
def test_no_secret_has_a_default_in_the_project() -> None:
    """No file holds a value for a secret, besides those that git ignores for that purpose."""
    settings = module("settings")
    secret = [settings.variable(path) for path, field in settings.fields() if is_secret(field)]
    assert secret
    private = {path for path in files() if re.fullmatch(r"\.env(\.(?!example$).+)?", path.name)}
    for path in set(files()) - private:
        for name in secret:
            assert not re.search(rf"{name}\s*[=:]\s*[\"']?\w", text(path)), f"{path}: {name}"


def test_every_promise_of_the_security_policy_has_its_tests() -> None:
    """SECURITY.md names only tests that exist, and each of them carries the promise's mark."""
    rows = ROW.findall(text(ROOT / "SECURITY.md"))
    marked = {(promise, path) for promise, path in marks()}
    named = {(promise, path) for promise, cell in rows for path in re.findall(r"`([^`]+)`", cell)}
    assert len(rows) >= 7
    assert {promise for promise, _ in named} == {promise for promise, _ in rows}
    assert named <= marked, f"no test there has this mark: {sorted(named - marked)}"
    # Those of net/ prove promises of two backends, of which one may not be here.
    own = {promise for promise, path in marked if not path.startswith("tests/net/")}
    assert own == {promise for promise, _ in rows}


def test_the_sdk_is_bounded() -> None:
    """The SDK is bounded, since parts that the guard hooks into are provisional."""
    project = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]
    assert any(re.fullmatch(r"mcp>=2[0-9.]*,<3", item) for item in project["dependencies"])


def files() -> Iterator[Path]:
    """Yield every file of the project that its owner could have written."""
    for path in sorted(ROOT.rglob("*")):
        if path.is_file() and not SKIPPED.intersection(path.relative_to(ROOT).parts):
            yield path


def text(path: Path) -> str:
    """Return what a file holds; bytes that are no text count as nothing."""
    return path.read_text(encoding="utf-8", errors="ignore")


def marks() -> Iterator[tuple[str, str]]:
    """Yield ``(promise, file)`` for each mark of a test."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(text(path))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.promise":
                for argument in node.args:
                    yield ast.literal_eval(argument), path.relative_to(ROOT).as_posix()


def shown(field: Any) -> str:
    """Return a default as a line of an environment file has it."""
    return str(module("__main__").default_of(field))


def is_secret(field: Any) -> bool:
    """Say whether a setting holds a secret."""
    return "SecretStr" in str(field.annotation)


def test_the_package_is_the_one_under_test() -> None:
    """The tests run the code of this project, not another installed copy."""
    assert Path(module("settings").__file__).is_relative_to(ROOT / "src" / PACKAGE)
