"""Every combination of backends passes the gate that it is generated with."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from conftest import UNPRIVILEGED, VARIANTS, load_escaping, render, run

# One that has everything, one for each other engine, and one for each backend alone.
GATED = [
    "filesystem-database-api-webscraper-sqlite",
    "database-postgresql",
    "database-mysql",
    "filesystem",
    "api",
    "webscraper",
]
WHOLE = GATED[0]
ANSWERED = {"api_base_url": "https://api.example.com/v1", "api_auth": "oauth2"}
# Of the other projects, those tests that depend on what they consist of; of the rest there is
# nothing in them that the first has not.
DEPENDENT = ["tests/test_project.py", "tests/test_command.py", "tests/test_settings.py"]


@pytest.fixture(scope="module", params=GATED)
def variant(request: pytest.FixtureRequest) -> str:
    """The name of the answers."""
    return str(request.param)


@pytest.fixture(scope="module")
def project(variant: str, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project, installed as its README says."""
    answers = VARIANTS[variant] | (ANSWERED if variant == "api" else {})
    made = render(template, tmp_path_factory.mktemp("gate") / "p", **answers)
    run("uv", "sync", "--quiet", "--compile-bytecode", cwd=made)
    return made


@pytest.mark.promise("TPL-3")
def test_the_strict_type_checker_is_content(project: Path) -> None:
    """mypy in strict mode, as the project's own CI runs it."""
    assert "Success" in run(python(project, "mypy"), cwd=project)


def test_the_linter_and_the_formatter_are_content(project: Path) -> None:
    """Also with the tools of the project's own environment."""
    run(python(project, "ruff"), "check", cwd=project)
    run(python(project, "ruff"), "format", "--check", cwd=project)


def test_the_tests_pass(project: Path, variant: str) -> None:
    """The security tests of the project itself, out of the box; none is skipped in CI."""
    pytest = (python(project, "pytest"), "-q", "-p", "no:cacheprovider")
    chosen: list[str] = []
    if variant != WHOLE:
        chosen = [*DEPENDENT, *(["tests/database"] if "database" in variant else [])]
    printed = run(*pytest, *chosen, cwd=project)
    assert " passed" in printed
    if os.environ.get("CI"):
        assert "; start one: " not in printed, printed
        assert "no network of its own" not in printed, printed


def test_the_tests_pass_without_the_rights_of_root(project: Path, variant: str) -> None:
    """What root may do hides some refusals: the tests of the filesystem once more without it."""
    if not UNPRIVILEGED or variant != WHOLE:
        return  # the test above has run without them, or with them all
    command = (*UNPRIVILEGED, python(project, "pytest"), "-q", "-p", "no:cacheprovider")
    assert " passed" in run(*command, "tests/filesystem", cwd=project)


@pytest.mark.promise("TPL-3")
def test_the_type_checker_would_find_a_mistake(project: Path, tmp_path: Path) -> None:
    """The gate is not blind: a wrong type in the generated code fails it."""
    broken = tmp_path / "p"
    shutil.copytree(project, broken, ignore=shutil.ignore_patterns(".venv", ".mypy_cache"))
    with (broken / "src/demo_server/errors.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef wrong() -> int:\n    return 'text'\n")
    with pytest.raises(AssertionError, match="Incompatible return value"):
        run(python(project, "mypy"), cwd=broken, env={"MYPYPATH": str(broken / "src")})


@pytest.mark.promise("TPL-2")
def test_no_project_is_named_like_what_it_installs(project: Path) -> None:
    """uv could not resolve a project that needs a package of its own name."""
    lock = tomllib.loads((project / "uv.lock").read_text(encoding="utf-8"))
    names = {package["name"].replace("-", "_") for package in lock["package"]} - {"demo_server"}
    assert len(names) > 30
    is_taken_name = load_escaping("escaping_of_names").is_taken_name
    assert {name for name in names if not is_taken_name(name)} == set()


@pytest.mark.slow
@pytest.mark.promise("GEN-7")
def test_each_test_of_a_setting_fails_when_the_setting_is_ignored(
    project: Path, variant: str, tmp_path: Path
) -> None:
    """The proof that those tests can fail: each runs without its variable."""
    if variant != WHOLE and "database" not in variant:
        return  # the first project has run these very tests
    # The server forgets the variable that the running test is marked with.
    ignored = tmp_path / "ignored"
    ignored.write_text("", encoding="utf-8")
    settings = project / "src/demo_server/settings.py"
    plugin = project / "tests/ignoring.py"
    original = settings.read_text(encoding="utf-8")
    settings.write_text(original + FORGETTING.format(str(ignored)), encoding="utf-8")
    plugin.write_text(IGNORING.format(str(ignored)), encoding="utf-8")
    try:
        tests, survivors = survive(project)
        # A server that several tests share has forgotten only the variable of the first of them.
        survivors = [test for test in survivors if survive(project, test)[1]]
    finally:
        settings.write_text(original, encoding="utf-8")
        plugin.unlink()
    assert tests > 30
    assert not survivors


def survive(project: Path, *tests: str) -> tuple[int, list[str]]:
    """Run the tests that are marked with a setting; return how many, and which of them pass."""
    pytest = (python(project, "pytest"), "-q", "-rpf", "--tb=no", "-p", "ignoring")
    done = subprocess.run(
        [*pytest, *tests], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    ends = re.findall(r"^(PASSED|FAILED) (\S+)", done.stdout, re.MULTILINE)
    return len(ends), [test for end, test in ends if end == "PASSED"]


FORGETTING = """

_load = load


def load():
    with open({0!r}) as ignored:
        for name in ignored.read().split():
            os.environ.pop(PREFIX + name, None)
    return _load()
"""

IGNORING = """
import pathlib

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    names = [mark.args[0] for mark in item.iter_markers("setting")]
    pathlib.Path({0!r}).write_text(" ".join(names))


def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if item.get_closest_marker("setting")]
"""


def python(project: Path, tool: str) -> Path:
    """Return a tool of the project's own environment."""
    return project / ".venv" / "bin" / tool
