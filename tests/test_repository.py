"""The repository's own files agree with each other, and its documentation tells the truth."""

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from conftest import BACKENDS, REPOSITORY, render, run

ROW = re.compile(r"^\| ([A-Z]+-\d+) \|[^|]+\|[^|]+\|([^|]+)\|$", re.MULTILINE)


def text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def marks(folder: Path) -> set[tuple[str, str]]:
    """Return ``(promise, file)`` for each mark of a test below a folder."""
    found = set()
    for path in folder.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.promise":
                found |= {
                    (ast.literal_eval(argument), f"tests/{path.name}") for argument in node.args
                }
    return found


def test_every_promise_of_the_template_has_its_tests() -> None:
    """SECURITY.md names the tests that carry the promise's mark; none is missing on either side."""
    named = {
        (promise, path)
        for promise, cell in ROW.findall(text("SECURITY.md"))
        for path in re.findall(r"`([^`]+)`", cell)
    }
    marked = {mark for mark in marks(REPOSITORY / "tests") if mark[0].startswith("TPL-")}
    assert {promise for promise, _ in named} == {"TPL-1", "TPL-2", "TPL-3", "TPL-4"}
    assert named <= marked
    assert {promise for promise, _ in marked} == {promise for promise, _ in named}


def test_every_promise_of_a_project_stands_in_its_policy(template: Path, tmp_path: Path) -> None:
    """With all backends, the table of a project has each promise that this release makes."""
    project = render(template, tmp_path / "p", backends=BACKENDS)
    rows = {row[0] for row in ROW.findall((project / "SECURITY.md").read_text(encoding="utf-8"))}
    backends = {f"{name}-{n}" for name in ("FS", "DB", "API", "WEB") for n in range(1, 5)}
    assert rows == {*(f"GEN-{n}" for n in range(1, 8)), *backends}


def test_workflows_pass_the_auditor(template: Path, tmp_path: Path) -> None:
    """zizmor finds nothing in the workflows of this repository and of a generated project."""
    project = render(template, tmp_path / "p", backends=BACKENDS)
    for root in (REPOSITORY, project):
        run("zizmor", "--offline", "--quiet", root / ".github/workflows", cwd=root)


def test_the_auditor_would_find_a_mistake(template: Path, tmp_path: Path) -> None:
    """An unpinned action with every permission does not pass."""
    project = render(template, tmp_path / "p")
    workflow = project / ".github/workflows/ci.yml"
    broken = re.sub(r"@[0-9a-f]{40} # .*", "@main", workflow.read_text(encoding="utf-8"))
    workflow.write_text(broken, encoding="utf-8")
    with pytest.raises(AssertionError):
        run("zizmor", "--offline", "--quiet", workflow, cwd=project)


def test_both_commands_of_the_readme_are_those_of_dev() -> None:
    """README names `./dev demo` and `./dev test`; CI runs the second and nothing else."""
    readme = text("README.md")
    assert re.search(r"^\./dev demo ", readme, re.MULTILINE)
    assert re.search(r"^\./dev test ", readme, re.MULTILINE)
    assert text(".ci/run").strip().splitlines()[-1] == "exec ./dev test"
    assert "run: .ci/run" in text(".github/workflows/ci.yml")


def test_the_demo_generates_a_server_and_a_client_uses_it(tmp_path: Path) -> None:
    """The README's first command, in a fresh clone: tools listed, a file read, outside refused."""
    clone = tmp_path / "modelctx"
    ignored = shutil.ignore_patterns(
        ".venv", ".uv", ".*_cache", "__pycache__", "demo-*", ".hypothesis"
    )
    shutil.copytree(REPOSITORY, clone, ignore=ignored)
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "notes.txt").write_text("read by a real client\n", encoding="utf-8")
    printed = run("./dev", "demo", folder, cwd=clone, env={"HOME": str(tmp_path)})
    assert "read_text_file" in printed
    assert "answer: 'read by a real client'" in printed
    assert len(re.findall("refused: 'denied", printed)) == 2
    assert "root:" not in printed


def test_versions_agree() -> None:
    """pyproject.toml, CHANGELOG.md and UPGRADING.md speak of the same release."""
    version = tomllib.loads(text("pyproject.toml"))["project"]["version"]
    assert re.search(r"^## (\S+) \(", text("CHANGELOG.md"), re.MULTILINE)[1] == version  # type: ignore[index]
    assert f"### {version}" in text("UPGRADING.md")


def test_the_two_messages_about_trust_are_as_the_readme_quotes_them(tmp_path: Path) -> None:
    """What a user meets without `--trust`, and without the loader, stands in README."""
    without = ["copier", "copy", "--defaults", "-d", "project_name=x y", str(REPOSITORY), "p"]
    done = subprocess.run(without, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    said = " ".join(re.sub("\x1b\\[[0-9;]*m", "", done.stderr).split())
    assert "unsafe feature: jinja_extensions" in said
    for quoted in (
        "unsafe feature: jinja_extensions",
        "No module named 'copier_template_extensions'",
    ):
        assert quoted in " ".join(text("README.md").split())
    assert not (tmp_path / "p").exists()


def test_every_test_file_is_explained() -> None:
    """tests/README.md has a line for each file of tests."""
    for path in (REPOSITORY / "tests").glob("test_*.py"):
        assert f"`{path.name}`" in text("tests/README.md")
