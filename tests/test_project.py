"""Every combination of backends passes the gate that it is generated with."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import COMBINATIONS, render, run


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-".join)
def project(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A project, installed as its README says."""
    made = render(template, tmp_path_factory.mktemp("gate") / "p", backends=request.param)
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


def test_the_tests_pass(project: Path) -> None:
    """The security tests of the project itself, out of the box."""
    printed = run(python(project, "pytest"), "-q", "-p", "no:cacheprovider", cwd=project)
    assert " passed" in printed


@pytest.mark.promise("TPL-3")
def test_the_type_checker_would_find_a_mistake(project: Path, tmp_path: Path) -> None:
    """The gate is not blind: a wrong type in the generated code fails it."""
    broken = tmp_path / "p"
    shutil.copytree(project, broken, ignore=shutil.ignore_patterns(".venv", ".mypy_cache"))
    with (broken / "src/demo_server/errors.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef wrong() -> int:\n    return 'text'\n")
    with pytest.raises(AssertionError, match="Incompatible return value"):
        run(python(project, "mypy"), cwd=broken, env={"MYPYPATH": str(broken / "src")})


@pytest.mark.slow
@pytest.mark.promise("GEN-7")
def test_each_test_of_a_setting_fails_when_the_setting_is_ignored(
    project: Path, tmp_path: Path
) -> None:
    """The proof that those tests can fail: each runs without its variable."""
    broken = tmp_path / "p"
    shutil.copytree(project, broken, ignore=shutil.ignore_patterns(".venv"))
    # The server forgets the variable that the running test is marked with.
    ignored = tmp_path / "ignored"
    with (broken / "src/demo_server/errors.py").open("a", encoding="utf-8") as file:
        file.write(
            "\n\nimport os\n"
            f"with open({str(ignored)!r}) as ignored:\n"
            "    for name in ignored.read().split():\n"
            "        os.environ.pop(f'DEMO_SERVER_{name}', None)\n"
        )
    (broken / "tests/ignoring.py").write_text(
        "import pytest\n\n\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_runtest_setup(item):\n"
        "    names = [mark.args[0] for mark in item.iter_markers('setting')]\n"
        f"    open({str(ignored)!r}, 'w').write(' '.join(names))\n\n\n"
        "def pytest_collection_modifyitems(items):\n"
        "    items[:] = [item for item in items if item.get_closest_marker('setting')]\n",
        encoding="utf-8",
    )
    ignored.write_text("", encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(broken / "src")}
    done = run_any(
        python(project, "pytest"), "-q", "-rpf", "-p", "ignoring", "-p", "no:cacheprovider",
        cwd=broken, env=env,
    )  # fmt: skip
    survivors = [line for line in done.splitlines() if line.startswith("PASSED")]
    assert not survivors, "\n".join(survivors)
    assert " failed" in done.splitlines()[-1], done[-3000:]


def python(project: Path, tool: str) -> Path:
    """Return a tool of the project's own environment."""
    return project / ".venv" / "bin" / tool


def run_any(*command: str | Path, cwd: Path, env: dict[str, str]) -> str:
    """Run a command that may fail and return what it printed."""
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False
    ).stdout
